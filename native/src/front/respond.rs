//! Responds to a request on the public port: answers it, refuses it from the closed list, or forwards it to the app.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use ipnet::IpNet;

use crate::clock::{monotonic_nanoseconds, now_seconds, seconds_between};
use crate::error::Refusal;
use crate::front::body::{self, BodyBudget, BodyLimits, ResponseBody, Unreadable};
use crate::front::counters::Counters;
use crate::front::forward::App;
use crate::front::gateway::{Gateway, Unforwarded, Unsent};
use crate::front::head::{self, Head, Predict};
use crate::front::http2;
use crate::front::origin::Origin;
use crate::front::places::{PlaceLimits, Places};
use crate::front::refusal::FrontRefusal;
use crate::front::response_headers::{insert_rate_limit, insert_server_timing};
use crate::front::shares::Holder;
use crate::front::templates::{REQUEST_ID, Templates};
use crate::http_counters::Route;
use crate::ids::new_id;
use crate::limits::callers::Lookup;
use crate::plane::Plane;
use crate::predict::answer::Answer;
use crate::predict::path::PredictError;
use crate::predict::request::{BodyFormat, EntryPoint, LongBodyRequest, PredictOptions, PredictRequest};

const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
const MODEL_VERSION: HeaderName = HeaderName::from_static("x-model-version");
const CACHE: HeaderName = HeaderName::from_static("x-cache");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// For responses over TLS: clients use HTTPS for this host for a year. `serval.http` adds it to what the app answers.
const STRICT_TRANSPORT_SECURITY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// What the front may use of the machine, and how long clients may take.
#[derive(Clone)]
pub struct Limits {
    pub body: BodyLimits,
    pub places: PlaceLimits,
    /// The event loop of the app has stalled when its last heartbeat is older.
    pub stall_seconds: f64,
    /// Answer nothing that came over plain HTTP: the app explains.
    pub https_only: bool,
    pub trusted_proxies: Vec<IpNet>,
}

pub struct Front {
    plane: Arc<Plane>,
    gateway: Gateway,
    templates: Templates,
    /// The body of `GET /health/live`.
    live: Bytes,
    limits: Limits,
    last_beat_nanoseconds: AtomicU64,
    is_closing: AtomicBool,
    pub counters: Counters,
}

/// The client has broken its request off: there is nobody to answer, or nothing to say.
#[derive(Debug)]
pub struct Aborted;

impl std::fmt::Display for Aborted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the request was broken off")
    }
}

impl std::error::Error for Aborted {}

/// Why the front gives no answer by itself.
enum Unanswered {
    /// The app answers.
    Forward(Unforwarded),
    Aborted,
}

impl Front {
    pub fn new(plane: Arc<Plane>, app: App, templates: Templates, live: Bytes, limits: Limits) -> Self {
        let gateway = Gateway {
            plane: plane.clone(),
            app,
            bodies: BodyBudget::new(limits.body),
            places: Places::new(limits.places),
            trusted_proxies: limits.trusted_proxies.clone(),
        };
        Self {
            plane,
            gateway,
            templates,
            live,
            limits,
            last_beat_nanoseconds: AtomicU64::new(monotonic_nanoseconds()),
            is_closing: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    /// A heartbeat of the app's event loop.
    pub fn beat(&self) {
        self.last_beat_nanoseconds.store(monotonic_nanoseconds(), Ordering::Relaxed);
    }

    /// From now on every response closes its connection.
    pub fn close_after_each_answer(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    pub fn buffered_bytes(&self) -> usize {
        self.gateway.bodies.held_bytes()
    }

    pub fn forwarding(&self) -> usize {
        self.gateway.places.taken()
    }

    pub async fn respond(&self, request: Request<Incoming>, origin: Origin) -> Result<Response<ResponseBody>, Aborted> {
        let (mut parts, body) = request.into_parts();
        if parts.version == Version::HTTP_2 && !http2::translate(&mut parts) {
            return Ok(self.counted(Route::unmatched(&parts.method), with_security_headers(self.malformed(), origin)));
        }
        let head = head::read(&parts);
        let route = route(&head, &parts);
        let result = match head {
            Head::Live => Ok(self.live(&parts.headers)),
            Head::Malformed => Ok(self.malformed()),
            _ if self.limits.https_only && !is_private(&parts.headers, origin) => {
                Err(Unanswered::Forward(Unforwarded::Unread(body)))
            }
            Head::Predict(predict) => self.predict(&predict, body, &parts.headers).await,
            Head::Unauthenticated(refusal, _) => {
                Ok(without_body(body, self.refuse(refusal.name(), &[], &parts.headers)).await)
            }
            Head::Unsupported => Err(Unanswered::Forward(Unforwarded::Unread(body))),
        };
        let mut response = match result {
            Ok(response) => self.counted(route, with_security_headers(response, origin)),
            Err(Unanswered::Forward(body)) => self.forward(parts, body, origin, route).await?,
            Err(Unanswered::Aborted) => return Err(Aborted),
        };
        if self.is_closing() {
            response = closing(response);
        }
        Ok(response)
    }

    /// The response to a client that speaks plain HTTP where TLS is expected.
    pub fn refuse_plain_http(&self, request: &Request<Incoming>) -> Response<ResponseBody> {
        let response = closing(self.refuse(FrontRefusal::PlainHttp.name(), &[], request.headers()));
        self.counted(Route::unmatched(request.method()), response)
    }

    async fn predict(
        &self,
        predict: &Predict<'_>,
        body: Incoming,
        headers: &HeaderMap,
    ) -> Result<Response<ResponseBody>, Unanswered> {
        let holder = match self.plane.callers.look_up(&predict.caller, now_seconds()) {
            Lookup::Known(caller) if caller.can_predict => {
                if let Err(refusal) = self.plane.peek(&caller) {
                    return Ok(without_body(body, self.refused(&refusal, headers)).await);
                }
                Holder::User(caller.user.clone())
            }
            Lookup::Unknown => return Ok(without_body(body, self.refuse(predict.unknown.name(), &[], headers)).await),
            // The app looks it up or explains.
            _ => return Err(Unanswered::Forward(Unforwarded::Unread(body))),
        };
        let started_nanoseconds = monotonic_nanoseconds();
        let body = match self.gateway.bodies.read(body, predict.length, holder).await {
            Ok(body) => body,
            Err(Unreadable::Refused(refusal)) => {
                self.counters.limited.count(refusal);
                return Ok(closing(self.refuse(refusal.name(), &[], headers)));
            }
            Err(Unreadable::Aborted) => return Err(Unanswered::Aborted),
        };
        match self.answer(predict, &body.bytes, started_nanoseconds).await {
            Ok(answer) => Ok(self.answered(answer, headers)),
            Err(PredictError::Refused(refusal)) if self.templates.get(refusal.code.name()).is_some() => {
                Ok(self.refused(&refusal, headers))
            }
            // The app asks the data plane again, and explains its reply.
            Err(_) => Err(Unanswered::Forward(Unforwarded::Read(body))),
        }
    }

    async fn answer(
        &self,
        predict: &Predict<'_>,
        body: &Bytes,
        started_nanoseconds: u64,
    ) -> Result<Answer, PredictError> {
        let (model, selector) = (predict.target.model, predict.target.selector());
        let options = PredictOptions {
            shape: predict.target.shape(),
            all_probabilities: predict.target.all_probabilities,
            no_cache: predict.no_cache,
            is_charged: true,
            timeout_seconds: None,
            started_nanoseconds,
            entry_point: EntryPoint::Front,
        };
        let format = BodyFormat::Json;
        let request = PredictRequest { caller: &predict.caller, options, format, may_read_long_body: false };
        match self.plane.answer(request, model, selector, body) {
            Err(PredictError::BodyTooLong) => {
                self.plane.answer_long_body(LongBodyRequest::of(request, model, selector, body.clone())).await
            }
            Err(PredictError::Deferred(deferred)) => self.plane.finish(*deferred).await,
            result => result,
        }
    }

    fn answered(&self, answer: Answer, request: &HeaderMap) -> Response<ResponseBody> {
        self.counters.answered.add(1);
        let mut response = Response::new(ResponseBody::Whole(answer.body.into()));
        let headers = response.headers_mut();
        headers.reserve(if answer.rate.is_some() { 13 } else { 8 });
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(MODEL_VERSION, answer.target.number.into());
        headers.insert(CACHE, HeaderValue::from_static(answer.cache.as_str()));
        insert_server_timing(headers, answer.times);
        if let Some(rate) = &answer.rate {
            insert_rate_limit(headers, rate);
        }
        insert_request_id(headers, &request_id(request));
        response
    }

    fn live(&self, request: &HeaderMap) -> Response<ResponseBody> {
        let silent_seconds =
            seconds_between(self.last_beat_nanoseconds.load(Ordering::Relaxed), monotonic_nanoseconds());
        if silent_seconds > self.limits.stall_seconds {
            return self.refuse(FrontRefusal::Stalled.name(), &[], request);
        }
        self.counters.answered.add(1);
        let mut response = Response::new(ResponseBody::Whole(self.live.clone()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        insert_request_id(response.headers_mut(), &request_id(request));
        response
    }

    /// As hyper responds to what it cannot read: nothing that follows can be trusted.
    fn malformed(&self) -> Response<ResponseBody> {
        self.counters.refused.add(1);
        let mut response = Response::new(ResponseBody::Whole(Bytes::new()));
        *response.status_mut() = http::StatusCode::BAD_REQUEST;
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }

    fn refused(&self, refusal: &Refusal, request: &HeaderMap) -> Response<ResponseBody> {
        let values: Vec<(&str, &str)> = refusal.arguments.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.refuse(refusal.code.name(), &values, request)
    }

    /// Refuses with a template. One that was not published is a bug, and 500 says so.
    fn refuse(&self, name: &str, values: &[(&str, &str)], request: &HeaderMap) -> Response<ResponseBody> {
        self.counters.refused.add(1);
        let id = request_id(request);
        let Some(template) = self.templates.get(name) else {
            let mut response = Response::new(ResponseBody::Whole(Bytes::new()));
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            return response;
        };
        let mut all = Vec::with_capacity(values.len() + 1);
        all.push((REQUEST_ID, id.as_str()));
        all.extend_from_slice(values);
        let mut response = Response::new(ResponseBody::Whole(template.body(&all)));
        *response.status_mut() = template.status;
        response.headers_mut().extend(template.headers(&all));
        insert_request_id(response.headers_mut(), &id);
        response
    }

    async fn forward(
        &self,
        parts: Parts,
        body: Unforwarded,
        origin: Origin,
        route: Route,
    ) -> Result<Response<ResponseBody>, Aborted> {
        // The request id is still needed when the head has gone to the app.
        let mut id_only = HeaderMap::new();
        if let Some(id) = parts.headers.get(REQUEST_ID_HEADER) {
            id_only.insert(REQUEST_ID_HEADER, id.clone());
        }
        let refusal = match self.gateway.send(parts, body, origin).await {
            Ok(response) => {
                self.counters.forwarded.add(1);
                return Ok(response);
            }
            Err(Unsent::Refused(refusal)) => refusal,
            Err(Unsent::Aborted) => return Err(Aborted),
        };
        self.counters.limited.count(refusal);
        let mut response = self.refuse(refusal.name(), &[], &id_only);
        if !matches!(refusal, FrontRefusal::AppBusy | FrontRefusal::ClientBusy | FrontRefusal::AppUnavailable) {
            // The rest of the body is still to come.
            response = closing(response);
        }
        Ok(self.counted(route, with_security_headers(response, origin)))
    }

    /// Counts an answer of the front's own; the app counts those that it gives.
    fn counted(&self, route: Route, response: Response<ResponseBody>) -> Response<ResponseBody> {
        self.plane.metrics.http.count(route, response.status());
        response
    }
}

/// The route as far as the front reads heads.
fn route(head: &Head<'_>, parts: &Parts) -> Route {
    match head {
        Head::Live => Route::Live,
        Head::Predict(predict) => Route::of_prediction(predict.target.model),
        Head::Unauthenticated(_, target) => Route::of_prediction(target.model),
        Head::Malformed | Head::Unsupported => Route::unmatched(&parts.method),
    }
}

/// A response to a request whose body has not been read. It closes the connection unless the rest of the body is short.
async fn without_body(body: Incoming, response: Response<ResponseBody>) -> Response<ResponseBody> {
    if body::discard(body).await { response } else { closing(response) }
}

/// Whether the request came over TLS, to here or to a trusted proxy.
fn is_private(headers: &HeaderMap, origin: Origin) -> bool {
    let mut protocols = headers.get_all(FORWARDED_PROTO).iter();
    let is_https = protocols.next().is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"https"));
    origin.is_tls || (origin.is_trusted && is_https && protocols.next().is_none())
}

/// A response of our own, with the security headers of every response.
fn with_security_headers(mut response: Response<ResponseBody>, origin: Origin) -> Response<ResponseBody> {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if origin.is_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT_SECURITY);
    }
    response
}

fn closing(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn request_id(request: &HeaderMap) -> String {
    head::request_id(request).map_or_else(|| new_id("req_"), str::to_owned)
}

fn insert_request_id(headers: &mut HeaderMap, id: &str) {
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID_HEADER, value);
    }
}
