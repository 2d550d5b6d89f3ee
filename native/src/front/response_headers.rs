//! Headers of an answer: `Server-Timing`, and what is left of the caller's rate.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::limits::limiter::RateState;
use crate::predict::request::StageTimes;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Room for a header of numbers of 20 digits each, and the words between.
const TEXT_BYTES: usize = 144;

/// A short text, built without the heap and without `fmt`, which takes several times as long for a few numbers.
struct TextBuffer {
    bytes: [u8; TEXT_BYTES],
    length: usize,
}

impl TextBuffer {
    fn new() -> Self {
        Self { bytes: [0; TEXT_BYTES], length: 0 }
    }

    fn push(&mut self, text: &[u8]) {
        let end = (self.length + text.len()).min(TEXT_BYTES);
        self.bytes[self.length..end].copy_from_slice(&text[..end - self.length]);
        self.length = end;
    }

    /// Pushes a decimal number of `min_digits` at least.
    fn push_number(&mut self, mut number: u64, min_digits: usize) {
        let mut digits = [b'0'; 20];
        let mut first = digits.len();
        while number > 0 || digits.len() - first < min_digits {
            first -= 1;
            digits[first] += u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
        }
        self.push(&digits[first..]);
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// As W3C's Server Timing has it, in milliseconds with three decimals; `predictions/schemas.py` writes the same.
pub fn insert_server_timing(headers: &mut HeaderMap, times: StageTimes) {
    let StageTimes { parse_seconds, cache_seconds, queue_seconds, infer_seconds, .. } = times;
    let mut text = TextBuffer::new();
    for (stage, seconds) in [
        ("parse;dur=", parse_seconds),
        (", cache;dur=", cache_seconds),
        (", queue;dur=", queue_seconds),
        (", infer;dur=", infer_seconds),
    ] {
        let microseconds = rounded(seconds * 1e6);
        text.push(stage.as_bytes());
        text.push_number(microseconds / 1000, 1);
        text.push(b".");
        text.push_number(microseconds % 1000, 3);
    }
    insert(headers, SERVER_TIMING, Bytes::copy_from_slice(text.as_bytes()));
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "no request lasts so long, or less than nothing"
)]
fn rounded(number: f64) -> u64 {
    number.round() as u64
}

/// As `serval.auth.rate_headers.limit_headers` writes them. The headers for older clients are slices of the other two.
pub fn insert_rate_limit(headers: &mut HeaderMap, rate: &RateState) {
    let RateState { bucket, remaining, reset_seconds } = rate;
    let mut text = TextBuffer::new();
    text.push(b"\"");
    text.push(bucket.policy().as_bytes());
    text.push(b"\";r=");
    let remaining_start = text.length;
    text.push_number(*remaining, 1);
    let remaining_end = text.length;
    text.push(b";t=");
    let reset_start = text.length;
    text.push_number(*reset_seconds, 1);
    let text = Bytes::copy_from_slice(text.as_bytes());
    insert(headers, RATE_LIMIT_POLICY, bucket.policy_header.clone());
    insert(headers, RATE_LIMIT_LIMIT, bucket.limit_header.clone());
    insert(headers, RATE_LIMIT_REMAINING, text.slice(remaining_start..remaining_end));
    insert(headers, RATE_LIMIT_RESET, text.slice(reset_start..));
    insert(headers, RATE_LIMIT, text);
}

/// The texts are words and numbers of ours, so they are always valid header values.
fn insert(headers: &mut HeaderMap, name: HeaderName, text: Bytes) {
    if let Ok(value) = HeaderValue::from_maybe_shared(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::limiter::RateLimiter;
    use crate::limits::rate::Rate;

    fn text_of(headers: &HeaderMap) -> Vec<(&str, &str)> {
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
    }

    #[test]
    fn times_are_milliseconds_with_three_decimals() {
        let times = StageTimes {
            parse_seconds: 4.4e-6,
            cache_seconds: 0.0,
            queue_seconds: 0.012_345_6,
            infer_seconds: 61.0,
            encode_seconds: 1.0,
        };
        let mut headers = HeaderMap::new();
        insert_server_timing(&mut headers, times);
        let text = "parse;dur=0.004, cache;dur=0.000, queue;dur=12.346, infer;dur=61000.000";
        assert_eq!(text_of(&headers), [("server-timing", text)]);
    }

    #[test]
    fn a_rate_is_written_in_two_headers_and_in_their_parts() {
        let bucket = RateLimiter::default().bucket("key:key_1", Rate { count: 1000, seconds: 60 });
        let mut headers = HeaderMap::new();
        insert_rate_limit(&mut headers, &RateState { bucket, remaining: 999, reset_seconds: 1 });
        let mut fields = text_of(&headers);
        fields.sort_unstable();
        assert_eq!(
            fields,
            [
                ("ratelimit", "\"key\";r=999;t=1"),
                ("ratelimit-limit", "1000"),
                ("ratelimit-policy", "\"key\";q=1000;w=60"),
                ("ratelimit-remaining", "999"),
                ("ratelimit-reset", "1"),
            ]
        );
    }
}
