//! The state of a connection: kept by its own tasks, checked by the listener, and ended by it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::clock::{NANOSECONDS_PER_SECOND, coarse_nanoseconds};
use crate::sync::lock;

/// How long a connection may take for each stage, in nanoseconds.
pub struct StageLimits {
    pub head: u64,
    pub idle: u64,
    pub write: u64,
}

pub struct ConnectionState {
    stage: AtomicU8,
    since_nanoseconds: AtomicU64,
    /// 0: nothing waits to be written.
    blocked_nanoseconds: AtomicU64,
    /// Requests that are being read or answered.
    in_flight: AtomicUsize,
    /// Responses on streams that the client reads nothing of at the moment: the stream, and since when.
    stalled_streams: Mutex<Vec<(u64, u64)>>,
    next_stream: AtomicU64,
    order: AtomicU8,
    /// When it was ordered to finish; 0: it was not.
    finish_nanoseconds: AtomicU64,
    is_multiplexed: AtomicBool,
    waker: AtomicWaker,
}

/// Between two requests.
const IDLE: u8 = 0;
/// The head of a request has begun.
const HEAD: u8 = 1;

/// How long a client of streams may take to notice GOAWAY.
const GOAWAY_NANOSECONDS: u64 = NANOSECONDS_PER_SECOND;

const GO_ON: u8 = 0;
const FINISH: u8 = 1;
const END: u8 = 2;

impl ConnectionState {
    /// The state of a new connection: whoever connects is about to send a request.
    pub fn new() -> Self {
        Self {
            stage: AtomicU8::new(HEAD),
            since_nanoseconds: AtomicU64::new(coarse_nanoseconds()),
            blocked_nanoseconds: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            stalled_streams: Mutex::default(),
            next_stream: AtomicU64::new(0),
            order: AtomicU8::new(GO_ON),
            finish_nanoseconds: AtomicU64::new(0),
            is_multiplexed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// How many requests are being read or answered.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Lets it finish the requests in flight, and no others.
    pub fn finish(&self) {
        let (now, order) = (coarse_nanoseconds(), Ordering::Relaxed);
        // A second order gives no more time.
        let _ = self.finish_nanoseconds.compare_exchange(0, now, order, order);
        self.set_order(FINISH);
    }

    pub fn end(&self) {
        self.set_order(END);
    }

    pub fn has_ended(&self) -> bool {
        self.order.load(Ordering::Relaxed) == END
    }

    fn set_order(&self, order: u8) {
        self.order.fetch_max(order, Ordering::Relaxed);
        self.waker.wake();
    }

    /// Runs `future` until the connection is ordered to end (None). Calls `finish` once, when it is ordered to finish.
    pub async fn run<F: Future>(&self, future: F, finish: impl Fn(Pin<&mut F>)) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut is_finishing = false;
        poll_fn(|context| {
            self.waker.register(context.waker());
            match self.order.load(Ordering::Relaxed) {
                END => return Poll::Ready(None),
                FINISH if !is_finishing => {
                    is_finishing = true;
                    finish(future.as_mut());
                }
                _ => {}
            }
            future.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// Requests have streams of their own from now on.
    pub fn multiplex(&self) {
        self.is_multiplexed.store(true, Ordering::Relaxed);
    }

    /// Whether a client without a request in flight ignores GOAWAY: many read only when they send a request.
    pub fn ignores_goaway(&self, now_nanoseconds: u64) -> bool {
        let ordered = self.finish_nanoseconds.load(Ordering::Relaxed);
        let since = ordered.max(self.since_nanoseconds.load(Ordering::Relaxed));
        let is_idle = self.is_multiplexed.load(Ordering::Relaxed) && self.in_flight() == 0;
        ordered > 0 && is_idle && now_nanoseconds.saturating_sub(since) > GOAWAY_NANOSECONDS
    }

    /// Whether it has taken longer than it may.
    pub fn is_late(&self, limits: &StageLimits, now_nanoseconds: u64) -> bool {
        let is_past = |since: u64, limit: u64| now_nanoseconds.saturating_sub(since) > limit;
        let limit = if self.stage.load(Ordering::Relaxed) == HEAD { limits.head } else { limits.idle };
        let is_waiting = self.in_flight() == 0 && is_past(self.since_nanoseconds.load(Ordering::Relaxed), limit);
        let blocked = self.blocked_nanoseconds.load(Ordering::Relaxed);
        let is_stuck = |since: u64| is_past(since, limits.write);
        is_waiting
            || (blocked > 0 && is_stuck(blocked))
            || self.stalled_streams().iter().any(|&(_, since)| is_stuck(since))
    }

    fn enter(&self, stage: u8) {
        self.stage.store(stage, Ordering::Relaxed);
        self.since_nanoseconds.store(coarse_nanoseconds(), Ordering::Relaxed);
    }

    fn is_idle(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == IDLE && self.in_flight() == 0
    }

    fn has_read(&self) {
        // On a connection with streams, bytes are not only heads.
        if self.is_idle() && !self.is_multiplexed.load(Ordering::Relaxed) {
            self.enter(HEAD);
        }
    }

    fn has_written(&self) {
        self.blocked_nanoseconds.store(0, Ordering::Relaxed);
        if self.is_idle() {
            self.since_nanoseconds.store(coarse_nanoseconds(), Ordering::Relaxed);
        }
    }

    fn is_blocked(&self) {
        if self.blocked_nanoseconds.load(Ordering::Relaxed) == 0 {
            self.blocked_nanoseconds.store(coarse_nanoseconds(), Ordering::Relaxed);
        }
    }

    fn stalled_streams(&self) -> MutexGuard<'_, Vec<(u64, u64)>> {
        lock(&self.stalled_streams)
    }
}

/// A request that is being read or answered, until it is dropped.
pub struct InFlight {
    state: Arc<ConnectionState>,
    /// Of its stream; None where the connection has one request at a time.
    stream: Option<u64>,
}

impl InFlight {
    /// The only one of its connection.
    pub fn on_connection(state: &Arc<ConnectionState>) -> Self {
        Self::begin(state, None)
    }

    pub fn on_stream(state: &Arc<ConnectionState>) -> Self {
        Self::begin(state, Some(state.next_stream.fetch_add(1, Ordering::Relaxed)))
    }

    fn begin(state: &Arc<ConnectionState>, stream: Option<u64>) -> Self {
        state.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { state: state.clone(), stream }
    }

    pub fn is_on_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Its connection begins no other request.
    pub fn finish_connection(&self) {
        self.state.finish();
    }

    /// The client has got a piece of the response, and has its time to read it from now on.
    pub fn waits_for_client(&self) {
        if let Some(stream) = self.stream {
            let mut stalled = self.state.stalled_streams();
            stalled.retain(|&(other, _)| other != stream);
            stalled.push((stream, coarse_nanoseconds()));
        }
    }

    /// The client has read all that there was.
    pub fn waits_for_response(&self) {
        if let Some(stream) = self.stream {
            self.state.stalled_streams().retain(|&(other, _)| other != stream);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.waits_for_response();
        // In this order: nobody sees a connection without requests in flight that has not been idle since now.
        self.state.enter(IDLE);
        self.state.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that notes when the client sends and reads something.
pub struct ObservedStream {
    stream: TcpStream,
    state: Arc<ConnectionState>,
}

impl ObservedStream {
    pub fn new(stream: TcpStream, state: Arc<ConnectionState>) -> Self {
        Self { stream, state }
    }

    /// The first byte that the client sends, which stays to be read. None: it sends nothing.
    pub async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        Ok((self.stream.peek(&mut byte).await? == 1).then_some(byte[0]))
    }

    fn note(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(_) => self.state.has_written(),
            Poll::Pending => self.state.is_blocked(),
        }
        polled
    }
}

impl AsyncRead for ObservedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.state.has_read();
        }
        polled
    }
}

impl AsyncWrite for ObservedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
