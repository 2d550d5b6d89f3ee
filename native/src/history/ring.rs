//! A bounded ring of answered predictions, for Python to drain: what comes while it is full is counted and left out.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::engine::batch::Batch;
use crate::history::record::{AnsweredPrediction, Entry, PredictionRecord, RecordedRows};
use crate::predict::request::EntryPoint;

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

/// The ring, and who gets into it.
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

    /// Records a prediction if it is in the sample and there is room; never waits. `rows`: called only then.
    pub fn push(&self, answered: &AnsweredPrediction<'_>, rows: impl FnOnce() -> RecordedRows) {
        let draw = fastrand::u64(..);
        let is_kept = draw < self.keep_below;
        let is_logged = answered.entry_point == EntryPoint::Front
            && (draw < self.log_below || answered.latency_seconds > self.slow_seconds);
        if !is_kept && !is_logged {
            return;
        }
        // Making an entry costs more than a look at a full ring.
        if self.ring.is_full() || self.ring.push(Entry::of(answered, rows(), is_kept, is_logged)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What the history would keep of the rows of a request.
    pub fn rows(&self, batch: Batch<'_>) -> RecordedRows {
        RecordedRows::of(batch, self.keeps_inputs)
    }

    /// Takes the oldest entries, at most so many.
    pub fn drain(&self, limit: usize) -> Vec<PredictionRecord> {
        std::iter::from_fn(|| self.ring.pop()).take(limit).map(|entry| entry.record()).collect()
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// A uniform draw below it is in a sample of `share`.
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
    use std::sync::Arc;
    use std::time::Instant;

    use serde_json::Value;

    use super::*;
    use crate::engine::batch::Outputs;
    use crate::engine::signature::Signature;
    use crate::engine::signature::tests::signature;
    use crate::history::record::MOST_ROWS;
    use crate::limits::callers::Caller;
    use crate::predict::request::CacheStatus;
    use crate::predict::routes::{Levels, PublishedModel, Route, Routes, Selector, Target};

    const SETTINGS: Settings =
        Settings { capacity: 4, sample: 1.0, log_sample: 0.0, slow_seconds: 1.0, keeps_inputs: false };

    /// What an answer of a model with two number columns and two classes brings along.
    struct Fixture {
        caller: Arc<Caller>,
        published: Arc<PublishedModel>,
        target: Arc<Target>,
        signature: Arc<Signature>,
    }

    fn outputs(signature: &Signature, words: &[u64]) -> Outputs {
        let mut outputs = Outputs::with_capacity(signature, words.len() / signature.width());
        words.chunks(signature.width()).for_each(|row| outputs.push_row(row));
        outputs
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
                levels: Levels::Auto,
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
            let batch = Batch::of(&self.signature, numbers, &[]).unwrap();
            let outputs = outputs(&self.signature, words);
            history.push(&self.answered(&outputs), || history.rows(batch));
        }

        fn answered<'a>(&'a self, outputs: &'a Outputs) -> AnsweredPrediction<'a> {
            AnsweredPrediction {
                caller: &self.caller,
                published: &self.published,
                target: &self.target,
                signature: &self.signature,
                outputs,
                cache: CacheStatus::Miss,
                latency_seconds: 0.001,
                unix_nanoseconds: 1_700_000_000_123_456_789,
                entry_point: EntryPoint::App,
            }
        }
    }

    const WORDS: [u64; 3] = [1, 0.25_f64.to_bits(), 0.75_f64.to_bits()];

    #[test]
    fn what_is_drained_says_who_asked_what_and_what_was_answered() {
        let (fixture, history) = (Fixture::new(), History::new(&SETTINGS));
        fixture.push(&history, &[1.0, 2.0], &WORDS);
        let record = history.drain(10).pop().unwrap();
        assert!(record.id.starts_with("prd_01HF7YAT3V") && record.id.len() == 30, "{}", record.id);
        assert_eq!(
            (&*record.user, &*record.owner, &*record.model, &*record.version),
            ("usr_1", "usr_2", "mdl_1", "ver_1")
        );
        assert_eq!((&*record.predictions, record.probabilities.as_deref()), ("[\"yes\"]", Some("[0.75]")));
        assert_eq!((record.rows, record.version_number, record.unix_microseconds), (1, 3, 1_700_000_000_123_456));
        assert_eq!(
            (record.digest.len(), record.inputs.is_none(), record.is_kept, record.is_logged),
            (32, true, true, false)
        );
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
        let outputs = outputs(&fixture.signature, &WORDS);
        let quick = AnsweredPrediction { entry_point: EntryPoint::Front, ..fixture.answered(&outputs) };
        for answered in [
            quick,
            AnsweredPrediction { latency_seconds: 2.0, ..quick },
            AnsweredPrediction { latency_seconds: 2.0, entry_point: EntryPoint::App, ..quick },
        ] {
            history.push(&answered, || history.rows(Batch::of(&fixture.signature, &[1.0, 2.0], &[]).unwrap()));
        }
        let record: Vec<(bool, bool, f64)> =
            history.drain(9).iter().map(|record| (record.is_kept, record.is_logged, record.latency_seconds)).collect();
        assert_eq!(record, [(false, true, 2.0)]);
    }

    #[test]
    fn inputs_are_kept_where_they_are_asked_for() {
        let (fixture, history) = (Fixture::new(), History::new(&Settings { keeps_inputs: true, ..SETTINGS }));
        fixture.push(&history, &[1.0, f64::NAN, 0.1, -0.0], &[WORDS, WORDS].concat());
        let record = history.drain(1).pop().unwrap();
        assert_eq!(record.inputs.as_deref(), Some("[[1.0,null],[0.1,-0.0]]"));
        assert_eq!((record.rows, &*record.predictions), (2, "[\"yes\",\"yes\"]"));
    }

    #[test]
    fn of_many_rows_the_first_are_kept() {
        let (fixture, history) = (Fixture::new(), History::new(&Settings { keeps_inputs: true, ..SETTINGS }));
        fixture.push(&history, &[1.0; 2000], &WORDS.repeat(1000));
        let record = history.drain(1).pop().unwrap();
        let kept = |json: &str| serde_json::from_str::<Vec<Value>>(json).unwrap().len();
        assert_eq!(
            (record.rows, kept(&record.predictions), kept(&record.inputs.unwrap())),
            (1000, MOST_ROWS, MOST_ROWS)
        );
    }

    #[test]
    fn equal_rows_have_equal_digests_and_other_rows_others() {
        let (fixture, history) = (Fixture::new(), History::new(&SETTINGS));
        for numbers in [[1.0, f64::NAN], [1.0, -f64::NAN], [1.0, 0.0], [1.0, -0.0]] {
            fixture.push(&history, &numbers, &WORDS);
        }
        let digests: Vec<String> = history.drain(4).into_iter().map(|record| record.digest).collect();
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
