//! Ids as Python makes them: a prefix that says what a thing is, and a ULID.

use crate::clock::unix_nanoseconds;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const NANOSECONDS_PER_MILLISECOND: u64 = 1_000_000;

/// `prefix` and a fresh ULID: 48 bits of Unix milliseconds and 80 random bits (<https://github.com/ulid/spec>).
///
/// The random bits make ids unique; they keep no secret.
pub fn new_id(prefix: &str) -> String {
    format_id(prefix, ulid(unix_nanoseconds()))
}

/// A ULID of a moment.
pub fn ulid(unix_nanoseconds: u64) -> u128 {
    u128::from(unix_nanoseconds / NANOSECONDS_PER_MILLISECOND) << 80 | fastrand::u128(..) >> 48
}

/// `prefix` and a ULID as text.
pub fn format_id(prefix: &str, number: u128) -> String {
    let mut id = String::with_capacity(prefix.len() + 26);
    id.push_str(prefix);
    id.extend((0..26).rev().map(|index| char::from(ALPHABET[(number >> (5 * index) & 31) as usize])));
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ulid_is_written_as_python_writes_it() {
        assert_eq!(format_id("prd_", 0), "prd_00000000000000000000000000");
        assert_eq!(format_id("prd_", u128::MAX), "prd_7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        assert!(format_id("", ulid(1_000_000)) < format_id("", ulid(2_000_000)));
    }

    #[test]
    fn ids_are_of_their_millisecond_and_differ() {
        let (one, other) = (new_id("req_"), new_id("req_"));
        assert_eq!((one.len(), &one[..4]), (30, "req_"));
        assert_ne!(one, other);
        assert!(one[4..12] <= other[4..12]);
    }
}
