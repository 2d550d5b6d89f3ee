//! Known callers: key digest → caller, as Python has checked it, until it expires; and keys known to be invalid.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;

use crate::error::{Code, Refusal};
use crate::limits::bucket::Bucket;
use crate::limits::recognized::Recognized;
use crate::limits::usage::{Meter, Quota, Reservation};
use crate::sync::lock;

/// SHA-256 of a key.
pub type Digest = [u8; 32];

/// Digests are uniform, so the first byte spreads them. Writing copies one shard, reading locks none.
const SHARDS: usize = 256;
/// Slots for unknown keys; a later key replaces an earlier one in its slot.
const UNKNOWN_SLOTS: usize = 1 << 17;
/// How long an unknown key is refused without another look-up.
const UNKNOWN_SECONDS: u64 = 5;

#[derive(Debug)]
pub struct Caller {
    pub user: Box<str>,
    pub is_admin: bool,
    pub can_predict: bool,
    /// Ids of the models it is limited to; None: all that the user may see.
    pub models: Option<Vec<Box<str>>>,
    pub expires_seconds: f64,
    /// What a prediction is charged to; empty: it is not limited.
    pub buckets: Box<[Arc<Bucket>]>,
    /// Of its key; None: its predictions are not counted.
    pub meter: Option<Arc<Meter>>,
    pub quota: Option<Quota>,
}

impl Caller {
    /// Reserves one prediction of the quota, or refuses it.
    pub fn reserve(&self) -> Result<Reservation, Refusal> {
        self.meter.as_ref().map_or_else(|| Ok(Reservation::default()), |meter| meter.reserve(self.quota))
    }

    /// Whether the quota would refuse one prediction now; reserves nothing.
    pub fn peek_quota(&self) -> Result<(), Refusal> {
        if let (Some(meter), Some(quota)) = (&self.meter, self.quota) { meter.peek(quota) } else { Ok(()) }
    }
}

/// What is known of a key without asking the database.
#[derive(Debug)]
pub enum Lookup {
    Known(Arc<Caller>),
    /// The database did not know it a few seconds ago.
    Unknown,
    NeverSeen,
}

#[derive(Default)]
struct Shard {
    known: ArcSwap<HashMap<Digest, Arc<Caller>>>,
    /// Revocations so far; a writer holds it.
    revocations: Mutex<u64>,
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, u64> {
        lock(&self.revocations)
    }
}

pub struct Callers {
    shards: Vec<Shard>,
    unknown: UnknownKeys,
    recognized: Recognized,
}

impl Callers {
    pub fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            unknown: UnknownKeys::new(),
            recognized: Recognized::new(),
        }
    }

    /// The revocations so far in the shard of a key; read it before the database checks the key.
    pub fn epoch(&self, digest: &Digest) -> u64 {
        *self.shard(digest).lock()
    }

    /// Installs a caller checked after `epoch` was read, and forgets the expired ones of its shard.
    ///
    /// Returns false if a key of the shard was revoked since, which may be this one.
    pub fn put(&self, digest: Digest, caller: &Arc<Caller>, epoch: u64, now_seconds: f64) -> bool {
        let shard = self.shard(&digest);
        let revocations = shard.lock();
        if *revocations != epoch {
            return false;
        }
        let known = shard.known.load();
        let mut copy: HashMap<_, _> = known
            .iter()
            .filter(|(_, known)| known.expires_seconds > now_seconds)
            .map(|(key, known)| (*key, known.clone()))
            .collect();
        copy.insert(digest, caller.clone());
        shard.known.store(Arc::new(copy));
        self.unknown.forget(&digest);
        self.recognized.put(&digest, &caller.user, now_seconds);
        true
    }

    pub fn revoke(&self, digest: &Digest) {
        let shard = self.shard(digest);
        let mut revocations = shard.lock();
        *revocations += 1;
        let mut copy = HashMap::clone(&shard.known.load());
        copy.remove(digest);
        shard.known.store(Arc::new(copy));
        self.recognized.forget(digest);
    }

    /// Forgets every caller of a user, and installs none that was checked before.
    pub fn revoke_user(&self, user: &str) {
        for shard in &self.shards {
            let mut revocations = shard.lock();
            *revocations += 1;
            let known = shard.known.load();
            if known.values().any(|caller| *caller.user == *user) {
                let others = known.iter().filter(|(_, caller)| *caller.user != *user);
                shard.known.store(Arc::new(others.map(|(digest, caller)| (*digest, caller.clone())).collect()));
            }
        }
        self.recognized.forget_user(user);
    }

    /// Forgets every caller: any of them may have been revoked.
    pub fn revoke_all(&self) {
        for shard in &self.shards {
            let mut revocations = shard.lock();
            *revocations += 1;
            shard.known.store(Arc::default());
        }
        self.recognized.forget_all();
    }

    /// Notes that a credential is good, whatever it may do.
    pub fn recognize(&self, digest: &Digest, user: &str, now_seconds: f64) {
        self.recognized.put(digest, user, now_seconds);
    }

    /// The user of a credential that was good lately, known or not.
    pub fn recognized(&self, digest: &Digest, now_seconds: f64) -> Option<Box<str>> {
        self.recognized.user_of(digest, now_seconds)
    }

    /// Remembers for a few seconds that a key is unknown.
    pub fn put_unknown(&self, digest: &Digest, now_seconds: f64) {
        self.unknown.put(digest, now_seconds);
    }

    pub fn forget_unknown(&self, digest: &Digest) {
        self.unknown.forget(digest);
    }

    /// What is known of a key; takes no lock.
    pub fn look_up(&self, digest: &Digest, now_seconds: f64) -> Lookup {
        match self.shard(digest).known.load().get(digest) {
            Some(caller) if caller.expires_seconds > now_seconds => Lookup::Known(caller.clone()),
            _ if self.unknown.has(digest, now_seconds) => Lookup::Unknown,
            _ => Lookup::NeverSeen,
        }
    }

    /// The caller, if it may predict.
    pub fn permitted(&self, digest: &[u8], now_seconds: f64) -> Result<Arc<Caller>, Refusal> {
        match Digest::try_from(digest).map(|digest| self.look_up(&digest, now_seconds)) {
            Ok(Lookup::Known(caller)) if caller.can_predict => Ok(caller),
            Ok(Lookup::Known(_)) => Err(Code::Forbidden.because(vec![])),
            _ => Err(Code::UnknownCaller.because(vec![])),
        }
    }

    fn shard(&self, digest: &Digest) -> &Shard {
        &self.shards[usize::from(digest[0])]
    }
}

/// Unknown keys, in a table of fixed size. 17 bits of a digest choose the slot, which holds 48 others and the second of
/// expiry (modulo 2^16), so that it is read and written as one word.
struct UnknownKeys(Vec<AtomicU64>);

impl UnknownKeys {
    fn new() -> Self {
        Self((0..UNKNOWN_SLOTS).map(|_| AtomicU64::new(0)).collect())
    }

    fn put(&self, digest: &Digest, now_seconds: f64) {
        let expires = (whole(now_seconds) + UNKNOWN_SECONDS) & 0xFFFF;
        self.slot(digest).store(Self::tag(digest) | expires, Ordering::Relaxed);
    }

    fn has(&self, digest: &Digest, now_seconds: f64) -> bool {
        let word = self.slot(digest).load(Ordering::Relaxed);
        let seconds_left = word.wrapping_sub(whole(now_seconds)) & 0xFFFF;
        word & !0xFFFF == Self::tag(digest) && (1..=UNKNOWN_SECONDS).contains(&seconds_left)
    }

    fn forget(&self, digest: &Digest) {
        let slot = self.slot(digest);
        let word = slot.load(Ordering::Relaxed);
        if word & !0xFFFF == Self::tag(digest) {
            // Another key may have taken the slot meanwhile; losing that one costs it a look-up, no more.
            slot.store(0, Ordering::Relaxed);
        }
    }

    fn slot(&self, digest: &Digest) -> &AtomicU64 {
        let slot = usize::from(digest[1]) | usize::from(digest[2]) << 8 | usize::from(digest[3] & 1) << 16;
        &self.0[slot]
    }

    fn tag(digest: &Digest) -> u64 {
        u64::from_be_bytes([digest[4], digest[5], digest[6], digest[7], digest[8], digest[9], 0, 0])
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds since 1970")]
fn whole(seconds: f64) -> u64 {
    seconds as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(can_predict: bool, expires_seconds: f64) -> Arc<Caller> {
        caller_of("usr_1", can_predict, expires_seconds)
    }

    fn caller_of(user: &str, can_predict: bool, expires_seconds: f64) -> Arc<Caller> {
        Arc::new(Caller {
            user: user.into(),
            is_admin: false,
            can_predict,
            models: None,
            expires_seconds,
            buckets: [].into(),
            meter: None,
            quota: None,
        })
    }

    fn put(callers: &Callers, digest: Digest, caller: &Arc<Caller>) -> bool {
        callers.put(digest, caller, callers.epoch(&digest), 0.0)
    }

    /// Digests that share a slot and differ in their tags.
    fn digest(number: u8) -> Digest {
        let mut digest = [7; 32];
        digest[4] = number;
        digest
    }

    #[test]
    fn a_caller_is_known_until_it_expires() {
        let callers = Callers::new();
        assert!(put(&callers, [7; 32], &caller(true, 100.0)));
        assert!(callers.permitted(&[7; 32], 99.0).is_ok());
        assert_eq!(callers.permitted(&[7; 32], 100.0).unwrap_err().code, Code::UnknownCaller);
        assert_eq!(callers.permitted(&[8; 32], 0.0).unwrap_err().code, Code::UnknownCaller);
        assert_eq!(callers.permitted(b"short", 0.0).unwrap_err().code, Code::UnknownCaller);
    }

    #[test]
    fn a_revoked_caller_is_unknown_at_once() {
        let callers = Callers::new();
        put(&callers, [7; 32], &caller(true, 100.0));
        callers.revoke(&[7; 32]);
        assert!(matches!(callers.look_up(&[7; 32], 0.0), Lookup::NeverSeen));
        put(&callers, [7; 32], &caller(true, 100.0));
        callers.revoke_all();
        assert!(matches!(callers.look_up(&[7; 32], 0.0), Lookup::NeverSeen));
    }

    #[test]
    fn all_callers_of_a_revoked_user_are_unknown_at_once_and_no_others() {
        let callers = Callers::new();
        for (first, user) in [(1, "usr_1"), (2, "usr_1"), (1, "usr_2")] {
            let mut digest = [7; 32];
            (digest[0], digest[31]) = (first, user.as_bytes()[4]);
            put(&callers, digest, &caller_of(user, true, 100.0));
        }
        callers.revoke_user("usr_1");
        let known = |first, user: u8| {
            let mut digest = [7; 32];
            (digest[0], digest[31]) = (first, user);
            matches!(callers.look_up(&digest, 0.0), Lookup::Known(_))
        };
        assert_eq!((known(1, b'1'), known(2, b'1'), known(1, b'2')), (false, false, true));
    }

    #[test]
    fn a_caller_checked_before_a_revocation_is_not_installed() {
        let ways = [
            |callers: &Callers| callers.revoke(&[7; 32]),
            |callers: &Callers| callers.revoke_all(),
            |callers: &Callers| callers.revoke_user("usr_1"),
        ];
        for revoke in ways {
            let callers = Callers::new();
            let epoch = callers.epoch(&[7; 32]);
            revoke(&callers);
            assert!(!callers.put([7; 32], &caller(true, 100.0), epoch, 0.0));
            assert!(matches!(callers.look_up(&[7; 32], 0.0), Lookup::NeverSeen));
            assert!(put(&callers, [7; 32], &caller(true, 100.0)));
        }
    }

    #[test]
    fn whatever_the_order_of_a_check_and_a_revocation_the_revoked_key_stays_out() {
        let callers = Callers::new();
        for _ in 0..2000 {
            let epoch = callers.epoch(&[7; 32]);
            std::thread::scope(|threads| {
                threads.spawn(|| callers.put([7; 32], &caller(true, 100.0), epoch, 0.0));
                threads.spawn(|| callers.revoke(&[7; 32]));
            });
            assert!(matches!(callers.look_up(&[7; 32], 0.0), Lookup::NeverSeen));
        }
    }

    #[test]
    fn a_caller_without_the_permission_is_forbidden() {
        let callers = Callers::new();
        put(&callers, [7; 32], &caller(false, 100.0));
        assert_eq!(callers.permitted(&[7; 32], 0.0).unwrap_err().code, Code::Forbidden);
    }

    #[test]
    fn an_unknown_key_is_remembered_for_five_seconds() {
        let callers = Callers::new();
        for start in [0.0, 65_534.0, 1.8e9] {
            callers.put_unknown(&digest(1), start);
            assert!(matches!(callers.look_up(&digest(1), start), Lookup::Unknown));
            assert!(matches!(callers.look_up(&digest(1), start + 4.9), Lookup::Unknown));
            assert!(matches!(callers.look_up(&digest(1), start + 5.0), Lookup::NeverSeen));
            assert!(matches!(callers.look_up(&digest(2), start), Lookup::NeverSeen));
        }
    }

    #[test]
    fn a_key_that_becomes_known_is_no_longer_unknown() {
        let callers = Callers::new();
        callers.put_unknown(&digest(1), 0.0);
        callers.forget_unknown(&digest(1));
        assert!(matches!(callers.look_up(&digest(1), 0.0), Lookup::NeverSeen));
        callers.put_unknown(&digest(1), 0.0);
        put(&callers, digest(1), &caller(true, 1.0));
        assert!(matches!(callers.look_up(&digest(1), 0.0), Lookup::Known(_)));
        assert!(matches!(callers.look_up(&digest(1), 1.0), Lookup::NeverSeen));
    }

    #[test]
    fn of_two_keys_that_share_a_slot_the_later_one_is_remembered() {
        let callers = Callers::new();
        callers.put_unknown(&digest(1), 0.0);
        callers.put_unknown(&digest(2), 0.0);
        callers.forget_unknown(&digest(1));
        assert!(matches!(callers.look_up(&digest(1), 0.0), Lookup::NeverSeen));
        assert!(matches!(callers.look_up(&digest(2), 0.0), Lookup::Unknown));
    }
}
