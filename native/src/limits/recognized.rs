//! Credentials that were good lately, and whose they are. It is no permission: it only tells clients apart that share
//! something.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::sync::lock;

/// SHA-256 of a credential.
type Digest = [u8; 32];

const SHARDS: usize = 64;
/// How long after it was last good.
const REMEMBERED_SECONDS: f64 = 3600.0;

#[derive(Debug)]
struct Seen {
    user: Box<str>,
    until_seconds: f64,
}

#[derive(Debug)]
pub struct Recognized(Vec<Mutex<HashMap<Digest, Seen>>>);

impl Recognized {
    pub fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    pub fn put(&self, digest: &Digest, user: &str, now_seconds: f64) {
        let mut shard = lock(self.shard(digest));
        let until_seconds = now_seconds + REMEMBERED_SECONDS;
        if let Some(seen) = shard.get_mut(digest) {
            seen.until_seconds = until_seconds;
            return;
        }
        shard.retain(|_, seen| seen.until_seconds > now_seconds);
        shard.insert(*digest, Seen { user: user.into(), until_seconds });
    }

    pub fn user_of(&self, digest: &Digest, now_seconds: f64) -> Option<Box<str>> {
        let shard = lock(self.shard(digest));
        shard.get(digest).filter(|seen| seen.until_seconds > now_seconds).map(|seen| seen.user.clone())
    }

    pub fn forget(&self, digest: &Digest) {
        lock(self.shard(digest)).remove(digest);
    }

    pub fn forget_user(&self, user: &str) {
        for shard in &self.0 {
            lock(shard).retain(|_, seen| *seen.user != *user);
        }
    }

    pub fn forget_all(&self) {
        for shard in &self.0 {
            lock(shard).clear();
        }
    }

    fn shard(&self, digest: &Digest) -> &Mutex<HashMap<Digest, Seen>> {
        &self.0[usize::from(digest[0]) % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_recognized_for_an_hour_after_it_was_good() {
        let recognized = Recognized::new();
        recognized.put(&[7; 32], "usr_1", 0.0);
        assert_eq!(recognized.user_of(&[7; 32], 3599.0).as_deref(), Some("usr_1"));
        recognized.put(&[7; 32], "usr_1", 3599.0);
        assert_eq!(recognized.user_of(&[7; 32], 7198.0).as_deref(), Some("usr_1"));
        assert_eq!(recognized.user_of(&[7; 32], 7199.0), None);
        recognized.put(&[71; 32], "usr_2", 8000.0);
        assert_eq!(lock(recognized.shard(&[7; 32])).len(), 1);
    }

    #[test]
    fn a_revoked_credential_is_not_recognized() {
        let recognized = Recognized::new();
        for (first, user) in [(1, "usr_1"), (2, "usr_1"), (3, "usr_2"), (4, "usr_2")] {
            recognized.put(&[first; 32], user, 0.0);
        }
        let known = || (1..=4).filter(|&first| recognized.user_of(&[first; 32], 0.0).is_some()).collect::<Vec<u8>>();
        recognized.forget_user("usr_1");
        assert_eq!(known(), [3, 4]);
        recognized.forget(&[3; 32]);
        assert_eq!(known(), [4]);
        recognized.forget_all();
        assert!(known().is_empty());
    }
}
