//! The public port: accepts connections within limits, ends those that take too long, and closes in order.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::clock::coarse_nanoseconds;
use crate::front::connection::Accepted;
use crate::front::connection_state::{ConnectionState, StageLimits};
use crate::front::origin::Origin;
use crate::front::respond::Front;
use crate::front::tls::Certificate;
use crate::metrics::{Counter, Family, label};
use crate::sync::lock;

/// How often connections are checked for timeouts.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// What the kernel may need to have a descriptor again.
const OUT_OF_DESCRIPTORS_PAUSE: Duration = Duration::from_millis(50);
const NANOSECONDS_PER_SECOND: f64 = 1e9;

#[derive(Clone)]
pub struct Limits {
    pub connections: usize,
    pub connections_by_address: usize,
    pub head_bytes: usize,
    pub head_seconds: f64,
    pub idle_seconds: f64,
    /// How long a client may read nothing of a response.
    pub write_seconds: f64,
    /// Proxies whose statements about their clients are believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl Limits {
    fn stages(&self) -> StageLimits {
        StageLimits {
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
    next_number: AtomicU64,
    /// Accept no connection any more.
    closed: Notify,
    is_closed: AtomicBool,
    pub rejected: Counter,
    pub timed_out: Counter,
    failed_handshakes: Counter,
}

#[derive(Default)]
struct Connections {
    open: HashMap<u64, Arc<ConnectionState>>,
    by_address: HashMap<IpAddr, usize>,
}

impl Listener {
    pub fn new(front: Arc<Front>, limits: Limits, certificate: Option<Certificate>) -> Self {
        Self {
            front,
            limits,
            certificate: certificate.map(ArcSwap::from_pointee),
            connections: Mutex::default(),
            next_number: AtomicU64::new(0),
            closed: Notify::new(),
            is_closed: AtomicBool::new(false),
            rejected: Counter::default(),
            timed_out: Counter::default(),
            failed_handshakes: Counter::default(),
        }
    }

    /// Uses it for connections from now on. Returns false on a port that speaks plain HTTP.
    pub fn set_certificate(&self, certificate: Certificate) -> bool {
        let current = self.certificate.as_ref();
        current.inspect(|current| current.store(Arc::new(certificate))).is_some()
    }

    pub fn front(&self) -> &Front {
        &self.front
    }

    pub fn open(&self) -> usize {
        self.connections().open.len()
    }

    /// Accepts connections until `close`, and returns when all have ended.
    pub async fn accept(self: Arc<Self>, listener: TcpListener) {
        let checks = tokio::spawn(self.clone().check_timeouts());
        while !self.is_closed.load(Ordering::Relaxed) {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer),
                    Err(error) if is_client_error(&error) => {}
                    Err(_) => sleep(OUT_OF_DESCRIPTORS_PAUSE).await,
                },
                () = self.closed.notified() => {}
            }
        }
        drop(listener);
        while self.open() > 0 {
            sleep(CHECK_INTERVAL / 10).await;
        }
        checks.abort();
    }

    /// Accepts no connection any more, and lets the open ones finish the requests in flight.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.closed.notify_one();
        self.each(ConnectionState::finish);
    }

    /// Ends all connections. Returns how many requests were still in flight.
    pub fn cut_off(&self) -> usize {
        let in_flight = self.connections().open.values().map(|state| state.in_flight()).sum();
        self.each(ConnectionState::end);
        in_flight
    }

    /// Prometheus text of the public port.
    pub fn write(&self, text: &mut String) {
        let counters = &self.front.counters;
        let help = "Requests on the public port, by what became of them.";
        let mut requests = Family::counter(text, "serval_front_requests_total", help);
        for (outcome, counter) in
            [("answered", &counters.answered), ("refused", &counters.refused), ("forwarded", &counters.forwarded)]
        {
            requests.sample(&label("outcome", outcome), counter.get());
        }
        counters.limited.write(text);
        let gauges = [
            ("serval_front_connections", "Connections open to the public port.", self.open()),
            ("serval_front_forwarded", "Requests that the app is answering.", self.front.forwarding()),
            ("serval_front_buffered_bytes", "Bytes of bodies held over all connections.", self.front.buffered_bytes()),
        ];
        for (name, help, value) in gauges {
            Family::gauge(text, name, help).sample("", value);
        }
        let totals = [
            ("serval_front_connections_rejected_total", "Connections refused beyond the limits.", &self.rejected),
            ("serval_front_timed_out_total", "Connections ended for taking too long.", &self.timed_out),
            (
                "serval_front_handshakes_failed_total",
                "Handshakes of TLS that came to nothing.",
                &self.failed_handshakes,
            ),
        ];
        for (name, help, counter) in totals {
            Family::counter(text, name, help).sample("", counter.get());
        }
        self.write_expiry(text);
    }

    fn write_expiry(&self, text: &mut String) {
        if let Some(seconds) = self.certificate.as_ref().and_then(|certificate| certificate.load().expires_seconds()) {
            let (name, help) =
                ("serval_tls_certificate_expires_seconds", "When the certificate in use expires, in Unix time.");
            Family::gauge(text, name, help).sample("", seconds);
        }
    }

    fn each(&self, order: impl Fn(&ConnectionState)) {
        for state in self.connections().open.values() {
            order(state);
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        // An IPv6 socket reports IPv4 addresses as mapped ones.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Some(permit) = self.permit(peer.ip()) else {
            self.rejected.add(1);
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
                state: &permit.state,
                origin,
                head_bytes: listener.limits.head_bytes,
                failed_handshakes: &listener.failed_handshakes,
            };
            accepted.serve(stream, config).await;
            drop(permit);
        });
    }

    fn origin(&self, peer: SocketAddr) -> Origin {
        let is_trusted = self.limits.trusted_proxies.iter().any(|network| network.contains(&peer.ip()));
        Origin { peer, is_tls: self.certificate.is_some(), is_trusted }
    }

    fn permit(self: &Arc<Self>, address: IpAddr) -> Option<ConnectionPermit> {
        let mut connections = self.connections();
        let of_address = connections.by_address.get(&address).copied().unwrap_or_default();
        if connections.open.len() >= self.limits.connections || of_address >= self.limits.connections_by_address {
            return None;
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(ConnectionState::new());
        if self.is_closed.load(Ordering::Relaxed) {
            state.finish();
        }
        connections.open.insert(number, state.clone());
        connections.by_address.insert(address, of_address + 1);
        Some(ConnectionPermit { listener: self.clone(), number, address, state })
    }

    async fn check_timeouts(self: Arc<Self>) {
        let stages = self.limits.stages();
        loop {
            sleep(CHECK_INTERVAL).await;
            let now = coarse_nanoseconds();
            for state in self.connections().open.values().filter(|state| !state.has_ended()) {
                if state.is_late(&stages, now) {
                    self.timed_out.add(1);
                    state.end();
                } else if state.ignores_goaway(now) {
                    state.end();
                }
            }
        }
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        lock(&self.connections)
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

/// Whether the client gave up before it was accepted.
fn is_client_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// The permit of a connection, one of those that there may be.
struct ConnectionPermit {
    listener: Arc<Listener>,
    number: u64,
    address: IpAddr,
    state: Arc<ConnectionState>,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut connections = self.listener.connections();
        connections.open.remove(&self.number);
        if let Some(count) = connections.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                connections.by_address.remove(&self.address);
            }
        }
    }
}
