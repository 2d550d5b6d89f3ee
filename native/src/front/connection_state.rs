//! What a connection is at: kept by its own tasks, looked at by the listener's round, and told to end.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::clock::coarse_nanoseconds;

/// How long a connection may be at something, in nanoseconds.
pub struct Times {
    pub head: u64,
    pub idle: u64,
    pub write: u64,
}

pub struct Watch {
    stage: AtomicU8,
    since_nanoseconds: AtomicU64,
    /// 0: nothing waits to be written.
    blocked_nanoseconds: AtomicU64,
    /// Requests that are being read or answered.
    under_way: AtomicUsize,
    /// Of answers on streams whose client takes nothing at the moment: their number, and since when.
    untaken: Mutex<Vec<(u64, u64)>>,
    next: AtomicU64,
    order: AtomicU8,
    /// When it was told to finish; 0: it was not.
    finish_nanoseconds: AtomicU64,
    is_multiplexed: AtomicBool,
    waker: AtomicWaker,
}

/// Between two requests.
const IDLE: u8 = 0;
/// The head of a request has begun.
const HEAD: u8 = 1;

/// What a client of streams may take to see that it was told goodbye.
const GOODBYE_NANOSECONDS: u64 = 1_000_000_000;

const GO_ON: u8 = 0;
const FINISH: u8 = 1;
const END: u8 = 2;

impl Watch {
    /// Of a connection that has just been made: whoever connects is about to ask.
    pub fn new() -> Self {
        Self {
            stage: AtomicU8::new(HEAD),
            since_nanoseconds: AtomicU64::new(coarse_nanoseconds()),
            blocked_nanoseconds: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            untaken: Mutex::default(),
            next: AtomicU64::new(0),
            order: AtomicU8::new(GO_ON),
            finish_nanoseconds: AtomicU64::new(0),
            is_multiplexed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// How many requests are being read or answered.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Let it finish the requests at hand.
    pub fn finish(&self) {
        let (now, order) = (coarse_nanoseconds(), Ordering::Relaxed);
        // Told once more, it has no more time.
        let _ = self.finish_nanoseconds.compare_exchange(0, now, order, order);
        self.give(FINISH);
    }

    pub fn end(&self) {
        self.give(END);
    }

    pub fn has_ended(&self) -> bool {
        self.order.load(Ordering::Relaxed) == END
    }

    fn give(&self, order: u8) {
        self.order.fetch_max(order, Ordering::Relaxed);
        self.waker.wake();
    }

    /// What is done on the connection, until it is told to end (None). `finish` is called once, when it is told to finish.
    pub async fn hold<F: Future>(&self, future: F, finish: impl Fn(Pin<&mut F>)) -> Option<F::Output> {
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

    /// Whether a client with nothing under way has not noticed that it was told goodbye: many read only when they ask.
    pub fn is_left(&self, now_nanoseconds: u64) -> bool {
        let told = self.finish_nanoseconds.load(Ordering::Relaxed);
        let since = told.max(self.since_nanoseconds.load(Ordering::Relaxed));
        let is_idle = self.is_multiplexed.load(Ordering::Relaxed) && self.under_way() == 0;
        told > 0 && is_idle && now_nanoseconds.saturating_sub(since) > GOODBYE_NANOSECONDS
    }

    /// Whether it has taken longer than it may.
    pub fn is_late(&self, times: &Times, now_nanoseconds: u64) -> bool {
        let is_past = |since: u64, limit: u64| now_nanoseconds.saturating_sub(since) > limit;
        let limit = if self.stage.load(Ordering::Relaxed) == HEAD { times.head } else { times.idle };
        let is_waiting = self.under_way() == 0 && is_past(self.since_nanoseconds.load(Ordering::Relaxed), limit);
        let blocked = self.blocked_nanoseconds.load(Ordering::Relaxed);
        let is_stuck = |since: u64| is_past(since, times.write);
        is_waiting || (blocked > 0 && is_stuck(blocked)) || self.untaken().iter().any(|&(_, since)| is_stuck(since))
    }

    fn enter(&self, stage: u8) {
        self.stage.store(stage, Ordering::Relaxed);
        self.since_nanoseconds.store(coarse_nanoseconds(), Ordering::Relaxed);
    }

    fn is_idle(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == IDLE && self.under_way() == 0
    }

    fn has_read(&self) {
        // On a connection with streams, bytes may be anything.
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

    fn untaken(&self) -> std::sync::MutexGuard<'_, Vec<(u64, u64)>> {
        self.untaken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being read or answered, until it is dropped.
pub struct UnderWay {
    watch: Arc<Watch>,
    /// Of its stream; None where the connection has one request at a time.
    stream: Option<u64>,
}

impl UnderWay {
    /// The only one of its connection.
    pub fn alone(watch: &Arc<Watch>) -> Self {
        Self::begin(watch, None)
    }

    pub fn on_a_stream(watch: &Arc<Watch>) -> Self {
        Self::begin(watch, Some(watch.next.fetch_add(1, Ordering::Relaxed)))
    }

    fn begin(watch: &Arc<Watch>, stream: Option<u64>) -> Self {
        watch.under_way.fetch_add(1, Ordering::Relaxed);
        Self { watch: watch.clone(), stream }
    }

    pub fn is_on_a_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Its connection begins nothing more.
    pub fn finish_the_connection(&self) {
        self.watch.finish();
    }

    /// The client has been given a piece of the answer: from now on it has its time to take it.
    pub fn waits_for_the_client(&self) {
        if let Some(stream) = self.stream {
            let mut untaken = self.watch.untaken();
            untaken.retain(|&(other, _)| other != stream);
            untaken.push((stream, coarse_nanoseconds()));
        }
    }

    /// It has taken all that there was.
    pub fn waits_for_the_answer(&self) {
        if let Some(stream) = self.stream {
            self.watch.untaken().retain(|&(other, _)| other != stream);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.waits_for_the_answer();
        // In this order: nobody sees a connection without requests that has not been idle since now.
        self.watch.enter(IDLE);
        self.watch.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that notes when the client sends and takes something.
pub struct Watched {
    stream: TcpStream,
    watch: Arc<Watch>,
}

impl Watched {
    pub fn new(stream: TcpStream, watch: Arc<Watch>) -> Self {
        Self { stream, watch }
    }

    /// The first byte that the client sends, which stays to be read. None: it sends nothing.
    pub async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        Ok((self.stream.peek(&mut byte).await? == 1).then_some(byte[0]))
    }

    fn note(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(_) => self.watch.has_written(),
            Poll::Pending => self.watch.is_blocked(),
        }
        polled
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.watch.has_read();
        }
        polled
    }
}

impl AsyncWrite for Watched {
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
