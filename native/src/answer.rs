//! The path of one prediction, top to bottom: caller and body in, answer or refusal out.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::cache::{Cache, Keys};
use crate::callers::{Caller, Callers};
use crate::clock::{monotonic_nanoseconds, seconds_between, unix_nanoseconds};
use crate::encode::{self, Frame};
use crate::engine::{Batch, Engine, Version};
use crate::error::{Code, Fault, Refusal};
use crate::metrics::Metrics;
use crate::routes::{Published, Route, Routes, Selector, Target};
use crate::rows::{self, Columns, Outline, Rows, TooMany};

/// What reading a byte of a body costs, at most; bodies that would take too long are left to another thread.
const READ_SECONDS_PER_BYTE: f64 = 5e-9;

/// Everything a prediction needs: routes, callers, loaded versions, the first cache level.
pub struct Plane {
    pub routes: ArcSwap<Routes>,
    pub callers: Callers,
    pub engine: Engine,
    pub cache: Cache,
    pub metrics: Metrics,
    pub settings: Settings,
}

pub struct Settings {
    pub cache_bytes: u64,
    pub cache_ttl_seconds: f64,
    pub cheap_seconds: f64,
    pub max_rows: usize,
}

/// How a prediction is asked for.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// Digest of the key.
    pub caller: &'a [u8],
    pub is_short: bool,
    pub all_probabilities: bool,
    pub no_cache: bool,
    pub started_nanoseconds: u64,
    pub may_block: bool,
}

/// A prediction, encoded, and what it took.
#[derive(Debug)]
pub struct Answer {
    pub body: Vec<u8>,
    pub place: Place,
    pub cache: &'static str,
    pub rows: usize,
    pub cache_hits: usize,
    pub latency_seconds: f64,
    pub parse_seconds: f64,
    pub cache_seconds: f64,
    pub infer_seconds: f64,
}

/// The model and version that a request asks: ids, and the version's number.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub model: String,
    pub version: String,
    pub number: u64,
}

/// Why a prediction stops before its answer.
#[derive(Debug)]
pub enum Stop {
    Refused(Refusal),
    /// The body needs Python.
    NotMine(Place),
    /// Too dear for the calling thread.
    Later,
    Failed(Fault),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// A version found for a caller.
struct Found {
    published: Arc<Published>,
    target: Arc<Target>,
    version: Arc<Version>,
}

/// Rows of raw outputs, and where they came from.
struct Outcome {
    words: Vec<u64>,
    cache: &'static str,
    cache_hits: usize,
    cache_seconds: f64,
    infer_seconds: f64,
}

impl Plane {
    pub fn new(settings: Settings) -> Result<Self, Fault> {
        let cache = Cache::new(settings.cache_bytes)?;
        let (routes, callers, engine, metrics) = (ArcSwap::default(), Callers::new(), Engine::default(), Metrics::default());
        Ok(Self { routes, callers, engine, cache, metrics, settings })
    }

    pub fn set_routes(&self, routes: impl IntoIterator<Item = Route>) {
        self.metrics.publish(|counters| {
            let table = Routes::of(routes, |route, number, version| counters(version, labels(route, number)));
            self.routes.store(Arc::new(table));
        });
    }

    /// Answer a JSON body. `model`: from the path; the short shape names it in the body.
    pub fn answer(&self, ask: Ask<'_>, model: Option<&str>, selector: Selector<'_>, body: &[u8]) -> Result<Answer, Stop> {
        self.counted(|| {
            let caller = self.callers.permitted(ask.caller, now_seconds())?;
            self.is_cheap(ask, seconds_to_read(body))?;
            let started = monotonic_nanoseconds();
            let outline = rows::outline(body, ask.is_short);
            let model = model.or_else(|| outline.as_ref()?.model).ok_or_else(|| Stop::NotMine(Place::default()))?;
            let found = self.found(&caller, model, selector)?;
            let rows = self.rows(&found, outline.as_ref())?;
            let parse_seconds = seconds_between(started, monotonic_nanoseconds());
            found.target.counters.parse.observe(parse_seconds);
            let batch = Batch::of(&found.version.signature, &rows.numbers, &[])?;
            self.predicted(ask, &found, batch, rows.is_list, parse_seconds)
        })
    }

    /// The second half of `answer`, for rows that Python decoded. `model`, `version`: ids.
    pub fn predict(
        &self,
        ask: Ask<'_>,
        model: &str,
        version: &str,
        numbers: &[f64],
        strings: &[&str],
        is_list: bool,
    ) -> Result<Answer, Stop> {
        self.counted(|| {
            let caller = self.callers.permitted(ask.caller, now_seconds())?;
            let found = self.found_by_id(&caller, model, version)?;
            let batch = Batch::of(&found.version.signature, numbers, strings)?;
            if batch.rows == 0 || (!is_list && batch.rows != 1) {
                return Err(Fault::argument("an answer has at least one row, and one that is no list exactly one").into());
            }
            if batch.rows > self.settings.max_rows {
                return Err(self.too_many().into());
            }
            self.predicted(ask, &found, batch, is_list, 0.0)
        })
    }

    /// The model and version that `answer` would use.
    pub fn find(&self, caller: &[u8], model: &str, selector: Selector<'_>) -> Result<Place, Refusal> {
        let caller = self.callers.permitted(caller, now_seconds())?;
        let routes = self.routes.load();
        let published = routes.model(&caller, model)?;
        Ok(place(published, published.target(selector)?))
    }

    fn counted(&self, path: impl FnOnce() -> Result<Answer, Stop>) -> Result<Answer, Stop> {
        let result = path();
        if let Err(Stop::Refused(refusal)) = &result {
            self.metrics.refused(refusal);
        }
        result
    }

    fn found(&self, caller: &Caller, model: &str, selector: Selector<'_>) -> Result<Found, Stop> {
        let routes = self.routes.load();
        let published = routes.model(caller, model)?;
        self.loaded(published, published.target(selector)?)
    }

    fn found_by_id(&self, caller: &Caller, model: &str, version: &str) -> Result<Found, Stop> {
        let routes = self.routes.load();
        let published = routes.model(caller, model)?;
        self.loaded(published, published.version(version)?)
    }

    fn loaded(&self, published: &Arc<Published>, target: &Arc<Target>) -> Result<Found, Stop> {
        let loading = || {
            Code::ModelLoading.because(vec![
                ("model", published.route.name.to_string()),
                ("version", target.number.to_string()),
                ("version_id", target.version.to_string()),
            ])
        };
        let version = self.engine.version(&target.version).ok_or_else(loading)?;
        Ok(Found { published: published.clone(), target: target.clone(), version })
    }

    fn rows(&self, found: &Found, outline: Option<&Outline<'_>>) -> Result<Rows, Stop> {
        let not_mine = || Stop::NotMine(place(&found.published, &found.target));
        let read = |columns: &Columns| rows::decode(outline?, columns, self.settings.max_rows);
        match found.version.columns.as_ref().and_then(read) {
            Some(Ok(rows)) => Ok(rows),
            Some(Err(TooMany)) => Err(self.too_many().into()),
            None => Err(not_mine()),
        }
    }

    fn too_many(&self) -> Refusal {
        Code::TooManyRows.because(vec![("limit", self.settings.max_rows.to_string())])
    }

    fn is_cheap(&self, ask: Ask<'_>, seconds: f64) -> Result<(), Stop> {
        if ask.may_block || seconds <= self.settings.cheap_seconds { Ok(()) } else { Err(Stop::Later) }
    }

    /// key → level one → run → encode → remember.
    fn predicted(&self, ask: Ask<'_>, found: &Found, batch: Batch<'_>, is_list: bool, parse_seconds: f64) -> Result<Answer, Stop> {
        let outcome = self.outcome(ask, found, batch).inspect_err(|stop| {
            found.target.counters.failed.add(usize::from(matches!(stop, Stop::Failed(_))));
        })?;
        let frame = Frame {
            signature: &found.version.signature,
            is_short: ask.is_short,
            is_list,
            all_probabilities: ask.all_probabilities,
            model_json: &found.published.name_json,
            version: &found.target.version,
            version_number: found.target.number,
            cache_hits: outcome.cache_hits,
            rows: batch.rows,
        };
        let mut latency_seconds = 0.0;
        let body = encode::encode(&frame, &outcome.words, unix_nanoseconds(), || {
            latency_seconds = seconds_between(ask.started_nanoseconds, monotonic_nanoseconds());
            latency_seconds
        });
        let answer = Answer {
            body,
            place: place(&found.published, &found.target),
            cache: outcome.cache,
            rows: batch.rows,
            cache_hits: outcome.cache_hits,
            latency_seconds,
            parse_seconds,
            cache_seconds: outcome.cache_seconds,
            infer_seconds: outcome.infer_seconds,
        };
        count(found, &answer);
        Ok(answer)
    }

    fn outcome(&self, ask: Ask<'_>, found: &Found, batch: Batch<'_>) -> Result<Outcome, Stop> {
        let ttl_seconds = found.published.route.cache_ttl_seconds.unwrap_or(self.settings.cache_ttl_seconds);
        let is_cached = !ask.no_cache && ttl_seconds > 0.0 && self.settings.cache_bytes > 0;
        if is_cached { self.cached(ask, found, batch, ttl_seconds) } else { self.uncached(ask, found, batch) }
    }

    fn uncached(&self, ask: Ask<'_>, found: &Found, batch: Batch<'_>) -> Result<Outcome, Stop> {
        self.is_cheap(ask, found.version.seconds(batch.rows))?;
        let started = monotonic_nanoseconds();
        let words = found.version.run(batch)?;
        let infer_seconds = seconds_between(started, monotonic_nanoseconds());
        Ok(Outcome { words, cache: "bypass", cache_hits: 0, cache_seconds: 0.0, infer_seconds })
    }

    fn cached(&self, ask: Ask<'_>, found: &Found, batch: Batch<'_>, ttl_seconds: f64) -> Result<Outcome, Stop> {
        let started = monotonic_nanoseconds();
        let mut looked = Looked::up(&self.cache, found, batch, started);
        let looked_at = monotonic_nanoseconds();
        if !looked.missing.is_empty() {
            self.is_cheap(ask, found.version.seconds(looked.missing.len()))?;
            looked.run(&found.version, batch)?;
        }
        let ran_at = monotonic_nanoseconds();
        looked.remember(&self.cache, &found.version, expiry(ran_at, ttl_seconds));
        let cache_hits = batch.rows - looked.missing.len();
        Ok(Outcome {
            words: looked.words,
            cache: if cache_hits == batch.rows { "l1" } else { "miss" },
            cache_hits,
            cache_seconds: seconds_between(started, looked_at) + seconds_between(ran_at, monotonic_nanoseconds()),
            infer_seconds: seconds_between(looked_at, ran_at),
        })
    }
}

/// Rows looked up in the cache: what was there, and which are missing.
struct Looked {
    words: Vec<u64>,
    /// Row numbers.
    missing: Vec<usize>,
    keys: Vec<crate::cache::Key>,
}

impl Looked {
    fn up(cache: &Cache, found: &Found, batch: Batch<'_>, now_nanoseconds: u64) -> Self {
        let signature = &found.version.signature;
        let (n, m, width) = (signature.numbers(), signature.strings(), signature.width());
        let mut keys: Keys<'_> = cache.keys(&found.version.scope(&found.published.route.owner));
        let mut looked = Self { words: vec![0; batch.rows * width], missing: vec![], keys: Vec::with_capacity(batch.rows) };
        for row in 0..batch.rows {
            let key = keys.of(&batch.numbers[row * n..(row + 1) * n], &batch.strings[row * m..(row + 1) * m]);
            looked.keys.push(key);
            match cache.get(key, now_nanoseconds) {
                Some(words) => looked.words[row * width..(row + 1) * width].copy_from_slice(&words),
                None => looked.missing.push(row),
            }
        }
        looked
    }

    fn run(&mut self, version: &Version, batch: Batch<'_>) -> Result<(), Fault> {
        if self.missing.len() == batch.rows {
            self.words = version.run(batch)?;
            return Ok(());
        }
        let (numbers, strings) = batch.picked(&version.signature, &self.missing);
        let words = version.run(Batch { rows: self.missing.len(), numbers: &numbers, strings: &strings })?;
        let width = version.signature.width();
        for (row, words) in self.missing.iter().zip(words.chunks_exact(width)) {
            self.words[row * width..(row + 1) * width].copy_from_slice(words);
        }
        Ok(())
    }

    fn remember(&self, cache: &Cache, version: &Version, expires_nanoseconds: u64) {
        let width = version.signature.width();
        for &row in &self.missing {
            cache.put(self.keys[row], &self.words[row * width..(row + 1) * width], expires_nanoseconds);
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn expiry(now_nanoseconds: u64, ttl_seconds: f64) -> u64 {
    now_nanoseconds.saturating_add((ttl_seconds * 1e9) as u64)
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn seconds_to_read(body: &[u8]) -> f64 {
    body.len() as f64 * READ_SECONDS_PER_BYTE
}

#[allow(clippy::cast_precision_loss, reason = "seconds since 1970, to the microsecond")]
pub fn now_seconds() -> f64 {
    unix_nanoseconds() as f64 / 1e9
}

fn place(published: &Published, target: &Target) -> Place {
    Place { model: published.route.model.to_string(), version: target.version.to_string(), number: target.number }
}

fn labels(route: &Route, number: u64) -> String {
    let model = format!("{}/{}", route.owner_username, route.name);
    format!("{},{}", crate::metrics::label("model", &model), crate::metrics::label("version", &number.to_string()))
}

fn count(found: &Found, answer: &Answer) {
    let counters = &found.target.counters;
    counters.answered.add(1);
    counters.rows.add(answer.rows);
    counters.latency.observe(answer.latency_seconds);
    if answer.cache != "bypass" {
        counters.cache_hits.add(answer.cache_hits);
        counters.cache_misses.add(answer.rows - answer.cache_hits);
    }
    if answer.cache_hits < answer.rows {
        counters.inference.observe(answer.infer_seconds);
    }
}
