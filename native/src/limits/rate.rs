//! Rates as they are configured, and what follows from them.

use crate::clock::NANOSECONDS_PER_SECOND;
use crate::limits::gcra::Limit;

/// A replica holds at most a thirtieth of a second's worth of granted tokens and uses as many that are not granted. So,
/// with the burst that Redis admits, all replicas together exceed a rate by at most a tenth of a second's worth for
/// each of them.
const LEASES_PER_SECOND: u64 = 30;
/// A low rate may be used up to so much at once.
const MIN_BURST: u64 = 10;
/// A rate by the minute or longer may be used up at once: ten requests in a second and then none for an hour are within
/// it.
const WHOLE_BURST_SECONDS: u64 = 60;
/// A lease of such a rate is at least a tenth of it, so that a replica does not refuse a burst for which Redis has
/// tokens. Each replica may exceed the rate by two of them.
const LEASES_PER_BURST: u64 = 10;

/// How often something may be done: `count` times in `seconds`, evenly spread but for a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u64,
    pub seconds: u64,
}

impl Rate {
    pub fn interval_nanoseconds(self) -> u64 {
        (self.seconds * NANOSECONDS_PER_SECOND / self.count).max(1)
    }

    /// Requests that may come at once.
    pub fn burst(self) -> u64 {
        if self.may_burst_whole() { self.count } else { self.lease().max(self.count.min(MIN_BURST)) }
    }

    /// Tokens that a replica holds at most.
    pub fn lease(self) -> u64 {
        let least = if self.may_burst_whole() { self.count / LEASES_PER_BURST } else { 0 };
        (self.count / self.seconds / LEASES_PER_SECOND).max(least).max(1)
    }

    /// Whether all of it may be used at once.
    pub fn may_burst_whole(self) -> bool {
        self.seconds >= WHOLE_BURST_SECONDS
    }

    /// The part of one replica among `replicas`.
    pub fn partition(self, replicas: u64) -> Limit {
        Limit { interval_nanoseconds: self.interval_nanoseconds() * replicas, burst: (self.burst() / replicas).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_by_the_minute_or_longer_may_be_used_up_at_once() {
        let minute = Rate { count: 100, seconds: 60 };
        assert_eq!((minute.burst(), minute.lease()), (100, 10));
        assert_eq!((Rate { count: 100, seconds: 59 }).burst(), 10);
        assert_eq!(((Rate { count: 5, seconds: 900 }).burst(), (Rate { count: 5, seconds: 900 }).lease()), (5, 1));
    }
}
