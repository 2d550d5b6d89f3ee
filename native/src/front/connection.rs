//! One connection to the public port: which protocol is spoken on it, its requests, and its end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::front::body::ResponseBody;
use crate::front::connection_state::{ConnectionState, InFlight, ObservedStream};
use crate::front::origin::Origin;
use crate::front::respond::{Aborted, Front};
use crate::front::tls::HANDSHAKE;
use crate::metrics::Counter;

/// After the last response a client may go on sending for so long, and 64 times so much.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 16 * 1024;
/// The smallest buffer that hyper takes.
const SMALLEST_BUFFER: usize = 8192;

/// Requests of one connection at a time.
const STREAMS: u32 = 128;
/// What a client may send before it is read: of one body, and of all bodies of a connection.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Of an answer, what may wait to be written to the connection.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// A response on a stream goes in pieces, so that little of it is buffered unseen while the client reads none.
const PIECE_BYTES: usize = 16 * 1024;

/// A connection that has been accepted.
pub struct Accepted<'a> {
    pub front: &'a Arc<Front>,
    pub state: &'a Arc<ConnectionState>,
    pub origin: Origin,
    /// Of a request.
    pub head_bytes: usize,
    pub failed_handshakes: &'a Counter,
}

impl Accepted<'_> {
    /// Responds to requests until one side ends the connection. `config`: of a port that speaks TLS.
    pub async fn serve(&self, stream: TcpStream, config: Option<Arc<ServerConfig>>) {
        let mut stream = ObservedStream::new(stream, self.state.clone());
        match config {
            None => self.serve_http1(&mut stream, false).await,
            Some(config) => self.serve_tls(&mut stream, config).await,
        }
        if !self.state.has_ended() {
            linger(stream).await;
        }
    }

    async fn serve_tls(&self, stream: &mut ObservedStream, config: Arc<ServerConfig>) {
        match self.state.run(stream.first_byte(), |_| {}).await {
            Some(Ok(Some(HANDSHAKE))) => {}
            // A client that speaks plain HTTP by mistake gets a response that it understands.
            Some(Ok(Some(_))) => return self.serve_http1(stream, true).await,
            // The client has gone, as a load balancer's probe does, or the connection has been ended.
            _ => return,
        }
        match self.state.run(TlsAcceptor::from(config).accept(stream), |_| {}).await {
            Some(Ok(mut stream)) => {
                self.serve_inside_tls(&mut stream).await;
                if !self.state.has_ended() {
                    // It fails only if the client has gone.
                    let _ = timeout(LINGER, stream.shutdown()).await;
                }
            }
            Some(Err(_)) => self.failed_handshakes.add(1),
            None => {}
        }
    }

    async fn serve_inside_tls(&self, stream: &mut TlsStream<&mut ObservedStream>) {
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.state.multiplex();
            self.serve_http2(stream).await;
        } else {
            self.serve_http1(stream, false).await;
        }
    }

    async fn serve_http1<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S, is_plain_http: bool) {
        let service = RequestService { is_plain_http, ..self.service(false) };
        let connection = http1::Builder::new()
            .max_buf_size(self.head_bytes.max(SMALLEST_BUFFER))
            .serve_connection(TokioIo::new(stream), service);
        // Whatever ends it is the client's business: hyper has told it what was wrong with what it sent.
        let _ = self.state.run(connection, http1::Connection::graceful_shutdown).await;
    }

    async fn serve_http2<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) {
        let connection = http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(self.head_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), self.service(true));
        // As above.
        let _ = self.state.run(connection, http2::Connection::graceful_shutdown).await;
    }

    fn service(&self, is_multiplexed: bool) -> RequestService {
        RequestService {
            front: self.front.clone(),
            state: self.state.clone(),
            origin: self.origin,
            is_multiplexed,
            is_plain_http: false,
        }
    }
}

/// Hands requests to the front, and notes when one begins and ends.
struct RequestService {
    front: Arc<Front>,
    state: Arc<ConnectionState>,
    origin: Origin,
    /// Requests have streams of their own.
    is_multiplexed: bool,
    /// The client speaks plain HTTP where TLS is expected.
    is_plain_http: bool,
}

impl Service<Request<Incoming>> for RequestService {
    type Response = http::Response<SendingBody>;
    type Error = Aborted;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (front, origin, is_plain_http) = (self.front.clone(), self.origin, self.is_plain_http);
        let in_flight =
            if self.is_multiplexed { InFlight::on_stream(&self.state) } else { InFlight::on_connection(&self.state) };
        Box::pin(async move {
            if is_plain_http {
                return Ok(front.refuse_plain_http(&request).map(|body| SendingBody::new(body, in_flight)));
            }
            let response = front.respond(request, origin).await?;
            if front.is_closing() && in_flight.is_on_stream() {
                in_flight.finish_connection();
            }
            Ok(response.map(|body| SendingBody::new(body, in_flight)))
        })
    }
}

/// The body of a response. Its request is in flight until all of it has been handed to hyper.
struct SendingBody {
    body: ResponseBody,
    /// What has not been handed over of a long frame.
    rest: Bytes,
    in_flight: InFlight,
}

impl SendingBody {
    fn new(body: ResponseBody, in_flight: InFlight) -> Self {
        Self { body, rest: Bytes::new(), in_flight }
    }

    /// At most `PIECE_BYTES` of it.
    fn piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.rest.is_empty() {
            self.rest =
                match ready!(Pin::new(&mut self.body).poll_frame(context)).map(|frame| frame.map(Frame::into_data)) {
                    Some(Ok(Ok(data))) => data,
                    // No trailers.
                    Some(Ok(Err(_))) | None => return Poll::Ready(None),
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                };
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl Body for SendingBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        if !this.in_flight.is_on_stream() {
            return Pin::new(&mut this.body).poll_frame(context);
        }
        let polled = this.piece(context);
        match polled {
            Poll::Ready(Some(Ok(_))) => this.in_flight.waits_for_client(),
            _ => this.in_flight.waits_for_response(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // It is asked for before the first piece is taken.
        self.body.size_hint()
    }
}

/// Reads on for a moment what the client still sends: closing at once would make its kernel discard a response that it
/// has not read yet.
async fn linger(mut stream: ObservedStream) {
    // hyper shuts the stream down only where the last exchange ended well. It fails only if the client has gone.
    let _ = stream.shutdown().await;
    let mut buffer = vec![0; LINGER_BYTES];
    let reading = async {
        let mut left = LINGER_BYTES * 64;
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            left = left.saturating_sub(count);
            if left == 0 {
                break;
            }
        }
    };
    // The connection is closed after that in any case.
    let _ = timeout(LINGER, reading).await;
}
