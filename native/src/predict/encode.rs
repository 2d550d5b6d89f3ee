//! Outputs → JSON: the answers of the wire, byte by byte.
//!
//! Floats print in the shortest form that reads back as the same number of the model's output dtype, laid out as
//! Python's `repr` does (`0.1`, `1e-05`, `1e+16`, `1.0`), so `json.dumps` of the same number gives the same bytes; NaN
//! and infinities are `null`.

use crate::clock;
use crate::engine::batch::Outputs;
use crate::engine::signature::{Float, Kind, Label, Signature};
use crate::predict::request::AnswerShape;

/// An answer includes maps of probabilities by default up to this many classes of all targets.
pub const MAPPED_CLASSES: usize = 20;
/// `lists` leaves the probabilities out where a row would have more words with them.
pub const MOST_LISTED_WORDS: usize = 256;

/// The members of an answer beside its predictions.
pub struct Frame<'a> {
    pub signature: &'a Signature,
    pub shape: AnswerShape,
    pub is_list: bool,
    pub all_probabilities: bool,
    /// The model's name as JSON text.
    pub model_json: &'a str,
    pub version: &'a str,
    pub version_number: u64,
    pub cache_hits: usize,
    pub rows: usize,
}

/// Encodes raw outputs.
///
/// `latency_seconds` is called when all else is written. `unix_nanoseconds`: when the answer was made.
pub fn encode(
    frame: &Frame<'_>,
    outputs: &Outputs,
    unix_nanoseconds: u64,
    latency_seconds: impl FnOnce() -> f64,
) -> Vec<u8> {
    let mut json = Json(Vec::with_capacity(256 + outputs.words().len() * 12));
    json.raw("{");
    if frame.is_list {
        many(&mut json, frame, outputs);
    } else {
        one(&mut json, frame, outputs.row(0));
    }
    if frame.shape == AnswerShape::Short && !frame.is_list {
        json.raw(",\"latency_ms\":");
        json.milliseconds(latency_seconds());
        cache_hit(&mut json, frame);
    } else {
        tail(&mut json, frame, unix_nanoseconds, latency_seconds);
    }
    json.raw("}");
    json.0
}

fn tail(json: &mut Json, frame: &Frame<'_>, unix_nanoseconds: u64, latency_seconds: impl FnOnce() -> f64) {
    json.raw(",\"model\":");
    json.raw(frame.model_json);
    json.raw(",\"version\":\"");
    json.raw(frame.version);
    json.raw("\",\"model_version\":");
    json.unsigned(frame.version_number);
    json.raw(",\"latency_ms\":");
    json.milliseconds(latency_seconds());
    cache_hit(json, frame);
    json.raw(",\"timestamp\":\"");
    json.timestamp(unix_nanoseconds);
    json.raw("\"");
}

fn cache_hit(json: &mut Json, frame: &Frame<'_>) {
    if frame.is_list {
        json.raw(",\"cache_hits\":");
        json.unsigned(frame.cache_hits as u64);
    } else {
        json.raw(",\"cache_hit\":");
        json.raw(if frame.cache_hits == frame.rows { "true" } else { "false" });
    }
}

fn one(json: &mut Json, frame: &Frame<'_>, words: &[u64]) {
    let signature = frame.signature;
    json.raw("\"prediction\":");
    prediction(json, signature, words);
    if signature.has_probabilities {
        json.raw(",\"probability\":");
        each_target(json, signature, chosen_probabilities(signature, words), |json, score| {
            json.float(score, signature.scores_dtype);
        });
    } else if frame.shape == AnswerShape::Short {
        json.raw(",\"probability\":null");
    }
    let is_mapped = frame.all_probabilities || score_count(signature) <= MAPPED_CLASSES;
    if signature.has_probabilities && is_mapped && frame.shape == AnswerShape::Full {
        probabilities(json, signature, words);
    }
}

/// Of each target a map from label to probability; where two labels have the same text, the classes and lists.
fn probabilities(json: &mut Json, signature: &Signature, words: &[u64]) {
    if signature.labels_collide {
        classes(json, signature);
        json.raw(",\"probabilities\":");
        return scores(json, signature, words);
    }
    json.raw(",\"probabilities\":");
    each_target(json, signature, tables(signature, words), |json, table| map(json, signature, &table));
}

fn map(json: &mut Json, signature: &Signature, table: &Table<'_>) {
    json.raw("{");
    for (index, (label, &score)) in table.labels.iter().zip(table.scores).enumerate() {
        json.raw(if index == 0 { "" } else { "," });
        json.raw(&label.key);
        json.raw(":");
        json.float(score, signature.scores_dtype);
    }
    json.raw("}");
}

fn many(json: &mut Json, frame: &Frame<'_>, outputs: &Outputs) {
    let signature = frame.signature;
    json.raw("\"predictions\":");
    json.list(outputs.iter(), |json, row| prediction(json, signature, row));
    if signature.has_probabilities && frame.all_probabilities {
        classes(json, signature);
        json.raw(",\"probabilities\":");
        json.list(outputs.iter(), |json, row| scores(json, signature, row));
    }
}

fn classes(json: &mut Json, signature: &Signature) {
    json.raw(",\"classes\":");
    each_target(json, signature, signature.labels.iter(), |json, labels| {
        json.list(labels, |json, label| json.raw(&label.json));
    });
}

/// The probabilities of a row, in the order of the classes.
fn scores(json: &mut Json, signature: &Signature, row: &[u64]) {
    each_target(json, signature, tables(signature, row), |json, table| {
        json.list(table.scores, |json, &score| json.float(score, signature.scores_dtype));
    });
}

/// What there is for each target: a list of it, or the only one itself.
fn each_target<T>(
    json: &mut Json,
    signature: &Signature,
    mut items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Json, T),
) {
    if signature.is_multi_target {
        json.list(items, write);
    } else if let Some(only) = items.next() {
        write(json, only);
    }
}

fn prediction(json: &mut Json, signature: &Signature, row: &[u64]) {
    let is_classifier = signature.kind == Kind::Classifier;
    let value = |json: &mut Json, target: usize| {
        if is_classifier {
            json.raw(&signature.labels[target][index(row[target])].json);
        } else {
            json.float(row[target], signature.scores_dtype);
        }
    };
    each_target(json, signature, 0..signature.targets, value);
}

/// The probabilities of a target's classes.
struct Table<'a> {
    labels: &'a [Label],
    scores: &'a [u64],
}

/// Of a row of a model that has probabilities, target by target.
fn tables<'a>(signature: &'a Signature, row: &'a [u64]) -> impl Iterator<Item = Table<'a>> {
    let mut rest = &row[signature.label_width()..];
    signature.labels.iter().map(move |labels| {
        let (scores, others) = rest.split_at(labels.len());
        rest = others;
        Table { labels, scores }
    })
}

/// The probability of the predicted class of each target, of a row of a model that has probabilities.
fn chosen_probabilities<'a>(signature: &'a Signature, row: &'a [u64]) -> impl Iterator<Item = u64> {
    tables(signature, row).zip(row).map(|(table, &label)| table.scores[index(label)])
}

/// The words of a row of `lists`: its predictions, then the probability of each, where there is one.
pub fn listed<'a>(signature: &'a Signature, row: &'a [u64]) -> impl Iterator<Item = u64> {
    let probabilities = lists_probabilities(signature).then(|| chosen_probabilities(signature, row));
    row[..signature.targets].iter().copied().chain(probabilities.into_iter().flatten())
}

/// Predictions and the probabilities of what they predict as two JSON lists.
pub fn lists(signature: &Signature, words: &[u64]) -> (String, Option<String>) {
    let rows = || words.chunks_exact(listed_width(signature));
    let listed = |write: &dyn Fn(&mut Json, &[u64])| {
        let mut json = Json(vec![]);
        json.list(rows(), write);
        String::from_utf8_lossy(&json.0).into_owned()
    };
    let predictions = listed(&|json, row| prediction(json, signature, row));
    let probabilities = lists_probabilities(signature).then(|| {
        listed(&|json, row| {
            each_target(json, signature, row[signature.targets..].iter(), |json, &score| {
                json.float(score, signature.scores_dtype);
            });
        })
    });
    (predictions, probabilities)
}

/// Words of a row of `lists`.
pub fn listed_width(signature: &Signature) -> usize {
    if lists_probabilities(signature) { 2 * signature.targets } else { signature.targets }
}

fn lists_probabilities(signature: &Signature) -> bool {
    signature.has_probabilities && 2 * signature.targets <= MOST_LISTED_WORDS
}

fn score_count(signature: &Signature) -> usize {
    signature.score_width()
}

/// A label's index; the engine has held it to its range.
#[allow(clippy::cast_possible_truncation, reason = "the engine has held it to the range of the labels")]
fn index(word: u64) -> usize {
    word as usize
}

struct Json(Vec<u8>);

impl Json {
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn unsigned(&mut self, number: u64) {
        let mut digits = [0_u8; 20];
        let mut start = digits.len();
        let mut rest = number;
        loop {
            start -= 1;
            digits[start] = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.0.extend_from_slice(&digits[start..]);
    }

    fn padded(&mut self, number: u64, width: usize) {
        let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
        self.0.extend(std::iter::repeat_n(b'0', width.saturating_sub(digits)));
        self.unsigned(number);
    }

    fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.raw("[");
        for (index, item) in items.into_iter().enumerate() {
            self.raw(if index == 0 { "" } else { "," });
            write(self, item);
        }
        self.raw("]");
    }

    #[allow(clippy::cast_possible_truncation, reason = "the number came from a float32")]
    fn float(&mut self, bits: u64, dtype: Float) {
        let number = f64::from_bits(bits);
        if !number.is_finite() {
            return self.raw("null");
        }
        let mut buffer = zmij::Buffer::new();
        let shortest = match dtype {
            Float::Float32 => buffer.format_finite(number as f32),
            Float::Float64 => buffer.format_finite(number),
        };
        self.laid_out(shortest);
    }

    /// Digits and exponent of `text`, laid out as Python's `repr` does.
    fn laid_out(&mut self, text: &str) {
        let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let magnitude = digits.trim_start_matches('-');
        let is_small = magnitude.starts_with("0.0000");
        if digits.len() == text.len() && !is_small && magnitude.find('.').is_some_and(|whole| whole <= 16) {
            return self.raw(text);
        }
        if digits.starts_with('-') {
            self.raw("-");
        }
        self.scientific(magnitude, exponent.parse().unwrap_or_default());
    }

    fn scientific(&mut self, magnitude: &str, exponent: i32) {
        let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
        let all = [whole, fraction].concat();
        let significant = all.trim_start_matches('0');
        let leading = all.len() - significant.len();
        let digits = significant.trim_end_matches('0');
        if digits.is_empty() {
            return self.raw("0.0");
        }
        // The number is 0.DIGITS times ten to the `point`.
        let point =
            exponent + i32::try_from(whole.len()).unwrap_or_default() - i32::try_from(leading).unwrap_or_default();
        match point {
            -3..=16 => self.positional(digits, point),
            _ => self.exponential(digits, point - 1),
        }
    }

    fn positional(&mut self, digits: &str, point: i32) {
        let count = i32::try_from(digits.len()).unwrap_or_default();
        let zeros = |json: &mut Self, count: i32| (0..count).for_each(|_| json.raw("0"));
        if point <= 0 {
            self.raw("0.");
            zeros(self, -point);
            self.raw(digits);
        } else if point >= count {
            self.raw(digits);
            zeros(self, point - count);
            self.raw(".0");
        } else {
            let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or_default());
            self.raw(whole);
            self.raw(".");
            self.raw(fraction);
        }
    }

    fn exponential(&mut self, digits: &str, exponent: i32) {
        self.raw(&digits[..1]);
        if digits.len() > 1 {
            self.raw(".");
            self.raw(&digits[1..]);
        }
        self.raw(if exponent < 0 { "e-" } else { "e+" });
        self.padded(u64::from(exponent.unsigned_abs()), 2);
    }

    /// Milliseconds with three decimals.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a latency is not negative and far below 2^53 µs"
    )]
    fn milliseconds(&mut self, seconds: f64) {
        let microseconds = (seconds * 1e6).round().max(0.0) as u64;
        self.unsigned(microseconds / 1000);
        self.raw(".");
        self.padded(microseconds % 1000, 3);
    }

    /// RFC 3339 in UTC with milliseconds.
    fn timestamp(&mut self, unix_nanoseconds: u64) {
        let milliseconds = unix_nanoseconds / 1_000_000;
        let seconds = milliseconds / 1000;
        let (year, month, day) = clock::civil(seconds / 86_400 + clock::DAYS_TO_1970);
        let parts = [
            (year, 4, "-"),
            (month, 2, "-"),
            (day, 2, "T"),
            (seconds / 3600 % 24, 2, ":"),
            (seconds / 60 % 60, 2, ":"),
            (seconds % 60, 2, "."),
            (milliseconds % 1000, 3, "Z"),
        ];
        for (number, width, separator) in parts {
            self.padded(number, width);
            self.raw(separator);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::signature::tests::{several_targets, signature};

    fn outputs(signature: &Signature) -> Outputs {
        let mut outputs = Outputs::with_capacity(signature, 1);
        outputs.push_row(&[1, 0.25_f64.to_bits(), 0.75_f64.to_bits()]);
        outputs
    }

    fn printed(number: f64, dtype: Float) -> String {
        let mut json = Json(Vec::new());
        json.float(number.to_bits(), dtype);
        String::from_utf8(json.0).unwrap()
    }

    #[test]
    fn floats_are_laid_out_as_python_does() {
        let cases = [
            (0.1, "0.1"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (1e-5, "1e-05"),
            (1.5e-5, "1.5e-05"),
            (0.0001, "0.0001"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
            (-0.000_123_456_789_012_345_6, "-0.0001234567890123456"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
        ];
        for (number, expected) in cases {
            assert_eq!(printed(number, Float::Float64), expected);
        }
        assert_eq!(printed(f64::from(0.1_f32), Float::Float32), "0.1");
    }

    #[test]
    fn timestamps_are_rfc_3339() {
        let mut json = Json(Vec::new());
        json.timestamp(1_709_210_096_007_000_000);
        assert_eq!(json.0, b"2024-02-29T12:34:56.007Z");
    }

    #[test]
    fn a_short_answer_has_exactly_four_members() {
        let signature = signature("[0, 1]");
        let frame = Frame {
            signature: &signature,
            shape: AnswerShape::Short,
            is_list: false,
            all_probabilities: false,
            model_json: "\"m\"",
            version: "v",
            version_number: 1,
            cache_hits: 0,
            rows: 1,
        };
        let body = encode(&frame, &outputs(&signature), 0, || 0.000_031);
        assert_eq!(
            String::from_utf8(body).unwrap(),
            r#"{"prediction":1,"probability":0.75,"latency_ms":0.031,"cache_hit":false}"#
        );
    }

    #[test]
    fn colliding_labels_come_as_classes_and_a_list() {
        let signature = signature(r#"[1, "1"]"#);
        let frame = Frame {
            signature: &signature,
            shape: AnswerShape::Full,
            is_list: false,
            all_probabilities: false,
            model_json: "\"m\"",
            version: "v",
            version_number: 1,
            cache_hits: 1,
            rows: 1,
        };
        let body = encode(&frame, &outputs(&signature), 0, || 0.0);
        assert!(
            String::from_utf8(body)
                .unwrap()
                .starts_with(r#"{"prediction":"1","probability":0.75,"classes":[1,"1"],"probabilities":[0.25,0.75],"#)
        );
    }

    const TWO_TARGETS: [u64; 7] =
        [1, 2, 0.25_f64.to_bits(), 0.75_f64.to_bits(), 0.5_f64.to_bits(), 0.125_f64.to_bits(), 0.375_f64.to_bits()];

    fn of_two_targets(labels: &str, is_list: bool, shape: AnswerShape) -> String {
        let signature = several_targets(labels, 2);
        let mut outputs = Outputs::with_capacity(&signature, 1);
        outputs.push_row(&TWO_TARGETS);
        let frame = Frame {
            signature: &signature,
            shape,
            is_list,
            all_probabilities: is_list,
            model_json: "\"m\"",
            version: "v",
            version_number: 1,
            cache_hits: 0,
            rows: 1,
        };
        String::from_utf8(encode(&frame, &outputs, 0, || 0.0)).unwrap()
    }

    #[test]
    fn each_target_has_a_table_of_probabilities() {
        let labels = r#"[0, 1], ["a", "b", "c"]"#;
        let tables = r#"[{"0":0.25,"1":0.75},{"a":0.5,"b":0.125,"c":0.375}]"#;
        let one = of_two_targets(labels, false, AnswerShape::Full);
        let expected = format!(r#"{{"prediction":[1,"c"],"probability":[0.75,0.375],"probabilities":{tables},"model""#);
        assert!(one.starts_with(&expected), "{one}");
        let many = of_two_targets(labels, true, AnswerShape::Full);
        let expected = r#"{"predictions":[[1,"c"]],"classes":[[0,1],["a","b","c"]],"probabilities":[[[0.25,0.75],[0.5,0.125,0.375]]],"model""#;
        assert!(many.starts_with(expected), "{many}");
        let short = of_two_targets(labels, false, AnswerShape::Short);
        assert!(short.starts_with(r#"{"prediction":[1,"c"],"probability":[0.75,0.375],"latency_ms""#), "{short}");
    }

    #[test]
    fn labels_that_collide_in_one_target_make_lists_of_all() {
        let one = of_two_targets(r#"[0, 1], [1, "1", 2]"#, false, AnswerShape::Full);
        let expected = r#""classes":[[0,1],[1,"1",2]],"probabilities":[[0.25,0.75],[0.5,0.125,0.375]],"model""#;
        assert!(one.contains(expected), "{one}");
    }

    #[test]
    fn listed_rows_have_the_probability_of_each_prediction() {
        let signature = several_targets(r#"[0, 1], ["a", "b", "c"]"#, 2);
        let words: Vec<u64> = listed(&signature, &TWO_TARGETS).collect();
        assert_eq!(words.len(), listed_width(&signature));
        let expected = (r#"[[1,"c"]]"#.to_owned(), Some("[[0.75,0.375]]".to_owned()));
        assert_eq!(lists(&signature, &words), expected);
    }

    #[test]
    fn so_many_targets_that_they_fill_a_list_are_listed_without_probabilities() {
        let signature = several_targets(&vec!["[0, 1]"; 200].join(","), 200);
        let words: Vec<u64> = listed(&signature, &vec![0; signature.width()]).collect();
        assert_eq!((words.len(), listed_width(&signature)), (200, 200));
        assert_eq!(lists(&signature, &words).1, None);
    }
}
