//! Requests that need the app: streamed to it on its Unix socket, and its responses back.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, Connected, Connection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};

use crate::front::body::Upload;
use crate::front::origin::Origin;
use crate::front::pace::{Late, Pace};
use crate::sync::lock;

/// The client's address. The app believes it on this socket alone.
const PEER: HeaderName = HeaderName::from_static("x-serval-peer");
/// `https` where the client's connection is TLS. The app believes it on this socket alone.
const SCHEME: HeaderName = HeaderName::from_static("x-serval-scheme");
/// Headers of one connection, not of the request (RFC 9110, 7.6.1).
const HOP_BY_HOP: [&str; 8] =
    ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"];
/// Shorter than the time after which the app closes a connection that is idle.
const IDLE_SECONDS: u64 = 10;
const IDLE_CONNECTIONS: usize = 64;

/// The app, on a socket.
pub struct App {
    client: Client<AppConnector, Payload>,
    pace: Pace,
}

/// Why the app does not respond.
#[derive(Debug, PartialEq, Eq)]
pub enum ForwardError {
    /// The client sends its body too slowly.
    Late(Late),
    /// The client's body ended before it was whole, or was malformed.
    Aborted,
    Unavailable,
}

/// Why a body was not sent, kept for the error of the whole request, which does not say it.
#[derive(Clone, Default)]
struct BodyError(Arc<Mutex<Option<ForwardError>>>);

impl BodyError {
    fn set(&self, error: ForwardError) {
        *lock(&self.0) = Some(error);
    }

    fn take(&self) -> Option<ForwardError> {
        lock(&self.0).take()
    }
}

impl App {
    /// `pace`: of bodies that the app reads as they arrive.
    pub fn new(socket: &Path, pace: Pace) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(IDLE_SECONDS))
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .set_host(false)
            .build(AppConnector(socket.into()));
        Self { client, pace }
    }

    /// Sends a request to the app. Dropping the future ends it there too.
    pub async fn send(
        &self,
        parts: Parts,
        body: RequestBody,
        origin: Origin,
    ) -> Result<Response<Incoming>, ForwardError> {
        let body_error = BodyError::default();
        let mut request = self.request(parts, body, origin, &body_error).ok_or(ForwardError::Unavailable)?;
        let connection = (!request.body().is_end_stream()).then(|| capture_connection(&mut request));
        let sent = self.client.request(request).await;
        if let Some(connection) = connection
            && sent.as_ref().is_ok_and(|response| !response.status().is_success())
        {
            leave(&connection);
        }
        sent.map_err(|_| body_error.take().unwrap_or(ForwardError::Unavailable))
    }

    fn request(
        &self,
        parts: Parts,
        body: RequestBody,
        origin: Origin,
        body_error: &BodyError,
    ) -> Option<Request<Payload>> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = Uri::builder().scheme("http").authority("app").path_and_query(path).build().ok()?;
        let mut headers = parts.headers;
        strip(&mut headers);
        headers.insert(PEER, HeaderValue::try_from(origin.peer.to_string()).ok()?);
        if origin.is_tls {
            headers.insert(SCHEME, HeaderValue::from_static("https"));
        }
        // The authority of an absolute URI overrides Host (RFC 9112, 3.2.2); HTTP/1.0 may have neither.
        if let Some(authority) = parts.uri.authority() {
            headers.insert(header::HOST, HeaderValue::try_from(authority.as_str()).ok()?);
        } else if !headers.contains_key(header::HOST) {
            headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        }
        let mut request = Request::new(Payload::Whole(Bytes::new()));
        let expects =
            headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        *request.body_mut() = match body {
            RequestBody::Whole(bytes) => {
                // It has been read already, whatever the client announced.
                headers.remove(header::EXPECT);
                headers.insert(header::CONTENT_LENGTH, bytes.len().into());
                Payload::Whole(bytes)
            }
            RequestBody::Stream(Upload { prefix, rest, waited }) => {
                if !prefix.is_empty() {
                    headers.remove(header::EXPECT);
                }
                let gate = if expects && prefix.is_empty() { Gate::Waiting(gate(&mut request)) } else { Gate::Open };
                Payload::Stream(Box::new(Stream {
                    received: prefix.len(),
                    prefix,
                    rest,
                    gate,
                    pace: self.pace,
                    waited,
                    waiting_since: None,
                    timer: Box::pin(sleep(self.pace.patience)),
                    error: body_error.clone(),
                }))
            }
        };
        *request.method_mut() = parts.method;
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = headers;
        Some(request)
    }
}

/// Sends nothing more on a connection: the app hangs up after a body that it has refused unread, and the next request, of
/// whomever, would be lost.
fn leave(connection: &CaptureConnection) {
    if let Some(connected) = connection.connection_metadata().as_ref() {
        connected.poison();
    }
}

/// Between the client's body and an app that may not want it.
enum Gate {
    Open,
    /// The body is not read before the app asks for it, so that the client is not asked either.
    Waiting(oneshot::Receiver<()>),
    /// The app has answered without asking.
    Shut,
}

/// Opened when the app asks for the body of a request that expects to be asked.
fn gate(request: &mut Request<Payload>) -> oneshot::Receiver<()> {
    let (open, gate) = oneshot::channel();
    let open = Mutex::new(Some(open));
    hyper::ext::on_informational(request, move |response| {
        if response.status() == http::StatusCode::CONTINUE
            && let Some(open) = lock(&open).take()
        {
            let _ = open.send(());
        }
    });
    gate
}

/// Removes the headers of the connection, before any of ours are added, so that no client can name those.
pub fn strip(headers: &mut HeaderMap) {
    let named: HashSet<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .filter(|name| !is_of_the_request(name.as_str()))
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(PEER);
    headers.remove(SCHEME);
}

/// Whether a header frames the message, says who sends it or how to read it. `Connection` cannot remove such a header.
fn is_of_the_request(name: &str) -> bool {
    name.starts_with("content-")
        || name.starts_with("x-forwarded-")
        || matches!(
            name,
            "forwarded"
                | "x-real-ip"
                | "host"
                | "authorization"
                | "x-api-key"
                | "expect"
                | "cache-control"
                | "prefer"
                | "x-request-id"
        )
}

/// A body on its way to the app.
pub enum RequestBody {
    Whole(Bytes),
    Stream(Upload),
}

pub enum Payload {
    Whole(Bytes),
    Stream(Box<Stream>),
}

pub struct Stream {
    /// What was read of the body before it was sent.
    prefix: Bytes,
    rest: Incoming,
    gate: Gate,
    pace: Pace,
    received: usize,
    /// How long the client has been waited for, but for the present wait; while the app reads nothing, it is not.
    waited: Duration,
    waiting_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    error: BodyError,
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(stream) => stream.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stream(stream) => stream.prefix.is_empty() && stream.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            // It is read in part only where its length is unknown.
            Self::Stream(stream) => stream.rest.size_hint(),
        }
    }
}

impl Stream {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Gate::Waiting(gate) = &mut self.gate {
            self.gate = if ready!(Pin::new(gate).poll(context)).is_ok() { Gate::Open } else { Gate::Shut };
            self.timer.as_mut().reset(Instant::now() + self.pace.patience);
        }
        if matches!(self.gate, Gate::Shut) {
            // As a rule the response has ended this before.
            ready!(self.timer.as_mut().poll(context));
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        if !self.prefix.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.prefix)))));
        }
        match Pin::new(&mut self.rest).poll_frame(context) {
            Poll::Ready(frame) => {
                if let Some(since) = self.waiting_since.take() {
                    self.waited += since.elapsed();
                }
                match &frame {
                    Some(Ok(frame)) => self.received += frame.data_ref().map_or(0, Bytes::len),
                    Some(Err(_)) => self.error.set(ForwardError::Aborted),
                    None => {}
                }
                Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
            }
            Poll::Pending => {
                let since = *self.waiting_since.get_or_insert_with(|| {
                    let now = Instant::now();
                    self.timer.as_mut().reset(now + self.pace.next_wait(self.received, self.waited));
                    now
                });
                ready!(self.timer.as_mut().poll(context));
                let late = self.pace.late(self.received, self.waited + since.elapsed());
                self.error.set(ForwardError::Late(late));
                Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
            }
        }
    }
}

/// Connects to the app's socket, whatever the URI says.
#[derive(Clone)]
struct AppConnector(PathBuf);

impl tower_service::Service<Uri> for AppConnector {
    type Response = TokioIo<AppConnection>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move { Ok(TokioIo::new(AppConnection(UnixStream::connect(path).await?))) })
    }
}

/// A connection to the app. Bytes that the app takes no more are discarded: it hangs up in the middle of a body that it
/// has refused, and hyper would take the failed write for the end before it has read the refusal.
struct AppConnection(UnixStream);

impl AppConnection {
    fn written(polled: Poll<io::Result<usize>>, length: usize) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Err(error)) if has_hung_up(&error) => Poll::Ready(Ok(length)),
            polled => polled,
        }
    }
}

fn has_hung_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl Connection for AppConnection {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for AppConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for AppConnection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Self::written(Pin::new(&mut self.0).poll_write(context, bytes), bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = bytes.iter().map(|part| part.len()).sum();
        Self::written(Pin::new(&mut self.0).poll_write_vectored(context, bytes), length)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
