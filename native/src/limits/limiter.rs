//! The one ledger of rates: accounts that answers are charged to, exact in one process, leased from Redis among several.
//!
//! By itself an account follows the generic cell rate algorithm (ITU-T I.371, annex A: virtual scheduling). Among replicas that
//! algorithm runs in Redis, for all of them; an account here then holds a few tokens that Redis has granted, asks for more before they
//! are used up, and may use its part of what Redis has left before that is granted, so that no request waits for Redis.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use crate::clock::monotonic_nanoseconds;
use crate::error::{Code, Fault, Refusal};

const NANOSECONDS: u64 = 1_000_000_000;
/// A replica holds at most a thirtieth of a second's worth of granted tokens and uses as many that are not, so with what Redis lets
/// through at once, all replicas together exceed a rate by at most a tenth of a second's worth for each of them.
const LEASES_PER_SECOND: u64 = 30;
/// A low rate may be used up to so much at once.
const LEAST_BURST: u64 = 10;
/// A rate by the minute or longer may be used up at once: who asks ten times in a second and then not for an hour is within it.
const WHOLE_BURST_SECONDS: u64 = 60;
/// A lease of such a rate is at least a tenth of it, so that a replica does not refuse a burst for which Redis has tokens; each replica
/// may exceed the rate by two of them.
const LEASES_PER_BURST: u64 = 10;
/// Accounts that nobody uses are looked for at each multiple.
const ACCOUNTS_BEFORE_SWEEP: usize = 1024;

/// How often something may be done: `count` times in `seconds`, evenly spread but for `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u64,
    pub seconds: u64,
}

impl Rate {
    pub fn interval_nanoseconds(self) -> u64 {
        (self.seconds * NANOSECONDS / self.count).max(1)
    }

    pub fn burst(self) -> u64 {
        if self.seconds >= WHOLE_BURST_SECONDS { self.count } else { self.lease().max(self.count.min(LEAST_BURST)) }
    }

    /// Tokens that a replica holds at most.
    fn lease(self) -> u64 {
        let least = if self.seconds >= WHOLE_BURST_SECONDS { self.count / LEASES_PER_BURST } else { 0 };
        (self.count / self.seconds / LEASES_PER_SECOND).max(least).max(1)
    }
}

/// How one process lets an account go on where it gets no lease: as the rate says, or its part of it.
#[derive(Debug, Clone, Copy)]
struct Limit {
    interval: u64,
    burst: u64,
}

/// What one subject may still do.
#[derive(Debug)]
pub struct Bucket {
    /// `kind:id/seconds`: a subject has an account for each of its windows.
    pub name: Box<str>,
    pub rate: Rate,
    /// What is limited, as the header `RateLimit-Policy` tells it, and the count in it.
    pub told: Bytes,
    pub told_limit: Bytes,
    /// When the next request would come if they came evenly; on the monotonic clock, as the times below. Of an account that lives on
    /// leases: as Redis has said last, of the requests to all replicas.
    arrival: AtomicU64,
    /// Granted by Redis and not used; below zero: used and not granted yet.
    tokens: AtomicI64,
    /// A lease is under way.
    has_asked: AtomicBool,
    /// Before this moment Redis has no token to grant.
    next: AtomicU64,
}

/// What is left to an account after a request.
#[derive(Debug, Clone)]
pub struct RateState {
    pub account: Arc<Bucket>,
    /// Requests that it may make at once.
    pub remaining: u64,
    /// Until it may make a whole burst at once again.
    pub reset_seconds: u64,
}

/// A lease that an account needs.
#[derive(Debug, PartialEq, Eq)]
pub struct PendingLease {
    pub account: String,
    pub rate: Rate,
    pub tokens: u64,
}

#[derive(Default)]
pub struct RateLimiter {
    accounts: Mutex<HashMap<Box<str>, Arc<Bucket>>>,
    bell: OnceLock<Wakeup>,
    asking: Mutex<Vec<Arc<Bucket>>>,
    /// Each replica has its part of the rates, because Redis grants no leases.
    is_divided: AtomicBool,
    /// How many replicas there are, as far as is known; 0: this one.
    replicas: AtomicU64,
}

/// Wakes the event loop, which talks to Redis.
struct Wakeup {
    sender: UnixStream,
    receiver: UnixStream,
    has_rung: AtomicBool,
}

impl RateLimiter {
    /// The account of a subject (`kind:id`) for a window, the same for all who ask while its rate stays the same.
    pub fn account(&self, subject: &str, rate: Rate) -> Arc<Bucket> {
        let name = format!("{subject}/{}", rate.seconds);
        let mut accounts = lock(&self.accounts);
        if let Some(account) = accounts.get(&*name).filter(|account| account.rate == rate) {
            return account.clone();
        }
        if (accounts.len() + 1).is_multiple_of(ACCOUNTS_BEFORE_SWEEP) {
            let now = monotonic_nanoseconds();
            accounts
                .retain(|_, account| Arc::strong_count(account) > 1 || account.arrival.load(Ordering::Relaxed) > now);
        }
        let account = Arc::new(Bucket::new(&name, rate));
        accounts.insert(name.into(), account.clone());
        account
    }

    /// Pay for one request from all accounts, or from none and be refused. No account: no limit.
    ///
    /// Returns what is left to the account with the least share of its burst left.
    pub fn charge(&self, accounts: &[Arc<Bucket>]) -> Result<Option<RateState>, Refusal> {
        if accounts.is_empty() { Ok(None) } else { self.charge_at(accounts, monotonic_nanoseconds()) }
    }

    /// Whether one request would be refused now; pays nothing.
    pub fn peek(&self, accounts: &[Arc<Bucket>]) -> Result<(), Refusal> {
        if accounts.is_empty() { Ok(()) } else { self.peek_at(accounts, monotonic_nanoseconds()) }
    }

    /// Give back what was paid for one request.
    pub fn refund(&self, accounts: &[Arc<Bucket>]) {
        for account in accounts {
            self.give_back(account);
        }
    }

    fn charge_at(&self, accounts: &[Arc<Bucket>], now: u64) -> Result<Option<RateState>, Refusal> {
        let mut least: Option<(&Arc<Bucket>, Limit, u64)> = None;
        for (place, account) in accounts.iter().enumerate() {
            let pace = self.pace(account);
            let remaining = self.spend(account, now, pace).map_err(|wait| {
                self.refund(&accounts[..place]);
                account.refusal(wait)
            })?;
            if least.is_none_or(|(_, other, left)| remaining * other.burst < left * pace.burst) {
                least = Some((account, pace, remaining));
            }
        }
        Ok(least.map(|(account, pace, remaining)| pace.state(account, remaining)))
    }

    fn peek_at(&self, accounts: &[Arc<Bucket>], now: u64) -> Result<(), Refusal> {
        accounts.iter().try_for_each(|account| {
            let allowed = if self.is_leased() {
                let allowed = account.tokens_left(now, self.pace(account), self.replicas());
                if allowed.is_err() {
                    self.ask(account, now); // or a front that only peeks would refuse for ever
                }
                allowed
            } else {
                account.due(now, self.pace(account)).map(|_| ())
            };
            allowed.map_err(|wait| account.refusal(wait))
        })
    }

    /// Take one from an account, and say how many remain; else say how many nanoseconds to wait.
    fn spend(&self, account: &Arc<Bucket>, now: u64, pace: Limit) -> Result<u64, u64> {
        if !self.is_leased() {
            return account.arrive(now, pace).map(|arrival| pace.free(now, arrival));
        }
        let taken = account.take(now, pace, self.replicas());
        if taken.is_err() || account.tokens.load(Ordering::Relaxed) <= account.low_tide() {
            self.ask(account, now);
        }
        taken.map(|tokens| {
            pace.free(now, account.arrival.load(Ordering::Relaxed)).saturating_add_signed(tokens).min(pace.burst)
        })
    }

    fn give_back(&self, account: &Bucket) {
        if self.is_leased() {
            account.tokens.fetch_add(1, Ordering::Relaxed);
        } else {
            // It has been paid for, but maybe to an account of this name that has been swept since.
            let earlier = |arrival: u64| Some(arrival.saturating_sub(self.pace(account).interval));
            let _ = account.arrival.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earlier);
        }
    }

    /// Whether accounts live on leases: rates are shared, and Redis is there to grant them.
    fn is_leased(&self) -> bool {
        self.bell.get().is_some() && !self.is_divided.load(Ordering::Relaxed)
    }

    fn pace(&self, account: &Bucket) -> Limit {
        let (interval, burst) = (account.rate.interval_nanoseconds(), account.rate.burst());
        let replicas = if self.is_divided.load(Ordering::Relaxed) { self.replicas() } else { 1 };
        Limit { interval: interval * replicas, burst: (burst / replicas).max(1) }
    }

    fn replicas(&self) -> u64 {
        self.replicas.load(Ordering::Relaxed).max(1)
    }

    fn ask(&self, account: &Arc<Bucket>, now: u64) {
        let is_worth_it = now >= account.next.load(Ordering::Relaxed);
        if is_worth_it && !account.has_asked.swap(true, Ordering::Relaxed) {
            lock(&self.asking).push(account.clone());
            if let Some(bell) = self.bell.get() {
                bell.ring();
            }
        }
    }

    /// Share the rates with other replicas from now on; the descriptor becomes readable when leases are wanted.
    pub fn share(&self) -> Result<RawFd, Fault> {
        if self.bell.get().is_none() {
            let bell = Wakeup::new()
                .map_err(|error| Fault::load(format!("no socket to wake the event loop with: {error}")))?;
            self.bell.get_or_init(|| bell);
        }
        self.bell.get().map(|bell| bell.receiver.as_raw_fd()).ok_or_else(|| Fault::argument("rates are not shared"))
    }

    /// Until a lease is granted each replica takes its part: Redis is away.
    pub fn divide(&self) {
        self.is_divided.store(true, Ordering::Relaxed);
    }

    /// So many replicas share the rates, this one among them.
    pub fn set_replicas(&self, replicas: u64) {
        self.replicas.store(replicas, Ordering::Relaxed);
    }

    /// What has been asked for and not been granted yet.
    pub fn wanted(&self) -> Vec<PendingLease> {
        if let Some(bell) = self.bell.get() {
            bell.has_rung.store(false, Ordering::Release);
        }
        lock(&self.asking).iter().map(|account| account.wanted()).collect()
    }

    /// Redis has granted some tokens, or none. `ahead_nanoseconds`: from now to when the next request to any replica would come if all
    /// came evenly.
    pub fn grant(&self, name: &str, tokens: u32, ahead_nanoseconds: u64) {
        self.grant_at(name, tokens, ahead_nanoseconds, monotonic_nanoseconds());
    }

    fn grant_at(&self, name: &str, tokens: u32, ahead_nanoseconds: u64, now: u64) {
        self.is_divided.store(false, Ordering::Relaxed);
        let mut asking = lock(&self.asking);
        asking.retain(|account| {
            let is_granted = *account.name == *name;
            if is_granted {
                account.grant(now, tokens, ahead_nanoseconds);
            }
            !is_granted
        });
    }
}

impl Limit {
    /// Requests that may come at once where the next one of even ones would come at `arrival`.
    fn free(self, now: u64, arrival: u64) -> u64 {
        (self.burst * self.interval).saturating_sub(arrival.saturating_sub(now)) / self.interval
    }

    fn state(self, account: &Arc<Bucket>, remaining: u64) -> RateState {
        let reset_seconds = ((self.burst - remaining) * self.interval).div_ceil(NANOSECONDS).max(1);
        RateState { account: account.clone(), remaining, reset_seconds }
    }
}

impl Bucket {
    fn new(name: &str, rate: Rate) -> Self {
        let (arrival, tokens, has_asked, next) = Default::default();
        let policy = format!("\"{}\";q=", kind_of(name));
        let told = Bytes::from(format!("{policy}{};w={}", rate.count, rate.seconds));
        let told_limit = told.slice(policy.len()..policy.len() + rate.count.to_string().len());
        Self { name: name.into(), rate, told, told_limit, arrival, tokens, has_asked, next }
    }

    /// The kind of its subject.
    pub fn policy(&self) -> &str {
        kind_of(&self.name)
    }

    /// When requests that came evenly would be at, if one more may come now; else how long it has to wait.
    fn due(&self, now: u64, pace: Limit) -> Result<u64, u64> {
        let tolerance = (pace.burst - 1) * pace.interval;
        let mut due = self.arrival.load(Ordering::Relaxed).max(now);
        // It is never so far ahead, unless the clock went back or the interval has become shorter; the second is for threads that read
        // the clock at the same time.
        if due > now + tolerance + pace.interval + NANOSECONDS {
            due = now + tolerance;
        }
        let earliest = due.saturating_sub(tolerance);
        if earliest <= now { Ok(due) } else { Err(earliest - now) }
    }

    /// Let one request come; when the next one would.
    fn arrive(&self, now: u64, pace: Limit) -> Result<u64, u64> {
        loop {
            let before = self.arrival.load(Ordering::Relaxed);
            let next = self.due(now, pace)? + pace.interval;
            if self.arrival.compare_exchange_weak(before, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Ok(next);
            }
        }
    }

    /// Use a token; how many are left.
    fn take(&self, now: u64, pace: Limit, replicas: u64) -> Result<i64, u64> {
        let one_less = |tokens| self.may_use(tokens, now, pace, replicas).then(|| tokens - 1);
        let taken = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        taken.map(|before| before - 1).map_err(|_| self.wait(now))
    }

    fn tokens_left(&self, now: u64, pace: Limit, replicas: u64) -> Result<(), u64> {
        if self.may_use(self.tokens.load(Ordering::Relaxed), now, pace, replicas) {
            Ok(())
        } else {
            Err(self.wait(now))
        }
    }

    /// Whether one more may be used where there are so many tokens.
    fn may_use(&self, tokens: i64, now: u64, pace: Limit, replicas: u64) -> bool {
        tokens > 0 || tokens > -self.credit(pace.free(now, self.arrival.load(Ordering::Relaxed)), replicas)
    }

    /// Tokens that may be used before Redis, which has so many left, grants them: a lease, or this replica's part of them. Of a rate that
    /// may be used up at once not more than there are; a faster one is better exceeded by a lease than held up by a slow answer.
    fn credit(&self, left: u64, replicas: u64) -> i64 {
        let lease = self.rate.lease();
        let lease = if self.rate.seconds >= WHOLE_BURST_SECONDS { lease.min(left) } else { lease };
        lease.max(left.div_ceil(replicas)).cast_signed()
    }

    fn grant(&self, now: u64, tokens: u32, ahead_nanoseconds: u64) {
        let (interval, burst) = (self.rate.interval_nanoseconds(), self.rate.burst());
        let wait_nanoseconds = (ahead_nanoseconds + interval).saturating_sub(burst * interval);
        self.arrival.store(now + ahead_nanoseconds, Ordering::Relaxed);
        self.next.store(now + wait_nanoseconds, Ordering::Relaxed);
        self.tokens.fetch_add(tokens.into(), Ordering::Relaxed);
        self.has_asked.store(false, Ordering::Relaxed);
    }

    /// Until Redis has a token to grant.
    fn wait(&self, now: u64) -> u64 {
        self.next.load(Ordering::Relaxed).saturating_sub(now)
    }

    fn lease(&self) -> i64 {
        self.rate.lease().cast_signed()
    }

    /// With so few tokens left it is time to ask for more.
    fn low_tide(&self) -> i64 {
        self.lease() / 2
    }

    fn wanted(&self) -> PendingLease {
        let missing = self.lease() - self.tokens.load(Ordering::Relaxed);
        PendingLease { account: self.name.to_string(), rate: self.rate, tokens: missing.max(1).unsigned_abs() }
    }

    fn refusal(&self, wait_nanoseconds: u64) -> Refusal {
        Code::RateLimited.because(vec![
            ("policy", self.policy().to_owned()),
            ("limit", self.rate.count.to_string()),
            ("window_seconds", self.rate.seconds.to_string()),
            ("retry_after_seconds", wait_nanoseconds.div_ceil(NANOSECONDS).max(1).to_string()),
        ])
    }
}

impl Wakeup {
    fn new() -> std::io::Result<Self> {
        let (sender, receiver) = UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        Ok(Self { sender, receiver, has_rung: AtomicBool::new(false) })
    }

    fn ring(&self) {
        if !self.has_rung.swap(true, Ordering::AcqRel) {
            // It fails only where the buffer is full of earlier calls.
            let _ = (&self.sender).write(&[0]);
        }
    }
}

fn kind_of(name: &str) -> &str {
    name.split_once(':').map_or(name, |(kind, _)| kind)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = NANOSECONDS / 1000;
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

    fn admitted(ledger: &RateLimiter, accounts: &[Arc<Bucket>], times: impl Iterator<Item = u64>) -> usize {
        times.filter(|&now| ledger.charge_at(accounts, now).is_ok()).count()
    }

    #[test]
    fn an_account_lets_through_what_a_bucket_would() {
        for (seed, rate) in
            [(1, HUNDRED), (2, THREE_THOUSAND), (3, Rate { count: 7, seconds: 60 }), (4, Rate { count: 1, seconds: 1 })]
        {
            let (ledger, mut bucket) = (RateLimiter::default(), TokenBucket::of(rate));
            let account = [ledger.account("user:1", rate)];
            let mut now = NANOSECONDS;
            bucket.last = now;
            for number in numbers(seed).take(20_000) {
                now += number % (2 * rate.interval_nanoseconds());
                let is_free = ledger.peek_at(&account, now).is_ok();
                assert_eq!(ledger.charge_at(&account, now).is_ok(), is_free, "{rate:?} at {now}");
                assert_eq!(bucket.takes(now), is_free, "{rate:?} at {now}");
            }
        }
    }

    #[test]
    fn a_burst_is_let_through_and_then_one_an_interval() {
        let ledger = RateLimiter::default();
        let account = [ledger.account("user:1", HUNDRED)];
        assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(NANOSECONDS, 50)), 10);
        assert_eq!(admitted(&ledger, &account, (0..1000).map(|tick| NANOSECONDS + tick * MILLISECOND)), 99);
    }

    #[test]
    fn a_rate_by_the_minute_may_be_used_up_at_once() {
        let minute = Rate { count: 100, seconds: 60 };
        let ledger = RateLimiter::default();
        let account = [ledger.account("user:1", minute)];
        assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(NANOSECONDS, 500)), 100);
        assert_eq!(admitted(&ledger, &account, (1..=60).map(|second| (1 + second) * NANOSECONDS)), 60);
        assert_eq!((minute.burst(), minute.lease()), (100, 10));
        assert_eq!((Rate { count: 100, seconds: 59 }).burst(), 10);
        assert_eq!(((Rate { count: 5, seconds: 900 }).burst(), (Rate { count: 5, seconds: 900 }).lease()), (5, 1));
    }

    fn told(charged: Result<Option<RateState>, Refusal>) -> (String, u64, u64) {
        let state = charged.unwrap().unwrap();
        (state.account.policy().to_owned(), state.remaining, state.reset_seconds)
    }

    #[test]
    fn a_charge_tells_what_is_left_of_the_tightest_account() {
        let ledger = RateLimiter::default();
        let user = ledger.account("user:1", Rate { count: 100, seconds: 60 });
        let key = ledger.account("key:1", Rate { count: 3, seconds: 60 });
        let now = NANOSECONDS;
        assert_eq!(told(ledger.charge_at(std::slice::from_ref(&user), now)), ("user".to_owned(), 99, 1));
        assert_eq!(told(ledger.charge_at(&[user.clone(), key.clone()], now)), ("key".to_owned(), 2, 20));
        assert_eq!(told(ledger.charge_at(&[key.clone(), user.clone()], now)), ("key".to_owned(), 1, 40));
        assert_eq!(told(ledger.charge_at(&[user.clone(), key], now + 60 * NANOSECONDS)), ("key".to_owned(), 2, 20));
        assert_eq!(told(ledger.charge_at(&[user], now + 60 * NANOSECONDS)), ("user".to_owned(), 98, 2));
    }

    #[test]
    fn what_is_given_back_may_be_used_again_and_no_more() {
        let ledger = RateLimiter::default();
        let account = [ledger.account("user:1", Rate { count: 3, seconds: 60 })];
        ledger.refund(&account);
        assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(NANOSECONDS, 9)), 3);
        ledger.refund(&account);
        assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(NANOSECONDS, 9)), 1);
    }

    #[test]
    fn a_subject_has_an_account_for_each_window() {
        let ledger = RateLimiter::default();
        let limits = [Rate { count: 5, seconds: 60 }, Rate { count: 7, seconds: 3600 }];
        let accounts = limits.map(|rate| ledger.account("user:1", rate));
        assert_eq!(admitted(&ledger, &accounts, std::iter::repeat_n(NANOSECONDS, 9)), 5);
        assert!(
            accounts.iter().zip(limits).all(|(account, rate)| Arc::ptr_eq(account, &ledger.account("user:1", rate)))
        );
        assert_eq!(admitted(&ledger, &accounts, std::iter::repeat_n(61 * NANOSECONDS, 9)), 2);
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_again() {
        let ledger = RateLimiter::default();
        let account = [ledger.account("user:1", Rate { count: 1, seconds: 60 })];
        ledger.charge_at(&account, NANOSECONDS).unwrap();
        let refusal = ledger.charge_at(&account, 2 * NANOSECONDS - MILLISECOND).unwrap_err();
        assert_eq!(refusal.code, Code::RateLimited);
        let told: Vec<&str> = refusal.arguments.iter().map(|(_, value)| &**value).collect();
        assert_eq!(told, ["user", "1", "60", "60"]);
        assert!(ledger.charge_at(&account, 61 * NANOSECONDS).is_ok());
    }

    #[test]
    fn a_clock_that_goes_back_locks_nobody_out() {
        let ledger = RateLimiter::default();
        let account = [ledger.account("user:1", HUNDRED)];
        admitted(&ledger, &account, std::iter::repeat_n(3600 * NANOSECONDS, 50));
        let interval = HUNDRED.interval_nanoseconds();
        assert_eq!(admitted(&ledger, &account, (1..=20).map(|tick| NANOSECONDS + tick * interval)), 20);
        assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(NANOSECONDS + 20 * interval, 20)), 0);
    }

    #[test]
    fn a_request_is_paid_by_all_accounts_or_by_none() {
        let ledger = RateLimiter::default();
        let (wide, narrow) =
            (ledger.account("user:1", HUNDRED), ledger.account("key:1", Rate { count: 1, seconds: 1 }));
        assert_eq!(admitted(&ledger, &[wide.clone(), narrow], std::iter::repeat_n(NANOSECONDS, 50)), 1);
        assert_eq!(admitted(&ledger, &[wide], std::iter::repeat_n(NANOSECONDS, 50)), 9);
    }

    #[test]
    fn no_account_is_no_limit() {
        assert!(RateLimiter::default().charge(&[]).unwrap().is_none());
        assert_eq!(RateLimiter::default().peek(&[]), Ok(()));
    }

    #[test]
    fn a_subject_has_one_account_until_its_rate_changes() {
        let ledger = RateLimiter::default();
        let account = ledger.account("user:1", HUNDRED);
        assert!(Arc::ptr_eq(&account, &ledger.account("user:1", HUNDRED)));
        assert!(!Arc::ptr_eq(&account, &ledger.account("user:1", THREE_THOUSAND)));
        assert!(!Arc::ptr_eq(&account, &ledger.account("user:2", HUNDRED)));
    }

    #[test]
    fn accounts_that_nobody_uses_are_swept() {
        let ledger = RateLimiter::default();
        let kept = ledger.account("user:kept", HUNDRED);
        (0..10_000).for_each(|number| drop(ledger.account(&number.to_string(), HUNDRED)));
        assert!(lock(&ledger.accounts).len() <= ACCOUNTS_BEFORE_SWEEP);
        assert!(Arc::ptr_eq(&kept, &ledger.account("user:kept", HUNDRED)));
    }

    fn shared() -> (RateLimiter, [Arc<Bucket>; 1]) {
        let ledger = RateLimiter::default();
        ledger.share().unwrap();
        let account = ledger.account("user:1", THREE_THOUSAND);
        (ledger, [account])
    }

    #[test]
    fn before_a_lease_has_come_one_lease_may_be_used() {
        let (ledger, account) = shared();
        assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(NANOSECONDS, 500)), 100);
        assert_eq!(
            ledger.wanted(),
            [PendingLease { account: "user:1/1".to_owned(), rate: THREE_THOUSAND, tokens: 200 }]
        );
    }

    #[test]
    fn a_lease_is_used_up_and_asked_for_again_before_it_is() {
        let (ledger, account) = shared();
        let now = monotonic_nanoseconds();
        ledger.charge_at(&account, now).unwrap();
        ledger.grant("user:1/1", 101, 0);
        let later = monotonic_nanoseconds();
        assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(later, 49)), 49);
        assert_eq!(ledger.wanted(), []);
        assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(later, 500)), 151);
        assert_eq!(ledger.wanted().len(), 1);
    }

    #[test]
    fn redis_is_not_asked_before_it_has_a_token() {
        let (ledger, account) = shared();
        let now = monotonic_nanoseconds();
        assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(now, 500)), 100);
        ledger.grant("user:1/1", 0, 60 * NANOSECONDS);
        let refusal = ledger.charge_at(&account, now).unwrap_err();
        assert_eq!(refusal.arguments[3], ("retry_after_seconds", "60".to_owned()));
        assert_eq!(ledger.wanted(), []);
        assert!(ledger.charge_at(&account, now + 61 * NANOSECONDS).is_err());
        assert_eq!(ledger.wanted().len(), 1);
    }

    #[test]
    fn what_is_left_of_a_shared_rate_is_what_redis_and_the_lease_have() {
        let ledger = RateLimiter::default();
        ledger.share().unwrap();
        let account = [ledger.account("user:1", Rate { count: 100, seconds: 60 })];
        let now = monotonic_nanoseconds();
        for used in 1..=10 {
            assert_eq!(told(ledger.charge_at(&account, now)).1, 100 - used);
        }
        // Twenty tokens of which another server's requests leave Redis seventy.
        ledger.grant_at("user:1/60", 20, 30 * 600 * MILLISECOND, now);
        assert_eq!(told(ledger.charge_at(&account, now)).1, 70 + 9);
        ledger.refund(&account);
        assert_eq!(told(ledger.charge_at(&account, now)).1, 70 + 9);
    }

    #[test]
    fn a_replica_may_use_its_part_of_what_redis_has_left_before_it_is_granted() {
        for (replicas, part) in [(0, 100), (1, 100), (2, 50), (3, 34), (50, 10)] {
            let ledger = RateLimiter::default();
            ledger.share().unwrap();
            ledger.set_replicas(replicas);
            let account = [ledger.account("user:1", Rate { count: 100, seconds: 60 })];
            let now = monotonic_nanoseconds();
            assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(now, 500)), part);
            assert_eq!(ledger.wanted()[0].tokens, 10 + u64::try_from(part).unwrap());
            // All that was used has been granted, and nothing is left; a minute later everything is.
            ledger.grant_at("user:1/60", part.try_into().unwrap(), 60 * NANOSECONDS, now);
            assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(now, 500)), 0);
            assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(now + 60 * NANOSECONDS, 500)), part);
        }
    }

    #[test]
    fn whoever_only_peeks_asks_for_the_lease_that_is_missing() {
        let (ledger, account) = shared();
        let now = monotonic_nanoseconds();
        admitted(&ledger, &account, std::iter::repeat_n(now, 500));
        ledger.grant("user:1/1", 0, 0);
        assert!(ledger.peek_at(&account, monotonic_nanoseconds()).is_err());
        assert_eq!(ledger.wanted().len(), 1);
    }

    #[test]
    fn without_redis_a_replica_takes_its_part_until_a_lease_comes() {
        let (ledger, account) = shared();
        admitted(&ledger, &account, std::iter::repeat_n(NANOSECONDS, 500));
        ledger.set_replicas(3);
        ledger.divide();
        let per_second = admitted(&ledger, &account, (0..10_000).map(|tick| NANOSECONDS + tick * NANOSECONDS / 10_000));
        assert_eq!(per_second, 1000 + 32); // a third of the rate, and of the burst
        assert_eq!(ledger.wanted().len(), 1);
        ledger.grant("user:1/1", 200, 0);
        assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(NANOSECONDS, 500)), 200);
    }

    #[test]
    fn replicas_exceed_a_rate_by_two_leases_each_or_a_burst_at_most() {
        for rate in [THREE_THOUSAND, Rate { count: 100, seconds: 60 }, Rate { count: 5, seconds: 900 }] {
            let redis = RateLimiter::default();
            let common = [redis.account("user:1", rate)];
            let replicas = [(); 3].map(|()| {
                let ledger = RateLimiter::default();
                ledger.share().unwrap();
                ledger.set_replicas(3);
                let account = [ledger.account("user:1", rate)];
                (ledger, account)
            });
            let start = NANOSECONDS;
            let (mut now, mut through) = (start, 0);
            for number in numbers(5).take(20_000) {
                now += number % (rate.interval_nanoseconds() / 2);
                let (ledger, account) = &replicas[usize::try_from(number % 3).unwrap()];
                through += u64::from(ledger.charge_at(account, now).is_ok());
                if number % 7 == 0 {
                    for (ledger, _) in &replicas {
                        for wanted in ledger.wanted() {
                            let granted =
                                (0..wanted.tokens).take_while(|_| redis.charge_at(&common, now).is_ok()).count();
                            let ahead = common[0].arrival.load(Ordering::Relaxed).saturating_sub(now);
                            ledger.grant_at(&wanted.account, granted.try_into().unwrap(), ahead, now);
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
        let (ledger, account) = shared();
        let taken: usize = std::thread::scope(|threads| {
            let workers: Vec<_> = (0..4)
                .map(|_| threads.spawn(|| admitted(&ledger, &account, std::iter::repeat_n(NANOSECONDS, 500))))
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(taken, 100);
    }
}
