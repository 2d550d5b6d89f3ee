//! One answered prediction, as the history keeps it and as Python reads it.

use std::sync::Arc;

use pyo3::prelude::*;
use serde_json::Value;

use crate::cache::memory as cache;
use crate::clock;
use crate::engine::batch::{Batch, Outputs};
use crate::engine::signature::{ColumnKind, MISSING_STRING, Signature};
use crate::ids;
use crate::limits::callers::Caller;
use crate::predict::encode;
use crate::predict::request::{CacheStatus, EntryPoint};
use crate::predict::routes::{PublishedModel, Target};

/// Of a request of many rows the first are kept, as many as fit.
pub const MOST_ROWS: usize = 8;
const MOST_INPUT_BYTES: usize = 8192;

/// A prediction that has just been answered.
#[derive(Clone, Copy)]
pub struct AnsweredPrediction<'a> {
    pub caller: &'a Arc<Caller>,
    pub published: &'a Arc<PublishedModel>,
    pub target: &'a Arc<Target>,
    pub signature: &'a Arc<Signature>,
    pub outputs: &'a Outputs,
    pub cache: CacheStatus,
    pub latency_seconds: f64,
    pub unix_nanoseconds: u64,
    pub entry_point: EntryPoint,
}

/// An entry of the history: nothing is formatted before it is drained.
pub struct Entry {
    number: u128,
    caller: Arc<Caller>,
    published: Arc<PublishedModel>,
    target: Arc<Target>,
    signature: Arc<Signature>,
    rows: RecordedRows,
    /// Of the first rows: the predictions, and the probability of each where there is one.
    words: Box<[u64]>,
    cache: CacheStatus,
    latency_seconds: f64,
    unix_nanoseconds: u64,
    is_kept: bool,
    is_logged: bool,
}

/// What the history keeps of the rows of a request.
#[derive(Debug)]
pub struct RecordedRows {
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
pub struct PredictionRecord {
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

impl RecordedRows {
    pub fn of(batch: Batch<'_>, keeps_inputs: bool) -> Self {
        Self { count: batch.rows(), digest: digest(batch), inputs: keeps_inputs.then(|| Inputs::of(batch)) }
    }
}

impl Entry {
    pub fn of(answered: &AnsweredPrediction<'_>, rows: RecordedRows, is_kept: bool, is_logged: bool) -> Self {
        Self {
            number: ids::ulid(answered.unix_nanoseconds),
            caller: answered.caller.clone(),
            published: answered.published.clone(),
            target: answered.target.clone(),
            signature: answered.signature.clone(),
            rows,
            words: first_outputs(answered.signature, answered.outputs),
            cache: answered.cache,
            latency_seconds: answered.latency_seconds,
            unix_nanoseconds: answered.unix_nanoseconds,
            is_kept,
            is_logged,
        }
    }

    pub fn record(&self) -> PredictionRecord {
        let (predictions, probabilities) = encode::lists(&self.signature, &self.words);
        PredictionRecord {
            id: ids::format_id("prd_", self.number),
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
            cache: self.cache.as_str(),
            latency_seconds: self.latency_seconds,
            is_kept: self.is_kept,
            is_logged: self.is_logged,
        }
    }
}

impl Inputs {
    /// The first rows, while they are few and small.
    fn of(batch: Batch<'_>) -> Self {
        let mut bytes = 0;
        let rows = (0..batch.rows().min(MOST_ROWS))
            .take_while(|&index| {
                let row = batch.row(index);
                bytes += size_of_val(row.numbers())
                    + row.strings().iter().map(|string| string.len() + size_of::<Box<str>>()).sum::<usize>();
                bytes <= MOST_INPUT_BYTES
            })
            .count();
        let first = batch.slice(0, rows);
        Self {
            numbers: first.numbers().into(),
            strings: first.strings().iter().map(|&string| string.into()).collect(),
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
            ColumnKind::Timestamp => numbers
                .next()
                .filter(|number| number.is_finite())
                .map_or(Value::Null, |&number| clock::rfc_3339(number).into()),
            ColumnKind::Unused => Value::Null,
        };
        let rows: Vec<Value> =
            (0..self.rows).map(|_| signature.columns.iter().map(|column| cell(column.kind)).collect()).collect();
        Value::from(rows).to_string()
    }
}

fn digest(batch: Batch<'_>) -> blake3::Hash {
    let mut bytes = Vec::new();
    let push = |bytes: &mut Vec<u8>, row: Batch<'_>| {
        bytes.clear();
        bytes.reserve(16 + size_of_val(row.numbers()) + 32 * row.strings().len());
        cache::push_row(bytes, row.numbers(), row.strings());
    };
    if batch.rows() == 1 {
        push(&mut bytes, batch);
        return blake3::hash(&bytes);
    }
    let mut hasher = blake3::Hasher::new();
    for index in 0..batch.rows() {
        push(&mut bytes, batch.row(index));
        hasher.update(&bytes);
    }
    hasher.finalize()
}

/// Of the first rows, as `encode::lists` reads them.
fn first_outputs(signature: &Signature, outputs: &Outputs) -> Box<[u64]> {
    let width = encode::listed_width(signature);
    let rows = MOST_ROWS.min(encode::MOST_LISTED_WORDS / width).min(outputs.rows());
    let mut kept = Vec::with_capacity(rows * width);
    for row in outputs.iter().take(rows) {
        kept.extend(encode::listed(signature, row));
    }
    kept.into_boxed_slice()
}
