//! Who may ask: key digest → caller, as Python has checked it, until it expires; and keys that open nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::error::{Code, Refusal};
use crate::limits::limiter::Bucket;
use crate::limits::usage::{Meter, Quota, Reserved};

/// SHA-256 of a key.
pub type Digest = [u8; 32];

/// Digests are uniform, so their first byte spreads them; writing copies one shelf, reading locks none.
const SHELVES: usize = 256;
/// Places for keys that open nothing; a later one takes the place of an earlier one.
const UNKNOWN_PLACES: usize = 1 << 17;
/// How long a key that opened nothing is refused without another look.
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
    pub accounts: Box<[Arc<Bucket>]>,
    /// Of its key; None: its predictions are not counted.
    pub meter: Option<Arc<Meter>>,
    pub quota: Option<Quota>,
}

impl Caller {
    /// Pay for one prediction out of the quota, or be refused.
    pub fn reserve(&self) -> Result<Reserved, Refusal> {
        self.meter.as_ref().map_or_else(|| Ok(Reserved::default()), |meter| meter.reserve(self.quota))
    }

    /// Whether the quota would refuse one prediction now; pays nothing.
    pub fn peek_quota(&self) -> Result<(), Refusal> {
        if let (Some(meter), Some(quota)) = (&self.meter, self.quota) { meter.peek(quota) } else { Ok(()) }
    }
}

/// What is known of a key without asking the database.
#[derive(Debug)]
pub enum Lookup {
    Known(Arc<Caller>),
    /// It opened nothing a few seconds ago.
    Unknown,
    NeverSeen,
}

#[derive(Default)]
struct Shard {
    known: ArcSwap<HashMap<Digest, Arc<Caller>>>,
    /// Revocations so far; whoever writes holds it.
    revocations: Mutex<u64>,
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.revocations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Callers {
    shelves: Vec<Shard>,
    unknown: Unknown,
}

impl Callers {
    pub fn new() -> Self {
        Self { shelves: (0..SHELVES).map(|_| Shard::default()).collect(), unknown: Unknown::new() }
    }

    /// The revocations so far among the keys that share a shelf with this one: to be read before the database is asked.
    pub fn epoch(&self, digest: &Digest) -> u64 {
        *self.shelf(digest).lock()
    }

    /// Install a caller checked after `epoch` was read, and forget those of its shelf whose time is over.
    ///
    /// False: a key was revoked since, which may be this one.
    pub fn put(&self, digest: Digest, caller: &Arc<Caller>, epoch: u64, now_seconds: f64) -> bool {
        let place = self.shelf(&digest);
        let revocations = place.lock();
        if *revocations != epoch {
            return false;
        }
        let known = place.known.load();
        let mut copy: HashMap<_, _> = known
            .iter()
            .filter(|(_, known)| known.expires_seconds > now_seconds)
            .map(|(key, known)| (*key, known.clone()))
            .collect();
        copy.insert(digest, caller.clone());
        place.known.store(Arc::new(copy));
        self.unknown.forget(&digest);
        true
    }

    pub fn revoke(&self, digest: &Digest) {
        let place = self.shelf(digest);
        let mut revocations = place.lock();
        *revocations += 1;
        let mut copy = HashMap::clone(&place.known.load());
        copy.remove(digest);
        place.known.store(Arc::new(copy));
    }

    /// Forget every caller of a user, and let none in that was checked before.
    pub fn revoke_user(&self, user: &str) {
        for place in &self.shelves {
            let mut revocations = place.lock();
            *revocations += 1;
            let known = place.known.load();
            if known.values().any(|caller| *caller.user == *user) {
                let others = known.iter().filter(|(_, caller)| *caller.user != *user);
                place.known.store(Arc::new(others.map(|(digest, caller)| (*digest, caller.clone())).collect()));
            }
        }
    }

    /// Forget every caller: any of them may have been revoked.
    pub fn revoke_all(&self) {
        for place in &self.shelves {
            let mut revocations = place.lock();
            *revocations += 1;
            place.known.store(Arc::default());
        }
    }

    /// Remember for a few seconds that a key opens nothing.
    pub fn put_unknown(&self, digest: &Digest, now_seconds: f64) {
        self.unknown.put(digest, now_seconds);
    }

    pub fn forget_unknown(&self, digest: &Digest) {
        self.unknown.forget(digest);
    }

    /// What is known of a key; takes no lock.
    pub fn look(&self, digest: &Digest, now_seconds: f64) -> Lookup {
        match self.shelf(digest).known.load().get(digest) {
            Some(caller) if caller.expires_seconds > now_seconds => Lookup::Known(caller.clone()),
            _ if self.unknown.has(digest, now_seconds) => Lookup::Unknown,
            _ => Lookup::NeverSeen,
        }
    }

    /// The caller, if it may predict.
    pub fn permitted(&self, digest: &[u8], now_seconds: f64) -> Result<Arc<Caller>, Refusal> {
        match Digest::try_from(digest).map(|digest| self.look(&digest, now_seconds)) {
            Ok(Lookup::Known(caller)) if caller.can_predict => Ok(caller),
            Ok(Lookup::Known(_)) => Err(Code::Forbidden.because(vec![])),
            _ => Err(Code::UnknownCaller.because(vec![])),
        }
    }

    fn shelf(&self, digest: &Digest) -> &Shard {
        &self.shelves[usize::from(digest[0])]
    }
}

/// Keys that open nothing, in a table of fixed size: 17 bits of a digest choose the place, 48 others and the second of expiry (modulo
/// 2^16) stand in it, so that a place is read and written as one word.
struct Unknown(Vec<AtomicU64>);

impl Unknown {
    fn new() -> Self {
        Self((0..UNKNOWN_PLACES).map(|_| AtomicU64::new(0)).collect())
    }

    fn put(&self, digest: &Digest, now_seconds: f64) {
        let expires = (whole(now_seconds) + UNKNOWN_SECONDS) & 0xFFFF;
        self.place(digest).store(Self::tag(digest) | expires, Ordering::Relaxed);
    }

    fn has(&self, digest: &Digest, now_seconds: f64) -> bool {
        let word = self.place(digest).load(Ordering::Relaxed);
        let seconds_left = word.wrapping_sub(whole(now_seconds)) & 0xFFFF;
        word & !0xFFFF == Self::tag(digest) && (1..=UNKNOWN_SECONDS).contains(&seconds_left)
    }

    fn forget(&self, digest: &Digest) {
        let place = self.place(digest);
        let word = place.load(Ordering::Relaxed);
        if word & !0xFFFF == Self::tag(digest) {
            // Another key may have taken the place meanwhile: losing that one costs it a look, no more.
            place.store(0, Ordering::Relaxed);
        }
    }

    fn place(&self, digest: &Digest) -> &AtomicU64 {
        let place = usize::from(digest[1]) | usize::from(digest[2]) << 8 | usize::from(digest[3] & 1) << 16;
        &self.0[place]
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
        let (is_admin, models, accounts, meter, quota) = Default::default();
        Arc::new(Caller { user: user.into(), is_admin, can_predict, models, expires_seconds, accounts, meter, quota })
    }

    fn put(callers: &Callers, digest: Digest, caller: &Arc<Caller>) -> bool {
        callers.put(digest, caller, callers.epoch(&digest), 0.0)
    }

    /// Another digest with the same tag and place is none; this one differs in what is compared.
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
        assert!(matches!(callers.look(&[7; 32], 0.0), Lookup::NeverSeen));
        put(&callers, [7; 32], &caller(true, 100.0));
        callers.revoke_all();
        assert!(matches!(callers.look(&[7; 32], 0.0), Lookup::NeverSeen));
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
            matches!(callers.look(&digest, 0.0), Lookup::Known(_))
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
            assert!(matches!(callers.look(&[7; 32], 0.0), Lookup::NeverSeen));
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
            assert!(matches!(callers.look(&[7; 32], 0.0), Lookup::NeverSeen));
        }
    }

    #[test]
    fn a_caller_without_the_permission_is_forbidden() {
        let callers = Callers::new();
        put(&callers, [7; 32], &caller(false, 100.0));
        assert_eq!(callers.permitted(&[7; 32], 0.0).unwrap_err().code, Code::Forbidden);
    }

    #[test]
    fn a_key_that_opens_nothing_is_remembered_for_five_seconds() {
        let callers = Callers::new();
        for start in [0.0, 65_534.0, 1.8e9] {
            callers.put_unknown(&digest(1), start);
            assert!(matches!(callers.look(&digest(1), start), Lookup::Unknown));
            assert!(matches!(callers.look(&digest(1), start + 4.9), Lookup::Unknown));
            assert!(matches!(callers.look(&digest(1), start + 5.0), Lookup::NeverSeen));
            assert!(matches!(callers.look(&digest(2), start), Lookup::NeverSeen));
        }
    }

    #[test]
    fn a_key_that_opens_something_now_is_not_held_to_have_opened_nothing() {
        let callers = Callers::new();
        callers.put_unknown(&digest(1), 0.0);
        callers.forget_unknown(&digest(1));
        assert!(matches!(callers.look(&digest(1), 0.0), Lookup::NeverSeen));
        callers.put_unknown(&digest(1), 0.0);
        put(&callers, digest(1), &caller(true, 1.0));
        assert!(matches!(callers.look(&digest(1), 0.0), Lookup::Known(_)));
        assert!(matches!(callers.look(&digest(1), 1.0), Lookup::NeverSeen));
    }

    #[test]
    fn of_two_keys_that_share_a_place_the_later_one_is_remembered() {
        let callers = Callers::new();
        callers.put_unknown(&digest(1), 0.0);
        callers.put_unknown(&digest(2), 0.0);
        callers.forget_unknown(&digest(1));
        assert!(matches!(callers.look(&digest(1), 0.0), Lookup::NeverSeen));
        assert!(matches!(callers.look(&digest(2), 0.0), Lookup::Unknown));
    }
}
