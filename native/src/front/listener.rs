//! The public port: connections within limits, each held to its times, all of them ended in order.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::clock::coarse_nanoseconds;
use crate::front::connection::Accepted;
use crate::front::connection_state::{Times, Watch};
use crate::front::origin::Origin;
use crate::front::respond::Front;
use crate::front::tls::Certificate;
use crate::metrics::{Counter, head, label, line};

/// How often connections are held to their times.
const ROUND: Duration = Duration::from_millis(250);
/// What the kernel may need to have a descriptor again.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);
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
    /// Of proxies whose word about their clients is taken.
    pub trusted_proxies: Vec<IpNet>,
}

impl Limits {
    fn times(&self) -> Times {
        Times {
            head: nanoseconds(self.head_seconds),
            idle: nanoseconds(self.idle_seconds),
            write: nanoseconds(self.write_seconds),
        }
    }
}

pub struct Listener {
    front: Arc<Front>,
    limits: Limits,
    /// None: the port speaks plain HTTP.
    certificate: Option<ArcSwap<Certificate>>,
    connections: Mutex<Connections>,
    next: AtomicU64,
    /// Accept nobody any more.
    closed: Notify,
    is_closed: AtomicBool,
    pub turned_away: Counter,
    pub timed_out: Counter,
    failed_handshakes: Counter,
}

#[derive(Default)]
struct Connections {
    open: HashMap<u64, Arc<Watch>>,
    by_address: HashMap<IpAddr, usize>,
}

impl Listener {
    pub fn new(front: Arc<Front>, limits: Limits, certificate: Option<Certificate>) -> Self {
        Self {
            front,
            limits,
            certificate: certificate.map(ArcSwap::from_pointee),
            connections: Mutex::default(),
            next: AtomicU64::new(0),
            closed: Notify::new(),
            is_closed: AtomicBool::new(false),
            turned_away: Counter::default(),
            timed_out: Counter::default(),
            failed_handshakes: Counter::default(),
        }
    }

    /// Show it to those who connect from now on. Returns false on a port that speaks plain HTTP.
    pub fn set_certificate(&self, certificate: Certificate) -> bool {
        let place = self.certificate.as_ref();
        place.inspect(|place| place.store(Arc::new(certificate))).is_some()
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
        self.each(Watch::finish);
    }

    /// End all connections. Returns how many requests were still being answered.
    pub fn cut_off(&self) -> usize {
        let under_way = self.locked().open.values().map(|watch| watch.under_way()).sum();
        self.each(Watch::end);
        under_way
    }

    /// Prometheus text of the public port.
    pub fn write(&self, text: &mut String) {
        let counters = &self.front.counters;
        head(text, "serval_front_requests_total", "counter", "Requests on the public port, by what became of them.");
        for (outcome, counter) in
            [("answered", &counters.answered), ("refused", &counters.refused), ("forwarded", &counters.forwarded)]
        {
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
            (
                "serval_front_handshakes_failed_total",
                "Handshakes of TLS that came to nothing.",
                &self.failed_handshakes,
            ),
        ];
        for (name, help, counter) in totals {
            head(text, name, "counter", help);
            line(text, name, "", counter.get());
        }
        self.write_expiry(text);
    }

    fn write_expiry(&self, text: &mut String) {
        if let Some(seconds) = self.certificate.as_ref().and_then(|certificate| certificate.load().expires_seconds()) {
            let (name, help) =
                ("serval_tls_certificate_expires_seconds", "When the certificate in use expires, in Unix time.");
            head(text, name, "gauge", help);
            line(text, name, "", seconds);
        }
    }

    fn each(&self, tell: impl Fn(&Watch)) {
        for watch in self.locked().open.values() {
            tell(watch);
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        // A socket of IPv6 writes the addresses of IPv4 in a way of its own.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Some(seat) = self.seat(peer.ip()) else {
            self.turned_away.add(1);
            return; // the connection closes as it is dropped
        };
        if stream.set_nodelay(true).is_err() {
            return; // the client has gone
        }
        let origin = self.origin(peer);
        let config = self.certificate.as_ref().map(|certificate| certificate.load().config());
        let listener = self.clone();
        tokio::spawn(async move {
            let accepted = Accepted {
                front: &listener.front,
                watch: &seat.watch,
                origin,
                head_bytes: listener.limits.head_bytes,
                failed_handshakes: &listener.failed_handshakes,
            };
            accepted.serve(stream, config).await;
            drop(seat);
        });
    }

    fn origin(&self, peer: SocketAddr) -> Origin {
        let is_trusted = self.limits.trusted_proxies.iter().any(|network| network.contains(&peer.ip()));
        Origin { peer, is_tls: self.certificate.is_some(), is_trusted }
    }

    fn seat(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let mut connections = self.locked();
        let of_address = connections.by_address.get(&address).copied().unwrap_or_default();
        if connections.open.len() >= self.limits.connections || of_address >= self.limits.connections_by_address {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let watch = Arc::new(Watch::new());
        if self.is_closed.load(Ordering::Relaxed) {
            watch.finish();
        }
        connections.open.insert(number, watch.clone());
        connections.by_address.insert(address, of_address + 1);
        Some(Seat { listener: self.clone(), number, address, watch })
    }

    async fn hold_to_times(self: Arc<Self>) {
        let times = self.limits.times();
        loop {
            sleep(ROUND).await;
            let now = coarse_nanoseconds();
            for watch in self.locked().open.values().filter(|watch| !watch.has_ended()) {
                if watch.is_late(&times, now) {
                    self.timed_out.add(1);
                    watch.end();
                } else if watch.is_left(now) {
                    watch.end();
                }
            }
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a setting is positive, and a cast of a float saturates"
)]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * NANOSECONDS_PER_SECOND) as u64
}

/// The client gave up before it was accepted: no fault of ours.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
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
