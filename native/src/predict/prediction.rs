//! A prediction under way: whose it is, which version answers, what it has paid and where its time went.

use std::sync::Arc;

use crate::clock::Stopwatch;
use crate::engine::signature::Kind;
use crate::engine::version::Version;
use crate::error::{Code, Refusal};
use crate::limits::callers::Caller;
use crate::limits::limiter::RateState;
use crate::limits::usage::Reservation;
use crate::metrics::Stage;
use crate::predict::request::{PredictOptions, StageTimes};
use crate::predict::routes::{PublishedModel, Target};

#[derive(Debug)]
pub struct Prediction {
    pub options: PredictOptions,
    pub resolved: ResolvedVersion,
    /// The answer is a list, one member a row.
    pub is_list: bool,
    pub charge: Charge,
    pub times: StageTimes,
    pub stopwatch: Stopwatch,
}

/// A loaded version that a caller may use.
#[derive(Debug)]
pub struct ResolvedVersion {
    pub caller: Arc<Caller>,
    pub published: Arc<PublishedModel>,
    pub target: Arc<Target>,
    pub version: Arc<Version>,
}

impl ResolvedVersion {
    /// Refuses to let a classifier answer without the probabilities that were asked for; a regressor has no classes.
    pub fn has_outputs(&self, options: PredictOptions) -> Result<(), Refusal> {
        let signature = &self.version.signature;
        let is_without = signature.kind == Kind::Classifier && !signature.has_probabilities;
        if options.all_probabilities && is_without {
            return Err(Code::NoProbabilities.because(vec![("version", self.target.number.to_string())]));
        }
        Ok(())
    }
}

/// What a prediction has paid. Dropped, it gives back what it took of the quota.
#[derive(Debug, Default)]
pub struct Charge {
    pub reservation: Reservation,
    /// What is left of the caller's tightest rate; None: it has none.
    pub rate: Option<RateState>,
}

impl Prediction {
    pub fn new(options: PredictOptions, resolved: ResolvedVersion, is_list: bool) -> Self {
        let (charge, times) = (Charge::default(), StageTimes::default());
        Self { options, resolved, is_list, charge, times, stopwatch: Stopwatch::start() }
    }

    /// A prediction whose rows were read from a body since `stopwatch` was started.
    pub fn parsed(options: PredictOptions, resolved: ResolvedVersion, is_list: bool, mut stopwatch: Stopwatch) -> Self {
        let (charge, mut times) = (Charge::default(), StageTimes::default());
        times.parse_seconds = stopwatch.lap();
        resolved.target.counters.stage(Stage::Parse).observe(times.parse_seconds);
        Self { options, resolved, is_list, charge, times, stopwatch }
    }
}

impl Charge {
    /// The prediction is answered: what it paid is used.
    pub fn settle(&mut self, unix_nanoseconds: u64) {
        std::mem::take(&mut self.reservation).commit(unix_nanoseconds);
    }
}
