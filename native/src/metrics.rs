//! Counters and µs histograms, as Prometheus text.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Code, Refusal};
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

/// A size as it was last.
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

    #[allow(clippy::cast_precision_loss, reason = "a sum of seconds is printed, not reckoned with")]
    pub fn write(&self, text: &mut String, name: &str, labels: &str) {
        let mut count = 0;
        let others = if labels.is_empty() { String::new() } else { format!("{labels},") };
        for (place, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            let bound = BOUNDS_SECONDS.get(place).map_or_else(|| "+Inf".to_owned(), f64::to_string);
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

/// What is counted of the threads for dear predictions.
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

/// Sizes that are read when asked for.
pub struct Gauges {
    pub cache_bytes: u64,
    pub cache_entries: usize,
    pub cache_evictions: u64,
    pub history_dropped: u64,
    /// Of each loaded version: id, resident bytes, seconds it took to load.
    pub loaded: Vec<(String, u64, f64)>,
}

#[derive(Default)]
pub struct Metrics {
    pub compute: Arc<ComputeCounters>,
    refusals: [Counter; Code::ALL.len()],
    /// By version id, every version on a route.
    versions: Mutex<BTreeMap<String, Known>>,
}

struct Known {
    /// User id.
    owner: Box<str>,
    labels: String,
    counters: Arc<VersionCounters>,
}

impl Metrics {
    pub fn refused(&self, refusal: &Refusal) {
        self.refusals[refusal.code as usize].add(1);
    }

    /// The counters of a version by its id, owner and labels, kept as long as a route leads to it.
    pub fn publish(&self, versions: impl FnOnce(&mut dyn FnMut(&str, &str, String) -> Arc<VersionCounters>)) {
        let mut known = lock(&self.versions);
        let mut published = BTreeMap::new();
        versions(&mut |version, owner, labels| {
            let counters = known.get(version).map(|known| known.counters.clone()).unwrap_or_default();
            published.insert(version.to_owned(), Known { owner: owner.into(), labels, counters: counters.clone() });
            counters
        });
        *known = published;
    }

    /// Prometheus text, version 0.0.4: all of it, or what is of the versions of one owner.
    pub fn text(&self, gauges: &Gauges, owner: Option<&str>) -> String {
        let mut text = String::with_capacity(8192);
        let versions = lock(&self.versions);
        let is_shown = |known: &Known| owner.is_none_or(|owner| *known.owner == *owner);
        let shown: Vec<&Known> = versions.values().filter(|known| is_shown(known)).collect();
        write_versions(&mut text, &shown);
        let is_loaded_shown = |version: &str| owner.is_none() || versions.get(version).is_some_and(is_shown);
        write_loaded(&mut text, gauges.loaded.iter().filter(|(version, ..)| is_loaded_shown(version)));
        if owner.is_none() {
            self.write_refusals(&mut text);
            write_gauges(&mut text, gauges);
            write_compute(&mut text, &self.compute);
        }
        text
    }

    fn write_refusals(&self, text: &mut String) {
        head(text, "serval_refusals_total", "counter", "Predictions refused by the data plane, by reason.");
        for code in Code::ALL {
            line(text, "serval_refusals_total", &label("code", code.name()), self.refusals[code as usize].get());
        }
    }
}

fn write_versions(text: &mut String, versions: &[&Known]) {
    let outcomes: [(&str, Pick<Counter>); 2] =
        [("answered", |counters| &counters.answered), ("failed", |counters| &counters.failed)];
    head(text, "serval_predictions_total", "counter", "Predictions by outcome.");
    for known in versions {
        for (outcome, pick) in outcomes {
            let labels = format!("{},{}", known.labels, label("outcome", outcome));
            line(text, "serval_predictions_total", &labels, pick(&known.counters).get());
        }
    }
    head(text, "serval_cache_hits_total", "counter", "Rows that came from the cache, by level.");
    for known in versions {
        for (level, hits) in LEVELS.iter().zip(&known.counters.cache_hits) {
            line(text, "serval_cache_hits_total", &format!("{},{}", known.labels, label("level", level)), hits.get());
        }
    }
    let counted: [(&str, &str, Pick<Counter>); 2] = [
        ("serval_prediction_rows_total", "Rows answered.", |counters| &counters.rows),
        ("serval_cache_misses_total", "Rows looked for in the cache and not found.", |counters| &counters.cache_misses),
    ];
    for (name, help, pick) in counted {
        head(text, name, "counter", help);
        for known in versions {
            line(text, name, &known.labels, pick(&known.counters).get());
        }
    }
    let name = "serval_prediction_latency_seconds";
    head(
        text,
        "serval_prediction_latency_seconds",
        "histogram",
        "From the first byte of the body to the encoded answer.",
    );
    for known in versions {
        known.counters.latency.write(text, name, &known.labels);
    }
    let name = "serval_prediction_stage_seconds";
    head(
        text,
        "serval_prediction_stage_seconds",
        "histogram",
        "Time in each stage of the predictions that went through it.",
    );
    for known in versions {
        for (stage, histogram) in STAGES.iter().zip(&known.counters.stages) {
            histogram.write(text, name, &format!("{},{}", known.labels, label("stage", stage)));
        }
    }
}

type Pick<T> = fn(&VersionCounters) -> &T;

fn write_gauges(text: &mut String, gauges: &Gauges) {
    head(text, "serval_cache_evictions_total", "counter", "Entries that left the cache for want of room.");
    line(text, "serval_cache_evictions_total", "", gauges.cache_evictions);
    head(text, "serval_cache_bytes", "gauge", "Bytes held by the first cache level.");
    line(text, "serval_cache_bytes", "", gauges.cache_bytes);
    head(text, "serval_cache_entries", "gauge", "Rows held by the first cache level.");
    line(text, "serval_cache_entries", "", gauges.cache_entries);
    head(
        text,
        "serval_history_dropped_total",
        "counter",
        "Predictions left out of the history because its ring was full.",
    );
    line(text, "serval_history_dropped_total", "", gauges.history_dropped);
}

fn write_loaded<'a>(text: &mut String, loaded: impl Iterator<Item = &'a (String, u64, f64)> + Clone) {
    head(text, "serval_loaded_versions", "gauge", "Versions in memory.");
    line(text, "serval_loaded_versions", "", loaded.clone().count());
    head(text, "serval_version_resident_bytes", "gauge", "Memory of a loaded version.");
    for (version, bytes, _) in loaded.clone() {
        line(text, "serval_version_resident_bytes", &label("version_id", version), bytes);
    }
    head(text, "serval_version_load_seconds", "gauge", "Time it took to load and measure a version.");
    for (version, _, seconds) in loaded {
        line(text, "serval_version_load_seconds", &label("version_id", version), seconds);
    }
}

fn write_compute(text: &mut String, counters: &ComputeCounters) {
    head(text, "serval_compute_waiting", "gauge", "Runs and bodies that wait for a compute thread.");
    line(text, "serval_compute_waiting", "", counters.waiting.get());
    head(text, "serval_compute_runs_total", "counter", "Calls of ONNX Runtime on compute threads.");
    line(text, "serval_compute_runs_total", "", counters.runs.get());
    head(
        text,
        "serval_compute_merged_total",
        "counter",
        "Predictions whose rows were run together with those of others.",
    );
    line(text, "serval_compute_merged_total", "", counters.merged.get());
    head(
        text,
        "serval_compute_shared_rows_total",
        "counter",
        "Rows that were not run because another prediction was waiting for the same.",
    );
    line(text, "serval_compute_shared_rows_total", "", counters.shared_rows.get());
    head(
        text,
        "serval_compute_runaways_total",
        "counter",
        "Runs that did not end, after which their version was taken out of service.",
    );
    line(text, "serval_compute_runaways_total", "", counters.runaways.get());
}

/// A label with its value escaped as the text format asks.
pub fn label(name: &str, value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{escaped}\"")
}

pub fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    push(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

pub fn line(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
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
        let loaded = vec![("ver_1".to_owned(), 10, 0.1), ("ver_2".to_owned(), 20, 0.2)];
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
