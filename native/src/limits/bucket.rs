//! What one subject may still do within one of its windows.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;

use crate::clock::NANOSECONDS_PER_SECOND;
use crate::error::{Code, Refusal};
use crate::limits::gcra::Limit;
use crate::limits::lease::{self, Grant};
use crate::limits::rate::Rate;

/// A bucket of tokens. Times are nanoseconds of the monotonic clock.
#[derive(Debug)]
pub struct Bucket {
    /// `kind:id/seconds`: a subject has a bucket for each of its windows.
    pub name: Box<str>,
    pub rate: Rate,
    /// The value of the header `RateLimit-Policy`.
    pub policy_header: Bytes,
    /// The value of the header `RateLimit-Limit`, which is a part of the other.
    pub limit_header: Bytes,
    /// The theoretical arrival time of the next request: to this process, or to all replicas as Redis has said last.
    arrival: AtomicU64,
    /// Granted by Redis and not used; below zero: used and not granted yet.
    tokens: AtomicI64,
    /// A lease is pending.
    is_pending: AtomicBool,
    /// Before this moment Redis has no token to grant.
    next_token: AtomicU64,
}

/// A lease that a bucket needs.
#[derive(Debug, PartialEq, Eq)]
pub struct PendingLease {
    /// Name of the bucket.
    pub bucket: String,
    pub rate: Rate,
    pub tokens: u64,
}

impl Bucket {
    pub fn new(name: &str, rate: Rate) -> Self {
        let kind = format!("\"{}\";q=", kind_of(name));
        let policy_header = Bytes::from(format!("{kind}{};w={}", rate.count, rate.seconds));
        let limit_header = policy_header.slice(kind.len()..kind.len() + rate.count.to_string().len());
        Self {
            name: name.into(),
            rate,
            policy_header,
            limit_header,
            arrival: AtomicU64::new(0),
            tokens: AtomicI64::new(0),
            is_pending: AtomicBool::new(false),
            next_token: AtomicU64::new(0),
        }
    }

    /// The kind of its subject.
    pub fn policy(&self) -> &str {
        kind_of(&self.name)
    }

    /// The theoretical arrival time of the next request.
    pub fn arrival(&self) -> u64 {
        self.arrival.load(Ordering::Relaxed)
    }

    /// Admits a request. Returns the next theoretical arrival time, or for how long to wait.
    pub fn admit(&self, limit: Limit, now: u64) -> Result<u64, u64> {
        loop {
            let before = self.arrival();
            let next = limit.admit(before, now)?;
            if self.arrival.compare_exchange_weak(before, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Ok(next);
            }
        }
    }

    /// Takes back one admission.
    pub fn readmit(&self, limit: Limit) {
        // It has been admitted, but maybe by a bucket of this name that has been swept since.
        let earlier = |arrival: u64| Some(arrival.saturating_sub(limit.interval_nanoseconds));
        let _ = self.arrival.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earlier);
    }

    /// Uses a leased token. Returns how many are left, or for how long to wait.
    pub fn take_token(&self, limit: Limit, now: u64, replicas: u64) -> Result<i64, u64> {
        let one_less = |tokens| self.may_use(tokens, limit, now, replicas).then(|| tokens - 1);
        let taken = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        taken.map(|before| before - 1).map_err(|_| self.wait_nanoseconds(now))
    }

    /// Whether a leased token may be used, or for how long to wait.
    pub fn check_tokens(&self, limit: Limit, now: u64, replicas: u64) -> Result<(), u64> {
        let may_use = self.may_use(self.tokens.load(Ordering::Relaxed), limit, now, replicas);
        if may_use { Ok(()) } else { Err(self.wait_nanoseconds(now)) }
    }

    pub fn return_token(&self) {
        self.tokens.fetch_add(1, Ordering::Relaxed);
    }

    fn may_use(&self, tokens: i64, limit: Limit, now: u64, replicas: u64) -> bool {
        lease::may_use(self.rate, tokens, limit.remaining(self.arrival(), now), replicas)
    }

    /// Whether it has so few tokens left that it is time to ask for more.
    pub fn is_low(&self) -> bool {
        self.tokens.load(Ordering::Relaxed) <= lease::refill_threshold(self.rate)
    }

    /// Marks a lease as pending. Returns false if it is already, or if Redis has nothing to grant.
    pub fn begin_lease(&self, now: u64) -> bool {
        now >= self.next_token.load(Ordering::Relaxed) && !self.is_pending.swap(true, Ordering::Relaxed)
    }

    pub fn pending_lease(&self) -> PendingLease {
        let tokens = lease::missing(self.rate, self.tokens.load(Ordering::Relaxed));
        PendingLease { bucket: self.name.to_string(), rate: self.rate, tokens }
    }

    /// Redis has granted some tokens, or none.
    pub fn grant(&self, tokens: u32, ahead_nanoseconds: u64, now: u64) {
        let Grant { arrival, next_token } = Grant::new(self.rate, ahead_nanoseconds, now);
        self.arrival.store(arrival, Ordering::Relaxed);
        self.next_token.store(next_token, Ordering::Relaxed);
        self.tokens.fetch_add(tokens.into(), Ordering::Relaxed);
        self.is_pending.store(false, Ordering::Relaxed);
    }

    /// Until Redis has a token to grant.
    fn wait_nanoseconds(&self, now: u64) -> u64 {
        self.next_token.load(Ordering::Relaxed).saturating_sub(now)
    }

    pub fn refusal(&self, wait_nanoseconds: u64) -> Refusal {
        Code::RateLimited.because(vec![
            ("policy", self.policy().to_owned()),
            ("limit", self.rate.count.to_string()),
            ("window_seconds", self.rate.seconds.to_string()),
            ("retry_after_seconds", wait_nanoseconds.div_ceil(NANOSECONDS_PER_SECOND).max(1).to_string()),
        ])
    }
}

fn kind_of(name: &str) -> &str {
    name.split_once(':').map_or(name, |(kind, _)| kind)
}
