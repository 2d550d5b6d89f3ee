//! The rate limiter: a table of buckets that answers are charged to, exact in one process, leased from Redis among
//! several.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::clock::monotonic_nanoseconds;
use crate::error::{Fault, Refusal};
use crate::limits::bucket::{Bucket, PendingLease};
use crate::limits::gcra::Limit;
use crate::limits::rate::Rate;
use crate::limits::wakeup::Wakeup;
use crate::sync::lock;

/// Buckets that nobody uses are swept at each multiple.
const BUCKETS_BEFORE_SWEEP: usize = 1024;

/// What a bucket has left after a request.
#[derive(Debug, Clone)]
pub struct RateState {
    pub bucket: Arc<Bucket>,
    /// Requests that may come at once.
    pub remaining: u64,
    /// Until a whole burst may come at once again.
    pub reset_seconds: u64,
}

#[derive(Default)]
pub struct RateLimiter {
    buckets: Mutex<HashMap<Box<str>, Arc<Bucket>>>,
    /// Of the event loop; unset: the rates are not shared with other replicas.
    wakeup: OnceLock<Wakeup>,
    /// Buckets with a pending lease.
    pending: Mutex<Vec<Arc<Bucket>>>,
    /// Each replica uses its part of the rates, because Redis grants no leases.
    is_partitioned: AtomicBool,
    /// How many replicas there are, as far as is known; 0: this one.
    replicas: AtomicU64,
}

impl RateLimiter {
    /// The bucket of a subject (`kind:id`) for a window, the same for everybody while its rate stays the same.
    pub fn bucket(&self, subject: &str, rate: Rate) -> Arc<Bucket> {
        let name = format!("{subject}/{}", rate.seconds);
        let mut buckets = lock(&self.buckets);
        if let Some(bucket) = buckets.get(&*name).filter(|bucket| bucket.rate == rate) {
            return bucket.clone();
        }
        if (buckets.len() + 1).is_multiple_of(BUCKETS_BEFORE_SWEEP) {
            let now = monotonic_nanoseconds();
            buckets.retain(|_, bucket| Arc::strong_count(bucket) > 1 || bucket.arrival() > now);
        }
        let bucket = Arc::new(Bucket::new(&name, rate));
        buckets.insert(name.into(), bucket.clone());
        bucket
    }

    /// Charges one request to all buckets, or to none and refuses it. Without a bucket there is no limit.
    ///
    /// Returns what is left in the bucket with the smallest share of its burst left.
    pub fn charge(&self, buckets: &[Arc<Bucket>]) -> Result<Option<RateState>, Refusal> {
        if buckets.is_empty() { Ok(None) } else { self.charge_at(buckets, monotonic_nanoseconds()) }
    }

    /// Whether one request would be refused now; charges nothing.
    pub fn peek(&self, buckets: &[Arc<Bucket>]) -> Result<(), Refusal> {
        if buckets.is_empty() { Ok(()) } else { self.peek_at(buckets, monotonic_nanoseconds()) }
    }

    /// Takes back the charge of one request.
    pub fn refund(&self, buckets: &[Arc<Bucket>]) {
        for bucket in buckets {
            if self.is_leased() {
                bucket.return_token();
            } else {
                bucket.readmit(self.limit(bucket));
            }
        }
    }

    fn charge_at(&self, buckets: &[Arc<Bucket>], now: u64) -> Result<Option<RateState>, Refusal> {
        let mut tightest: Option<(&Arc<Bucket>, Limit, u64)> = None;
        for (index, bucket) in buckets.iter().enumerate() {
            let limit = self.limit(bucket);
            let remaining = self.charge_one(bucket, limit, now).map_err(|wait| {
                self.refund(&buckets[..index]);
                bucket.refusal(wait)
            })?;
            if tightest.is_none_or(|(_, other, left)| remaining * other.burst < left * limit.burst) {
                tightest = Some((bucket, limit, remaining));
            }
        }
        Ok(tightest.map(|(bucket, limit, remaining)| RateState {
            bucket: bucket.clone(),
            remaining,
            reset_seconds: limit.reset_seconds(remaining),
        }))
    }

    fn peek_at(&self, buckets: &[Arc<Bucket>], now: u64) -> Result<(), Refusal> {
        buckets.iter().try_for_each(|bucket| self.peek_one(bucket, now).map_err(|wait| bucket.refusal(wait)))
    }

    fn peek_one(&self, bucket: &Arc<Bucket>, now: u64) -> Result<(), u64> {
        let limit = self.limit(bucket);
        if !self.is_leased() {
            return limit.check(bucket.arrival(), now).map(drop);
        }
        let checked = bucket.check_tokens(limit, now, self.replicas());
        if checked.is_err() {
            // A front that only peeks would otherwise refuse for ever.
            self.ask_for_lease(bucket, now);
        }
        checked
    }

    /// Charges one bucket. Returns how many requests remain, or how many nanoseconds to wait.
    fn charge_one(&self, bucket: &Arc<Bucket>, limit: Limit, now: u64) -> Result<u64, u64> {
        if !self.is_leased() {
            return bucket.admit(limit, now).map(|arrival| limit.remaining(arrival, now));
        }
        let taken = bucket.take_token(limit, now, self.replicas());
        if taken.is_err() || bucket.is_low() {
            self.ask_for_lease(bucket, now);
        }
        taken.map(|tokens| limit.remaining(bucket.arrival(), now).saturating_add_signed(tokens).min(limit.burst))
    }

    /// Whether buckets live on leases: rates are shared, and Redis is there to grant them.
    fn is_leased(&self) -> bool {
        self.wakeup.get().is_some() && !self.is_partitioned.load(Ordering::Relaxed)
    }

    fn limit(&self, bucket: &Bucket) -> Limit {
        let is_partitioned = self.is_partitioned.load(Ordering::Relaxed);
        bucket.rate.partition(if is_partitioned { self.replicas() } else { 1 })
    }

    fn replicas(&self) -> u64 {
        self.replicas.load(Ordering::Relaxed).max(1)
    }

    fn ask_for_lease(&self, bucket: &Arc<Bucket>, now: u64) {
        if bucket.begin_lease(now) {
            lock(&self.pending).push(bucket.clone());
            if let Some(wakeup) = self.wakeup.get() {
                wakeup.wake();
            }
        }
    }

    /// Shares the rates with other replicas from now on; the descriptor becomes readable when leases are pending.
    pub fn share(&self) -> Result<RawFd, Fault> {
        if self.wakeup.get().is_none() {
            let wakeup = Wakeup::new()
                .map_err(|error| Fault::load(format!("no socket to wake the event loop with: {error}")))?;
            self.wakeup.get_or_init(|| wakeup);
        }
        self.wakeup.get().map(Wakeup::descriptor).ok_or_else(|| Fault::argument("rates are not shared"))
    }

    /// Limits each replica to its part until a lease is granted: Redis is unavailable.
    pub fn partition(&self) {
        self.is_partitioned.store(true, Ordering::Relaxed);
    }

    /// So many replicas share the rates, this one among them.
    pub fn set_replicas(&self, replicas: u64) {
        self.replicas.store(replicas, Ordering::Relaxed);
    }

    /// Leases that have been asked for and not been granted yet.
    pub fn pending_leases(&self) -> Vec<PendingLease> {
        if let Some(wakeup) = self.wakeup.get() {
            wakeup.reset();
        }
        lock(&self.pending).iter().map(|bucket| bucket.pending_lease()).collect()
    }

    /// Redis has granted some tokens to a bucket, or none. `ahead_nanoseconds`: from now to the theoretical arrival
    /// time of the next request to any replica.
    pub fn grant(&self, bucket: &str, tokens: u32, ahead_nanoseconds: u64) {
        self.grant_at(bucket, tokens, ahead_nanoseconds, monotonic_nanoseconds());
    }

    fn grant_at(&self, name: &str, tokens: u32, ahead_nanoseconds: u64, now: u64) {
        self.is_partitioned.store(false, Ordering::Relaxed);
        lock(&self.pending).retain(|bucket| {
            let is_granted = *bucket.name == *name;
            if is_granted {
                bucket.grant(tokens, ahead_nanoseconds, now);
            }
            !is_granted
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::NANOSECONDS_PER_SECOND;
    use crate::error::Code;

    const MILLISECOND: u64 = NANOSECONDS_PER_SECOND / 1000;
    const HUNDRED: Rate = Rate { count: 100, seconds: 1 };
    const THREE_THOUSAND: Rate = Rate { count: 3000, seconds: 1 };

    /// A bucket that holds a burst and is filled evenly, reckoned in nanoseconds.
    struct TokenBucket {
        interval: u64,
        most: u64,
        level: u64,
        last: u64,
    }

    impl TokenBucket {
        fn of(rate: Rate) -> Self {
            let (interval, burst) = (rate.interval_nanoseconds(), rate.burst());
            Self { interval, most: burst * interval, level: burst * interval, last: 0 }
        }

        fn takes(&mut self, now: u64) -> bool {
            self.level = self.most.min(self.level + (now - self.last));
            self.last = now;
            let is_enough = self.level >= self.interval;
            self.level -= if is_enough { self.interval } else { 0 };
            is_enough
        }
    }

    /// Numbers that look random, by the constants of Knuth's MMIX.
    fn numbers(seed: u64) -> impl Iterator<Item = u64> {
        std::iter::successors(Some(seed), |number| {
            Some(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
        })
        .map(|number| number >> 33)
    }

    fn admitted(limiter: &RateLimiter, buckets: &[Arc<Bucket>], times: impl Iterator<Item = u64>) -> usize {
        times.filter(|&now| limiter.charge_at(buckets, now).is_ok()).count()
    }

    #[test]
    fn a_bucket_admits_what_a_token_bucket_would() {
        for (seed, rate) in
            [(1, HUNDRED), (2, THREE_THOUSAND), (3, Rate { count: 7, seconds: 60 }), (4, Rate { count: 1, seconds: 1 })]
        {
            let (limiter, mut reference) = (RateLimiter::default(), TokenBucket::of(rate));
            let bucket = [limiter.bucket("user:1", rate)];
            let mut now = NANOSECONDS_PER_SECOND;
            reference.last = now;
            for number in numbers(seed).take(20_000) {
                now += number % (2 * rate.interval_nanoseconds());
                let is_free = limiter.peek_at(&bucket, now).is_ok();
                assert_eq!(limiter.charge_at(&bucket, now).is_ok(), is_free, "{rate:?} at {now}");
                assert_eq!(reference.takes(now), is_free, "{rate:?} at {now}");
            }
        }
    }

    #[test]
    fn a_burst_is_admitted_at_once_and_then_one_in_each_interval() {
        let limiter = RateLimiter::default();
        let bucket = [limiter.bucket("user:1", HUNDRED)];
        assert_eq!(admitted(&limiter, &bucket, std::iter::repeat_n(NANOSECONDS_PER_SECOND, 50)), 10);
        assert_eq!(admitted(&limiter, &bucket, (0..1000).map(|tick| NANOSECONDS_PER_SECOND + tick * MILLISECOND)), 99);
    }

    #[test]
    fn a_rate_by_the_minute_may_be_used_up_at_once() {
        let minute = Rate { count: 100, seconds: 60 };
        let limiter = RateLimiter::default();
        let bucket = [limiter.bucket("user:1", minute)];
        assert_eq!(admitted(&limiter, &bucket, std::iter::repeat_n(NANOSECONDS_PER_SECOND, 500)), 100);
        assert_eq!(admitted(&limiter, &bucket, (1..=60).map(|second| (1 + second) * NANOSECONDS_PER_SECOND)), 60);
    }

    fn left(charged: Result<Option<RateState>, Refusal>) -> (String, u64, u64) {
        let state = charged.unwrap().unwrap();
        (state.bucket.policy().to_owned(), state.remaining, state.reset_seconds)
    }

    #[test]
    fn a_charge_returns_what_is_left_in_the_tightest_bucket() {
        let limiter = RateLimiter::default();
        let user = limiter.bucket("user:1", Rate { count: 100, seconds: 60 });
        let key = limiter.bucket("key:1", Rate { count: 3, seconds: 60 });
        let now = NANOSECONDS_PER_SECOND;
        assert_eq!(left(limiter.charge_at(std::slice::from_ref(&user), now)), ("user".to_owned(), 99, 1));
        assert_eq!(left(limiter.charge_at(&[user.clone(), key.clone()], now)), ("key".to_owned(), 2, 20));
        assert_eq!(left(limiter.charge_at(&[key.clone(), user.clone()], now)), ("key".to_owned(), 1, 40));
        assert_eq!(
            left(limiter.charge_at(&[user.clone(), key], now + 60 * NANOSECONDS_PER_SECOND)),
            ("key".to_owned(), 2, 20)
        );
        assert_eq!(left(limiter.charge_at(&[user], now + 60 * NANOSECONDS_PER_SECOND)), ("user".to_owned(), 98, 2));
    }

    #[test]
    fn a_refund_may_be_used_again_once() {
        let limiter = RateLimiter::default();
        let bucket = [limiter.bucket("user:1", Rate { count: 3, seconds: 60 })];
        limiter.refund(&bucket);
        assert_eq!(admitted(&limiter, &bucket, std::iter::repeat_n(NANOSECONDS_PER_SECOND, 9)), 3);
        limiter.refund(&bucket);
        assert_eq!(admitted(&limiter, &bucket, std::iter::repeat_n(NANOSECONDS_PER_SECOND, 9)), 1);
    }

    #[test]
    fn a_subject_has_a_bucket_for_each_window() {
        let limiter = RateLimiter::default();
        let limits = [Rate { count: 5, seconds: 60 }, Rate { count: 7, seconds: 3600 }];
        let buckets = limits.map(|rate| limiter.bucket("user:1", rate));
        assert_eq!(admitted(&limiter, &buckets, std::iter::repeat_n(NANOSECONDS_PER_SECOND, 9)), 5);
        assert!(buckets.iter().zip(limits).all(|(bucket, rate)| Arc::ptr_eq(bucket, &limiter.bucket("user:1", rate))));
        assert_eq!(admitted(&limiter, &buckets, std::iter::repeat_n(61 * NANOSECONDS_PER_SECOND, 9)), 2);
    }

    #[test]
    fn a_refusal_says_when_to_retry() {
        let limiter = RateLimiter::default();
        let bucket = [limiter.bucket("user:1", Rate { count: 1, seconds: 60 })];
        limiter.charge_at(&bucket, NANOSECONDS_PER_SECOND).unwrap();
        let refusal = limiter.charge_at(&bucket, 2 * NANOSECONDS_PER_SECOND - MILLISECOND).unwrap_err();
        assert_eq!(refusal.code, Code::RateLimited);
        let told: Vec<&str> = refusal.arguments.iter().map(|(_, value)| &**value).collect();
        assert_eq!(told, ["user", "1", "60", "60"]);
        assert!(limiter.charge_at(&bucket, 61 * NANOSECONDS_PER_SECOND).is_ok());
    }

    #[test]
    fn a_clock_that_goes_back_locks_nobody_out() {
        let limiter = RateLimiter::default();
        let bucket = [limiter.bucket("user:1", HUNDRED)];
        admitted(&limiter, &bucket, std::iter::repeat_n(3600 * NANOSECONDS_PER_SECOND, 50));
        let interval = HUNDRED.interval_nanoseconds();
        assert_eq!(admitted(&limiter, &bucket, (1..=20).map(|tick| NANOSECONDS_PER_SECOND + tick * interval)), 20);
        assert_eq!(admitted(&limiter, &bucket, std::iter::repeat_n(NANOSECONDS_PER_SECOND + 20 * interval, 20)), 0);
    }

    #[test]
    fn a_request_is_charged_to_all_buckets_or_to_none() {
        let limiter = RateLimiter::default();
        let (wide, narrow) =
            (limiter.bucket("user:1", HUNDRED), limiter.bucket("key:1", Rate { count: 1, seconds: 1 }));
        assert_eq!(admitted(&limiter, &[wide.clone(), narrow], std::iter::repeat_n(NANOSECONDS_PER_SECOND, 50)), 1);
        assert_eq!(admitted(&limiter, &[wide], std::iter::repeat_n(NANOSECONDS_PER_SECOND, 50)), 9);
    }

    #[test]
    fn without_a_bucket_there_is_no_limit() {
        assert!(RateLimiter::default().charge(&[]).unwrap().is_none());
        assert_eq!(RateLimiter::default().peek(&[]), Ok(()));
    }

    #[test]
    fn a_subject_has_one_bucket_until_its_rate_changes() {
        let limiter = RateLimiter::default();
        let bucket = limiter.bucket("user:1", HUNDRED);
        assert!(Arc::ptr_eq(&bucket, &limiter.bucket("user:1", HUNDRED)));
        assert!(!Arc::ptr_eq(&bucket, &limiter.bucket("user:1", THREE_THOUSAND)));
        assert!(!Arc::ptr_eq(&bucket, &limiter.bucket("user:2", HUNDRED)));
    }

    #[test]
    fn unused_buckets_are_swept() {
        let limiter = RateLimiter::default();
        let kept = limiter.bucket("user:kept", HUNDRED);
        (0..10_000).for_each(|number| drop(limiter.bucket(&number.to_string(), HUNDRED)));
        assert!(lock(&limiter.buckets).len() <= BUCKETS_BEFORE_SWEEP);
        assert!(Arc::ptr_eq(&kept, &limiter.bucket("user:kept", HUNDRED)));
    }

    fn shared() -> (RateLimiter, [Arc<Bucket>; 1]) {
        let limiter = RateLimiter::default();
        limiter.share().unwrap();
        let bucket = limiter.bucket("user:1", THREE_THOUSAND);
        (limiter, [bucket])
    }

    #[test]
    fn before_a_grant_one_lease_may_be_used() {
        let (limiter, bucket) = shared();
        assert_eq!(admitted(&limiter, &bucket, std::iter::repeat_n(NANOSECONDS_PER_SECOND, 500)), 100);
        assert_eq!(
            limiter.pending_leases(),
            [PendingLease { bucket: "user:1/1".to_owned(), rate: THREE_THOUSAND, tokens: 200 }]
        );
    }

    #[test]
    fn a_lease_is_asked_for_again_before_it_is_used_up() {
        let (limiter, bucket) = shared();
        let now = monotonic_nanoseconds();
        limiter.charge_at(&bucket, now).unwrap();
        limiter.grant("user:1/1", 101, 0);
        let later = monotonic_nanoseconds();
        assert_eq!(admitted(&limiter, &bucket, std::iter::repeat_n(later, 49)), 49);
        assert_eq!(limiter.pending_leases(), []);
        assert_eq!(admitted(&limiter, &bucket, std::iter::repeat_n(later, 500)), 151);
        assert_eq!(limiter.pending_leases().len(), 1);
    }

    #[test]
    fn redis_is_not_asked_before_it_has_a_token() {
        let (limiter, bucket) = shared();
        let now = monotonic_nanoseconds();
        assert_eq!(admitted(&limiter, &bucket, std::iter::repeat_n(now, 500)), 100);
        limiter.grant("user:1/1", 0, 60 * NANOSECONDS_PER_SECOND);
        let refusal = limiter.charge_at(&bucket, now).unwrap_err();
        assert_eq!(refusal.arguments[3], ("retry_after_seconds", "60".to_owned()));
        assert_eq!(limiter.pending_leases(), []);
        assert!(limiter.charge_at(&bucket, now + 61 * NANOSECONDS_PER_SECOND).is_err());
        assert_eq!(limiter.pending_leases().len(), 1);
    }

    #[test]
    fn what_is_left_of_a_shared_rate_is_what_redis_and_the_lease_have() {
        let limiter = RateLimiter::default();
        limiter.share().unwrap();
        let bucket = [limiter.bucket("user:1", Rate { count: 100, seconds: 60 })];
        let now = monotonic_nanoseconds();
        for used in 1..=10 {
            assert_eq!(left(limiter.charge_at(&bucket, now)).1, 100 - used);
        }
        // Twenty tokens of which another server's requests leave Redis seventy.
        limiter.grant_at("user:1/60", 20, 30 * 600 * MILLISECOND, now);
        assert_eq!(left(limiter.charge_at(&bucket, now)).1, 70 + 9);
        limiter.refund(&bucket);
        assert_eq!(left(limiter.charge_at(&bucket, now)).1, 70 + 9);
    }

    #[test]
    fn a_replica_may_use_its_part_of_what_redis_has_left_before_it_is_granted() {
        for (replicas, part) in [(0, 100), (1, 100), (2, 50), (3, 34), (50, 10)] {
            let limiter = RateLimiter::default();
            limiter.share().unwrap();
            limiter.set_replicas(replicas);
            let bucket = [limiter.bucket("user:1", Rate { count: 100, seconds: 60 })];
            let now = monotonic_nanoseconds();
            assert_eq!(admitted(&limiter, &bucket, std::iter::repeat_n(now, 500)), part);
            assert_eq!(limiter.pending_leases()[0].tokens, 10 + u64::try_from(part).unwrap());
            // All that was used has been granted, and nothing is left; a minute later everything is.
            limiter.grant_at("user:1/60", part.try_into().unwrap(), 60 * NANOSECONDS_PER_SECOND, now);
            assert_eq!(admitted(&limiter, &bucket, std::iter::repeat_n(now, 500)), 0);
            assert_eq!(admitted(&limiter, &bucket, std::iter::repeat_n(now + 60 * NANOSECONDS_PER_SECOND, 500)), part);
        }
    }

    #[test]
    fn a_peek_asks_for_the_missing_lease() {
        let (limiter, bucket) = shared();
        let now = monotonic_nanoseconds();
        admitted(&limiter, &bucket, std::iter::repeat_n(now, 500));
        limiter.grant("user:1/1", 0, 0);
        assert!(limiter.peek_at(&bucket, monotonic_nanoseconds()).is_err());
        assert_eq!(limiter.pending_leases().len(), 1);
    }

    #[test]
    fn without_redis_a_replica_uses_its_part_until_a_grant() {
        let (limiter, bucket) = shared();
        admitted(&limiter, &bucket, std::iter::repeat_n(NANOSECONDS_PER_SECOND, 500));
        limiter.set_replicas(3);
        limiter.partition();
        let per_second = admitted(
            &limiter,
            &bucket,
            (0..10_000).map(|tick| NANOSECONDS_PER_SECOND + tick * NANOSECONDS_PER_SECOND / 10_000),
        );
        assert_eq!(per_second, 1000 + 32); // a third of the rate, and of the burst
        assert_eq!(limiter.pending_leases().len(), 1);
        limiter.grant("user:1/1", 200, 0);
        assert_eq!(admitted(&limiter, &bucket, std::iter::repeat_n(NANOSECONDS_PER_SECOND, 500)), 200);
    }

    #[test]
    fn replicas_exceed_a_rate_by_at_most_two_leases_each_or_a_burst() {
        for rate in [THREE_THOUSAND, Rate { count: 100, seconds: 60 }, Rate { count: 5, seconds: 900 }] {
            let redis = RateLimiter::default();
            let common = [redis.bucket("user:1", rate)];
            let replicas = [(); 3].map(|()| {
                let limiter = RateLimiter::default();
                limiter.share().unwrap();
                limiter.set_replicas(3);
                let bucket = [limiter.bucket("user:1", rate)];
                (limiter, bucket)
            });
            let start = NANOSECONDS_PER_SECOND;
            let (mut now, mut through) = (start, 0);
            for number in numbers(5).take(20_000) {
                now += number % (rate.interval_nanoseconds() / 2);
                let (limiter, bucket) = &replicas[usize::try_from(number % 3).unwrap()];
                through += u64::from(limiter.charge_at(bucket, now).is_ok());
                if number % 7 == 0 {
                    for (limiter, _) in &replicas {
                        for lease in limiter.pending_leases() {
                            let granted =
                                (0..lease.tokens).take_while(|_| redis.charge_at(&common, now).is_ok()).count();
                            let ahead = common[0].arrival().saturating_sub(now);
                            limiter.grant_at(&lease.bucket, granted.try_into().unwrap(), ahead, now);
                        }
                    }
                }
                let even = (now - start) / rate.interval_nanoseconds();
                let beyond = rate.burst().max(3 * 2 * rate.lease());
                assert!(through <= even + rate.burst() + beyond, "{rate:?}: {through} of {even}");
            }
            assert!(through >= (now - start) / rate.interval_nanoseconds(), "{rate:?}");
        }
    }

    #[test]
    fn threads_take_no_token_twice() {
        let (limiter, bucket) = shared();
        let taken: usize = std::thread::scope(|threads| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    threads.spawn(|| admitted(&limiter, &bucket, std::iter::repeat_n(NANOSECONDS_PER_SECOND, 500)))
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(taken, 100);
    }
}
