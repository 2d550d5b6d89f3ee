//! The path of one prediction, top to bottom: caller and body in, answer or refusal out.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tokio::runtime::Runtime;

use crate::cache::memory::{Cache, Key, Keys, random_secret};
use crate::cache::redis::Redis;
use crate::clock::{monotonic_nanoseconds, now_seconds, seconds_between, unix_nanoseconds};
use crate::compute::error::ComputeError;
use crate::compute::pool::Compute;
use crate::compute::run::Run;
use crate::compute::scheduler::QueueLimits;
use crate::engine::version::{Batch, Engine, Version};
use crate::error::{Code, Fault, Refusal};
use crate::history::ring::{self as history, Answered, EntryPoint, History};
use crate::limits::callers::{Caller, Callers};
use crate::limits::limiter::{RateLimiter, RateState};
use crate::limits::usage::{Reservation, UsageMeters};
use crate::metrics::{Metrics, Stage};
use crate::predict::encode::{self, Frame};
use crate::predict::routes::{Levels, Published, Route, Routes, Selector, Target};
use crate::predict::rows::{self, Columns, Outline, Rows, TooMany};

/// What reading a byte of a body costs, at most; bodies that would take too long are left to another thread.
const READ_SECONDS_PER_BYTE: f64 = 5e-9;

/// Everything a prediction needs: routes, callers, loaded versions, the first cache level, threads for what is dear.
pub struct Plane {
    pub routes: ArcSwap<Routes>,
    pub callers: Callers,
    pub rates: RateLimiter,
    pub meters: UsageMeters,
    pub engine: Engine,
    pub cache: Cache,
    /// The second cache level, where there is one.
    pub redis: Option<Arc<Redis>>,
    pub compute: Compute,
    pub metrics: Metrics,
    pub history: History,
    pub settings: Settings,
    runtime: OnceLock<Runtime>,
}

pub struct Settings {
    pub cache_bytes: u64,
    pub cache_ttl_seconds: f64,
    pub cache_l2_ttl_seconds: f64,
    /// Of the second cache level.
    pub cache_url: Option<String>,
    /// Shared by the replicas; None: this process has one of its own.
    pub cache_secret: Option<[u8; 32]>,
    pub cheap_seconds: f64,
    pub max_rows: usize,
    /// For what is dear; the runtime has as many again.
    pub compute: QueueLimits,
    pub history: history::Settings,
}

/// How a prediction is asked for.
#[derive(Clone, Copy)]
pub struct PredictRequest<'a> {
    /// Digest of the key.
    pub caller: &'a [u8],
    pub asked: PredictOptions,
    /// The calling thread may take its time: to read a long body.
    pub may_read: bool,
}

/// A question whose body takes long to read, kept for a thread that may.
pub struct DeferredRequest<B> {
    pub caller: Vec<u8>,
    pub asked: PredictOptions,
    pub model: Option<String>,
    pub version: Option<u64>,
    pub alias: Option<String>,
    pub body: B,
}

impl<B: AsRef<[u8]>> DeferredRequest<B> {
    pub fn of(ask: PredictRequest<'_>, model: Option<&str>, selector: Selector<'_>, body: B) -> Self {
        Self {
            caller: ask.caller.to_vec(),
            asked: ask.asked,
            model: model.map(str::to_owned),
            version: selector.version,
            alias: selector.alias.map(str::to_owned),
            body,
        }
    }

    fn answer(&self, plane: &Plane) -> Result<Answer, PredictError> {
        let ask = PredictRequest { caller: &self.caller, asked: self.asked, may_read: true };
        let selector = Selector { version: self.version, alias: self.alias.as_deref() };
        plane.answer(ask, self.model.as_deref(), selector, self.body.as_ref())
    }
}

/// What an answer depends on beside its rows.
#[derive(Clone, Copy, Debug)]
pub struct PredictOptions {
    pub is_short: bool,
    pub all_probabilities: bool,
    pub no_cache: bool,
    pub started_nanoseconds: u64,
    pub door: EntryPoint,
}

/// A prediction, encoded, and what it took.
#[derive(Debug)]
pub struct Answer {
    pub body: Vec<u8>,
    pub published: Arc<Published>,
    pub target: Arc<Target>,
    pub cache: &'static str,
    pub rows: usize,
    /// Of all levels.
    pub cache_hits: usize,
    pub level_two_hits: usize,
    pub latency_seconds: f64,
    pub times: Times,
    /// What is left of the caller's tightest rate; None: it has none.
    pub rate: Option<RateState>,
}

/// What a prediction has paid.
#[derive(Debug, Default)]
struct Charge {
    reserved: Reservation,
    rate: Option<RateState>,
}

/// Where the time of an answer went.
#[allow(clippy::struct_field_names, reason = "units belong in names")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    pub parse_seconds: f64,
    pub cache_seconds: f64,
    pub queue_seconds: f64,
    pub infer_seconds: f64,
    pub encode_seconds: f64,
}

/// The model and version that a request asks: ids, and the version's number.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct VersionRef {
    pub model: String,
    pub version: String,
    pub number: u64,
}

/// Why a prediction stops before its answer.
#[derive(Debug)]
pub enum PredictError {
    Refused(Refusal),
    /// The body needs Python.
    NotMine(VersionRef),
    /// The body is too long to be read on the calling thread: ask again from another with `may_read`.
    Long,
    /// The rest is not for the calling thread: await it.
    Later(Box<PendingRun>),
    Failed(Fault),
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

/// A version found for a caller.
#[derive(Debug, Clone)]
struct ResolvedVersion {
    caller: Arc<Caller>,
    published: Arc<Published>,
    target: Arc<Target>,
    version: Arc<Version>,
}

/// Rows of raw outputs, and where they came from.
struct Outcome {
    words: Vec<u64>,
    cache: &'static str,
    cache_hits: usize,
    level_two_hits: usize,
    times: Times,
}

/// For how long each level of the cache keeps a row; None: it does not.
#[derive(Debug, Clone, Copy, Default)]
struct CacheTtls {
    one_seconds: Option<f64>,
    two_seconds: Option<f64>,
}

/// A prediction whose rows are known and whose run is too dear for the thread that read it.
#[derive(Debug)]
pub struct PendingRun {
    asked: PredictOptions,
    found: ResolvedVersion,
    is_list: bool,
    /// All rows, as the history knows them.
    seen: history::Rows,
    /// The rows that have to be run.
    numbers: Vec<f64>,
    strings: Vec<Box<str>>,
    /// What the cache knows of all rows; None: it is not asked.
    looked: Option<CacheLookup>,
    asks_level_two: bool,
    times: Times,
    paid: Charge,
}

impl Plane {
    pub fn new(settings: Settings) -> Result<Self, Fault> {
        let secret = settings.cache_secret.map_or_else(random_secret, Ok)?;
        let metrics = Metrics::default();
        let mut plane = Self {
            routes: ArcSwap::default(),
            callers: Callers::new(),
            rates: RateLimiter::default(),
            meters: UsageMeters::default(),
            engine: Engine::default(),
            cache: Cache::new(settings.cache_bytes, blake3::derive_key("serval cache keys 1", &secret)),
            redis: None,
            compute: Compute::new(settings.compute, metrics.compute.clone()),
            metrics,
            history: History::new(&settings.history),
            runtime: OnceLock::new(),
            settings,
        };
        if let Some(url) = &plane.settings.cache_url {
            let secret = blake3::derive_key("serval cache values 1", &secret);
            plane.redis = Some(Redis::open(url, secret, plane.runtime()?.handle())?);
        }
        Ok(plane)
    }

    /// The threads that wait for sockets and timers; started when they are first needed, because a confined child has no use for them.
    pub fn runtime(&self) -> Result<&Runtime, Fault> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let built = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.settings.compute.threads)
            .thread_name("plane")
            .enable_all()
            .build()
            .map_err(|error| Fault::load(format!("the threads of the data plane do not start: {error}")))?;
        Ok(self.runtime.get_or_init(|| built))
    }

    pub fn set_routes(&self, routes: impl IntoIterator<Item = Route>) {
        self.metrics.publish(|counters| {
            let table =
                Routes::of(routes, |route, number, version| counters(version, &route.owner, labels(route, number)));
            self.routes.store(Arc::new(table));
        });
    }

    /// Answer a JSON body. `model`: from the path; the short shape names it in the body.
    pub fn answer(
        &self,
        ask: PredictRequest<'_>,
        model: Option<&str>,
        selector: Selector<'_>,
        body: &[u8],
    ) -> Result<Answer, PredictError> {
        self.counted(|| {
            let caller = self.callers.permitted(ask.caller, now_seconds())?;
            if !ask.may_read && seconds_to_read(body) > self.settings.cheap_seconds {
                return Err(PredictError::Long);
            }
            let started = monotonic_nanoseconds();
            let outline = rows::outline(body, ask.asked.is_short);
            let model = model
                .or_else(|| outline.as_ref()?.model)
                .ok_or_else(|| PredictError::NotMine(VersionRef::default()))?;
            let found = self.found(&caller, model, selector)?;
            let rows = self.rows(&found, outline.as_ref())?;
            let parse_seconds = seconds_between(started, monotonic_nanoseconds());
            found.target.counters.stage(Stage::Parse).observe(parse_seconds);
            let batch = Batch::of(&found.version.signature, &rows.numbers, &[])?;
            self.predicted(ask.asked, &found, batch, rows.is_list, parse_seconds)
        })
    }

    /// The second half of `answer`, for rows that Python decoded. `model`, `version`: ids.
    pub fn predict(
        &self,
        ask: PredictRequest<'_>,
        model: &str,
        version: &str,
        numbers: &[f64],
        strings: &[&str],
        is_list: bool,
    ) -> Result<Answer, PredictError> {
        self.counted(|| {
            let caller = self.callers.permitted(ask.caller, now_seconds())?;
            let found = self.found_by_id(&caller, model, version)?;
            let batch = Batch::of(&found.version.signature, numbers, strings)?;
            if batch.rows == 0 || (!is_list && batch.rows != 1) {
                return Err(
                    Fault::argument("an answer has at least one row, and one that is no list exactly one").into()
                );
            }
            if batch.rows > self.settings.max_rows {
                return Err(self.too_many().into());
            }
            self.predicted(ask.asked, &found, batch, is_list, 0.0)
        })
    }

    /// What `answer` found too long to read: read it elsewhere, and do the rest.
    pub async fn read<B: AsRef<[u8]> + Send + 'static>(
        self: &Arc<Self>,
        question: DeferredRequest<B>,
    ) -> Result<Answer, PredictError> {
        let plane = self.clone();
        match self.compute.read(move || question.answer(&plane)).await? {
            Err(PredictError::Later(pending)) => self.finish(*pending).await,
            result => result,
        }
    }

    /// The rest of a prediction that is not for the thread that read it. Whoever drops it has no use for the answer any more.
    ///
    /// Dropped, it gives back what it took of the quota, because nothing was answered; not of the rates, or hanging up would make
    /// runs free.
    pub async fn finish(&self, pending: PendingRun) -> Result<Answer, PredictError> {
        let (caller, counters) = (pending.found.caller.clone(), pending.found.target.counters.clone());
        self.run_pending(pending).await.inspect_err(|stop| {
            self.rates.refund(&caller.buckets);
            match stop {
                PredictError::Refused(refusal) => self.metrics.refused(refusal),
                PredictError::Failed(_) => counters.failed.add(1),
                _ => {}
            }
        })
    }

    async fn run_pending(&self, mut pending: PendingRun) -> Result<Answer, PredictError> {
        let level_two_hits = self.ask_level_two(&mut pending).await?;
        let run = pending.run();
        let ran_rows = run.rows();
        let words = self.ran(run, &pending.found, &mut pending.times).await?;
        let (found, asked) = (pending.found, pending.asked);
        let (words, cache_hits, cache, rows) = match pending.looked {
            None => (words, 0, "bypass", ran_rows),
            Some(mut looked) => {
                looked.take(&found.version, words);
                self.remember(&found, &looked);
                let all = looked.rows();
                (looked.words, all - ran_rows, if ran_rows == 0 { "l2" } else { "miss" }, all)
            }
        };
        let outcome = Outcome { words, cache, cache_hits, level_two_hits, times: pending.times };
        Ok(self.answered(asked, &found, &outcome, pending.is_list, rows, pending.paid, || pending.seen))
    }

    /// Raw outputs of what is left to run.
    async fn ran(&self, run: Run, found: &ResolvedVersion, times: &mut Times) -> Result<Vec<u64>, PredictError> {
        if !self.is_cheap(found, run.rows()) {
            let ran = self.compute.run(run).await?;
            (times.queue_seconds, times.infer_seconds) = (ran.queue_seconds, ran.infer_seconds);
            return Ok(ran.words);
        }
        if run.rows() == 0 {
            return Ok(vec![]);
        }
        let started = monotonic_nanoseconds();
        let words = run.execute()?;
        times.infer_seconds = seconds_between(started, monotonic_nanoseconds());
        Ok(words)
    }

    /// Take what level two knows of the missing rows; how many these are.
    async fn ask_level_two(&self, pending: &mut PendingRun) -> Result<usize, PredictError> {
        let (Some(redis), Some(looked), true) = (&self.redis, &mut pending.looked, pending.asks_level_two) else {
            return Ok(0);
        };
        let version = &pending.found.version;
        let asked_at = monotonic_nanoseconds();
        let keys: Vec<Key> = looked.missing.iter().map(|&row| looked.keys[row]).collect();
        let rows = redis.get(&keys, version.signature.width()).await;
        let now = monotonic_nanoseconds();
        let spent_seconds = seconds_between(asked_at, now);
        pending.times.cache_seconds += spent_seconds;
        let expires_nanoseconds = expiry(now, looked.kept.one_seconds.unwrap_or_default());
        let (hits, left) = looked.found(version, rows, |key, words| self.cache.put(key, words, expires_nanoseconds));
        version.worth.enter(now, spent_seconds, version.seconds(keys.len()) - version.seconds(left.len()));
        if hits > 0 {
            pending.keep_rows(&left)?;
        }
        Ok(hits)
    }

    /// The model and version that `answer` would use.
    pub fn find(&self, caller: &[u8], model: &str, selector: Selector<'_>) -> Result<VersionRef, Refusal> {
        let caller = self.callers.permitted(caller, now_seconds())?;
        let routes = self.routes.load();
        let published = routes.model(&caller, model)?;
        Ok(place(published, published.target(selector)?))
    }

    fn counted(&self, path: impl FnOnce() -> Result<Answer, PredictError>) -> Result<Answer, PredictError> {
        let result = path();
        if let Err(PredictError::Refused(refusal)) = &result {
            self.metrics.refused(refusal);
        }
        result
    }

    fn found(
        &self,
        caller: &Arc<Caller>,
        model: &str,
        selector: Selector<'_>,
    ) -> Result<ResolvedVersion, PredictError> {
        let routes = self.routes.load();
        let published = routes.model(caller, model)?;
        self.loaded(caller, published, published.target(selector)?)
    }

    fn found_by_id(&self, caller: &Arc<Caller>, model: &str, version: &str) -> Result<ResolvedVersion, PredictError> {
        let routes = self.routes.load();
        let published = routes.model(caller, model)?;
        self.loaded(caller, published, published.version(version)?)
    }

    fn loaded(
        &self,
        caller: &Arc<Caller>,
        published: &Arc<Published>,
        target: &Arc<Target>,
    ) -> Result<ResolvedVersion, PredictError> {
        let loading = || {
            Code::ModelLoading.because(vec![
                ("model", published.route.name.to_string()),
                ("version", target.number.to_string()),
                ("version_id", target.version.to_string()),
            ])
        };
        let version = self.engine.version(&target.version).ok_or_else(loading)?;
        Ok(ResolvedVersion { caller: caller.clone(), published: published.clone(), target: target.clone(), version })
    }

    fn rows(&self, found: &ResolvedVersion, outline: Option<&Outline<'_>>) -> Result<Rows, PredictError> {
        let not_mine = || PredictError::NotMine(place(&found.published, &found.target));
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

    fn is_cheap(&self, found: &ResolvedVersion, rows: usize) -> bool {
        found.version.seconds(rows) <= self.settings.cheap_seconds
    }

    /// pay → key → level one → run → encode → remember.
    fn predicted(
        &self,
        asked: PredictOptions,
        found: &ResolvedVersion,
        batch: Batch<'_>,
        is_list: bool,
        parse_seconds: f64,
    ) -> Result<Answer, PredictError> {
        let paid = self.pay(&found.caller)?;
        let outcome = self.outcome(asked, found, batch, is_list, parse_seconds).inspect_err(|stop| {
            found.target.counters.failed.add(usize::from(matches!(stop, PredictError::Failed(_))));
        });
        match outcome {
            Ok(outcome) => {
                let seen = || self.history.rows(&found.version.signature, batch);
                Ok(self.answered(asked, found, &outcome, is_list, batch.rows, paid, seen))
            }
            Err(stop) => Err(self.unanswered(&found.caller, paid, stop)),
        }
    }

    /// Whether a caller could pay for a prediction now.
    pub fn peek(&self, caller: &Caller) -> Result<(), Refusal> {
        caller
            .peek_quota()
            .and_then(|()| self.rates.peek(&caller.buckets))
            .inspect_err(|refusal| self.metrics.refused(refusal))
    }

    fn pay(&self, caller: &Caller) -> Result<Charge, Refusal> {
        let reserved = caller.reserve()?;
        Ok(Charge { reserved, rate: self.rates.charge(&caller.buckets)? })
    }

    /// What is pending takes along what it has paid; anything else that is no answer gives it back, to be charged again by whoever asks again.
    fn unanswered(&self, caller: &Caller, paid: Charge, stop: PredictError) -> PredictError {
        if let PredictError::Later(mut pending) = stop {
            pending.paid = paid;
            return PredictError::Later(pending);
        }
        self.rates.refund(&caller.buckets);
        stop
    }

    /// encode → count → remember for the history. `seen`: asked for where the history takes it.
    #[allow(clippy::too_many_arguments, reason = "all that an answer comes from")]
    fn answered(
        &self,
        asked: PredictOptions,
        found: &ResolvedVersion,
        outcome: &Outcome,
        is_list: bool,
        rows: usize,
        paid: Charge,
        seen: impl FnOnce() -> history::Rows,
    ) -> Answer {
        let frame = Frame {
            signature: &found.version.signature,
            is_short: asked.is_short,
            is_list,
            all_probabilities: asked.all_probabilities,
            model_json: &found.published.name_json,
            version: &found.target.version,
            version_number: found.target.number,
            cache_hits: outcome.cache_hits,
            rows,
        };
        let (encoding_since, unix_nanoseconds) = (monotonic_nanoseconds(), unix_nanoseconds());
        let mut encoded_at = 0;
        let body = encode::encode(&frame, &outcome.words, unix_nanoseconds, || {
            encoded_at = monotonic_nanoseconds();
            seconds_between(asked.started_nanoseconds, encoded_at)
        });
        let answer = Answer {
            body,
            published: found.published.clone(),
            target: found.target.clone(),
            cache: outcome.cache,
            rows,
            cache_hits: outcome.cache_hits,
            level_two_hits: outcome.level_two_hits,
            latency_seconds: seconds_between(asked.started_nanoseconds, encoded_at),
            times: Times { encode_seconds: seconds_between(encoding_since, encoded_at), ..outcome.times },
            rate: paid.rate,
        };
        count(&answer);
        paid.reserved.commit(unix_nanoseconds);
        let answered = Answered {
            caller: &found.caller,
            published: &found.published,
            target: &found.target,
            signature: &found.version.signature,
            words: &outcome.words,
            cache: answer.cache,
            latency_seconds: answer.latency_seconds,
            unix_nanoseconds,
            door: asked.door,
        };
        self.history.push(&answered, seen);
        answer
    }

    fn outcome(
        &self,
        asked: PredictOptions,
        found: &ResolvedVersion,
        batch: Batch<'_>,
        is_list: bool,
        parse_seconds: f64,
    ) -> Result<Outcome, PredictError> {
        let kept = self.kept(asked, &found.published.route);
        let is_cached = kept.one_seconds.or(kept.two_seconds).is_some();
        let times = Times { parse_seconds, ..Times::default() };
        let later = |looked, asks_level_two, times| {
            let seen = self.history.rows(&found.version.signature, batch);
            PredictError::Later(Box::new(PendingRun::of(
                asked,
                found.clone(),
                batch,
                is_list,
                seen,
                looked,
                asks_level_two,
                times,
            )))
        };
        if is_cached {
            self.cached(found, batch, kept, times, later)
        } else {
            self.uncached(found, batch, times, later)
        }
    }

    fn kept(&self, asked: PredictOptions, route: &Route) -> CacheTtls {
        if asked.no_cache || route.levels == Levels::None {
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

    /// Whether rows that level one misses should be asked of level two: not where running them is as quick.
    fn asks_level_two(&self, found: &ResolvedVersion, looked: &CacheLookup, now_nanoseconds: u64) -> bool {
        let (Some(redis), Some(_)) = (&self.redis, looked.kept.two_seconds) else { return false };
        let is_dear = || found.version.seconds(looked.missing.len()) > redis.round_trip_seconds(looked.missing.len());
        redis.is_up()
            && (found.published.route.levels == Levels::Two || (is_dear() && found.version.worth.pays(now_nanoseconds)))
    }

    /// Keep the rows that were missing, in the levels that take them.
    fn remember(&self, found: &ResolvedVersion, looked: &CacheLookup) {
        if let Some(seconds) = looked.kept.one_seconds {
            let expires_nanoseconds = expiry(monotonic_nanoseconds(), seconds);
            looked.new_rows(&found.version).for_each(|(key, words)| self.cache.put(key, words, expires_nanoseconds));
        }
        let (Some(redis), Some(seconds)) = (&self.redis, looked.kept.two_seconds) else { return };
        let is_taken =
            || found.version.seconds(1) > redis.round_trip_seconds(1) || found.published.route.levels == Levels::Two;
        if redis.is_up() && !looked.missing.is_empty() && is_taken() {
            redis.put(looked.new_rows(&found.version).map(|(key, words)| redis.sign(key, words)).collect(), seconds);
        }
    }

    fn uncached(
        &self,
        found: &ResolvedVersion,
        batch: Batch<'_>,
        mut times: Times,
        later: impl FnOnce(Option<CacheLookup>, bool, Times) -> PredictError,
    ) -> Result<Outcome, PredictError> {
        if !self.is_cheap(found, batch.rows) {
            return Err(later(None, false, times));
        }
        let started = monotonic_nanoseconds();
        let words = found.version.run(batch)?;
        times.infer_seconds = seconds_between(started, monotonic_nanoseconds());
        Ok(Outcome { words, cache: "bypass", cache_hits: 0, level_two_hits: 0, times })
    }

    fn cached(
        &self,
        found: &ResolvedVersion,
        batch: Batch<'_>,
        kept: CacheTtls,
        mut times: Times,
        later: impl FnOnce(Option<CacheLookup>, bool, Times) -> PredictError,
    ) -> Result<Outcome, PredictError> {
        let started = monotonic_nanoseconds();
        let mut looked = CacheLookup::up(&self.cache, found, batch, kept, started);
        let looked_at = monotonic_nanoseconds();
        times.cache_seconds = seconds_between(started, looked_at);
        let cache_hits = batch.rows - looked.missing.len();
        if looked.missing.is_empty() {
            return Ok(Outcome { words: looked.words, cache: "l1", cache_hits, level_two_hits: 0, times });
        }
        let asks_level_two = self.asks_level_two(found, &looked, looked_at);
        if asks_level_two || !self.is_cheap(found, looked.missing.len()) {
            return Err(later(Some(looked), asks_level_two, times));
        }
        looked.run(&found.version, batch)?;
        let ran_at = monotonic_nanoseconds();
        times.infer_seconds = seconds_between(looked_at, ran_at);
        self.remember(found, &looked);
        times.cache_seconds += seconds_between(ran_at, monotonic_nanoseconds());
        Ok(Outcome { words: looked.words, cache: "miss", cache_hits, level_two_hits: 0, times })
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        // The last to let go may be one of the runtime's own threads, which can not wait for themselves.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl PendingRun {
    #[allow(clippy::too_many_arguments, reason = "its fields")]
    fn of(
        asked: PredictOptions,
        found: ResolvedVersion,
        batch: Batch<'_>,
        is_list: bool,
        seen: history::Rows,
        looked: Option<CacheLookup>,
        asks_level_two: bool,
        times: Times,
    ) -> Self {
        let (numbers, strings) = match &looked {
            Some(looked) => batch.picked(&found.version.signature, &looked.missing),
            None => (batch.numbers.to_vec(), batch.strings.to_vec()),
        };
        let strings = strings.into_iter().map(Box::from).collect();
        Self { asked, found, is_list, seen, numbers, strings, looked, asks_level_two, times, paid: Charge::default() }
    }

    /// Keep only some of the rows that have to be run.
    fn keep_rows(&mut self, rows: &[usize]) -> Result<(), Fault> {
        let strings: Vec<&str> = self.strings.iter().map(|string| &**string).collect();
        let signature = &self.found.version.signature;
        let (numbers, strings) = Batch::of(signature, &self.numbers, &strings)?.picked(signature, rows);
        let strings = strings.into_iter().map(Box::from).collect();
        (self.numbers, self.strings) = (numbers, strings);
        Ok(())
    }

    fn run(&mut self) -> Run {
        let keys = self.looked.as_ref().map(|looked| looked.missing.iter().map(|&row| looked.keys[row]).collect());
        Run {
            model: self.found.published.route.model.clone(),
            version: self.found.version.clone(),
            numbers: std::mem::take(&mut self.numbers),
            strings: std::mem::take(&mut self.strings),
            keys: keys.unwrap_or_default(),
        }
    }
}

impl Answer {
    pub fn place(&self) -> VersionRef {
        place(&self.published, &self.target)
    }
}

/// Rows looked up in the cache: what was there, and which are missing.
#[derive(Debug)]
struct CacheLookup {
    words: Vec<u64>,
    /// Row numbers.
    missing: Vec<usize>,
    keys: Vec<Key>,
    kept: CacheTtls,
}

impl CacheLookup {
    fn up(cache: &Cache, found: &ResolvedVersion, batch: Batch<'_>, kept: CacheTtls, now_nanoseconds: u64) -> Self {
        let signature = &found.version.signature;
        let (n, m, width) = (signature.numbers(), signature.strings(), signature.width());
        let mut keys: Keys<'_> = cache.keys(&found.version.scope(found.published.route.tenant(&found.caller)));
        let mut looked =
            Self { words: vec![0; batch.rows * width], missing: vec![], keys: Vec::with_capacity(batch.rows), kept };
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

    fn rows(&self) -> usize {
        self.keys.len()
    }

    fn run(&mut self, version: &Version, batch: Batch<'_>) -> Result<(), Fault> {
        let words = if self.missing.len() == batch.rows {
            version.run(batch)?
        } else {
            let (numbers, strings) = batch.picked(&version.signature, &self.missing);
            version.run(Batch { rows: self.missing.len(), numbers: &numbers, strings: &strings })?
        };
        self.take(version, words);
        Ok(())
    }

    /// Put the outputs of the missing rows in their places.
    fn take(&mut self, version: &Version, words: Vec<u64>) {
        if self.missing.len() == self.rows() {
            self.words = words;
            return;
        }
        let width = version.signature.width();
        for (row, words) in self.missing.iter().zip(words.chunks_exact(width)) {
            self.words[row * width..(row + 1) * width].copy_from_slice(words);
        }
    }

    /// Put missing rows in their places, where they were found elsewhere, and hand each to `seen`.
    /// How many they are, and the places of the others among those that were missing.
    fn found(
        &mut self,
        version: &Version,
        rows: Vec<Option<Vec<u64>>>,
        seen: impl Fn(Key, &[u64]),
    ) -> (usize, Vec<usize>) {
        let width = version.signature.width();
        let mut left = vec![];
        for (place, (&row, found)) in self.missing.iter().zip(rows).enumerate() {
            match found {
                Some(words) => {
                    seen(self.keys[row], &words);
                    self.words[row * width..(row + 1) * width].copy_from_slice(&words);
                }
                None => left.push(place),
            }
        }
        let hits = self.missing.len() - left.len();
        self.missing = left.iter().map(|&place| self.missing[place]).collect();
        (hits, left)
    }

    /// The rows that were missing, by key.
    fn new_rows(&self, version: &Version) -> impl Iterator<Item = (Key, &[u64])> {
        let width = version.signature.width();
        self.missing.iter().map(move |&row| (self.keys[row], &self.words[row * width..(row + 1) * width]))
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

fn place(published: &Published, target: &Target) -> VersionRef {
    VersionRef { model: published.route.model.to_string(), version: target.version.to_string(), number: target.number }
}

fn labels(route: &Route, number: u64) -> String {
    let model = format!("{}/{}", route.owner_username, route.name);
    format!("{},{}", crate::metrics::label("model", &model), crate::metrics::label("version", &number.to_string()))
}

fn count(answer: &Answer) {
    let counters = &answer.target.counters;
    counters.answered.add(1);
    counters.rows.add(answer.rows);
    counters.latency.observe(answer.latency_seconds);
    counters.stage(Stage::Encode).observe(answer.times.encode_seconds);
    if answer.cache != "bypass" {
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
