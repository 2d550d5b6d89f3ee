//! Predictions that are finished on other threads: what waits for level two of the cache, or for the compute queue.

use crate::clock::{monotonic_nanoseconds, seconds_between};
use crate::engine::batch::{Batch, OwnedBatch};
use crate::history::record::RecordedRows;
use crate::plane::Plane;
use crate::predict::cached::{CacheLookup, expiry};
use crate::predict::prediction::Prediction;

/// A prediction whose rows are known and whose rest is not for the thread that read it.
#[derive(Debug)]
pub struct DeferredPrediction {
    pub prediction: Prediction,
    pub lookup: CacheLookup,
    pub asks_level_two: bool,
    /// The rows that have to be run.
    pub batch: OwnedBatch,
    /// All rows, as the history keeps them.
    pub recorded: RecordedRows,
}

impl Plane {
    /// Keeps what the rest of a prediction needs.
    pub fn defer(
        &self,
        prediction: Prediction,
        lookup: CacheLookup,
        batch: Batch<'_>,
        asks_level_two: bool,
    ) -> DeferredPrediction {
        let recorded = self.history.rows(batch);
        let batch = if lookup.missing_rows() == lookup.rows() {
            OwnedBatch::from(batch)
        } else {
            batch.pick(&lookup.missing).into()
        };
        DeferredPrediction { prediction, lookup, asks_level_two, batch, recorded }
    }

    /// Takes what level two knows of the missing rows.
    pub async fn ask_level_two(&self, deferred: &mut DeferredPrediction) {
        let (Some(redis), true) = (&self.redis, deferred.asks_level_two) else { return };
        let (version, lookup) = (&deferred.prediction.resolved.version, &mut deferred.lookup);
        let asked_at = monotonic_nanoseconds();
        let keys = lookup.missing_keys();
        let values = redis.get(&keys, version.signature.width()).await;
        let now = monotonic_nanoseconds();
        let spent_seconds = seconds_between(asked_at, now);
        deferred.prediction.times.cache_seconds += spent_seconds;
        let expires_nanoseconds = expiry(now, lookup.ttls.one_seconds.unwrap_or_default());
        let left = lookup.fill_from_level_two(values, |key, words| self.cache.put(key, words, expires_nanoseconds));
        version.cache_benefit.enter(now, spent_seconds, version.seconds(keys.len()) - version.seconds(left.len()));
        if left.len() < keys.len() {
            deferred.batch = deferred.batch.pick(&left);
        }
    }
}
