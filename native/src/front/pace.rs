//! How long clients may take for their bodies.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// For the whole of a small body, and for each pause of a larger one.
    pub patience: Duration,
    /// The largest body that is small.
    pub small_bytes: usize,
    /// Of a larger body, on average.
    pub min_bytes_per_second: f64,
}

/// What a client has taken too long for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// A small body is not whole, or a larger one has paused.
    Incomplete,
    /// A larger body comes at less than the least rate.
    TooSlow,
}

impl Pace {
    /// How long a client may be waited for in all, of whose body so much has arrived.
    pub fn allowance(&self, received_bytes: usize) -> Duration {
        if received_bytes <= self.small_bytes {
            return self.patience;
        }
        #[allow(clippy::cast_precision_loss, reason = "a body has less than 2^53 bytes")]
        let seconds = received_bytes as f64 / self.min_bytes_per_second;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).max(self.patience)
    }

    /// How long it may be waited for now, where it has been for `waited` before.
    pub fn next_wait(&self, received_bytes: usize, waited: Duration) -> Duration {
        self.allowance(received_bytes).saturating_sub(waited).min(self.patience)
    }

    /// Why a client is late that has been waited for so long, in all.
    pub fn late(&self, received_bytes: usize, waited: Duration) -> Late {
        let is_large = received_bytes > self.small_bytes;
        if is_large && waited >= self.allowance(received_bytes) { Late::TooSlow } else { Late::Incomplete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { patience: Duration::from_secs(30), small_bytes: 1000, min_bytes_per_second: 10.0 };

    #[test]
    fn a_small_body_has_one_time_for_the_whole() {
        assert_eq!(PACE.next_wait(0, Duration::ZERO), Duration::from_secs(30));
        assert_eq!(PACE.next_wait(1000, Duration::from_secs(29)), Duration::from_secs(1));
        assert_eq!(PACE.next_wait(1000, Duration::from_secs(31)), Duration::ZERO);
        assert_eq!(PACE.late(1000, Duration::from_secs(30)), Late::Incomplete);
    }

    #[test]
    fn a_larger_body_comes_at_a_least_rate() {
        assert_eq!(PACE.allowance(1001), Duration::from_millis(100_100));
        assert_eq!(PACE.next_wait(2000, Duration::from_secs(190)), Duration::from_secs(10));
        assert_eq!(PACE.late(2000, Duration::from_secs(200)), Late::TooSlow);
        let fast = Pace { min_bytes_per_second: 1e6, ..PACE };
        assert_eq!(fast.allowance(1001), Duration::from_secs(30));
    }

    #[test]
    fn a_larger_body_pauses_no_longer_than_a_small_one_may_take() {
        assert_eq!(PACE.next_wait(10_000, Duration::ZERO), Duration::from_secs(30));
        assert_eq!(PACE.late(10_000, Duration::from_secs(30)), Late::Incomplete);
    }
}
