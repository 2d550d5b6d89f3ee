//! The generic cell rate algorithm by virtual scheduling (ITU-T I.371, annex A). Pure: values in, values out.
//!
//! All that is stored of past requests is the theoretical arrival time of the next one: when it would come if all came
//! evenly. All times are nanoseconds of one clock.

use crate::clock::NANOSECONDS_PER_SECOND;

/// One request in each interval, and `burst` at once.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    pub interval_nanoseconds: u64,
    pub burst: u64,
}

impl Limit {
    /// Admits a request that comes now. Returns the next theoretical arrival time, or for how long to wait.
    pub fn admit(self, arrival: u64, now: u64) -> Result<u64, u64> {
        Ok(self.check(arrival, now)? + self.interval_nanoseconds)
    }

    /// The theoretical arrival time of a request that comes now if it may be admitted, else for how long to wait.
    pub fn check(self, arrival: u64, now: u64) -> Result<u64, u64> {
        let tolerance = (self.burst - 1) * self.interval_nanoseconds;
        let mut arrival = arrival.max(now);
        // It is never so far ahead, unless the clock went back or the interval has become shorter. The second is for
        // threads that read the clock at the same time.
        if arrival > now + tolerance + self.interval_nanoseconds + NANOSECONDS_PER_SECOND {
            arrival = now + tolerance;
        }
        let earliest = arrival.saturating_sub(tolerance);
        if earliest <= now { Ok(arrival) } else { Err(earliest - now) }
    }

    /// Requests that may come at once now.
    pub fn remaining(self, arrival: u64, now: u64) -> u64 {
        let ahead = arrival.saturating_sub(now);
        (self.burst * self.interval_nanoseconds).saturating_sub(ahead) / self.interval_nanoseconds
    }

    /// Until a whole burst may come at once again where `remaining` requests may come now; at least 1.
    pub fn reset_seconds(self, remaining: u64) -> u64 {
        ((self.burst - remaining) * self.interval_nanoseconds).div_ceil(NANOSECONDS_PER_SECOND).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUNDRED_PER_SECOND: Limit = Limit { interval_nanoseconds: NANOSECONDS_PER_SECOND / 100, burst: 10 };

    #[test]
    fn a_burst_is_admitted_at_once_and_then_one_in_each_interval() {
        let mut arrival = 0;
        for _ in 0..HUNDRED_PER_SECOND.burst {
            arrival = HUNDRED_PER_SECOND.admit(arrival, NANOSECONDS_PER_SECOND).unwrap();
        }
        assert_eq!(HUNDRED_PER_SECOND.remaining(arrival, NANOSECONDS_PER_SECOND), 0);
        assert_eq!(
            HUNDRED_PER_SECOND.admit(arrival, NANOSECONDS_PER_SECOND),
            Err(HUNDRED_PER_SECOND.interval_nanoseconds)
        );
        assert!(
            HUNDRED_PER_SECOND.admit(arrival, NANOSECONDS_PER_SECOND + HUNDRED_PER_SECOND.interval_nanoseconds).is_ok()
        );
    }

    #[test]
    fn an_arrival_time_from_a_clock_that_went_back_is_cut() {
        assert!(HUNDRED_PER_SECOND.check(3600 * NANOSECONDS_PER_SECOND, NANOSECONDS_PER_SECOND).is_ok());
    }
}
