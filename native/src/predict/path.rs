//! The path of one prediction, top to bottom: caller and body in, answer or refusal out.

use std::sync::Arc;

use crate::clock::{Stopwatch, now_seconds};
use crate::compute::error::ComputeError;
use crate::compute::run::Run;
use crate::engine::batch::{Batch, OwnedBatch};
use crate::engine::version::Version;
use crate::error::{Code, Fault, Refusal};
use crate::plane::Plane;
use crate::predict::answer::Answer;
use crate::predict::cached::CacheLookup;
use crate::predict::decoded::Rows;
use crate::predict::deferred::DeferredPrediction;
use crate::predict::prediction::{Prediction, ResolvedVersion};
use crate::predict::request::{DecodedRows, LongBodyRequest, PredictRequest, VersionRef};
use crate::predict::routes::{Selector, Target};
use crate::predict::rows::{self, Outline, TooMany};

/// What reading a byte of a body costs, at most; bodies that would take too long are left to another thread.
const READ_SECONDS_PER_BYTE: f64 = 5e-9;

/// What a run costs is measured on usual strings; with more than this it is left to another thread, however quick that
/// was.
const INLINE_STRING_BYTES: usize = 16 * 1024;

/// Why a prediction stops before its answer.
#[derive(Debug)]
pub enum PredictError {
    Refused(Refusal),
    /// The body needs Python.
    NeedsPython(VersionRef),
    /// The body is too long to be read on the calling thread: see `answer_long_body`.
    BodyTooLong,
    /// The rest is not for the calling thread: see `finish`.
    Deferred(Box<DeferredPrediction>),
    Failed(Fault),
}

impl Plane {
    /// Answers a body. `model`: from the path; the short shape names it in the body.
    pub fn answer(
        &self,
        request: PredictRequest<'_>,
        model: Option<&str>,
        selector: Selector<'_>,
        body: &[u8],
    ) -> Result<Answer, PredictError> {
        self.counting_refusals(|| {
            let caller = self.callers.permitted(request.caller, now_seconds())?;
            if !request.may_read_long_body && seconds_to_read(body) > self.settings.inline_below_seconds {
                return Err(PredictError::BodyTooLong);
            }
            let stopwatch = Stopwatch::start();
            let outline = rows::outline(body, request.format, request.options.shape);
            let model = model.or_else(|| outline.as_ref()?.model).ok_or_else(needs_python)?;
            let resolved = self.resolve(caller, model, selector)?;
            resolved.has_outputs(request.options)?;
            let rows = self.decode(&resolved, outline.as_ref())?;
            let prediction = Prediction::parsed(request.options, resolved, rows.is_list, stopwatch);
            let strings: Vec<&str> = rows.strings.iter().map(AsRef::as_ref).collect();
            let batch = Batch::of(&prediction.resolved.version.signature, &rows.numbers, &strings)?;
            self.answer_batch(prediction, batch)
        })
    }

    /// Answers rows that Python decoded. `model`, `version`: ids.
    pub fn predict(
        &self,
        request: PredictRequest<'_>,
        model: &str,
        version: &str,
        rows: DecodedRows<'_>,
    ) -> Result<Answer, PredictError> {
        self.counting_refusals(|| {
            let caller = self.callers.permitted(request.caller, now_seconds())?;
            let resolved = self.resolve_by_id(caller, model, version)?;
            resolved.has_outputs(request.options)?;
            let batch = self.check(rows, &resolved)?;
            self.answer_batch(Prediction::new(request.options, resolved, rows.is_list), batch)
        })
    }

    /// charge → key → level one → run, or defer → remember → encode → settle → record.
    fn answer_batch(&self, mut prediction: Prediction, batch: Batch<'_>) -> Result<Answer, PredictError> {
        self.charge(&mut prediction)?;
        let mut lookup = self.look_up(&mut prediction, batch);
        let asks_level_two = self.asks_level_two(&prediction, &lookup);
        let is_inline = self.is_inline(&prediction.resolved.version, lookup.missing_rows(), batch.string_bytes());
        if asks_level_two || !is_inline {
            return Err(PredictError::Deferred(Box::new(self.defer(prediction, lookup, batch, asks_level_two))));
        }
        self.run_inline(&mut prediction, &mut lookup, batch)?;
        self.remember(&mut prediction, &lookup);
        let answer = Answer::encode(&mut prediction, &lookup);
        prediction.charge.settle(answer.unix_nanoseconds);
        self.record(&prediction, &lookup, &answer, || self.history.rows(batch));
        Ok(answer)
    }

    /// The rest of a deferred prediction: level two → run, here or on a compute thread → remember → encode → settle →
    /// record.
    async fn answer_deferred(&self, mut deferred: DeferredPrediction) -> Result<Answer, PredictError> {
        self.ask_level_two(&mut deferred).await;
        let DeferredPrediction { mut prediction, mut lookup, batch, recorded, .. } = deferred;
        self.run_deferred(&mut prediction, &mut lookup, batch).await?;
        self.remember(&mut prediction, &lookup);
        let answer = Answer::encode(&mut prediction, &lookup);
        prediction.charge.settle(answer.unix_nanoseconds);
        self.record(&prediction, &lookup, &answer, || recorded);
        Ok(answer)
    }

    /// Finishes what `answer` or `predict` deferred.
    ///
    /// Dropped before its end, it gives back what it took of the quota, because nothing was answered; not of the rates,
    /// or hanging up would make runs free.
    pub async fn finish(&self, deferred: DeferredPrediction) -> Result<Answer, PredictError> {
        let (options, resolved) = (deferred.prediction.options, &deferred.prediction.resolved);
        let (caller, target) = (resolved.caller.clone(), resolved.target.clone());
        self.answer_deferred(deferred).await.inspect_err(|error| {
            self.refund(options, &caller);
            self.count_unanswered(error, &target);
        })
    }

    /// Reads a body that was too long for the thread that received it, and does the rest.
    pub async fn answer_long_body<B: AsRef<[u8]> + Send + 'static>(
        self: &Arc<Self>,
        long: LongBodyRequest<B>,
    ) -> Result<Answer, PredictError> {
        let plane = self.clone();
        let read = move || plane.answer(long.request(), long.model(), long.selector(), long.body());
        match self.compute.read(read).await? {
            Err(PredictError::Deferred(deferred)) => self.finish(*deferred).await,
            result => result,
        }
    }

    fn decode<'a>(&self, resolved: &ResolvedVersion, outline: Option<&Outline<'a>>) -> Result<Rows<'a>, PredictError> {
        let read = |columns| rows::decode(outline?, columns, self.settings.max_rows);
        match resolved.version.columns.as_ref().and_then(read) {
            Some(Ok(rows)) => Ok(rows),
            Some(Err(TooMany)) => Err(self.too_many_rows().into()),
            None => Err(PredictError::NeedsPython(VersionRef::of(&resolved.published, &resolved.target))),
        }
    }

    fn check<'a>(&self, rows: DecodedRows<'a>, resolved: &ResolvedVersion) -> Result<Batch<'a>, PredictError> {
        let batch = Batch::of(&resolved.version.signature, rows.numbers, rows.strings)?;
        if batch.rows() == 0 || (!rows.is_list && batch.rows() != 1) {
            return Err(Fault::argument("an answer has at least one row, and one that is no list exactly one").into());
        }
        if batch.rows() > self.settings.max_rows {
            return Err(self.too_many_rows().into());
        }
        Ok(batch)
    }

    fn too_many_rows(&self) -> Refusal {
        Code::TooManyRows.because(vec![("limit", self.settings.max_rows.to_string())])
    }

    /// Whether a run of so many rows is for the thread that received them; none are, whatever the model costs.
    fn is_inline(&self, version: &Version, rows: usize, string_bytes: usize) -> bool {
        let is_quick = || version.seconds(rows) <= self.settings.inline_below_seconds;
        rows == 0 || (is_quick() && string_bytes <= INLINE_STRING_BYTES)
    }

    fn run_inline(&self, prediction: &mut Prediction, lookup: &mut CacheLookup, batch: Batch<'_>) -> Result<(), Fault> {
        if lookup.missing_rows() == 0 {
            return Ok(());
        }
        let ResolvedVersion { caller, target, version, .. } = &prediction.resolved;
        lookup.run_missing(version, batch).inspect_err(|_| {
            self.refund(prediction.options, caller);
            target.counters.failed.add(1);
        })?;
        prediction.times.infer_seconds = prediction.stopwatch.lap();
        Ok(())
    }

    async fn run_deferred(
        &self,
        prediction: &mut Prediction,
        lookup: &mut CacheLookup,
        batch: OwnedBatch,
    ) -> Result<(), PredictError> {
        if lookup.missing_rows() == 0 {
            return Ok(());
        }
        let (published, version) = (&prediction.resolved.published, &prediction.resolved.version);
        let (model, keys) = (published.route.model.clone(), lookup.missing_keys());
        let timeout_seconds = prediction.options.timeout_seconds;
        let run = Run { model, version: version.clone(), batch, keys, timeout_seconds };
        let mut stopwatch = Stopwatch::start();
        if self.is_inline(version, run.rows(), run.string_bytes()) {
            lookup.fill(run.execute()?);
            prediction.times.infer_seconds = stopwatch.lap();
        } else {
            let result = self.compute.run(run).await?;
            lookup.fill(result.outputs);
            prediction.times.queue_seconds = result.queue_seconds;
            prediction.times.infer_seconds = result.infer_seconds;
        }
        prediction.stopwatch = Stopwatch::start();
        Ok(())
    }

    fn counting_refusals(&self, path: impl FnOnce() -> Result<Answer, PredictError>) -> Result<Answer, PredictError> {
        path().inspect_err(|error| {
            if let PredictError::Refused(refusal) = error {
                self.metrics.refused(refusal);
            }
        })
    }

    fn count_unanswered(&self, error: &PredictError, target: &Target) {
        match error {
            PredictError::Refused(refusal) => self.metrics.refused(refusal),
            PredictError::Failed(_) => target.counters.failed.add(1),
            _ => {}
        }
    }
}

impl From<Refusal> for PredictError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for PredictError {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl From<ComputeError> for PredictError {
    fn from(error: ComputeError) -> Self {
        match error {
            ComputeError::Refused(refusal) => Self::Refused(refusal),
            ComputeError::Failed(fault) => Self::Failed(fault),
        }
    }
}

/// A body whose model is not known either.
fn needs_python() -> PredictError {
    PredictError::NeedsPython(VersionRef::default())
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn seconds_to_read(body: &[u8]) -> f64 {
    body.len() as f64 * READ_SECONDS_PER_BYTE
}
