//! A request on the public port: answered here, refused from the closed list, or forwarded to the app.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::{monotonic_nanoseconds, now_seconds, seconds_between};
use crate::error::Refusal;
use crate::front::forward::{self, App, Unanswered, Unread};
use crate::front::head::{self, Head, Predict};
use crate::front::http2;
use crate::front::origin::Origin;
use crate::front::response_headers as tell;
use crate::front::templates::{REQUEST_ID, Templates};
use crate::history::ring::EntryPoint;
use crate::ids::new_id;
use crate::limits::callers::Lookup;
use crate::metrics::Counter;
use crate::predict::path::{Answer, DeferredRequest, Plane, PredictError, PredictOptions, PredictRequest};

const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
const MODEL_VERSION: HeaderName = HeaderName::from_static("x-model-version");
const CACHE: HeaderName = HeaderName::from_static("x-cache");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// On what comes over TLS: for a year, ask this host in no other way (`serval.http` says so of what the app answers).
const STRICT_TRANSPORT_SECURITY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// A body of a refused request that is still read, and for how long.
const THROWN_AWAY_BYTES: u64 = 64 * 1024;
const THROWING_AWAY: Duration = Duration::from_secs(1);

/// What the front may take of the machine, and how long clients may take.
#[derive(Clone)]
pub struct Limits {
    pub body_bytes: usize,
    /// Of bodies that are being read, over all connections.
    pub buffered_bytes: usize,
    pub forwarded: usize,
    pub body_seconds: f64,
    /// The event loop of the app is dead when its last beat is older.
    pub stall_seconds: f64,
    /// Answer nothing that came over plain HTTP: the app explains.
    pub https_only: bool,
}

pub struct Front {
    plane: Arc<Plane>,
    app: App,
    templates: Templates,
    /// The body of `GET /health/live`.
    live: Bytes,
    limits: Limits,
    buffered_bytes: AtomicUsize,
    forwarding: Arc<Semaphore>,
    last_beat_nanoseconds: AtomicU64,
    is_closing: AtomicBool,
    pub counters: Counters,
}

/// Requests by what became of them.
#[derive(Debug, Default)]
pub struct Counters {
    pub answered: Counter,
    pub refused: Counter,
    pub forwarded: Counter,
}

/// The client broke its request off: there is nobody to answer, or nothing that could be said.
#[derive(Debug)]
pub struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the request was broken off")
    }
}

impl std::error::Error for Broken {}

/// What the front leaves to others.
enum Left<'a> {
    /// The app may know what to say. A body that was read counts as held until it has.
    Forward(Unread, Option<Buffered<'a>>),
    Broken,
}

/// Why there is no whole body.
enum Unreadable {
    /// The name of the refusal.
    Refused(&'static str),
    Broken,
}

impl Front {
    pub fn new(plane: Arc<Plane>, app: App, templates: Templates, live: Bytes, limits: Limits) -> Self {
        Self {
            plane,
            app,
            templates,
            live,
            buffered_bytes: AtomicUsize::new(0),
            forwarding: Arc::new(Semaphore::new(limits.forwarded)),
            limits,
            last_beat_nanoseconds: AtomicU64::new(monotonic_nanoseconds()),
            is_closing: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    /// The event loop of the app is alive.
    pub fn beat(&self) {
        self.last_beat_nanoseconds.store(monotonic_nanoseconds(), Ordering::Relaxed);
    }

    /// From now on every answer tells its client to connect anew.
    pub fn close_after_each_answer(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    pub fn buffered_bytes(&self) -> usize {
        self.buffered_bytes.load(Ordering::Relaxed)
    }

    pub fn forwarding(&self) -> usize {
        self.limits.forwarded - self.forwarding.available_permits()
    }

    pub async fn respond(&self, request: Request<Incoming>, origin: Origin) -> Result<Response<Sent>, Broken> {
        let (mut parts, body) = request.into_parts();
        if parts.version == Version::HTTP_2 && !http2::translate(&mut parts) {
            return Ok(hardened(self.malformed(), origin));
        }
        let result = match head::read(&parts) {
            Head::Live => Ok(self.live(&parts.headers)),
            Head::Malformed => Ok(self.malformed()),
            _ if self.limits.https_only && !is_private(&parts.headers, origin) => {
                Err(Left::Forward(Unread::Stream(body), None))
            }
            Head::Predict(predict) => self.predict(&predict, body, &parts.headers).await,
            Head::Nobody(name) => Ok(unread(body, self.refuse(name, &[], &parts.headers)).await),
            Head::Odd => Err(Left::Forward(Unread::Stream(body), None)),
        };
        let mut response = match result {
            Ok(response) => hardened(response, origin),
            Err(Left::Forward(body, _held)) => self.forward(parts, body, origin).await?,
            Err(Left::Broken) => return Err(Broken),
        };
        if self.is_closing() {
            response = closing(response);
        }
        Ok(response)
    }

    /// Tell a client that speaks plain HTTP where TLS is expected.
    pub fn refuse_plain_http(&self, request: &Request<Incoming>) -> Response<Sent> {
        closing(self.refuse("plain_http", &[], request.headers()))
    }

    async fn predict(
        &self,
        predict: &Predict<'_>,
        body: Incoming,
        headers: &HeaderMap,
    ) -> Result<Response<Sent>, Left<'_>> {
        match self.plane.callers.look_up(&predict.caller, now_seconds()) {
            Lookup::Known(caller) if caller.can_predict => {
                if let Err(refusal) = self.plane.peek(&caller) {
                    return Ok(unread(body, self.refused(&refusal, headers)).await);
                }
            }
            Lookup::Unknown => return Ok(unread(body, self.refuse(predict.unknown, &[], headers)).await),
            // For the app to look up or to explain: before the body is read, so that it may refuse without it.
            _ => return Err(Left::Forward(Unread::Stream(body), None)),
        }
        let started_nanoseconds = monotonic_nanoseconds();
        let body = match self.whole(body, predict.length).await {
            Ok(body) => body,
            Err(Unreadable::Refused(name)) => return Ok(closing(self.refuse(name, &[], headers))),
            Err(Unreadable::Broken) => return Err(Left::Broken),
        };
        match self.answer(predict, &body.bytes, started_nanoseconds).await {
            Ok(answer) => Ok(self.answered(answer, headers)),
            Err(PredictError::Refused(refusal)) if self.templates.get(refusal.code.name()).is_some() => {
                Ok(self.refused(&refusal, headers))
            }
            // The app asks the data plane again, and explains what it says.
            Err(_) => Err(Left::Forward(Unread::Whole(body.bytes.clone()), Some(body))),
        }
    }

    async fn answer(
        &self,
        predict: &Predict<'_>,
        body: &Bytes,
        started_nanoseconds: u64,
    ) -> Result<Answer, PredictError> {
        let asked = PredictOptions {
            is_short: predict.is_short,
            all_probabilities: predict.all_probabilities,
            no_cache: predict.no_cache,
            started_nanoseconds,
            door: EntryPoint::Front,
        };
        let ask = PredictRequest { caller: &predict.caller, asked, may_read: false };
        match self.plane.answer(ask, predict.model, predict.selector(), body) {
            Err(PredictError::Long) => {
                self.plane.read(DeferredRequest::of(ask, predict.model, predict.selector(), body.clone())).await
            }
            Err(PredictError::Later(pending)) => self.plane.finish(*pending).await,
            result => result,
        }
    }

    fn answered(&self, answer: Answer, request: &HeaderMap) -> Response<Sent> {
        self.counters.answered.add(1);
        let mut response = Response::new(Sent::Whole(answer.body.into()));
        let headers = response.headers_mut();
        headers.reserve(if answer.rate.is_some() { 13 } else { 8 });
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(MODEL_VERSION, answer.target.number.into());
        headers.insert(CACHE, HeaderValue::from_static(answer.cache));
        tell::insert_times(headers, answer.times);
        if let Some(rate) = &answer.rate {
            tell::insert_rate(headers, rate);
        }
        insert_request_id(headers, &request_id(request));
        response
    }

    fn live(&self, request: &HeaderMap) -> Response<Sent> {
        let silent_seconds =
            seconds_between(self.last_beat_nanoseconds.load(Ordering::Relaxed), monotonic_nanoseconds());
        if silent_seconds > self.limits.stall_seconds {
            return self.refuse("stalled", &[], request);
        }
        self.counters.answered.add(1);
        let mut response = Response::new(Sent::Whole(self.live.clone()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        insert_request_id(response.headers_mut(), &request_id(request));
        response
    }

    /// As hyper answers what it can not read: nothing more can be said, and nothing that follows can be trusted.
    fn malformed(&self) -> Response<Sent> {
        self.counters.refused.add(1);
        let mut response = Response::new(Sent::Whole(Bytes::new()));
        *response.status_mut() = http::StatusCode::BAD_REQUEST;
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }

    fn refused(&self, refusal: &Refusal, request: &HeaderMap) -> Response<Sent> {
        let gaps: Vec<(&str, &str)> = refusal.arguments.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.refuse(refusal.code.name(), &gaps, request)
    }

    /// Refuse with a template; one that was not published is a mistake of ours, and says so.
    fn refuse(&self, name: &str, gaps: &[(&str, &str)], request: &HeaderMap) -> Response<Sent> {
        self.counters.refused.add(1);
        let id = request_id(request);
        let Some(template) = self.templates.get(name) else {
            let mut response = Response::new(Sent::Whole(Bytes::new()));
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            return response;
        };
        let mut filled = Vec::with_capacity(gaps.len() + 1);
        filled.push((REQUEST_ID, id.as_str()));
        filled.extend_from_slice(gaps);
        let mut response = Response::new(Sent::Whole(template.body(&filled)));
        *response.status_mut() = template.status;
        response.headers_mut().extend(template.headers(&filled));
        insert_request_id(response.headers_mut(), &id);
        response
    }

    async fn forward(&self, parts: Parts, body: Unread, origin: Origin) -> Result<Response<Sent>, Broken> {
        // What names the request has to survive its head, which goes to the app.
        let mut ids = HeaderMap::new();
        if let Some(id) = parts.headers.get(REQUEST_ID_HEADER) {
            ids.insert(REQUEST_ID_HEADER, id.clone());
        }
        let refusal = match self.forwarding.clone().try_acquire_owned() {
            Err(_) => "app_busy",
            Ok(permit) => match self.app.ask(parts, body, origin).await {
                Ok(response) => {
                    self.counters.forwarded.add(1);
                    let (mut parts, body) = response.into_parts();
                    forward::strip(&mut parts.headers);
                    return Ok(Response::from_parts(parts, Sent::App(body, permit)));
                }
                Err(Unanswered::Stalled) => "too_slow",
                Err(Unanswered::Away) => "app_away",
                Err(Unanswered::Broken) => return Err(Broken),
            },
        };
        Ok(hardened(self.refuse(refusal, &[], &ids), origin))
    }

    /// The whole body, or the name of the refusal.
    async fn whole(&self, body: Incoming, length: Option<u64>) -> Result<Buffered<'_>, Unreadable> {
        let limit = self.limits.body_bytes;
        let length = length.map_or(Ok(0), |length| {
            usize::try_from(length).ok().filter(|&length| length <= limit).ok_or(Unreadable::Refused("too_large"))
        })?;
        let mut buffered = Buffered { front: self, reserved: 0, bytes: Bytes::new() };
        buffered.reserve(length)?;
        let reading = buffered.read(body, length, limit);
        tokio::time::timeout(Duration::from_secs_f64(self.limits.body_seconds), reading)
            .await
            .map_err(|_| Unreadable::Refused("too_slow"))??;
        Ok(buffered)
    }
}

/// An answer to a request whose body has not been read: a short body is thrown away, for the connection to go on; after a long one it ends.
async fn unread(mut body: Incoming, response: Response<Sent>) -> Response<Sent> {
    if body.size_hint().upper().is_none_or(|length| length > THROWN_AWAY_BYTES) {
        return closing(response);
    }
    let throwing_away = async { while let Some(Ok(_)) = body.frame().await {} };
    match tokio::time::timeout(THROWING_AWAY, throwing_away).await {
        Ok(()) => response,
        Err(_) => closing(response),
    }
}

/// Whether nobody could read it on its way: over TLS to here, or to a proxy that is believed.
fn is_private(headers: &HeaderMap, origin: Origin) -> bool {
    let mut protocols = headers.get_all(FORWARDED_PROTO).iter();
    let is_https = protocols.next().is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"https"));
    origin.is_tls || (origin.is_trusted && is_https && protocols.next().is_none())
}

/// An answer of our own, with what every answer tells browsers.
fn hardened(mut response: Response<Sent>, origin: Origin) -> Response<Sent> {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if origin.is_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT_SECURITY);
    }
    response
}

fn closing(mut response: Response<Sent>) -> Response<Sent> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The bytes of a body, counted against the budget of all connections for as long as they live.
struct Buffered<'a> {
    front: &'a Front,
    reserved: usize,
    bytes: Bytes,
}

impl Buffered<'_> {
    fn reserve(&mut self, more: usize) -> Result<(), Unreadable> {
        let before = self.front.buffered_bytes.fetch_add(more, Ordering::Relaxed);
        self.reserved += more;
        if before + more > self.front.limits.buffered_bytes { Err(Unreadable::Refused("no_room")) } else { Ok(()) }
    }

    async fn read(&mut self, mut body: Incoming, length: usize, limit: usize) -> Result<(), Unreadable> {
        let mut parts = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Unreadable::Broken)?.into_data() else { continue };
            let so_far = self.bytes.len() + parts.len() + data.len();
            if so_far > limit {
                return Err(Unreadable::Refused("too_large"));
            }
            self.reserve(so_far.saturating_sub(self.reserved))?;
            // A body in one piece, as most are, is not copied.
            if self.bytes.is_empty() && parts.is_empty() {
                self.bytes = data;
            } else {
                if parts.is_empty() {
                    parts.reserve(length.max(so_far));
                    parts.extend_from_slice(&std::mem::take(&mut self.bytes));
                }
                parts.extend_from_slice(&data);
            }
        }
        if !parts.is_empty() {
            self.bytes = parts.freeze();
        }
        Ok(())
    }
}

impl Drop for Buffered<'_> {
    fn drop(&mut self) {
        self.front.buffered_bytes.fetch_sub(self.reserved, Ordering::Relaxed);
    }
}

fn request_id(request: &HeaderMap) -> String {
    head::request_id(request).map_or_else(|| new_id("req_"), str::to_owned)
}

fn insert_request_id(headers: &mut HeaderMap, id: &str) {
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID_HEADER, value);
    }
}

/// The body of an answer.
pub enum Sent {
    Whole(Bytes),
    /// Of the app; it counts as forwarded until it has been sent.
    App(
        Incoming,
        #[allow(dead_code, reason = "it is held, and let go when the body has been sent")] OwnedSemaphorePermit,
    ),
}

impl Body for Sent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::App(body, _) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::App(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::App(body, _) => body.size_hint(),
        }
    }
}
