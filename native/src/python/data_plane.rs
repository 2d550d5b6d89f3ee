//! The data plane as Python sees it: typed arguments in, GIL released, plain Rust called, values out.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipnet::IpNet;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyDict};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinHandle};

use crate::clock::now_seconds;
use crate::compute::scheduler::QueueLimits;
use crate::engine::runtime;
use crate::engine::signature::{Float, Signature};
use crate::engine::version::{self as engine, Batch, Measured};
use crate::error::{self, Fault};
use crate::front::body::BodyLimits;
use crate::front::forward::App;
use crate::front::listener::{self, Listener};
use crate::front::respond as front;
use crate::front::templates::{self, Templates};
use crate::front::tls::Certificate;
use crate::history::ring::{self as history, EntryPoint, Seen};
use crate::limits::bucket::{Bucket, PendingLease};
use crate::limits::callers::{Caller, Digest, Lookup};
use crate::limits::limiter as rates;
use crate::limits::rate::Rate;
use crate::limits::usage::{Quota, Usage};
use crate::metrics::Gauges;
use crate::predict::path::{
    self as answer, DeferredRequest, PendingRun, Plane, PredictError, PredictOptions, PredictRequest, Settings,
    VersionRef,
};
use crate::predict::routes::{self, Levels, Selector};
use crate::sync::lock;

#[pyclass(frozen, get_all, module = "serval._native")]
pub struct Loaded {
    tile: usize,
    fixed_seconds: f64,
    row_seconds: f64,
    resident_bytes: u64,
    load_seconds: f64,
}

impl From<Measured> for Loaded {
    fn from(measured: Measured) -> Self {
        let Measured { tile, fixed_seconds, row_seconds, resident_bytes, load_seconds } = measured;
        Self { tile, fixed_seconds, row_seconds, resident_bytes, load_seconds }
    }
}

#[pyclass(frozen, get_all, module = "serval._native")]
pub struct Outputs {
    labels: Py<PyBytes>,
    scores: Py<PyBytes>,
}

#[pyclass(frozen, get_all, module = "serval._native")]
pub struct Answer {
    body: Py<PyBytes>,
    model: String,
    version: String,
    version_number: u64,
    cache: &'static str,
    rows: usize,
    cache_hits: usize,
    latency_seconds: f64,
    parse_seconds: f64,
    cache_seconds: f64,
    queue_seconds: f64,
    infer_seconds: f64,
    rate: Option<Py<RateState>>,
}

#[pyclass(frozen, get_all, module = "serval._native")]
pub struct RateState {
    policy: String,
    limit: u64,
    window_seconds: u64,
    remaining: u64,
    reset_seconds: u64,
}

impl From<rates::RateState> for RateState {
    fn from(state: rates::RateState) -> Self {
        let rates::RateState { bucket, remaining, reset_seconds } = state;
        let Rate { count, seconds } = bucket.rate;
        Self { policy: bucket.policy().to_owned(), limit: count, window_seconds: seconds, remaining, reset_seconds }
    }
}

#[pyclass(frozen, get_all, module = "serval._native")]
pub struct Refusal {
    code: &'static str,
    arguments: Py<PyDict>,
}

#[pyclass(frozen, get_all, module = "serval._native")]
pub struct NotMine {
    model: String,
    version: String,
    version_number: u64,
}

/// What is not for the calling thread.
#[pyclass(frozen, module = "serval._native")]
pub struct Later {
    plane: Arc<Plane>,
    rest: Mutex<Option<Rest>>,
    task: Mutex<Option<AbortHandle>>,
}

enum Rest {
    /// A body that takes long to read.
    Body(Box<DeferredRequest<PyBackedBytes>>),
    Run(Box<PendingRun>),
}

impl Rest {
    async fn result(self, plane: Arc<Plane>) -> Result<answer::Answer, PredictError> {
        match self {
            Self::Run(pending) => plane.finish(*pending).await,
            Self::Body(question) => plane.read(*question).await,
        }
    }
}

#[pymethods]
impl Later {
    fn start(&self, done: Py<PyAny>) -> PyResult<()> {
        let (rest, plane) = (self.rest()?, self.plane.clone());
        let task = self.plane.runtime()?.spawn(async move {
            let result = rest.result(plane.clone()).await;
            // Not on this thread: it would wait for the GIL while sockets wait for it.
            tokio::task::spawn_blocking(move || Python::attach(|py| tell(py, &plane, &done, result)));
        });
        *lock(&self.task) = Some(task.abort_handle());
        Ok(())
    }

    fn cancel(&self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }

    fn wait(&self, py: Python<'_>) -> PyResult<Reply> {
        let rest = self.rest()?;
        let result = py.detach(|| Ok::<_, Fault>(self.plane.runtime()?.block_on(rest.result(self.plane.clone()))))?;
        reply(py, &self.plane, result)
    }
}

impl Later {
    fn of(plane: &Arc<Plane>, rest: Rest) -> Self {
        Self { plane: plane.clone(), rest: Mutex::new(Some(rest)), task: Mutex::default() }
    }

    fn rest(&self) -> Result<Rest, Fault> {
        let rest = lock(&self.rest).take();
        rest.ok_or_else(|| Fault::argument("what was left for later has begun already"))
    }
}

/// Hand a reply over: `done` gets it, or the exception.
fn tell(py: Python<'_>, plane: &Arc<Plane>, done: &Py<PyAny>, result: Result<answer::Answer, PredictError>) {
    let told = match reply(py, plane, result) {
        Ok(reply) => done.call1(py, (reply,)),
        Err(error) => done.call1(py, (error.into_value(py),)),
    };
    if let Err(error) = told {
        error.write_unraisable(py, Some(done.bind(py)));
    }
}

#[pyclass(frozen, module = "serval._native")]
pub struct Route(routes::Route);

#[pymethods]
impl Route {
    #[new]
    #[pyo3(signature = (*, model, name, owner, owner_username, live, versions, aliases, cache_ttl_seconds, cache = "auto", cache_l2_ttl_seconds = None, is_public, shared_with))]
    #[allow(clippy::too_many_arguments, reason = "a row of the table of routes")]
    fn new(
        model: &str,
        name: &str,
        owner: &str,
        owner_username: &str,
        live: Option<u64>,
        versions: HashMap<u64, String>,
        aliases: HashMap<String, u64>,
        cache_ttl_seconds: Option<f64>,
        cache: &str,
        cache_l2_ttl_seconds: Option<f64>,
        is_public: bool,
        shared_with: Vec<String>,
    ) -> PyResult<Self> {
        Ok(Self(routes::Route {
            model: model.into(),
            name: name.into(),
            owner: owner.into(),
            owner_username: owner_username.into(),
            live,
            versions: versions.into_iter().map(|(number, version)| (number, version.into())).collect(),
            aliases: aliases.into_iter().map(|(alias, number)| (alias.into(), number)).collect(),
            levels: levels(cache)?,
            cache_ttl_seconds,
            cache_l2_ttl_seconds,
            is_public,
            shared_with: shared_with.into_iter().map(Into::into).collect(),
        }))
    }
}

/// What a prediction comes to.
#[derive(IntoPyObject)]
pub enum Reply {
    Answer(Answer),
    Refusal(Refusal),
    NotMine(NotMine),
    Later(Later),
}

/// What a charge comes to.
#[derive(IntoPyObject)]
pub enum ChargeReply {
    State(RateState),
    Refusal(Refusal),
}

/// What a look-up comes to.
#[derive(IntoPyObject)]
pub enum FindReply {
    VersionRef((String, String, u64)),
    Refusal(Refusal),
}

#[pyclass(frozen, module = "serval._native")]
pub struct DataPlane(Arc<Plane>);

/// The public port, open.
#[pyclass(frozen, module = "serval._native")]
pub struct Front {
    listener: Arc<Listener>,
    accepting: Mutex<Option<JoinHandle<()>>>,
    plane: Arc<Plane>,
}

#[pymethods]
impl Front {
    fn beat(&self) {
        self.listener.front().beat();
    }

    fn close_after_each_answer(&self) {
        self.listener.front().close_after_each_answer();
    }

    fn stop(&self, py: Python<'_>, patience_seconds: f64) -> PyResult<usize> {
        let Some(accepting) = lock(&self.accepting).take() else {
            return Ok(0);
        };
        self.listener.close();
        let cut_off = py.detach(|| {
            Ok::<_, Fault>(self.plane.runtime()?.block_on(async {
                let mut accepting = accepting;
                if tokio::time::timeout(Duration::from_secs_f64(patience_seconds), &mut accepting).await.is_ok() {
                    return 0;
                }
                let cut_off = self.listener.cut_off();
                let _ = tokio::time::timeout(CUT_OFF, &mut accepting).await;
                cut_off
            }))
        })?;
        Ok(cut_off)
    }

    fn set_certificate(&self, py: Python<'_>, chain: Vec<u8>, key: Vec<u8>) -> PyResult<()> {
        let certificate = py.detach(|| Certificate::read(&chain, &key))?;
        if self.listener.set_certificate(certificate) {
            Ok(())
        } else {
            Err(Fault::argument("the port speaks plain HTTP").into())
        }
    }

    fn metrics<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let mut text = String::new();
        self.listener.write(&mut text);
        PyBytes::new(py, text.as_bytes())
    }
}

/// Unix time at which a certificate expires; None where its dates are not understood. The key is held against it.
#[pyfunction]
pub fn certificate_expiry(chain: Vec<u8>, key: Vec<u8>) -> PyResult<Option<u64>> {
    Ok(Certificate::read(&chain, &key)?.expires_seconds())
}

/// A refusal that the front may send by itself: name, status, headers, body.
#[derive(FromPyObject)]
pub struct Published(String, u16, Vec<(String, String)>, Vec<u8>);

/// Settings of the public port.
#[pyclass(frozen, module = "serval._native")]
pub struct FrontLimits {
    front: front::Limits,
    listener: listener::Limits,
}

#[pymethods]
impl FrontLimits {
    #[new]
    #[pyo3(signature = (
        *, connections, connections_by_address, head_bytes, body_bytes, buffered_bytes, forwarded, head_seconds, body_seconds,
        idle_seconds, write_seconds, stall_seconds, https_only, trusted_proxies
    ))]
    #[allow(clippy::too_many_arguments, reason = "settings")]
    fn new(
        connections: usize,
        connections_by_address: usize,
        head_bytes: usize,
        body_bytes: usize,
        buffered_bytes: usize,
        forwarded: usize,
        head_seconds: f64,
        body_seconds: f64,
        idle_seconds: f64,
        write_seconds: f64,
        stall_seconds: f64,
        https_only: bool,
        trusted_proxies: Vec<String>,
    ) -> PyResult<Self> {
        let trusted_proxies = trusted_proxies.iter().map(|text| network(text)).collect::<Result<_, Fault>>()?;
        Ok(Self {
            front: front::Limits {
                body: BodyLimits { body_bytes, buffered_bytes, body_seconds },
                forwarded,
                stall_seconds,
                https_only,
            },
            listener: listener::Limits {
                connections,
                connections_by_address,
                head_bytes,
                head_seconds,
                idle_seconds,
                write_seconds,
                trusted_proxies,
            },
        })
    }
}

/// What connections that are cut off may take to notice.
const CUT_OFF: Duration = Duration::from_secs(1);

#[pymethods]
impl DataPlane {
    #[new]
    #[pyo3(signature = (
        *,
        runtime_library,
        cache_bytes,
        cache_ttl_seconds,
        cheap_seconds,
        max_rows,
        threads = 1,
        timeout_seconds = 30.0,
        max_waiting = 512,
        max_waiting_per_model = 128,
        cache_url = None,
        cache_secret = None,
        cache_l2_ttl_seconds = 300.0,
        history_capacity = 8192,
        history_sample = 1.0,
        history_inputs = false,
        log_sample = 0.0,
        slow_seconds = 1.0
    ))]
    #[allow(clippy::too_many_arguments, reason = "settings")]
    fn new(
        py: Python<'_>,
        runtime_library: &str,
        cache_bytes: u64,
        cache_ttl_seconds: f64,
        cheap_seconds: f64,
        max_rows: usize,
        threads: usize,
        timeout_seconds: f64,
        max_waiting: usize,
        max_waiting_per_model: usize,
        cache_url: Option<String>,
        cache_secret: Option<[u8; 32]>,
        cache_l2_ttl_seconds: f64,
        history_capacity: usize,
        history_sample: f64,
        history_inputs: bool,
        log_sample: f64,
        slow_seconds: f64,
    ) -> PyResult<Self> {
        let history = history::Settings {
            capacity: history_capacity,
            sample: history_sample,
            log_sample,
            slow_seconds,
            keeps_inputs: history_inputs,
        };
        let compute = QueueLimits { threads, max_waiting, max_waiting_per_model, timeout_seconds };
        let settings = Settings {
            cache_bytes,
            cache_ttl_seconds,
            cache_l2_ttl_seconds,
            cache_url,
            cache_secret,
            cheap_seconds,
            max_rows,
            compute,
            history,
        };
        let plane = py.detach(|| {
            runtime::open(Path::new(runtime_library))?;
            Plane::new(settings)
        })?;
        Ok(Self(Arc::new(plane)))
    }

    fn load(
        &self,
        py: Python<'_>,
        version: &str,
        onnx: &[u8],
        signature: &[u8],
        numbers: &[u8],
        strings: Vec<PyBackedStr>,
    ) -> PyResult<Loaded> {
        let measured = py.detach(|| {
            let numbers = floats(numbers)?;
            let strings: Vec<&str> = strings.iter().map(|string| &**string).collect();
            let probes = Batch::of(&Signature::parse(signature)?, &numbers, &strings)?;
            self.0.engine.load(version, onnx, signature, probes)
        })?;
        Ok(measured.into())
    }

    fn unload(&self, py: Python<'_>, version: &str) -> bool {
        py.detach(|| self.0.engine.unload(version))
    }

    fn run(&self, py: Python<'_>, version: &str, numbers: &[u8], strings: Vec<PyBackedStr>) -> PyResult<Outputs> {
        let (labels, scores) = py.detach(|| {
            let strings: Vec<&str> = strings.iter().map(|string| &**string).collect();
            raw_outputs(&self.0, version, &floats(numbers)?, &strings)
        })?;
        Ok(Outputs { labels: PyBytes::new(py, &labels).unbind(), scores: PyBytes::new(py, &scores).unbind() })
    }

    fn take_runaways(&self) -> Vec<(String, f64, f64)> {
        let figures = |version: &Arc<engine::Version>| {
            version.runaway().map(|runaway| (version.id.to_string(), runaway.expected_seconds, runaway.used_seconds))
        };
        self.0.compute.take_runaways().iter().filter_map(figures).collect()
    }

    fn set_routes(&self, py: Python<'_>, routes: Vec<PyRef<'_, Route>>) {
        let routes: Vec<routes::Route> = routes.iter().map(|route| route.0.clone()).collect();
        py.detach(|| self.0.set_routes(routes));
    }

    fn epoch(&self, digest: &[u8]) -> PyResult<u64> {
        Ok(self.0.callers.epoch(&sha256(digest)?))
    }

    #[pyo3(signature = (digest, *, user, key, is_admin, can_predict, models, expires_at, limits, quota, epoch))]
    #[allow(clippy::too_many_arguments, reason = "a row of the table of callers")]
    fn put_caller(
        &self,
        digest: &[u8],
        user: &str,
        key: Option<&str>,
        is_admin: bool,
        can_predict: bool,
        models: Option<Vec<String>>,
        expires_at: f64,
        limits: Vec<(String, u64, u64)>,
        quota: Option<(u64, u64, f64)>,
        epoch: u64,
    ) -> PyResult<bool> {
        if key.is_none() && quota.is_some() {
            return Err(Fault::argument("a quota is that of a key").into());
        }
        let caller = Caller {
            user: user.into(),
            is_admin,
            can_predict,
            models: models.map(|models| models.into_iter().map(Into::into).collect()),
            expires_seconds: expires_at,
            buckets: self.accounts(limits)?.into(),
            meter: key.map(|key| self.0.meters.meter(key, quota.map(|(used, _, ends_seconds)| (used, ends_seconds)))),
            quota: quota.map(|(_, allowed, ends_seconds)| Quota { allowed, ends_seconds }),
        };
        Ok(self.0.callers.put(sha256(digest)?, &Arc::new(caller), epoch, now_seconds()))
    }

    fn take_uses(&self, py: Python<'_>) -> Vec<(String, f64, u64)> {
        let told = |Usage { key, last_seconds, predictions }| (key, last_seconds, predictions);
        py.detach(|| self.0.meters.take()).into_iter().map(told).collect()
    }

    fn set_used(&self, key: &str, used: u64) {
        self.0.meters.set_used(key, used);
    }

    fn charge(&self, py: Python<'_>, limits: Vec<(String, u64, u64)>) -> PyResult<Option<ChargeReply>> {
        match self.0.rates.charge(&self.accounts(limits)?) {
            Ok(state) => Ok(state.map(|state| ChargeReply::State(state.into()))),
            Err(refused) => Ok(Some(ChargeReply::Refusal(refusal(py, refused)?))),
        }
    }

    fn peek(&self, py: Python<'_>, limits: Vec<(String, u64, u64)>) -> PyResult<Option<Refusal>> {
        let peeked = self.0.rates.peek(&self.accounts(limits)?);
        peeked.err().map(|refused| refusal(py, refused)).transpose()
    }

    fn refund(&self, limits: Vec<(String, u64, u64)>) -> PyResult<()> {
        self.0.rates.refund(&self.accounts(limits)?);
        Ok(())
    }

    fn revoke(&self, digest: &[u8]) -> PyResult<()> {
        self.0.callers.revoke(&sha256(digest)?);
        Ok(())
    }

    fn revoke_user(&self, py: Python<'_>, user: &str) {
        py.detach(|| self.0.callers.revoke_user(user));
    }

    fn revoke_all(&self) {
        self.0.callers.revoke_all();
    }

    fn put_unknown(&self, digest: &[u8]) -> PyResult<()> {
        self.0.callers.put_unknown(&sha256(digest)?, now_seconds());
        Ok(())
    }

    fn forget_unknown(&self, digest: &[u8]) -> PyResult<()> {
        self.0.callers.forget_unknown(&sha256(digest)?);
        Ok(())
    }

    fn is_unknown(&self, digest: &[u8]) -> PyResult<bool> {
        Ok(matches!(self.0.callers.look_up(&sha256(digest)?, now_seconds()), Lookup::Unknown))
    }

    fn user_of(&self, digest: &[u8]) -> PyResult<Option<String>> {
        match self.0.callers.look_up(&sha256(digest)?, now_seconds()) {
            Lookup::Known(caller) => Ok(Some(caller.user.to_string())),
            Lookup::Unknown | Lookup::NeverSeen => Ok(None),
        }
    }

    fn share_rates(&self) -> PyResult<i32> {
        Ok(self.0.rates.share()?)
    }

    fn set_replicas(&self, replicas: u64) {
        self.0.rates.set_replicas(replicas);
    }

    fn divide_rates(&self) {
        self.0.rates.partition();
    }

    fn wanted_leases(&self) -> Vec<(String, u64, u64, u64)> {
        let lease = |PendingLease { bucket, rate, tokens }| (bucket, rate.interval_nanoseconds(), rate.burst(), tokens);
        self.0.rates.pending_leases().into_iter().map(lease).collect()
    }

    fn grant_lease(&self, account: &str, tokens: u32, ahead_ns: u64) {
        self.0.rates.grant(account, tokens, ahead_ns);
    }

    fn find(
        &self,
        py: Python<'_>,
        caller: &[u8],
        model: &str,
        version: Option<u64>,
        alias: Option<&str>,
    ) -> PyResult<FindReply> {
        match self.0.find(caller, model, Selector { version, alias }) {
            Ok(VersionRef { model, version, number }) => Ok(FindReply::VersionRef((model, version, number))),
            Err(refused) => Ok(FindReply::Refusal(refusal(py, refused)?)),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the head of a request")]
    fn answer(
        &self,
        py: Python<'_>,
        caller: &[u8],
        shape: &str,
        model: Option<&str>,
        version: Option<u64>,
        alias: Option<&str>,
        all_probabilities: bool,
        no_cache: bool,
        body: PyBackedBytes,
        started_ns: u64,
    ) -> PyResult<Reply> {
        let asked = PredictOptions {
            is_short: is_short(shape)?,
            all_probabilities,
            no_cache,
            started_nanoseconds: started_ns,
            door: EntryPoint::App,
        };
        let ask = PredictRequest { caller, asked, may_read: false };
        let selector = Selector { version, alias };
        let result = py.detach(|| self.0.answer(ask, model, selector, &body));
        if let Err(PredictError::Long) = result {
            return Ok(Reply::Later(Later::of(
                &self.0,
                Rest::Body(Box::new(DeferredRequest::of(ask, model, selector, body))),
            )));
        }
        reply(py, &self.0, result)
    }

    #[allow(clippy::too_many_arguments, reason = "the head of a request")]
    fn predict(
        &self,
        py: Python<'_>,
        caller: &[u8],
        shape: &str,
        model: &str,
        version: &str,
        all_probabilities: bool,
        no_cache: bool,
        is_list: bool,
        numbers: &[u8],
        strings: Vec<PyBackedStr>,
        started_ns: u64,
    ) -> PyResult<Reply> {
        let asked = PredictOptions {
            is_short: is_short(shape)?,
            all_probabilities,
            no_cache,
            started_nanoseconds: started_ns,
            door: EntryPoint::App,
        };
        let ask = PredictRequest { caller, asked, may_read: true };
        let result = py.detach(|| {
            let strings: Vec<&str> = strings.iter().map(|string| &**string).collect();
            self.0.predict(ask, model, version, &floats(numbers)?, &strings, is_list)
        });
        reply(py, &self.0, result)
    }

    /// `refusals`: name, status, headers, body. `marks`: a text in them that stands for a gap, and the name of the gap.
    #[pyo3(signature = (descriptor, app_socket, limits, refusals, marks, live, certificate = None))]
    #[allow(clippy::too_many_arguments, reason = "all that the port needs")]
    fn start_front(
        &self,
        descriptor: i32,
        app_socket: PathBuf,
        limits: &FrontLimits,
        refusals: Vec<Published>,
        marks: HashMap<String, String>,
        live: Vec<u8>,
        certificate: Option<(Vec<u8>, Vec<u8>)>,
    ) -> PyResult<Front> {
        let certificate = certificate.map(|(chain, key)| Certificate::read(&chain, &key)).transpose()?;
        let published = refusals.into_iter().map(|Published(name, status, headers, body)| templates::Published {
            name,
            status,
            headers,
            body,
        });
        let templates = Templates::of(published.collect(), &marks)?;
        let runtime = self.0.runtime()?;
        let _inside = runtime.enter();
        let stream = listening(descriptor)
            .map_err(|error| Fault::argument(format!("descriptor {descriptor} is no listening socket: {error}")))?;
        let app = App::new(&app_socket, Duration::from_secs_f64(limits.front.body.body_seconds));
        let front = front::Front::new(self.0.clone(), app, templates, live.into(), limits.front.clone());
        let listener = Arc::new(Listener::new(Arc::new(front), limits.listener.clone(), certificate));
        let accepting = runtime.spawn(listener.clone().accept(stream));
        Ok(Front { listener, accepting: Mutex::new(Some(accepting)), plane: self.0.clone() })
    }

    fn drain_history(&self, py: Python<'_>, limit: usize) -> Vec<Seen> {
        py.detach(|| self.0.history.drain(limit))
    }

    #[pyo3(signature = (owner = None))]
    fn metrics<'py>(&self, py: Python<'py>, owner: Option<&str>) -> Bound<'py, PyBytes> {
        let text = py.detach(|| {
            let mut text = self.0.metrics.text(&gauges(&self.0), owner);
            if let (Some(redis), None) = (&self.0.redis, owner) {
                redis.write_metrics(&mut text);
            }
            text
        });
        PyBytes::new(py, text.as_bytes())
    }

    fn level_two(&self) -> &'static str {
        self.0.redis.as_ref().map_or("off", |redis| redis.state())
    }
}

impl DataPlane {
    /// The accounts of some limits: subject, count, seconds.
    fn accounts(&self, limits: Vec<(String, u64, u64)>) -> Result<Vec<Arc<Bucket>>, Fault> {
        let account = |(subject, count, seconds): (String, u64, u64)| {
            if count == 0 || seconds == 0 {
                return Err(Fault::argument("a rate is something in some time"));
            }
            Ok(self.0.rates.bucket(&subject, Rate { count, seconds }))
        };
        limits.into_iter().map(account).collect()
    }
}

fn reply(py: Python<'_>, plane: &Arc<Plane>, result: Result<answer::Answer, PredictError>) -> PyResult<Reply> {
    match result {
        Ok(answer) => Ok(Reply::Answer(answered(py, answer)?)),
        Err(PredictError::Refused(refused)) => Ok(Reply::Refusal(refusal(py, refused)?)),
        Err(PredictError::NotMine(VersionRef { model, version, number })) => {
            Ok(Reply::NotMine(NotMine { model, version, version_number: number }))
        }
        Err(PredictError::Later(pending)) => Ok(Reply::Later(Later::of(plane, Rest::Run(pending)))),
        Err(PredictError::Long) => Err(Fault::argument("a body was too long for a thread that may read it").into()),
        Err(PredictError::Failed(fault)) => Err(fault.into()),
    }
}

fn answered(py: Python<'_>, answer: answer::Answer) -> PyResult<Answer> {
    let place = answer.place();
    Ok(Answer {
        body: PyBytes::new(py, &answer.body).unbind(),
        model: place.model,
        version: place.version,
        version_number: place.number,
        cache: answer.cache,
        rows: answer.rows,
        cache_hits: answer.cache_hits,
        latency_seconds: answer.latency_seconds,
        parse_seconds: answer.times.parse_seconds,
        cache_seconds: answer.times.cache_seconds,
        queue_seconds: answer.times.queue_seconds,
        infer_seconds: answer.times.infer_seconds,
        rate: answer.rate.map(|state| Py::new(py, RateState::from(state))).transpose()?,
    })
}

fn refusal(py: Python<'_>, refused: error::Refusal) -> PyResult<Refusal> {
    let arguments = PyDict::new(py);
    for (name, value) in refused.arguments {
        arguments.set_item(name, value)?;
    }
    Ok(Refusal { code: refused.code.name(), arguments: arguments.unbind() })
}

/// Labels as int64, scores in the dtype of the signature.
fn raw_outputs(plane: &Plane, version: &str, numbers: &[f64], strings: &[&str]) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let version = plane.engine.version(version).ok_or_else(|| Fault::NotLoaded(version.to_owned()))?;
    let signature = &version.signature;
    let words = version.run(Batch::of(signature, numbers, strings)?)?;
    let (mut labels, mut scores) = (vec![], vec![]);
    for row in words.chunks_exact(signature.width()) {
        let (row_labels, row_scores) = row.split_at(signature.label_width());
        labels.extend(row_labels.iter().flat_map(|label| label.to_ne_bytes()));
        for &score in row_scores {
            push_score(&mut scores, f64::from_bits(score), signature.scores_dtype);
        }
    }
    Ok((labels, scores))
}

#[allow(clippy::cast_possible_truncation, reason = "the score came from a float32")]
fn push_score(bytes: &mut Vec<u8>, score: f64, dtype: Float) {
    match dtype {
        Float::Float32 => bytes.extend_from_slice(&(score as f32).to_ne_bytes()),
        Float::Float64 => bytes.extend_from_slice(&score.to_ne_bytes()),
    }
}

fn gauges(plane: &Plane) -> Gauges {
    let mut loaded: Vec<(String, u64, f64)> = plane
        .engine
        .loaded()
        .iter()
        .map(|version| (version.id.to_string(), version.measured.resident_bytes, version.measured.load_seconds))
        .collect();
    loaded.sort_by(|one, other| one.0.cmp(&other.0));
    Gauges {
        cache_bytes: plane.cache.bytes(),
        cache_entries: plane.cache.entries(),
        cache_evictions: plane.cache.evictions(),
        history_dropped: plane.history.dropped(),
        loaded,
    }
}

/// The socket that the parent bound: a copy of the descriptor, which the caller keeps.
fn listening(descriptor: i32) -> io::Result<TcpListener> {
    // SAFETY: the descriptor stays open while this call lasts, because whoever calls owns it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let listener = std::net::TcpListener::from(borrowed.try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn floats(bytes: &[u8]) -> Result<Vec<f64>, Fault> {
    let (whole, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Fault::argument("float64 bytes come in eights"));
    }
    Ok(whole.iter().map(|number| f64::from_ne_bytes(*number)).collect())
}

/// An address is the network of itself alone.
fn network(text: &str) -> Result<IpNet, Fault> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| Fault::argument(format!("`{text}` is neither an IP address nor a network like `10.0.0.0/8`")))
}

fn sha256(digest: &[u8]) -> Result<Digest, Fault> {
    Digest::try_from(digest).map_err(|_| Fault::argument("a digest has 32 bytes"))
}

fn levels(cache: &str) -> Result<Levels, Fault> {
    match cache {
        "off" => Ok(Levels::None),
        "l1" => Ok(Levels::One),
        "l2" => Ok(Levels::Two),
        "auto" => Ok(Levels::Auto),
        _ => Err(Fault::argument(format!("a cache is `off`, `l1`, `l2` or `auto`, not `{cache}`"))),
    }
}

fn is_short(shape: &str) -> Result<bool, Fault> {
    match shape {
        "short" => Ok(true),
        "full" => Ok(false),
        _ => Err(Fault::argument(format!("the shape of an answer is `short` or `full`, not `{shape}`"))),
    }
}
