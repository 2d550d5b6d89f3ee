//! The rows of a prediction in the cache: which are there, which have to be run, and which are worth keeping.

use crate::cache::memory::{Key, Keys};
use crate::clock::{Stopwatch, monotonic_nanoseconds};
use crate::engine::batch::{Batch, Outputs};
use crate::engine::signature::Signature;
use crate::engine::version::Version;
use crate::error::Fault;
use crate::plane::Plane;
use crate::predict::prediction::Prediction;
use crate::predict::request::{CacheStatus, PredictOptions};
use crate::predict::routes::{Levels, Route};

/// For how long each level of the cache keeps a row; None: it does not.
#[derive(Debug, Clone, Copy, Default)]
pub struct CacheTtls {
    pub one_seconds: Option<f64>,
    pub two_seconds: Option<f64>,
}

/// Rows looked up in the cache: their outputs as far as they are known, and which are missing.
#[derive(Debug)]
pub struct CacheLookup {
    pub outputs: Outputs,
    /// Row indexes; of no use where the cache is bypassed.
    pub missing: Vec<usize>,
    pub keys: Vec<Key>,
    pub ttls: CacheTtls,
    pub level_two_hits: usize,
    rows: usize,
}

impl Plane {
    /// key → level one.
    pub fn look_up(&self, prediction: &mut Prediction, batch: Batch<'_>) -> CacheLookup {
        prediction.stopwatch = Stopwatch::start();
        let (version, published) = (&prediction.resolved.version, &prediction.resolved.published);
        let ttls = self.cache_ttls(prediction.options, &published.route);
        if ttls.keep_nothing() {
            return CacheLookup::bypassed(&version.signature, batch.rows());
        }
        let keys = self.cache.keys(&version.scope(published.route.tenant(&prediction.resolved.caller)));
        let mut lookup = CacheLookup::empty(&version.signature, batch.rows(), ttls);
        let now = prediction.stopwatch.nanoseconds();
        lookup.fill_from(keys, batch, |key| self.cache.get(key, now));
        prediction.times.cache_seconds = prediction.stopwatch.lap();
        lookup
    }

    fn cache_ttls(&self, options: PredictOptions, route: &Route) -> CacheTtls {
        if options.no_cache || route.levels == Levels::None {
            return CacheTtls::default();
        }
        let one_seconds = route.cache_ttl_seconds.unwrap_or(self.settings.cache_ttl_seconds);
        let two_seconds = route.cache_l2_ttl_seconds.unwrap_or(self.settings.cache_l2_ttl_seconds);
        let has_two = self.redis.is_some() && route.levels != Levels::One;
        CacheTtls {
            one_seconds: Some(one_seconds).filter(|&seconds| seconds > 0.0 && self.settings.cache_bytes > 0),
            two_seconds: Some(two_seconds).filter(|&seconds| seconds > 0.0 && has_two),
        }
    }

    /// Whether level two is asked for the rows that level one misses: not where running them is as quick.
    pub fn asks_level_two(&self, prediction: &Prediction, lookup: &CacheLookup) -> bool {
        let (Some(redis), Some(_), false) = (&self.redis, lookup.ttls.two_seconds, lookup.missing.is_empty()) else {
            return false;
        };
        let version = &prediction.resolved.version;
        let is_slower = || version.seconds(lookup.missing.len()) > redis.round_trip_seconds(lookup.missing.len());
        redis.is_up()
            && (prediction.resolved.published.route.levels == Levels::Two
                || (is_slower() && version.cache_benefit.pays(prediction.stopwatch.nanoseconds())))
    }

    /// Keeps the rows that were missing, in the levels that take them.
    pub fn remember(&self, prediction: &mut Prediction, lookup: &CacheLookup) {
        if lookup.missing.is_empty() {
            return;
        }
        if let Some(seconds) = lookup.ttls.one_seconds {
            let expires_nanoseconds = expiry(monotonic_nanoseconds(), seconds);
            lookup.new_rows().for_each(|(key, words)| self.cache.put(key, words, expires_nanoseconds));
        }
        self.remember_in_level_two(prediction, lookup);
        prediction.times.cache_seconds += prediction.stopwatch.lap();
    }

    fn remember_in_level_two(&self, prediction: &Prediction, lookup: &CacheLookup) {
        let (Some(redis), Some(seconds)) = (&self.redis, lookup.ttls.two_seconds) else { return };
        let is_always_kept = prediction.resolved.published.route.levels == Levels::Two;
        let is_kept = || is_always_kept || prediction.resolved.version.seconds(1) > redis.round_trip_seconds(1);
        if redis.is_up() && is_kept() {
            redis.put(lookup.new_rows().map(|(key, words)| redis.sign(key, words)).collect(), seconds);
        }
    }
}

impl CacheTtls {
    fn keep_nothing(self) -> bool {
        self.one_seconds.or(self.two_seconds).is_none()
    }
}

impl CacheLookup {
    fn bypassed(signature: &Signature, rows: usize) -> Self {
        let (outputs, ttls) = (Outputs::with_capacity(signature, 0), CacheTtls::default());
        Self { outputs, missing: vec![], keys: vec![], ttls, level_two_hits: 0, rows }
    }

    fn empty(signature: &Signature, rows: usize, ttls: CacheTtls) -> Self {
        let (outputs, keys) = (Outputs::zeroed(signature, rows), Vec::with_capacity(rows));
        Self { outputs, missing: vec![], keys, ttls, level_two_hits: 0, rows }
    }

    fn fill_from<W: AsRef<[u64]>>(&mut self, mut keys: Keys<'_>, batch: Batch<'_>, cached: impl Fn(Key) -> Option<W>) {
        for index in 0..batch.rows() {
            let row = batch.row(index);
            let key = keys.of(row.numbers(), row.strings());
            self.keys.push(key);
            match cached(key) {
                Some(words) => self.outputs.set_row(index, words.as_ref()),
                None => self.missing.push(index),
            }
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many rows have to be run, or had to be.
    pub fn missing_rows(&self) -> usize {
        if self.ttls.keep_nothing() { self.rows } else { self.missing.len() }
    }

    /// Rows that came from any level.
    pub fn hits(&self) -> usize {
        self.rows - self.missing_rows()
    }

    pub fn status(&self) -> CacheStatus {
        match (self.missing_rows(), self.level_two_hits) {
            _ if self.ttls.keep_nothing() => CacheStatus::Bypass,
            (0, 0) => CacheStatus::LevelOne,
            (0, _) => CacheStatus::LevelTwo,
            _ => CacheStatus::Miss,
        }
    }

    /// Runs the missing rows on the calling thread.
    pub fn run_missing(&mut self, version: &Version, batch: Batch<'_>) -> Result<(), Fault> {
        let outputs = if self.missing_rows() == self.rows {
            version.run(batch)?
        } else {
            version.run(batch.pick(&self.missing).as_batch())?
        };
        self.fill(outputs);
        Ok(())
    }

    /// Takes the outputs of the missing rows.
    pub fn fill(&mut self, outputs: Outputs) {
        if self.missing_rows() == self.rows {
            self.outputs = outputs;
            return;
        }
        for (&row, words) in self.missing.iter().zip(outputs.iter()) {
            self.outputs.set_row(row, words);
        }
    }

    /// Takes what level two knows of the missing rows, one value each, and passes it to `keep`.
    ///
    /// Returns which of the missing rows are still so: indexes into `missing` as it was.
    pub fn fill_from_level_two(&mut self, values: Vec<Option<Vec<u64>>>, keep: impl Fn(Key, &[u64])) -> Vec<usize> {
        let mut left = vec![];
        for (index, (&row, value)) in self.missing.iter().zip(values).enumerate() {
            match value {
                Some(words) => {
                    keep(self.keys[row], &words);
                    self.outputs.set_row(row, &words);
                }
                None => left.push(index),
            }
        }
        self.level_two_hits = self.missing.len() - left.len();
        self.missing = left.iter().map(|&index| self.missing[index]).collect();
        left
    }

    pub fn missing_keys(&self) -> Vec<Key> {
        self.missing.iter().map(|&row| self.keys[row]).collect()
    }

    /// The rows that were missing, by key.
    fn new_rows(&self) -> impl Iterator<Item = (Key, &[u64])> {
        self.missing.iter().map(|&row| (self.keys[row], self.outputs.row(row)))
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
pub fn expiry(now_nanoseconds: u64, ttl_seconds: f64) -> u64 {
    now_nanoseconds.saturating_add((ttl_seconds * 1e9) as u64)
}
