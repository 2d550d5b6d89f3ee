//! Counters and µs histograms, as Prometheus text.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Code, Refusal};
use crate::http_counters::HttpCounters;
use crate::sync::lock;

/// Upper bounds in seconds, from a microsecond to ten seconds.
const BOUNDS_SECONDS: [f64; 22] = [
    1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0,
    5.0, 10.0,
];

#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The latest size.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    pub fn set(&self, size: usize) {
        self.0.store(size as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts by latency, and their sum.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_SECONDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Histogram {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a duration is not negative and far below 2^64 ns"
    )]
    pub fn observe(&self, seconds: f64) {
        let bucket = BOUNDS_SECONDS.partition_point(|&bound| bound < seconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add((seconds * 1e9).max(0.0) as u64, Ordering::Relaxed);
    }

    #[allow(clippy::cast_precision_loss, reason = "a sum of seconds is printed, not calculated with")]
    fn write(&self, text: &mut String, name: &str, labels: &str) {
        let mut count = 0;
        let others = if labels.is_empty() { String::new() } else { format!("{labels},") };
        for (index, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            let bound = BOUNDS_SECONDS.get(index).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            line(text, &format!("{name}_bucket"), &format!("{others}le=\"{bound}\""), count);
        }
        line(text, &format!("{name}_sum"), labels, self.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9);
        line(text, &format!("{name}_count"), labels, count);
    }
}

/// What is counted for one version of a model.
#[derive(Debug, Default)]
pub struct VersionCounters {
    pub answered: Counter,
    pub failed: Counter,
    pub rows: Counter,
    /// By level of the cache.
    pub cache_hits: [Counter; LEVELS.len()],
    pub cache_misses: Counter,
    pub latency: Histogram,
    stages: [Histogram; STAGES.len()],
}

/// What is counted of the compute threads.
#[derive(Debug, Default)]
pub struct ComputeCounters {
    pub waiting: Gauge,
    pub runs: Counter,
    pub merged: Counter,
    pub shared_rows: Counter,
    pub runaways: Counter,
}

impl VersionCounters {
    pub fn stage(&self, stage: Stage) -> &Histogram {
        &self.stages[stage as usize]
    }
}

const LEVELS: [&str; 2] = ["l1", "l2"];

/// The parts of a prediction's time, in the order of `STAGES`.
#[derive(Debug, Clone, Copy)]
pub enum Stage {
    Parse,
    Cache,
    Queue,
    Infer,
    Encode,
}

const STAGES: [&str; 5] = ["parse", "cache", "queue", "infer", "encode"];

/// Sizes that are read for each scrape.
pub struct Gauges {
    pub cache_bytes: u64,
    pub cache_entries: usize,
    pub cache_evictions: u64,
    pub history_dropped: u64,
    pub loaded: Vec<LoadedGauges>,
}

/// Sizes of a loaded version.
pub struct LoadedGauges {
    pub id: String,
    pub resident_bytes: u64,
    pub load_seconds: f64,
}

#[derive(Default)]
pub struct Metrics {
    pub http: HttpCounters,
    pub compute: Arc<ComputeCounters>,
    refusals: [Counter; Code::ALL.len()],
    /// By version id, every version on a route.
    versions: Mutex<BTreeMap<String, PublishedVersion>>,
}

/// A version that a route leads to.
struct PublishedVersion {
    /// User id.
    owner: Box<str>,
    labels: String,
    counters: Arc<VersionCounters>,
}

impl PublishedVersion {
    /// Its labels and one more.
    fn label(&self, name: &str, value: &str) -> String {
        format!("{},{}", self.labels, label(name, value))
    }
}

impl Metrics {
    pub fn refused(&self, refusal: &Refusal) {
        self.refusals[refusal.code as usize].add(1);
    }

    /// The counters of a version by its id, owner and labels, kept as long as a route leads to it.
    pub fn publish(&self, versions: impl FnOnce(&mut dyn FnMut(&str, &str, String) -> Arc<VersionCounters>)) {
        let mut current = lock(&self.versions);
        let mut published = BTreeMap::new();
        versions(&mut |version, owner, labels| {
            let counters = current.get(version).map(|version| version.counters.clone()).unwrap_or_default();
            published.insert(
                version.to_owned(),
                PublishedVersion { owner: owner.into(), labels, counters: counters.clone() },
            );
            counters
        });
        *current = published;
    }

    /// Prometheus text, version 0.0.4: all of it, or what is of the versions of one owner.
    pub fn text(&self, gauges: &Gauges, owner: Option<&str>) -> String {
        let mut text = String::with_capacity(8192);
        let versions = lock(&self.versions);
        let is_shown = |version: &PublishedVersion| owner.is_none_or(|owner| *version.owner == *owner);
        let shown: Vec<&PublishedVersion> = versions.values().filter(|version| is_shown(version)).collect();
        write_versions(&mut text, &shown);
        let is_loaded_shown = |version: &str| owner.is_none() || versions.get(version).is_some_and(is_shown);
        write_loaded(&mut text, gauges.loaded.iter().filter(|version| is_loaded_shown(&version.id)));
        if owner.is_none() {
            self.write_refusals(&mut text);
            write_gauges(&mut text, gauges);
            write_compute(&mut text, &self.compute);
        }
        text
    }

    fn write_refusals(&self, text: &mut String) {
        let help = "Predictions refused by the data plane, by reason.";
        let mut refusals = Family::counter(text, "serval_refusals_total", help);
        for code in Code::ALL {
            refusals.sample(&label("code", code.name()), self.refusals[code as usize].get());
        }
    }
}

fn write_versions(text: &mut String, versions: &[&PublishedVersion]) {
    let mut predictions = Family::counter(text, "serval_predictions_total", "Predictions by outcome.");
    for version in versions {
        for (outcome, counter) in [("answered", &version.counters.answered), ("failed", &version.counters.failed)] {
            predictions.sample(&version.label("outcome", outcome), counter.get());
        }
    }
    let mut hits = Family::counter(text, "serval_cache_hits_total", "Rows that came from the cache, by level.");
    for version in versions {
        for (level, counter) in LEVELS.iter().zip(&version.counters.cache_hits) {
            hits.sample(&version.label("level", level), counter.get());
        }
    }
    let mut rows = Family::counter(text, "serval_prediction_rows_total", "Rows answered.");
    for version in versions {
        rows.sample(&version.labels, version.counters.rows.get());
    }
    let mut misses = Family::counter(text, "serval_cache_misses_total", "Rows looked for in the cache and not found.");
    for version in versions {
        misses.sample(&version.labels, version.counters.cache_misses.get());
    }
    let mut latency = Family::histogram(
        text,
        "serval_prediction_latency_seconds",
        "From the first byte of the body to the encoded answer.",
    );
    for version in versions {
        latency.distribution(&version.labels, &version.counters.latency);
    }
    let mut stages = Family::histogram(
        text,
        "serval_prediction_stage_seconds",
        "Time in each stage of the predictions that went through it.",
    );
    for version in versions {
        for (stage, histogram) in STAGES.iter().zip(&version.counters.stages) {
            stages.distribution(&version.label("stage", stage), histogram);
        }
    }
}

fn write_gauges(text: &mut String, gauges: &Gauges) {
    Family::counter(text, "serval_cache_evictions_total", "Entries that left the cache for want of room.")
        .sample("", gauges.cache_evictions);
    Family::gauge(text, "serval_cache_bytes", "Bytes held by the first cache level.").sample("", gauges.cache_bytes);
    Family::gauge(text, "serval_cache_entries", "Rows held by the first cache level.").sample("", gauges.cache_entries);
    Family::counter(
        text,
        "serval_history_dropped_total",
        "Predictions left out of the history because its ring was full.",
    )
    .sample("", gauges.history_dropped);
}

fn write_loaded<'a>(text: &mut String, loaded: impl Iterator<Item = &'a LoadedGauges> + Clone) {
    Family::gauge(text, "serval_loaded_versions", "Versions in memory.").sample("", loaded.clone().count());
    let mut bytes = Family::gauge(text, "serval_version_resident_bytes", "Memory of a loaded version.");
    for version in loaded.clone() {
        bytes.sample(&label("version_id", &version.id), version.resident_bytes);
    }
    let mut seconds = Family::gauge(text, "serval_version_load_seconds", "Time it took to load and measure a version.");
    for version in loaded {
        seconds.sample(&label("version_id", &version.id), version.load_seconds);
    }
}

fn write_compute(text: &mut String, counters: &ComputeCounters) {
    Family::gauge(text, "serval_compute_queued", "Runs and bodies that wait for a compute thread.")
        .sample("", counters.waiting.get());
    for (name, help, counter) in [
        ("serval_compute_runs_total", "Calls of ONNX Runtime on compute threads.", &counters.runs),
        (
            "serval_compute_merged_total",
            "Predictions whose rows were run together with those of others.",
            &counters.merged,
        ),
        (
            "serval_compute_shared_rows_total",
            "Rows that were not run because another prediction was waiting for the same.",
            &counters.shared_rows,
        ),
        (
            "serval_compute_runaways_total",
            "Runs that did not end, after which their version was taken out of service.",
            &counters.runaways,
        ),
    ] {
        Family::counter(text, name, help).sample("", counter.get());
    }
}

/// A metric in the text: its head is written when it is made, its samples follow.
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl<'a> Family<'a> {
    pub fn counter(text: &'a mut String, name: &'static str, help: &str) -> Self {
        Self::begin(text, name, "counter", help)
    }

    pub fn gauge(text: &'a mut String, name: &'static str, help: &str) -> Self {
        Self::begin(text, name, "gauge", help)
    }

    pub fn histogram(text: &'a mut String, name: &'static str, help: &str) -> Self {
        Self::begin(text, name, "histogram", help)
    }

    fn begin(text: &'a mut String, name: &'static str, kind: &str, help: &str) -> Self {
        head(text, name, kind, help);
        Self { text, name }
    }

    /// Writes a value. `labels`: as `label` writes them, separated by commas; empty: none.
    pub fn sample(&mut self, labels: &str, value: impl Display) {
        line(self.text, self.name, labels, value);
    }

    /// Writes the buckets, sum and count of a histogram.
    pub fn distribution(&mut self, labels: &str, histogram: &Histogram) {
        histogram.write(self.text, self.name, labels);
    }
}

/// A label with its value escaped as the text format asks.
pub fn label(name: &str, value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{escaped}\"")
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    push(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

fn line(text: &mut String, name: &str, labels: &str, value: impl Display) {
    match labels {
        "" => push(text, format_args!("{name} {value}\n")),
        _ => push(text, format_args!("{name}{{{labels}}} {value}\n")),
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String never fails.
    let _ = text.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_cumulative() {
        let histogram = Histogram::default();
        for seconds in [0.5e-6, 1e-6, 3e-6, 20.0] {
            histogram.observe(seconds);
        }
        let mut text = String::new();
        histogram.write(&mut text, "h", "a=\"b\"");
        assert!(text.starts_with(
            "h_bucket{a=\"b\",le=\"0.000001\"} 2\nh_bucket{a=\"b\",le=\"0.000002\"} 2\nh_bucket{a=\"b\",le=\"0.000005\"} 3\n"
        ));
        assert!(text.ends_with("le=\"+Inf\"} 4\nh_sum{a=\"b\"} 20.0000045\nh_count{a=\"b\"} 4\n"), "{text}");
    }

    fn gauges() -> Gauges {
        let loaded = ["ver_1", "ver_2"]
            .map(|id| LoadedGauges { id: id.to_owned(), resident_bytes: 10, load_seconds: 0.1 })
            .into();
        Gauges { cache_bytes: 0, cache_entries: 0, cache_evictions: 0, history_dropped: 0, loaded }
    }

    #[test]
    fn counters_live_as_long_as_their_route() {
        let metrics = Metrics::default();
        metrics.publish(|counters| counters("ver_1", "usr_1", label("model", "a")).rows.add(3));
        metrics.publish(|counters| counters("ver_1", "usr_1", label("model", "a")).rows.add(4));
        assert!(metrics.text(&gauges(), None).contains("serval_prediction_rows_total{model=\"a\"} 7\n"));
        metrics.publish(|_| {});
        assert!(!metrics.text(&gauges(), None).contains("model=\"a\""));
    }

    #[test]
    fn an_owner_reads_of_its_own_versions_alone() {
        let metrics = Metrics::default();
        metrics.publish(|counters| {
            counters("ver_1", "usr_1", label("model", "a"));
            counters("ver_2", "usr_2", label("model", "b"));
        });
        let text = metrics.text(&gauges(), Some("usr_1"));
        assert!(
            text.contains("model=\"a\"")
                && text.contains("version_id=\"ver_1\"")
                && text.contains("serval_loaded_versions 1\n")
        );
        assert!(
            !text.contains("model=\"b\"")
                && !text.contains("version_id=\"ver_2\"")
                && !text.contains("serval_refusals_total")
        );
    }

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(label("a", "x\"\\\n"), "a=\"x\\\"\\\\\\n\"");
    }
}
