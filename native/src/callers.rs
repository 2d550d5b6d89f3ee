//! Who may ask: key digest → caller, as Python has checked it, until it expires.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::error::{Code, Refusal};

/// SHA-256 of a key.
pub type Digest = [u8; 32];

/// Digests are uniform, so their first byte spreads them; writing copies one shelf, reading locks none.
const SHELVES: usize = 256;

#[derive(Debug)]
pub struct Caller {
    pub user: Box<str>,
    #[allow(dead_code, reason = "what is seen of a caller in a debugger")]
    pub username: Box<str>,
    pub is_admin: bool,
    pub can_predict: bool,
    /// Ids of the models it is limited to; None: all that the user may see.
    pub models: Option<Vec<Box<str>>>,
    pub expires_seconds: f64,
}

type Shelf = HashMap<Digest, Arc<Caller>>;

pub struct Callers {
    shelves: Vec<ArcSwap<Shelf>>,
}

impl Callers {
    pub fn new() -> Self {
        Self { shelves: (0..SHELVES).map(|_| ArcSwap::default()).collect() }
    }

    /// Install a caller, and forget those of its shelf whose time is over.
    pub fn put(&self, digest: Digest, caller: &Arc<Caller>, now_seconds: f64) {
        self.shelf(&digest).rcu(|shelf| {
            let mut copy: Shelf =
                shelf.iter().filter(|(_, known)| known.expires_seconds > now_seconds).map(|(key, known)| (*key, known.clone())).collect();
            copy.insert(digest, caller.clone());
            copy
        });
    }

    pub fn revoke(&self, digest: &Digest) {
        self.shelf(digest).rcu(|shelf| {
            let mut copy = Shelf::clone(shelf);
            copy.remove(digest);
            copy
        });
    }

    /// The caller, known and not expired.
    pub fn known(&self, digest: &[u8], now_seconds: f64) -> Result<Arc<Caller>, Refusal> {
        Digest::try_from(digest)
            .ok()
            .and_then(|digest| self.shelf(&digest).load().get(&digest).cloned())
            .filter(|caller| caller.expires_seconds > now_seconds)
            .ok_or_else(|| Code::UnknownCaller.because(vec![]))
    }

    /// The caller, if it may predict.
    pub fn permitted(&self, digest: &[u8], now_seconds: f64) -> Result<Arc<Caller>, Refusal> {
        let caller = self.known(digest, now_seconds)?;
        if caller.can_predict { Ok(caller) } else { Err(Code::Forbidden.because(vec![])) }
    }

    fn shelf(&self, digest: &Digest) -> &ArcSwap<Shelf> {
        &self.shelves[usize::from(digest[0])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(can_predict: bool, expires_seconds: f64) -> Arc<Caller> {
        Arc::new(Caller { user: "usr_1".into(), username: "ada".into(), is_admin: false, can_predict, models: None, expires_seconds })
    }

    #[test]
    fn a_caller_is_known_until_it_expires() {
        let callers = Callers::new();
        callers.put([7; 32], &caller(true, 100.0), 0.0);
        assert!(callers.permitted(&[7; 32], 99.0).is_ok());
        assert_eq!(callers.permitted(&[7; 32], 100.0).unwrap_err().code, Code::UnknownCaller);
        assert_eq!(callers.permitted(&[8; 32], 0.0).unwrap_err().code, Code::UnknownCaller);
        assert_eq!(callers.permitted(b"short", 0.0).unwrap_err().code, Code::UnknownCaller);
    }

    #[test]
    fn a_revoked_caller_is_unknown_at_once() {
        let callers = Callers::new();
        callers.put([7; 32], &caller(true, 100.0), 0.0);
        callers.revoke(&[7; 32]);
        assert_eq!(callers.permitted(&[7; 32], 0.0).unwrap_err().code, Code::UnknownCaller);
    }

    #[test]
    fn a_caller_without_the_permission_is_forbidden() {
        let callers = Callers::new();
        callers.put([7; 32], &caller(false, 100.0), 0.0);
        assert_eq!(callers.permitted(&[7; 32], 0.0).unwrap_err().code, Code::Forbidden);
    }
}
