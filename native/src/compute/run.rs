//! Rows to run, what they cost and what they give.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::cache::memory::Key;
use crate::compute::scheduler::Cost;
use crate::engine::batch::{Batch, Outputs};
use crate::engine::version::Version;
use crate::error::Fault;

/// Rows of one version that have to be run.
pub struct Run {
    /// Id of the model, by which the scheduler shares out the time.
    pub model: Box<str>,
    pub version: Arc<Version>,
    pub numbers: Vec<f64>,
    pub strings: Vec<Box<str>>,
    /// The cache's keys of the rows; none where they are not to be cached.
    pub keys: Vec<Key>,
}

/// Raw outputs of the rows of a run.
pub struct RunResult {
    pub words: Vec<u64>,
    pub queue_seconds: f64,
    pub infer_seconds: f64,
}

impl Run {
    pub fn rows(&self) -> usize {
        let signature = &self.version.signature;
        self.numbers.len().checked_div(signature.numbers()).unwrap_or(self.strings.len() / signature.strings().max(1))
    }

    /// How long all its rows are expected to take.
    pub fn seconds(&self) -> f64 {
        self.version.seconds(self.rows())
    }

    /// How long its rows are expected to take in a run whose fixed cost others pay.
    #[allow(clippy::cast_precision_loss, reason = "rows are few")]
    pub fn row_seconds(&self) -> f64 {
        self.version.measured.row_seconds * self.rows() as f64
    }

    /// Whether merging it with other runs lowers the mean latency: runs one after the other answer the first of them
    /// early, a merged run pays the fixed cost once. So the fixed cost has to be above that of the rows.
    pub fn gains_by_batching(&self) -> bool {
        self.version.measured.tile != 0 && self.version.measured.fixed_seconds > self.row_seconds()
    }

    pub fn cost(&self) -> Cost {
        let alone_seconds = self.seconds();
        let batched_seconds = if self.gains_by_batching() { self.row_seconds() } else { alone_seconds };
        Cost { alone_seconds, batched_seconds }
    }

    /// A run of some of its rows.
    pub fn pick(&self, rows: &[usize]) -> Self {
        let (numbers, strings) = (self.version.signature.numbers(), self.version.signature.strings());
        Self {
            model: self.model.clone(),
            version: self.version.clone(),
            numbers: rows.iter().flat_map(|row| &self.numbers[row * numbers..(row + 1) * numbers]).copied().collect(),
            strings: rows.iter().flat_map(|row| &self.strings[row * strings..(row + 1) * strings]).cloned().collect(),
            keys: rows.iter().map(|&row| self.keys[row]).collect(),
        }
    }

    /// Runs it on the calling thread.
    pub fn execute(&self) -> Result<Vec<u64>, Fault> {
        execute(&self.version, &self.numbers, &self.strings)
    }
}

/// Runs rows on the calling thread; a panic is a fault of these rows alone.
pub fn execute(version: &Version, numbers: &[f64], strings: &[Box<str>]) -> Result<Vec<u64>, Fault> {
    let strings: Vec<&str> = strings.iter().map(|string| &**string).collect();
    let batch = Batch::of(&version.signature, numbers, &strings)?;
    let outputs = catch_unwind(AssertUnwindSafe(|| version.run(batch)));
    outputs.unwrap_or_else(|_| Err(Fault::load("a run has panicked"))).map(Outputs::into_words)
}
