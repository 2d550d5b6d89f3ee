//! The one ledger of rates: accounts that answers are charged to, exact in one process, leased from Redis among several.
//!
//! By itself an account follows the generic cell rate algorithm (ITU-T I.371, annex A: virtual scheduling). Among replicas that
//! algorithm runs in Redis, for all of them; an account here then holds a few tokens that Redis has granted, asks for more before they
//! are used up, and may use some that are not granted yet, so that no request waits for Redis.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::clock::monotonic_nanoseconds;
use crate::error::{Code, Fault, Refusal};

const NANOSECONDS: u64 = 1_000_000_000;
/// A replica holds at most a thirtieth of a second's worth of granted tokens and uses as many that are not, so with what Redis lets
/// through at once, all replicas together exceed a rate by at most a tenth of a second's worth for each of them.
const LEASES_PER_SECOND: u64 = 30;
/// A low rate may be used up to so much at once.
const LEAST_BURST: u64 = 10;
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
        self.lease().max(self.count.min(LEAST_BURST))
    }

    /// Tokens that a replica holds at most.
    fn lease(self) -> u64 {
        (self.count / self.seconds / LEASES_PER_SECOND).max(1)
    }
}

/// What one subject may still do.
#[derive(Debug)]
pub struct Account {
    /// `kind:id`.
    pub subject: Box<str>,
    pub rate: Rate,
    /// When the next request would come if they came evenly; on the monotonic clock, as the times below.
    arrival: AtomicU64,
    /// Granted by Redis and not used; below zero: used and not granted yet.
    tokens: AtomicI64,
    /// A lease is under way.
    has_asked: AtomicBool,
    /// Before this moment Redis has no token to grant.
    next: AtomicU64,
}

/// A lease that an account needs.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted {
    pub subject: String,
    pub rate: Rate,
    pub tokens: u64,
}

#[derive(Default)]
pub struct Ledger {
    accounts: Mutex<HashMap<Box<str>, Arc<Account>>>,
    bell: OnceLock<Bell>,
    asking: Mutex<Vec<Arc<Account>>>,
    /// Among how many replicas the rates are divided, because Redis grants no leases; 0: they are not.
    divided: AtomicU64,
}

/// Wakes the event loop, which talks to Redis.
struct Bell {
    sender: UnixStream,
    receiver: UnixStream,
    has_rung: AtomicBool,
}

impl Ledger {
    /// The account of a subject, the same for all who ask while its rate stays the same.
    pub fn account(&self, subject: &str, rate: Rate) -> Arc<Account> {
        let mut accounts = lock(&self.accounts);
        if let Some(account) = accounts.get(subject).filter(|account| account.rate == rate) {
            return account.clone();
        }
        if (accounts.len() + 1).is_multiple_of(ACCOUNTS_BEFORE_SWEEP) {
            let now = monotonic_nanoseconds();
            accounts.retain(|_, account| Arc::strong_count(account) > 1 || account.arrival.load(Ordering::Relaxed) > now);
        }
        let account = Arc::new(Account::new(subject, rate));
        accounts.insert(subject.into(), account.clone());
        account
    }

    /// Pay for one request from all accounts, or from none and be refused. No account: no limit.
    pub fn charge(&self, accounts: &[Arc<Account>]) -> Result<(), Refusal> {
        if accounts.is_empty() { Ok(()) } else { self.charge_at(accounts, monotonic_nanoseconds()) }
    }

    /// Whether one request would be refused now; pays nothing.
    pub fn peek(&self, accounts: &[Arc<Account>]) -> Result<(), Refusal> {
        if accounts.is_empty() { Ok(()) } else { self.peek_at(accounts, monotonic_nanoseconds()) }
    }

    fn charge_at(&self, accounts: &[Arc<Account>], now: u64) -> Result<(), Refusal> {
        for (place, account) in accounts.iter().enumerate() {
            if let Err(wait) = self.spend(account, now) {
                accounts[..place].iter().for_each(|account| self.give_back(account));
                return Err(account.refusal(wait));
            }
        }
        Ok(())
    }

    fn peek_at(&self, accounts: &[Arc<Account>], now: u64) -> Result<(), Refusal> {
        accounts.iter().try_for_each(|account| {
            let allowed = if self.is_leased() {
                let allowed = account.tokens_left(now);
                if allowed.is_err() {
                    self.ask(account, now); // or a front that only peeks would refuse for ever
                }
                allowed
            } else {
                account.due(now, self.interval(account)).map(|_| ())
            };
            allowed.map_err(|wait| account.refusal(wait))
        })
    }

    /// Take one from an account; else say how many nanoseconds to wait.
    fn spend(&self, account: &Arc<Account>, now: u64) -> Result<(), u64> {
        if !self.is_leased() {
            return account.arrive(now, self.interval(account));
        }
        let taken = account.take(now);
        if taken.is_err() || account.tokens.load(Ordering::Relaxed) <= account.low_tide() {
            self.ask(account, now);
        }
        taken
    }

    fn give_back(&self, account: &Account) {
        if self.is_leased() {
            account.tokens.fetch_add(1, Ordering::Relaxed);
        } else {
            account.arrival.fetch_sub(self.interval(account), Ordering::Relaxed);
        }
    }

    /// Whether accounts live on leases: rates are shared, and Redis is there to grant them.
    fn is_leased(&self) -> bool {
        self.bell.get().is_some() && self.divided.load(Ordering::Relaxed) == 0
    }

    /// Between requests of an account that gets no lease.
    fn interval(&self, account: &Account) -> u64 {
        account.rate.interval_nanoseconds() * self.divided.load(Ordering::Relaxed).max(1)
    }

    fn ask(&self, account: &Arc<Account>, now: u64) {
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
            let bell = Bell::new().map_err(|error| Fault::load(format!("no socket to wake the event loop with: {error}")))?;
            self.bell.get_or_init(|| bell);
        }
        self.bell.get().map(|bell| bell.receiver.as_raw_fd()).ok_or_else(|| Fault::argument("rates are not shared"))
    }

    /// Until a lease is granted each of so many replicas takes its part: Redis is away.
    pub fn divide(&self, replicas: u64) {
        self.divided.store(replicas.max(1), Ordering::Relaxed);
    }

    /// What has been asked for and not been granted yet.
    pub fn wanted(&self) -> Vec<Wanted> {
        if let Some(bell) = self.bell.get() {
            bell.has_rung.store(false, Ordering::Release);
        }
        lock(&self.asking).iter().map(|account| account.wanted()).collect()
    }

    /// Redis has granted some tokens, or none, and will have one again after so many nanoseconds.
    pub fn grant(&self, subject: &str, tokens: u32, wait_nanoseconds: u64) {
        self.divided.store(0, Ordering::Relaxed);
        let mut asking = lock(&self.asking);
        asking.retain(|account| {
            if *account.subject != *subject {
                return true;
            }
            account.tokens.fetch_add(tokens.into(), Ordering::Relaxed);
            account.next.store(monotonic_nanoseconds() + wait_nanoseconds, Ordering::Relaxed);
            account.has_asked.store(false, Ordering::Relaxed);
            false
        });
    }
}

impl Account {
    fn new(subject: &str, rate: Rate) -> Self {
        let (arrival, tokens, has_asked, next) = Default::default();
        Self { subject: subject.into(), rate, arrival, tokens, has_asked, next }
    }

    /// When requests that came evenly would be at, if one more may come now; else how long it has to wait.
    fn due(&self, now: u64, interval: u64) -> Result<u64, u64> {
        let tolerance = (self.rate.burst() - 1) * interval;
        let mut due = self.arrival.load(Ordering::Relaxed).max(now);
        // It is never so far ahead, unless the clock went back or the interval has become shorter; the second is for threads that read
        // the clock at the same time.
        if due > now + tolerance + interval + NANOSECONDS {
            due = now + tolerance;
        }
        let earliest = due.saturating_sub(tolerance);
        if earliest <= now { Ok(due) } else { Err(earliest - now) }
    }

    fn arrive(&self, now: u64, interval: u64) -> Result<(), u64> {
        loop {
            let before = self.arrival.load(Ordering::Relaxed);
            let due = self.due(now, interval)?;
            if self.arrival.compare_exchange_weak(before, due + interval, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Ok(());
            }
        }
    }

    fn take(&self, now: u64) -> Result<(), u64> {
        let one_less = |tokens| (tokens > -self.lease()).then(|| tokens - 1);
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).map(|_| ()).map_err(|_| self.wait(now))
    }

    fn tokens_left(&self, now: u64) -> Result<(), u64> {
        if self.tokens.load(Ordering::Relaxed) > -self.lease() { Ok(()) } else { Err(self.wait(now)) }
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

    fn wanted(&self) -> Wanted {
        let missing = self.lease() - self.tokens.load(Ordering::Relaxed);
        Wanted { subject: self.subject.to_string(), rate: self.rate, tokens: missing.max(1).unsigned_abs() }
    }

    fn refusal(&self, wait_nanoseconds: u64) -> Refusal {
        let policy = self.subject.split_once(':').map_or(&*self.subject, |(kind, _)| kind);
        Code::RateLimited.because(vec![
            ("policy", policy.to_owned()),
            ("limit", self.rate.count.to_string()),
            ("window_seconds", self.rate.seconds.to_string()),
            ("retry_after_seconds", wait_nanoseconds.div_ceil(NANOSECONDS).max(1).to_string()),
        ])
    }
}

impl Bell {
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
    struct Bucket {
        interval: u64,
        most: u64,
        level: u64,
        last: u64,
    }

    impl Bucket {
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

    fn admitted(ledger: &Ledger, accounts: &[Arc<Account>], times: impl Iterator<Item = u64>) -> usize {
        times.filter(|&now| ledger.charge_at(accounts, now).is_ok()).count()
    }

    #[test]
    fn an_account_lets_through_what_a_bucket_would() {
        for (seed, rate) in [(1, HUNDRED), (2, THREE_THOUSAND), (3, Rate { count: 7, seconds: 60 }), (4, Rate { count: 1, seconds: 1 })] {
            let (ledger, mut bucket) = (Ledger::default(), Bucket::of(rate));
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
        let ledger = Ledger::default();
        let account = [ledger.account("user:1", HUNDRED)];
        assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(NANOSECONDS, 50)), 10);
        assert_eq!(admitted(&ledger, &account, (0..1000).map(|tick| NANOSECONDS + tick * MILLISECOND)), 99);
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_again() {
        let ledger = Ledger::default();
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
        let ledger = Ledger::default();
        let account = [ledger.account("user:1", HUNDRED)];
        admitted(&ledger, &account, std::iter::repeat_n(3600 * NANOSECONDS, 50));
        let interval = HUNDRED.interval_nanoseconds();
        assert_eq!(admitted(&ledger, &account, (1..=20).map(|tick| NANOSECONDS + tick * interval)), 20);
        assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(NANOSECONDS + 20 * interval, 20)), 0);
    }

    #[test]
    fn a_request_is_paid_by_all_accounts_or_by_none() {
        let ledger = Ledger::default();
        let (wide, narrow) = (ledger.account("user:1", HUNDRED), ledger.account("key:1", Rate { count: 1, seconds: 1 }));
        assert_eq!(admitted(&ledger, &[wide.clone(), narrow], std::iter::repeat_n(NANOSECONDS, 50)), 1);
        assert_eq!(admitted(&ledger, &[wide], std::iter::repeat_n(NANOSECONDS, 50)), 9);
    }

    #[test]
    fn no_account_is_no_limit() {
        assert_eq!(Ledger::default().charge(&[]), Ok(()));
        assert_eq!(Ledger::default().peek(&[]), Ok(()));
    }

    #[test]
    fn a_subject_has_one_account_until_its_rate_changes() {
        let ledger = Ledger::default();
        let account = ledger.account("user:1", HUNDRED);
        assert!(Arc::ptr_eq(&account, &ledger.account("user:1", HUNDRED)));
        assert!(!Arc::ptr_eq(&account, &ledger.account("user:1", THREE_THOUSAND)));
        assert!(!Arc::ptr_eq(&account, &ledger.account("user:2", HUNDRED)));
    }

    #[test]
    fn accounts_that_nobody_uses_are_swept() {
        let ledger = Ledger::default();
        let kept = ledger.account("user:kept", HUNDRED);
        (0..10_000).for_each(|number| drop(ledger.account(&number.to_string(), HUNDRED)));
        assert!(lock(&ledger.accounts).len() <= ACCOUNTS_BEFORE_SWEEP);
        assert!(Arc::ptr_eq(&kept, &ledger.account("user:kept", HUNDRED)));
    }

    fn shared() -> (Ledger, [Arc<Account>; 1]) {
        let ledger = Ledger::default();
        ledger.share().unwrap();
        let account = ledger.account("user:1", THREE_THOUSAND);
        (ledger, [account])
    }

    #[test]
    fn before_a_lease_has_come_one_lease_may_be_used() {
        let (ledger, account) = shared();
        assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(NANOSECONDS, 500)), 100);
        assert_eq!(ledger.wanted(), [Wanted { subject: "user:1".to_owned(), rate: THREE_THOUSAND, tokens: 200 }]);
    }

    #[test]
    fn a_lease_is_used_up_and_asked_for_again_before_it_is() {
        let (ledger, account) = shared();
        let now = monotonic_nanoseconds();
        ledger.charge_at(&account, now).unwrap();
        ledger.grant("user:1", 101, 0);
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
        ledger.grant("user:1", 0, 60 * NANOSECONDS);
        let refusal = ledger.charge_at(&account, now).unwrap_err();
        assert_eq!(refusal.arguments[3], ("retry_after_seconds", "61".to_owned()));
        assert_eq!(ledger.wanted(), []);
        assert!(ledger.charge_at(&account, now + 61 * NANOSECONDS).is_err());
        assert_eq!(ledger.wanted().len(), 1);
    }

    #[test]
    fn whoever_only_peeks_asks_for_the_lease_that_is_missing() {
        let (ledger, account) = shared();
        let now = monotonic_nanoseconds();
        admitted(&ledger, &account, std::iter::repeat_n(now, 500));
        ledger.grant("user:1", 0, 0);
        assert!(ledger.peek_at(&account, monotonic_nanoseconds()).is_err());
        assert_eq!(ledger.wanted().len(), 1);
    }

    #[test]
    fn without_redis_a_replica_takes_its_part_until_a_lease_comes() {
        let (ledger, account) = shared();
        admitted(&ledger, &account, std::iter::repeat_n(NANOSECONDS, 500));
        ledger.divide(3);
        let per_second = admitted(&ledger, &account, (0..10_000).map(|tick| NANOSECONDS + tick * NANOSECONDS / 10_000));
        assert_eq!(per_second, 1000 + 99);
        assert_eq!(ledger.wanted().len(), 1);
        ledger.grant("user:1", 200, 0);
        assert_eq!(admitted(&ledger, &account, std::iter::repeat_n(NANOSECONDS, 500)), 200);
    }

    #[test]
    fn threads_take_no_token_twice() {
        let (ledger, account) = shared();
        let taken: usize = std::thread::scope(|threads| {
            let workers: Vec<_> =
                (0..4).map(|_| threads.spawn(|| admitted(&ledger, &account, std::iter::repeat_n(NANOSECONDS, 500)))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(taken, 100);
    }
}
