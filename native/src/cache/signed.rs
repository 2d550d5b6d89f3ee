//! Signed cache values: a row of raw outputs with a keyed MAC, so that write access to Redis is not enough to forge an
//! answer.

use crate::cache::memory::Key;

/// The version of the format; another one is not read.
const VERSION: u8 = 1;
const MAC_BYTES: usize = 16;

/// `[VERSION, words in little endian…, MAC]`, where the MAC is the keyed BLAKE3 of the key and all before it.
pub fn encode(secret: &[u8; 32], key: Key, words: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + 8 * words.len() + MAC_BYTES);
    bytes.push(VERSION);
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    let mac = mac(secret, key, &bytes);
    bytes.extend_from_slice(&mac.to_le_bytes());
    bytes
}

/// The words of a row; None unless `encode` made exactly these bytes for this key, with this secret, of `width` words.
pub fn decode(secret: &[u8; 32], key: Key, bytes: &[u8], width: usize) -> Option<Vec<u64>> {
    let (signed, mac_bytes) = bytes.split_last_chunk::<MAC_BYTES>()?;
    if mac(secret, key, signed) != u128::from_le_bytes(*mac_bytes) {
        return None;
    }
    let (&version, packed) = signed.split_first()?;
    let (words, rest) = packed.as_chunks::<8>();
    let is_whole = version == VERSION && rest.is_empty() && words.len() == width;
    is_whole.then(|| words.iter().map(|word| u64::from_le_bytes(*word)).collect())
}

fn mac(secret: &[u8; 32], key: Key, signed: &[u8]) -> u128 {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(&key.to_le_bytes()).update(signed);
    let mut first = [0; MAC_BYTES];
    hasher.finalize_xof().fill(&mut first);
    u128::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];
    const WORDS: [u64; 3] = [0, u64::MAX, 0x3ff0_0000_0000_0000];

    #[test]
    fn what_was_signed_is_read_again() {
        assert_eq!(decode(&SECRET, 5, &encode(&SECRET, 5, &WORDS), 3), Some(WORDS.to_vec()));
        assert_eq!(decode(&SECRET, 5, &encode(&SECRET, 5, &[]), 0), Some(vec![]));
    }

    #[test]
    fn a_value_with_a_changed_bit_is_rejected() {
        let signed = encode(&SECRET, 5, &WORDS);
        for bit in 0..signed.len() * 8 {
            let mut changed = signed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&SECRET, 5, &changed, 3), None, "bit {bit}");
        }
    }

    #[test]
    fn the_value_of_another_key_is_rejected() {
        assert_eq!(decode(&SECRET, 6, &encode(&SECRET, 5, &WORDS), 3), None);
    }

    #[test]
    fn another_secret_reads_nothing() {
        assert_eq!(decode(&[8; 32], 5, &encode(&SECRET, 5, &WORDS), 3), None);
    }

    #[test]
    fn a_shorter_or_longer_value_is_rejected() {
        let signed = encode(&SECRET, 5, &WORDS);
        for length in 0..signed.len() {
            assert_eq!(decode(&SECRET, 5, &signed[..length], 3), None);
            assert_eq!(decode(&SECRET, 5, &signed[signed.len() - length..], 3), None);
        }
        assert_eq!(decode(&SECRET, 5, &[signed, vec![0]].concat(), 3), None);
    }

    #[test]
    fn a_row_of_another_width_is_rejected() {
        let signed = encode(&SECRET, 5, &WORDS);
        assert_eq!(decode(&SECRET, 5, &signed, 2), None);
        assert_eq!(decode(&SECRET, 5, &signed, 4), None);
    }

    #[test]
    fn another_version_of_the_format_is_rejected_though_its_mac_is_right() {
        let mut signed = encode(&SECRET, 5, &WORDS);
        signed.truncate(signed.len() - MAC_BYTES);
        signed[0] = VERSION + 1;
        let mac = mac(&SECRET, 5, &signed);
        signed.extend_from_slice(&mac.to_le_bytes());
        assert_eq!(decode(&SECRET, 5, &signed, 3), None);
    }
}
