//! Tokens that a replica leases from Redis, where the algorithm of `gcra.rs` runs for all replicas. Pure: values in,
//! values out.
//!
//! A bucket holds the tokens that Redis has granted and asks for more before they are used up. It may use its part of
//! what Redis has left before that is granted, so that no request waits for Redis. Its tokens are then below zero.

use crate::limits::rate::Rate;

/// What Redis has said of a bucket: on the monotonic clock, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The theoretical arrival time of the next request to any replica.
    pub arrival: u64,
    /// Before this moment Redis has no token to grant.
    pub next_token: u64,
}

impl Grant {
    /// `ahead_nanoseconds`: from now to the theoretical arrival time.
    pub fn new(rate: Rate, ahead_nanoseconds: u64, now: u64) -> Self {
        let (interval, burst) = (rate.interval_nanoseconds(), rate.burst());
        let wait_nanoseconds = (ahead_nanoseconds + interval).saturating_sub(burst * interval);
        Self { arrival: now + ahead_nanoseconds, next_token: now + wait_nanoseconds }
    }
}

/// Whether one more token may be used of `tokens`. `left`: tokens that Redis has left for all replicas.
pub fn may_use(rate: Rate, tokens: i64, left: u64, replicas: u64) -> bool {
    tokens > 0 || tokens > -credit(rate, left, replicas)
}

/// Tokens that may be used before Redis grants them: a lease, or this replica's part of what is left. Of a rate that
/// may be used up at once not more than is left; a faster one is better exceeded by a lease than held up by a slow
/// answer.
fn credit(rate: Rate, left: u64, replicas: u64) -> i64 {
    let lease = if rate.may_burst_whole() { rate.lease().min(left) } else { rate.lease() };
    lease.max(left.div_ceil(replicas)).cast_signed()
}

/// With this many tokens left, or fewer, a bucket asks for more.
pub fn refill_threshold(rate: Rate) -> i64 {
    rate.lease().cast_signed() / 2
}

/// Tokens to ask for.
pub fn missing(rate: Rate, tokens: i64) -> u64 {
    (rate.lease().cast_signed() - tokens).max(1).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::NANOSECONDS_PER_SECOND;

    const HUNDRED_PER_MINUTE: Rate = Rate { count: 100, seconds: 60 };

    #[test]
    fn a_rate_that_may_be_used_up_at_once_gets_no_more_credit_than_is_left() {
        assert_eq!(credit(HUNDRED_PER_MINUTE, 3, 2), 3);
        assert_eq!(credit(HUNDRED_PER_MINUTE, 100, 2), 50);
        assert_eq!(credit(Rate { count: 3000, seconds: 1 }, 0, 2), 100);
    }

    #[test]
    fn redis_has_a_token_again_when_the_burst_is_not_used_up() {
        assert_eq!(Grant::new(HUNDRED_PER_MINUTE, 0, 5), Grant { arrival: 5, next_token: 5 });
        let used_up = Grant::new(HUNDRED_PER_MINUTE, 60 * NANOSECONDS_PER_SECOND, 5);
        assert_eq!(used_up.next_token, 5 + HUNDRED_PER_MINUTE.interval_nanoseconds());
    }
}
