//! The public port: connections within limits, each held to its times, all of them ended in order.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::clock::coarse_nanoseconds;
use crate::front::{Broken, Front, Sent};
use crate::metrics::{Counter, head, label, line};

/// How often connections are held to their times.
const ROUND: Duration = Duration::from_millis(250);
/// What the kernel may need to have a descriptor again.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);
/// What a client may go on sending after its last answer: for so long, and 64 times so much.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 16 * 1024;
const NANOSECONDS_PER_SECOND: f64 = 1e9;

#[derive(Clone)]
pub struct Limits {
    pub connections: usize,
    pub connections_by_address: usize,
    pub head_bytes: usize,
    pub head_seconds: f64,
    pub idle_seconds: f64,
    /// How long a client may read nothing of an answer.
    pub write_seconds: f64,
}

pub struct Listener {
    front: Arc<Front>,
    limits: Limits,
    connections: Mutex<Connections>,
    next: AtomicU64,
    /// Accept nobody any more.
    closed: Notify,
    is_closed: AtomicBool,
    pub turned_away: Counter,
    pub timed_out: Counter,
}

#[derive(Default)]
struct Connections {
    open: HashMap<u64, Arc<Watch>>,
    by_address: HashMap<IpAddr, usize>,
}

/// What a connection is at, kept by its own task and looked at by the round.
struct Watch {
    stage: AtomicU8,
    since_nanoseconds: AtomicU64,
    /// 0: nothing waits to be written.
    blocked_nanoseconds: AtomicU64,
    order: AtomicU8,
    waker: AtomicWaker,
}

/// Between two requests.
const IDLE: u8 = 0;
/// The head of a request has begun.
const HEAD: u8 = 1;
/// A request is being answered.
const ANSWERING: u8 = 2;

const GO_ON: u8 = 0;
/// Finish the request at hand.
const FINISH: u8 = 1;
const END: u8 = 2;

impl Listener {
    pub fn new(front: Arc<Front>, limits: Limits) -> Self {
        Self {
            front,
            limits,
            connections: Mutex::default(),
            next: AtomicU64::new(0),
            closed: Notify::new(),
            is_closed: AtomicBool::new(false),
            turned_away: Counter::default(),
            timed_out: Counter::default(),
        }
    }

    pub fn front(&self) -> &Front {
        &self.front
    }

    pub fn open(&self) -> usize {
        self.locked().open.len()
    }

    /// Accept until told to stop.
    pub async fn accept(self: Arc<Self>, listener: TcpListener) {
        let round = tokio::spawn(self.clone().hold_to_times());
        while !self.is_closed.load(Ordering::Relaxed) {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer),
                    Err(error) if is_of_the_client(&error) => {}
                    Err(_) => sleep(OUT_OF_DESCRIPTORS).await,
                },
                () = self.closed.notified() => {}
            }
        }
        drop(listener);
        while self.open() > 0 {
            sleep(ROUND / 10).await;
        }
        round.abort();
    }

    /// Accept nobody any more and let everybody finish the request at hand.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.closed.notify_one();
        self.order(FINISH);
    }

    /// End all connections. Returns how many were still being answered.
    pub fn cut_off(&self) -> usize {
        let answering = self.locked().open.values().filter(|watch| watch.stage.load(Ordering::Relaxed) == ANSWERING).count();
        self.order(END);
        answering
    }

    /// Prometheus text of the public port.
    pub fn write(&self, text: &mut String) {
        let counters = &self.front.counters;
        head(text, "serval_front_requests_total", "counter", "Requests on the public port, by what became of them.");
        for (outcome, counter) in [("answered", &counters.answered), ("refused", &counters.refused), ("forwarded", &counters.forwarded)] {
            line(text, "serval_front_requests_total", &label("outcome", outcome), counter.get());
        }
        let gauges = [
            ("serval_front_connections", "Connections open to the public port.", self.open()),
            ("serval_front_forwarded", "Requests that the app is answering.", self.front.forwarding()),
            ("serval_front_buffered_bytes", "Bytes of bodies held over all connections.", self.front.buffered_bytes()),
        ];
        for (name, help, value) in gauges {
            head(text, name, "gauge", help);
            line(text, name, "", value);
        }
        let totals = [
            ("serval_front_turned_away_total", "Connections refused beyond the limits.", &self.turned_away),
            ("serval_front_timed_out_total", "Connections ended for taking too long.", &self.timed_out),
        ];
        for (name, help, counter) in totals {
            head(text, name, "counter", help);
            line(text, name, "", counter.get());
        }
    }

    fn order(&self, order: u8) {
        for watch in self.locked().open.values() {
            watch.order.fetch_max(order, Ordering::Relaxed);
            watch.waker.wake();
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let Some(seat) = self.seat(peer.ip()) else {
            self.turned_away.add(1);
            return; // the connection closes as it is dropped
        };
        if stream.set_nodelay(true).is_err() {
            return; // the client has gone
        }
        let watch = seat.watch.clone();
        let io = TokioIo::new(Watched { stream, watch: watch.clone() });
        let service = Answers { front: self.front.clone(), watch: watch.clone(), peer };
        let connection = http1::Builder::new().max_buf_size(self.limits.head_bytes.max(SMALLEST_BUFFER)).serve_connection(io, service);
        tokio::spawn(async move {
            let mut held = Held { connection, watch, is_finishing: false };
            // Whatever ends it is the client's business: hyper has told it what was wrong with what it sent.
            let _ = (&mut held).await;
            if held.watch.order.load(Ordering::Relaxed) != END {
                linger(held.connection.into_parts().io.into_inner().stream).await;
            }
            drop(seat);
        });
    }

    fn seat(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let mut connections = self.locked();
        let of_address = connections.by_address.get(&address).copied().unwrap_or_default();
        if connections.open.len() >= self.limits.connections || of_address >= self.limits.connections_by_address {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let watch = Arc::new(Watch {
            // Whoever connects is about to ask.
            stage: AtomicU8::new(HEAD),
            since_nanoseconds: AtomicU64::new(coarse_nanoseconds()),
            blocked_nanoseconds: AtomicU64::new(0),
            order: AtomicU8::new(if self.is_closed.load(Ordering::Relaxed) { FINISH } else { GO_ON }),
            waker: AtomicWaker::new(),
        });
        connections.open.insert(number, watch.clone());
        connections.by_address.insert(address, of_address + 1);
        Some(Seat { listener: self.clone(), number, address, watch })
    }

    async fn hold_to_times(self: Arc<Self>) {
        loop {
            sleep(ROUND).await;
            let now = coarse_nanoseconds();
            let late: Vec<Arc<Watch>> = self.locked().open.values().filter(|watch| self.is_late(watch, now)).cloned().collect();
            for watch in late {
                self.timed_out.add(1);
                watch.order.store(END, Ordering::Relaxed);
                watch.waker.wake();
            }
        }
    }

    fn is_late(&self, watch: &Watch, now: u64) -> bool {
        let is_past = |since: u64, seconds: f64| now.saturating_sub(since) > nanoseconds(seconds);
        let blocked = watch.blocked_nanoseconds.load(Ordering::Relaxed);
        let since = watch.since_nanoseconds.load(Ordering::Relaxed);
        let is_late = match watch.stage.load(Ordering::Relaxed) {
            IDLE => is_past(since, self.limits.idle_seconds),
            HEAD => is_past(since, self.limits.head_seconds),
            _ => false,
        };
        watch.order.load(Ordering::Relaxed) != END && (is_late || (blocked > 0 && is_past(blocked, self.limits.write_seconds)))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The smallest buffer that hyper takes.
const SMALLEST_BUFFER: usize = 8192;

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a setting is positive, and a cast of a float saturates")]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * NANOSECONDS_PER_SECOND) as u64
}

/// The client gave up before it was accepted: no fault of ours.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused)
}

/// A connection's place among those that there may be.
struct Seat {
    listener: Arc<Listener>,
    number: u64,
    address: IpAddr,
    watch: Arc<Watch>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut connections = self.listener.locked();
        connections.open.remove(&self.number);
        if let Some(count) = connections.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                connections.by_address.remove(&self.address);
            }
        }
    }
}

impl Watch {
    fn enter(&self, stage: u8) {
        self.stage.store(stage, Ordering::Relaxed);
        self.since_nanoseconds.store(coarse_nanoseconds(), Ordering::Relaxed);
    }

    fn has_read(&self) {
        if self.stage.load(Ordering::Relaxed) == IDLE {
            self.enter(HEAD);
        }
    }

    fn has_written(&self) {
        self.blocked_nanoseconds.store(0, Ordering::Relaxed);
        if self.stage.load(Ordering::Relaxed) == IDLE {
            self.since_nanoseconds.store(coarse_nanoseconds(), Ordering::Relaxed);
        }
    }

    fn is_blocked(&self) {
        if self.blocked_nanoseconds.load(Ordering::Relaxed) == 0 {
            self.blocked_nanoseconds.store(coarse_nanoseconds(), Ordering::Relaxed);
        }
    }
}

/// Hands requests to the front and notes when one begins and ends.
struct Answers {
    front: Arc<Front>,
    watch: Arc<Watch>,
    peer: SocketAddr,
}

impl Service<Request<Incoming>> for Answers {
    type Response = http::Response<Sent>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (front, watch, peer) = (self.front.clone(), self.watch.clone(), self.peer);
        watch.enter(ANSWERING);
        Box::pin(async move {
            let response = front.respond(request, peer).await;
            watch.enter(IDLE);
            response
        })
    }
}

/// Read on for a moment what the client still sends: closing at once would make its kernel throw away the answer it has not read yet.
async fn linger(mut stream: TcpStream) {
    // It may say no more, and is told so: hyper does that only where the last exchange ended well. Who has gone is told nothing.
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
    // When the time is over it is closed all the same.
    let _ = tokio::time::timeout(LINGER, reading).await;
}

type Served = http1::Connection<TokioIo<Watched>, Answers>;

/// A connection that takes orders.
struct Held {
    connection: Served,
    watch: Arc<Watch>,
    is_finishing: bool,
}

impl Future for Held {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.watch.waker.register(context.waker());
        match self.watch.order.load(Ordering::Relaxed) {
            END => return Poll::Ready(Ok(())),
            FINISH if !self.is_finishing => {
                self.is_finishing = true;
                Pin::new(&mut self.connection).graceful_shutdown();
            }
            _ => {}
        }
        Pin::new(&mut self.connection).poll(context)
    }
}

/// A stream that notes when the client sends and takes something.
struct Watched {
    stream: TcpStream,
    watch: Arc<Watch>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
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

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
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

impl Watched {
    fn note(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(_) => self.watch.has_written(),
            Poll::Pending => self.watch.is_blocked(),
        }
        polled
    }
}
