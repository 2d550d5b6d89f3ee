//! A bounded ring of answered predictions, for Python to drain: what comes while it is full is counted and left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;
use pyo3::prelude::*;
use serde_json::Value;

use crate::cache::memory as cache;
use crate::engine::signature::{ColumnKind, Signature};
use crate::engine::version::Batch;
use crate::ids;
use crate::limits::callers::Caller;
use crate::predict::encode;
use crate::predict::routes::{Published, Target};

/// Of a request of many rows the first are kept, as many as fit.
const MOST_ROWS: usize = 8;
const MOST_WORDS: usize = 256;
const MOST_INPUT_BYTES: usize = 8192;
const MISSING_STRING: &str = "\u{1a}";

#[derive(Clone, Copy)]
pub struct Settings {
    /// Entries between two drains; at least one.
    pub capacity: usize,
    /// Share of the predictions that belong in the table.
    pub sample: f64,
    /// Share of the front's predictions that belong in the log; slow ones all do.
    pub log_sample: f64,
    pub slow_seconds: f64,
    /// Keep the inputs themselves beside their digest.
    pub keeps_inputs: bool,
}

/// Who answered the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryPoint {
    Front,
    App,
}

/// A prediction that has just been answered.
#[derive(Clone, Copy)]
pub struct Answered<'a> {
    pub caller: &'a Arc<Caller>,
    pub published: &'a Arc<Published>,
    pub target: &'a Arc<Target>,
    pub signature: &'a Arc<Signature>,
    /// Raw outputs, row-major.
    pub words: &'a [u64],
    pub cache: &'static str,
    pub latency_seconds: f64,
    pub unix_nanoseconds: u64,
    pub door: EntryPoint,
}

/// What the ring holds: nothing is formatted before it is drained.
struct Entry {
    number: u128,
    caller: Arc<Caller>,
    published: Arc<Published>,
    target: Arc<Target>,
    signature: Arc<Signature>,
    rows: Rows,
    /// Of the first rows: the prediction, and its probability where there is one.
    words: Box<[u64]>,
    cache: &'static str,
    latency_seconds: f64,
    unix_nanoseconds: u64,
    is_kept: bool,
    is_logged: bool,
}

/// What is remembered of the rows that were sent.
#[derive(Debug)]
pub struct Rows {
    count: usize,
    digest: blake3::Hash,
    inputs: Option<Inputs>,
}

#[derive(Debug)]
struct Inputs {
    numbers: Box<[f64]>,
    strings: Box<[Box<str>]>,
    rows: usize,
}

/// A drained entry, ready for a table.
#[pyclass(frozen, get_all, module = "serval._native")]
pub struct Seen {
    pub id: String,
    pub unix_microseconds: u64,
    pub owner: String,
    pub model: String,
    pub version: String,
    pub version_number: u64,
    pub user: String,
    pub rows: usize,
    /// The first 128 bits of BLAKE3 over the canonical bytes of the rows, in hexadecimal.
    pub digest: String,
    /// JSON: the first rows, each a list in the order of the columns.
    pub inputs: Option<String>,
    /// JSON lists, of the first rows.
    pub predictions: String,
    pub probabilities: Option<String>,
    pub cache: &'static str,
    pub latency_seconds: f64,
    pub is_kept: bool,
    pub is_logged: bool,
}

pub struct History {
    ring: ArrayQueue<Entry>,
    dropped: AtomicU64,
    keep_below: u64,
    log_below: u64,
    slow_seconds: f64,
    keeps_inputs: bool,
}

impl History {
    pub fn new(settings: &Settings) -> Self {
        Self {
            ring: ArrayQueue::new(settings.capacity.max(1)),
            dropped: AtomicU64::new(0),
            keep_below: threshold(settings.sample),
            log_below: threshold(settings.log_sample),
            slow_seconds: settings.slow_seconds,
            keeps_inputs: settings.keeps_inputs,
        }
    }

    /// Remember a prediction if its lot falls so and there is room; never waits. `rows`: asked for only then.
    pub fn push(&self, answered: &Answered<'_>, rows: impl FnOnce() -> Rows) {
        let lot = fastrand::u64(..);
        let is_kept = lot < self.keep_below;
        let is_logged = answered.door == EntryPoint::Front
            && (lot < self.log_below || answered.latency_seconds > self.slow_seconds);
        if !is_kept && !is_logged {
            return;
        }
        // A full ring is told before the entry is made, which costs more than looking.
        if self.ring.is_full() || self.ring.push(entry(answered, rows(), is_kept, is_logged)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn rows(&self, signature: &Signature, batch: Batch<'_>) -> Rows {
        let inputs = self.keeps_inputs.then(|| Inputs::of(signature, batch));
        Rows { count: batch.rows, digest: digest(signature, batch), inputs }
    }

    /// The oldest entries, at most so many.
    pub fn drain(&self, limit: usize) -> Vec<Seen> {
        std::iter::from_fn(|| self.ring.pop()).take(limit).map(|entry| entry.seen()).collect()
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

fn entry(answered: &Answered<'_>, rows: Rows, is_kept: bool, is_logged: bool) -> Entry {
    Entry {
        number: ids::ulid(answered.unix_nanoseconds),
        caller: answered.caller.clone(),
        published: answered.published.clone(),
        target: answered.target.clone(),
        signature: answered.signature.clone(),
        rows,
        words: first_outputs(answered.signature, answered.words),
        cache: answered.cache,
        latency_seconds: answered.latency_seconds,
        unix_nanoseconds: answered.unix_nanoseconds,
        is_kept,
        is_logged,
    }
}

impl Entry {
    fn seen(&self) -> Seen {
        let (predictions, probabilities) = encode::lists(&self.signature, &self.words);
        Seen {
            id: ids::written("prd_", self.number),
            unix_microseconds: self.unix_nanoseconds / 1000,
            owner: self.published.route.owner.to_string(),
            model: self.published.route.model.to_string(),
            version: self.target.version.to_string(),
            version_number: self.target.number,
            user: self.caller.user.to_string(),
            rows: self.rows.count,
            digest: self.rows.digest.to_hex()[..32].to_owned(),
            inputs: self.rows.inputs.as_ref().map(|inputs| inputs.json(&self.signature)),
            predictions,
            probabilities,
            cache: self.cache,
            latency_seconds: self.latency_seconds,
            is_kept: self.is_kept,
            is_logged: self.is_logged,
        }
    }
}

impl Inputs {
    /// The first rows, while they are few and small.
    fn of(signature: &Signature, batch: Batch<'_>) -> Self {
        let (n, m) = (signature.numbers(), signature.strings());
        let mut bytes = 0;
        let rows = (0..batch.rows.min(MOST_ROWS))
            .take_while(|row| {
                let strings = &batch.strings[row * m..(row + 1) * m];
                bytes += n * size_of::<f64>()
                    + strings.iter().map(|string| string.len() + size_of::<Box<str>>()).sum::<usize>();
                bytes <= MOST_INPUT_BYTES
            })
            .count();
        Self {
            numbers: batch.numbers[..rows * n].into(),
            strings: batch.strings[..rows * m].iter().map(|&string| string.into()).collect(),
            rows,
        }
    }

    /// A list for each row, in the order of the columns; what is missing is null.
    fn json(&self, signature: &Signature) -> String {
        let (mut numbers, mut strings) = (self.numbers.iter(), self.strings.iter());
        let mut cell = |kind: ColumnKind| match kind {
            ColumnKind::Number => numbers.next().map_or(Value::Null, |&number| number.into()),
            ColumnKind::Boolean => {
                numbers.next().filter(|number| !number.is_nan()).map_or(Value::Null, |&number| (number != 0.0).into())
            }
            ColumnKind::String => strings
                .next()
                .filter(|string| &***string != MISSING_STRING)
                .map_or(Value::Null, |string| (&**string).into()),
        };
        let rows: Vec<Value> =
            (0..self.rows).map(|_| signature.columns.iter().map(|column| cell(column.kind)).collect()).collect();
        Value::from(rows).to_string()
    }
}

fn digest(signature: &Signature, batch: Batch<'_>) -> blake3::Hash {
    let (n, m) = (signature.numbers(), signature.strings());
    let mut bytes = Vec::with_capacity(16 + 8 * n + 32 * m);
    if batch.rows == 1 {
        cache::push_row(&mut bytes, batch.numbers, batch.strings);
        return blake3::hash(&bytes);
    }
    let mut hasher = blake3::Hasher::new();
    for row in 0..batch.rows {
        bytes.clear();
        cache::push_row(&mut bytes, &batch.numbers[row * n..(row + 1) * n], &batch.strings[row * m..(row + 1) * m]);
        hasher.update(&bytes);
    }
    hasher.finalize()
}

/// Of the first rows, as `encode::lists` reads them: the words of the prediction, and that of its probability.
fn first_outputs(signature: &Signature, words: &[u64]) -> Box<[u64]> {
    let width = encode::listed_width(signature);
    let rows = MOST_ROWS.min(MOST_WORDS / width).min(words.len() / signature.width());
    let mut kept = Vec::with_capacity(rows * width);
    for row in words.chunks_exact(signature.width()).take(rows) {
        kept.extend_from_slice(&row[..signature.targets]);
        kept.extend(encode::probability(signature, row));
    }
    kept.into_boxed_slice()
}

/// What a lot must be below to have a share of all lots.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a cast of a float saturates"
)]
fn threshold(share: f64) -> u64 {
    (share * u64::MAX as f64) as u64
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use super::*;
    use crate::engine::signature::tests::signature;
    use crate::predict::routes::{Route, Routes, Selector};

    const SETTINGS: Settings =
        Settings { capacity: 4, sample: 1.0, log_sample: 0.0, slow_seconds: 1.0, keeps_inputs: false };

    /// What an answer of a model with two number columns and two classes brings along.
    struct Fixture {
        caller: Arc<Caller>,
        published: Arc<Published>,
        target: Arc<Target>,
        signature: Arc<Signature>,
    }

    impl Fixture {
        fn new() -> Self {
            let caller = Arc::new(Caller {
                user: "usr_1".into(),
                is_admin: true,
                can_predict: true,
                models: None,
                expires_seconds: 1.0,
                buckets: Box::default(),
                meter: None,
                quota: None,
            });
            let route = Route {
                model: "mdl_1".into(),
                name: "iris".into(),
                owner: "usr_2".into(),
                owner_username: "bob".into(),
                live: Some(3),
                versions: [(3, "ver_1".into())].into(),
                aliases: [].into(),
                levels: crate::predict::routes::Levels::Auto,
                cache_ttl_seconds: None,
                cache_l2_ttl_seconds: None,
                is_public: false,
                shared_with: [].into(),
            };
            let routes = Routes::of([route], |_, _, _| Arc::default());
            let published = routes.model(&caller, "mdl_1").unwrap().clone();
            let target = published.target(Selector::default()).unwrap().clone();
            Self { caller, published, target, signature: Arc::new(signature(r#"["no", "yes"]"#)) }
        }

        fn push(&self, history: &History, numbers: &[f64], words: &[u64]) {
            let batch = Batch { rows: numbers.len() / 2, numbers, strings: &[] };
            history.push(&self.answered(words), || history.rows(&self.signature, batch));
        }

        fn answered<'a>(&'a self, words: &'a [u64]) -> Answered<'a> {
            Answered {
                caller: &self.caller,
                published: &self.published,
                target: &self.target,
                signature: &self.signature,
                words,
                cache: "miss",
                latency_seconds: 0.001,
                unix_nanoseconds: 1_700_000_000_123_456_789,
                door: EntryPoint::App,
            }
        }
    }

    const WORDS: [u64; 3] = [1, 0.25_f64.to_bits(), 0.75_f64.to_bits()];

    #[test]
    fn what_is_drained_says_who_asked_what_and_what_was_answered() {
        let (fixture, history) = (Fixture::new(), History::new(&SETTINGS));
        fixture.push(&history, &[1.0, 2.0], &WORDS);
        let seen = history.drain(10).pop().unwrap();
        assert!(seen.id.starts_with("prd_01HF7YAT3V") && seen.id.len() == 30, "{}", seen.id);
        assert_eq!((&*seen.user, &*seen.owner, &*seen.model, &*seen.version), ("usr_1", "usr_2", "mdl_1", "ver_1"));
        assert_eq!((&*seen.predictions, seen.probabilities.as_deref()), ("[\"yes\"]", Some("[0.75]")));
        assert_eq!((seen.rows, seen.version_number, seen.unix_microseconds), (1, 3, 1_700_000_000_123_456));
        assert_eq!((seen.digest.len(), seen.inputs.is_none(), seen.is_kept, seen.is_logged), (32, true, true, false));
        assert!(history.drain(10).is_empty());
    }

    #[test]
    fn a_full_ring_counts_what_it_leaves_out() {
        let (fixture, history) = (Fixture::new(), History::new(&SETTINGS));
        for _ in 0..6 {
            fixture.push(&history, &[1.0, 2.0], &WORDS);
        }
        assert_eq!((history.drain(3).len(), history.drain(3).len(), history.dropped()), (3, 1, 2));
    }

    #[test]
    fn a_share_is_kept_and_none_of_nothing() {
        let fixture = Fixture::new();
        let kept = |sample| {
            let history = History::new(&Settings { capacity: 10_000, sample, ..SETTINGS });
            (0..10_000).for_each(|_| fixture.push(&history, &[1.0, 2.0], &WORDS));
            (history.drain(10_000).len(), history.dropped())
        };
        assert_eq!((kept(0.0), kept(1.0)), ((0, 0), (10_000, 0)));
        assert!((4_500..5_500).contains(&kept(0.5).0));
    }

    #[test]
    fn the_fronts_slow_predictions_are_logged_whatever_is_kept() {
        let (fixture, history) = (Fixture::new(), History::new(&Settings { sample: 0.0, ..SETTINGS }));
        let quick = Answered { door: EntryPoint::Front, ..fixture.answered(&WORDS) };
        for answered in [
            quick,
            Answered { latency_seconds: 2.0, ..quick },
            Answered { latency_seconds: 2.0, door: EntryPoint::App, ..quick },
        ] {
            history.push(&answered, || {
                history.rows(&fixture.signature, Batch { rows: 1, numbers: &[1.0, 2.0], strings: &[] })
            });
        }
        let seen: Vec<(bool, bool, f64)> =
            history.drain(9).iter().map(|seen| (seen.is_kept, seen.is_logged, seen.latency_seconds)).collect();
        assert_eq!(seen, [(false, true, 2.0)]);
    }

    #[test]
    fn inputs_are_kept_where_they_are_asked_for() {
        let (fixture, history) = (Fixture::new(), History::new(&Settings { keeps_inputs: true, ..SETTINGS }));
        fixture.push(&history, &[1.0, f64::NAN, 0.1, -0.0], &[WORDS, WORDS].concat());
        let seen = history.drain(1).pop().unwrap();
        assert_eq!(seen.inputs.as_deref(), Some("[[1.0,null],[0.1,-0.0]]"));
        assert_eq!((seen.rows, &*seen.predictions), (2, "[\"yes\",\"yes\"]"));
    }

    #[test]
    fn of_many_rows_the_first_are_kept() {
        let (fixture, history) = (Fixture::new(), History::new(&Settings { keeps_inputs: true, ..SETTINGS }));
        fixture.push(&history, &[1.0; 2000], &WORDS.repeat(1000));
        let seen = history.drain(1).pop().unwrap();
        let kept = |json: &str| serde_json::from_str::<Vec<Value>>(json).unwrap().len();
        assert_eq!((seen.rows, kept(&seen.predictions), kept(&seen.inputs.unwrap())), (1000, MOST_ROWS, MOST_ROWS));
    }

    #[test]
    fn equal_rows_have_equal_digests_and_other_rows_others() {
        let (fixture, history) = (Fixture::new(), History::new(&SETTINGS));
        for numbers in [[1.0, f64::NAN], [1.0, -f64::NAN], [1.0, 0.0], [1.0, -0.0]] {
            fixture.push(&history, &numbers, &WORDS);
        }
        let digests: Vec<String> = history.drain(4).into_iter().map(|seen| seen.digest).collect();
        assert_eq!(digests[0], digests[1]);
        assert!(digests[1] != digests[2] && digests[2] != digests[3]);
    }

    /// `cargo test --release -- --ignored --nocapture a_push`
    #[test]
    #[ignore = "a measurement"]
    fn a_push_is_timed() {
        const PUSHES: u32 = 8192;
        let fixture = Fixture::new();
        let measure = |name: &str, settings: &Settings, is_drained: bool| {
            let history = History::new(settings);
            let mut best = f64::INFINITY;
            for _ in 0..200 {
                let started = Instant::now();
                for _ in 0..PUSHES {
                    fixture.push(black_box(&history), black_box(&[5.1, 3.5]), &WORDS);
                }
                best = best.min(started.elapsed().as_secs_f64() / f64::from(PUSHES));
                if is_drained {
                    history.drain(PUSHES as usize);
                }
            }
            println!("{name}: {:.1} ns", best * 1e9);
        };
        let roomy = Settings { capacity: PUSHES as usize, ..SETTINGS };
        measure("kept", &roomy, true);
        measure("kept with inputs", &Settings { keeps_inputs: true, ..roomy }, true);
        measure("full", &SETTINGS, false);
        measure("sampled out", &Settings { sample: 0.0, ..SETTINGS }, false);
        let history = History::new(&roomy);
        (0..PUSHES).for_each(|_| fixture.push(&history, &[5.1, 3.5], &WORDS));
        let pushed = Instant::now();
        black_box(history.drain(PUSHES as usize));
        println!("drained: {:.1} ns", pushed.elapsed().as_secs_f64() / f64::from(PUSHES) * 1e9);
    }
}
