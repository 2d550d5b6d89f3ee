//! What a prediction costs its caller, and where it is counted and recorded.

use crate::error::Refusal;
use crate::history::record::{AnsweredPrediction, RecordedRows};
use crate::limits::callers::Caller;
use crate::metrics::Stage;
use crate::plane::Plane;
use crate::predict::answer::Answer;
use crate::predict::cached::CacheLookup;
use crate::predict::prediction::{Charge, Prediction};
use crate::predict::request::{CacheStatus, PredictOptions};

impl Plane {
    /// Whether a caller could pay for a prediction now.
    pub fn peek(&self, caller: &Caller) -> Result<(), Refusal> {
        caller
            .peek_quota()
            .and_then(|()| self.rates.peek(&caller.buckets))
            .inspect_err(|refusal| self.metrics.refused(refusal))
    }

    /// Takes one prediction out of the quota and the rates of its caller, unless it is not charged.
    pub fn charge(&self, prediction: &mut Prediction) -> Result<(), Refusal> {
        if prediction.options.is_charged {
            let caller = &prediction.resolved.caller;
            let reservation = caller.reserve()?;
            prediction.charge = Charge { reservation, rate: self.rates.charge(&caller.buckets)? };
        }
        Ok(())
    }

    /// Gives back to the rates what a prediction paid that is not answered; dropping its `Charge` gives it back to the
    /// quota.
    pub fn refund(&self, options: PredictOptions, caller: &Caller) {
        if options.is_charged {
            self.rates.refund(&caller.buckets);
        }
    }

    /// Counts an answer in the metrics, and puts it into the history.
    pub fn record(
        &self,
        prediction: &Prediction,
        lookup: &CacheLookup,
        answer: &Answer,
        rows: impl FnOnce() -> RecordedRows,
    ) {
        count(answer);
        let answered = AnsweredPrediction {
            caller: &prediction.resolved.caller,
            published: &answer.published,
            target: &answer.target,
            signature: &prediction.resolved.version.signature,
            outputs: &lookup.outputs,
            cache: answer.cache,
            latency_seconds: answer.latency_seconds,
            unix_nanoseconds: answer.unix_nanoseconds,
            entry_point: prediction.options.entry_point,
        };
        self.history.push(&answered, rows);
    }
}

fn count(answer: &Answer) {
    let counters = &answer.target.counters;
    counters.answered.add(1);
    counters.rows.add(answer.rows);
    counters.latency.observe(answer.latency_seconds);
    counters.stage(Stage::Encode).observe(answer.times.encode_seconds);
    if answer.cache != CacheStatus::Bypass {
        counters.stage(Stage::Cache).observe(answer.times.cache_seconds);
        counters.cache_hits[0].add(answer.cache_hits - answer.level_two_hits);
        counters.cache_hits[1].add(answer.level_two_hits);
        counters.cache_misses.add(answer.rows - answer.cache_hits);
    }
    if answer.times.queue_seconds > 0.0 {
        counters.stage(Stage::Queue).observe(answer.times.queue_seconds);
    }
    if answer.cache_hits < answer.rows {
        counters.stage(Stage::Infer).observe(answer.times.infer_seconds);
    }
}
