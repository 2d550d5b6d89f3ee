//! Level one: rows of raw outputs, bounded in bytes, each with an expiry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::{Cache as Bounded, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Lifecycle, Weighter};

use crate::error::Fault;

/// What an entry takes beside its words: key, expiry, reference counts and its slot in the map.
const ENTRY_BYTES: u64 = 112;
/// One NaN stands for all in the canonical input.
const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;

pub type Key = u128;
/// Raw outputs of one row: labels, then scores.
pub type Row = Arc<[u64]>;

#[derive(Clone)]
struct Entry {
    row: Row,
    expires_nanoseconds: u64,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Entry> for Bytes {
    fn weight(&self, _: &Key, entry: &Entry) -> u64 {
        ENTRY_BYTES + 8 * entry.row.len() as u64
    }
}

#[derive(Clone, Default)]
struct CountEvictions(Arc<AtomicU64>);

impl Lifecycle<Key, Entry> for CountEvictions {
    type RequestState = <DefaultLifecycle<Key, Entry> as Lifecycle<Key, Entry>>::RequestState;

    fn on_evict(&self, _: &mut Self::RequestState, _: Key, _: Entry) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub struct Cache {
    entries: Bounded<Key, Entry, Bytes, DefaultHashBuilder, CountEvictions>,
    evictions: CountEvictions,
    secret: [u8; 32],
}

impl Cache {
    /// `secret`: of the keys. Replicas that share it have equal keys for equal rows.
    pub fn new(capacity_bytes: u64, secret: [u8; 32]) -> Self {
        let evictions = CountEvictions::default();
        let estimated = usize::try_from(capacity_bytes / (ENTRY_BYTES + 32)).unwrap_or(usize::MAX).clamp(1, 1 << 20);
        Self {
            entries: Bounded::with(estimated, capacity_bytes, Bytes, DefaultHashBuilder::default(), evictions.clone()),
            evictions,
            secret,
        }
    }

    /// The row, unless it is absent or expired.
    pub fn get(&self, key: Key, now_nanoseconds: u64) -> Option<Row> {
        let entry = self.entries.get(&key)?;
        if entry.expires_nanoseconds > now_nanoseconds {
            return Some(entry.row);
        }
        self.entries.remove_if(&key, |entry| entry.expires_nanoseconds <= now_nanoseconds);
        None
    }

    pub fn put(&self, key: Key, row: &[u64], expires_nanoseconds: u64) {
        self.entries.insert(key, Entry { row: row.into(), expires_nanoseconds });
    }

    pub fn keys<'a>(&'a self, scope: &Scope<'_>) -> Keys<'a> {
        Keys { secret: &self.secret, prefix: scope.canonical().len(), buffer: scope.canonical() }
    }

    pub fn bytes(&self) -> u64 {
        self.entries.weight()
    }

    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    pub fn evictions(&self) -> u64 {
        self.evictions.0.load(Ordering::Relaxed)
    }
}

/// What a key covers beside the row.
///
/// A run always computes all outputs of the graph, which the signature names, so the key does not list them.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub version: &'a str,
    /// The caller's: two users share nothing, not even of a model that both may use. Empty: everybody, of a public
    /// model.
    pub tenant: &'a str,
    /// Digest of the engine: ONNX Runtime, CPU features, tile.
    pub engine: &'a [u8; 32],
    /// Digest of the signature.
    pub signature: &'a [u8; 32],
}

impl Scope<'_> {
    fn canonical(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(self.engine);
        bytes.extend_from_slice(self.signature);
        text(&mut bytes, self.version);
        text(&mut bytes, self.tenant);
        bytes
    }
}

/// Keys of rows in one scope.
pub struct Keys<'a> {
    secret: &'a [u8; 32],
    prefix: usize,
    buffer: Vec<u8>,
}

impl Keys<'_> {
    /// The keyed 128-bit BLAKE3 of the scope and the canonical bytes of a row.
    pub fn of(&mut self, numbers: &[f64], strings: &[&str]) -> Key {
        self.buffer.truncate(self.prefix);
        push_row(&mut self.buffer, numbers, strings);
        let hash = blake3::keyed_hash(self.secret, &self.buffer);
        let mut first = [0; 16];
        first.copy_from_slice(&hash.as_bytes()[..16]);
        u128::from_le_bytes(first)
    }
}

/// The canonical bytes of a row: lengths, float64 with one NaN and -0.0 kept, strings.
pub fn push_row(bytes: &mut Vec<u8>, numbers: &[f64], strings: &[&str]) {
    length(bytes, numbers.len());
    for number in numbers {
        let bits = if number.is_nan() { NAN_BITS } else { number.to_bits() };
        bytes.extend_from_slice(&bits.to_le_bytes());
    }
    length(bytes, strings.len());
    for string in strings {
        text(bytes, string);
    }
}

fn length(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend_from_slice(&(length as u64).to_le_bytes());
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    length(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

/// Thirty-two bytes from the kernel.
pub fn random_secret() -> Result<[u8; 32], Fault> {
    let mut bytes = [0_u8; 32];
    // SAFETY: the pointer and the length are those of `bytes`, which lives through the call.
    let read = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if read == 32 {
        Ok(bytes)
    } else {
        Err(Fault::load("the kernel gives no random bytes for the secret of the cache"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: [u8; 32] = [1; 32];
    const OTHER: [u8; 32] = [2; 32];
    const SCOPE: Scope<'static> = Scope { version: "ver_1", tenant: "usr_1", engine: &ENGINE, signature: &ENGINE };

    fn key(cache: &Cache, scope: &Scope<'_>, numbers: &[f64], strings: &[&str]) -> Key {
        cache.keys(scope).of(numbers, strings)
    }

    #[test]
    fn every_part_of_the_scope_is_in_the_key() {
        let cache = Cache::new(1 << 20, [0; 32]);
        let scopes = [
            SCOPE,
            Scope { version: "ver_2", ..SCOPE },
            Scope { tenant: "usr_2", ..SCOPE },
            Scope { engine: &OTHER, ..SCOPE },
            Scope { signature: &OTHER, ..SCOPE },
            Scope { version: "ver_1u", tenant: "sr_1", ..SCOPE },
        ];
        let keys: std::collections::HashSet<Key> = scopes.iter().map(|scope| key(&cache, scope, &[1.0], &[])).collect();
        assert_eq!(keys.len(), scopes.len());
    }

    #[test]
    fn one_nan_stands_for_all_and_minus_zero_for_itself() {
        let cache = Cache::new(1 << 20, [0; 32]);
        let of = |number: f64| key(&cache, &SCOPE, &[number], &[]);
        assert_eq!(of(f64::NAN), of(f64::from_bits(0xfff8_0000_0000_1234)));
        assert_ne!(of(0.0), of(-0.0));
    }

    #[test]
    fn strings_have_lengths() {
        let cache = Cache::new(1 << 20, [0; 32]);
        assert_ne!(key(&cache, &SCOPE, &[], &["ab", "c"]), key(&cache, &SCOPE, &[], &["a", "bc"]));
    }

    #[test]
    fn two_secrets_have_no_key_in_common() {
        let (one, other) =
            (Cache::new(1 << 20, random_secret().unwrap()), Cache::new(1 << 20, random_secret().unwrap()));
        assert_ne!(key(&one, &SCOPE, &[1.0], &[]), key(&other, &SCOPE, &[1.0], &[]));
    }

    #[test]
    fn one_secret_has_equal_keys_everywhere() {
        let (one, other) = (Cache::new(1 << 20, [7; 32]), Cache::new(1 << 10, [7; 32]));
        assert_eq!(key(&one, &SCOPE, &[1.0], &["a"]), key(&other, &SCOPE, &[1.0], &["a"]));
    }

    #[test]
    fn an_entry_expires() {
        let cache = Cache::new(1 << 20, [0; 32]);
        cache.put(7, &[1, 2], 100);
        assert_eq!(cache.get(7, 99).as_deref(), Some(&[1, 2][..]));
        assert_eq!(cache.get(7, 100), None);
        assert_eq!(cache.entries(), 0);
    }

    #[test]
    fn bytes_are_bounded_and_evictions_counted() {
        let cache = Cache::new(64 << 10, [0; 32]);
        (0..10_000).for_each(|key| cache.put(key, &[0; 4], 100));
        assert!(cache.bytes() <= 64 << 10);
        assert!(cache.evictions() > 9000);
    }
}
