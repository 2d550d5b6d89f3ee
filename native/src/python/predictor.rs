//! Predictions for the routes of the app.

use std::sync::{Arc, Mutex};

use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::PyBytes;
use tokio::task::AbortHandle;

use crate::error::Fault;
use crate::plane::Plane;
use crate::predict::answer;
use crate::predict::csv::Dialect;
use crate::predict::deferred::DeferredPrediction;
use crate::predict::path::PredictError;
use crate::predict::request::{
    self, AnswerShape, BodyFormat, DecodedRows, EntryPoint, LongBodyRequest, PredictOptions, VersionRef,
};
use crate::predict::routes::Selector;
use crate::python::models::{borrowed, floats};
use crate::python::rates::RateState;
use crate::python::refusal::Refusal;
use crate::sync::lock;

#[pyclass(frozen, module = "serval._native")]
pub struct Predictor(pub Arc<Plane>);

/// `serval.data_plane.request.PredictRequest`.
#[derive(FromPyObject)]
struct PredictRequest {
    caller: PyBackedBytes,
    shape: PyBackedStr,
    all_probabilities: bool,
    no_cache: bool,
    is_charged: bool,
    timeout_seconds: Option<f64>,
    csv: Option<CsvDialect>,
    started_ns: u64,
}

/// `serval.data_plane.request.CsvDialect`.
#[derive(FromPyObject)]
struct CsvDialect {
    has_header: bool,
    delimiter: char,
}

impl PredictRequest {
    fn format(&self) -> BodyFormat {
        match self.csv {
            None => BodyFormat::Json,
            Some(CsvDialect { has_header, delimiter }) => BodyFormat::Csv(Dialect { has_header, delimiter }),
        }
    }

    fn options(&self) -> Result<PredictOptions, Fault> {
        let shape = AnswerShape::parse(&self.shape).ok_or_else(|| {
            Fault::argument(format!("the shape of an answer is `short` or `full`, not `{}`", self.shape))
        })?;
        Ok(PredictOptions {
            shape,
            all_probabilities: self.all_probabilities,
            no_cache: self.no_cache,
            is_charged: self.is_charged,
            timeout_seconds: self.timeout_seconds,
            started_nanoseconds: self.started_ns,
            entry_point: EntryPoint::App,
        })
    }
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

impl Answer {
    fn new(py: Python<'_>, answer: answer::Answer) -> PyResult<Self> {
        let VersionRef { model, version, number } = answer.version_ref();
        Ok(Self {
            body: PyBytes::new(py, &answer.body).unbind(),
            model,
            version,
            version_number: number,
            cache: answer.cache.as_str(),
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
}

/// The body needs Python.
#[pyclass(frozen, get_all, module = "serval._native")]
pub struct NeedsPython {
    model: String,
    version: String,
    version_number: u64,
}

/// The rest of a prediction, which is not for the calling thread.
#[pyclass(frozen, module = "serval._native")]
pub struct Deferred {
    plane: Arc<Plane>,
    work: Mutex<Option<DeferredWork>>,
    task: Mutex<Option<AbortHandle>>,
}

enum DeferredWork {
    /// A body that takes long to read.
    LongBody(Box<LongBodyRequest<PyBackedBytes>>),
    Prediction(Box<DeferredPrediction>),
}

impl DeferredWork {
    async fn result(self, plane: Arc<Plane>) -> Result<answer::Answer, PredictError> {
        match self {
            Self::Prediction(deferred) => plane.finish(*deferred).await,
            Self::LongBody(long) => plane.answer_long_body(*long).await,
        }
    }
}

#[pymethods]
impl Deferred {
    fn start(&self, done: Py<PyAny>) -> PyResult<()> {
        let (work, plane) = (self.take()?, self.plane.clone());
        let task = self.plane.runtime()?.spawn(async move {
            let result = work.result(plane.clone()).await;
            // Not on this thread: it would wait for the GIL while sockets wait for it.
            tokio::task::spawn_blocking(move || Python::attach(|py| report(py, &plane, &done, result)));
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
        let work = self.take()?;
        let result = py.detach(|| Ok::<_, Fault>(self.plane.runtime()?.block_on(work.result(self.plane.clone()))))?;
        reply(py, &self.plane, result)
    }
}

impl Deferred {
    fn new(plane: &Arc<Plane>, work: DeferredWork) -> Self {
        Self { plane: plane.clone(), work: Mutex::new(Some(work)), task: Mutex::default() }
    }

    fn take(&self) -> Result<DeferredWork, Fault> {
        lock(&self.work).take().ok_or_else(|| Fault::argument("the deferred prediction has begun already"))
    }
}

/// Calls `done` with a reply, or with the exception.
fn report(py: Python<'_>, plane: &Arc<Plane>, done: &Py<PyAny>, result: Result<answer::Answer, PredictError>) {
    let called = match reply(py, plane, result) {
        Ok(reply) => done.call1(py, (reply,)),
        Err(error) => done.call1(py, (error.into_value(py),)),
    };
    if let Err(error) = called {
        error.write_unraisable(py, Some(done.bind(py)));
    }
}

/// What a prediction comes to.
#[derive(IntoPyObject)]
pub enum Reply {
    Answer(Answer),
    Refusal(Refusal),
    NeedsPython(NeedsPython),
    Deferred(Deferred),
}

/// What a look-up comes to.
#[derive(IntoPyObject)]
pub enum FindReply {
    Version((String, String, u64)),
    Refusal(Refusal),
}

#[pymethods]
impl Predictor {
    fn find(
        &self,
        py: Python<'_>,
        caller: &[u8],
        model: &str,
        version: Option<u64>,
        alias: Option<&str>,
    ) -> PyResult<FindReply> {
        match self.0.find(caller, model, Selector { version, alias }) {
            Ok(VersionRef { model, version, number }) => Ok(FindReply::Version((model, version, number))),
            Err(refusal) => Ok(FindReply::Refusal(Refusal::new(py, refusal)?)),
        }
    }

    fn answer(
        &self,
        py: Python<'_>,
        request: PredictRequest,
        model: Option<&str>,
        version: Option<u64>,
        alias: Option<&str>,
        body: PyBackedBytes,
    ) -> PyResult<Reply> {
        let (options, format) = (request.options()?, request.format());
        let request = request::PredictRequest { caller: &request.caller, options, format, may_read_long_body: false };
        let selector = Selector { version, alias };
        let result = py.detach(|| self.0.answer(request, model, selector, &body));
        if let Err(PredictError::BodyTooLong) = result {
            let long = LongBodyRequest::of(request, model, selector, body);
            return Ok(Reply::Deferred(Deferred::new(&self.0, DeferredWork::LongBody(Box::new(long)))));
        }
        reply(py, &self.0, result)
    }

    #[allow(clippy::too_many_arguments, reason = "a request and its rows")]
    fn predict(
        &self,
        py: Python<'_>,
        request: PredictRequest,
        model: &str,
        version: &str,
        is_list: bool,
        numbers: &[u8],
        strings: Vec<PyBackedStr>,
    ) -> PyResult<Reply> {
        let (options, format) = (request.options()?, request.format());
        let request = request::PredictRequest { caller: &request.caller, options, format, may_read_long_body: true };
        let result = py.detach(|| {
            let rows = DecodedRows { numbers: &floats(numbers)?, strings: &borrowed(&strings), is_list };
            self.0.predict(request, model, version, rows)
        });
        reply(py, &self.0, result)
    }
}

fn reply(py: Python<'_>, plane: &Arc<Plane>, result: Result<answer::Answer, PredictError>) -> PyResult<Reply> {
    match result {
        Ok(answer) => Ok(Reply::Answer(Answer::new(py, answer)?)),
        Err(PredictError::Refused(refusal)) => Ok(Reply::Refusal(Refusal::new(py, refusal)?)),
        Err(PredictError::NeedsPython(VersionRef { model, version, number })) => {
            Ok(Reply::NeedsPython(NeedsPython { model, version, version_number: number }))
        }
        Err(PredictError::Deferred(deferred)) => {
            Ok(Reply::Deferred(Deferred::new(plane, DeferredWork::Prediction(deferred))))
        }
        Err(PredictError::BodyTooLong) => {
            Err(Fault::argument("a body was too long for a thread that may read it").into())
        }
        Err(PredictError::Failed(fault)) => Err(fault.into()),
    }
}
