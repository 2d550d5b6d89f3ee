//! A prediction, answered.

use std::sync::Arc;

use crate::clock::{monotonic_nanoseconds, seconds_between, unix_nanoseconds};
use crate::limits::limiter::RateState;
use crate::predict::cached::CacheLookup;
use crate::predict::encode::{self, Frame};
use crate::predict::prediction::Prediction;
use crate::predict::request::{CacheStatus, StageTimes, VersionRef};
use crate::predict::routes::{PublishedModel, Target};

/// A prediction, encoded, and what it took.
#[derive(Debug)]
pub struct Answer {
    pub body: Vec<u8>,
    pub published: Arc<PublishedModel>,
    pub target: Arc<Target>,
    pub cache: CacheStatus,
    pub rows: usize,
    /// Of all levels.
    pub cache_hits: usize,
    pub level_two_hits: usize,
    pub unix_nanoseconds: u64,
    pub latency_seconds: f64,
    pub times: StageTimes,
    /// What is left of the caller's tightest rate; None: it has none.
    pub rate: Option<RateState>,
}

impl Answer {
    /// Outputs → JSON.
    pub fn encode(prediction: &mut Prediction, lookup: &CacheLookup) -> Self {
        let (options, resolved) = (prediction.options, &prediction.resolved);
        let frame = Frame {
            signature: &resolved.version.signature,
            shape: options.shape,
            is_list: prediction.is_list,
            all_probabilities: options.all_probabilities,
            model_json: &resolved.published.name_json,
            version: &resolved.target.version,
            version_number: resolved.target.number,
            cache_hits: lookup.hits(),
            rows: lookup.rows(),
        };
        let (started_nanoseconds, unix_nanoseconds) = (monotonic_nanoseconds(), unix_nanoseconds());
        let mut encoded_nanoseconds = 0;
        let body = encode::encode(&frame, &lookup.outputs, unix_nanoseconds, || {
            encoded_nanoseconds = monotonic_nanoseconds();
            seconds_between(options.started_nanoseconds, encoded_nanoseconds)
        });
        let encode_seconds = seconds_between(started_nanoseconds, encoded_nanoseconds);
        Self {
            body,
            published: resolved.published.clone(),
            target: resolved.target.clone(),
            cache: lookup.status(),
            rows: lookup.rows(),
            cache_hits: lookup.hits(),
            level_two_hits: lookup.level_two_hits,
            unix_nanoseconds,
            latency_seconds: seconds_between(options.started_nanoseconds, encoded_nanoseconds),
            times: StageTimes { encode_seconds, ..prediction.times },
            rate: prediction.charge.rate.take(),
        }
    }

    pub fn version_ref(&self) -> VersionRef {
        VersionRef::of(&self.published, &self.target)
    }
}
