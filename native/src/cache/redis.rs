//! Level two: rows that replicas share in Redis. One connection under a circuit breaker; nobody waits for a write.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, RedisError, RedisResult};
use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};

use crate::cache::breaker::{Breaker, Pass};
use crate::cache::memory::Key;
use crate::cache::signed;
use crate::clock::{monotonic_nanoseconds, seconds_between};
use crate::error::Fault;
use crate::metrics::{Counter, Family, Histogram, label};
use crate::sync::lock;

/// Failures of reads in a row that open the breaker.
const READ_FAILURES: u32 = 3;
/// A read times out after so many of the usual round trips, within these bounds.
const TIMEOUT_ROUND_TRIPS: f64 = 4.0;
const MIN_TIMEOUT_SECONDS: f64 = 0.005;
const MAX_TIMEOUT_SECONDS: f64 = 0.02;
/// What a row adds to a round trip, at most.
const ROW_SECONDS: f64 = 3e-6;
/// The weight of the newest round trip in the usual one.
const NEWEST_WEIGHT: f64 = 0.125;
/// To connect, and to write.
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(1);
/// How often an idle connection is checked.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Rows of one pipeline; reads go between two of them.
const ROWS_PER_PIPELINE: usize = 128;
/// Writes in flight; beyond it rows are not written.
const MAX_WRITES: usize = 64;
const PROBE_KEY: &str = "serval:probe";

pub struct Redis {
    client: Client,
    /// Of the MACs of values.
    secret: [u8; 32],
    /// None: Redis is not used now.
    connection: ArcSwapOption<MultiplexedConnection>,
    reads: Mutex<Breaker>,
    writes: Mutex<Breaker>,
    opened: Notify,
    writers: Arc<Semaphore>,
    runtime: Handle,
    /// The usual round trip in seconds, exponentially weighted: the bits of a float64.
    round_trip: AtomicU64,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    round_trips: Histogram,
    errors: [Counter; Failure::ALL.len()],
    undecodable: Counter,
    written: Counter,
    openings: Counter,
}

/// Why rows were not read or not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Timeout,
    Connection,
    /// Redis has no memory left for writes.
    Full,
    Refused,
    /// Too many writes are in flight.
    Backlog,
}

impl Failure {
    const ALL: [(Self, &str); 5] = [
        (Self::Timeout, "timeout"),
        (Self::Connection, "connection"),
        (Self::Full, "full"),
        (Self::Refused, "refused"),
        (Self::Backlog, "backlog"),
    ];
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        if error.is_io_error() || error.is_unrecoverable_error() {
            return Self::Connection;
        }
        let errors = error.into_server_errors().unwrap_or_default();
        if errors.iter().any(|(_, error)| error.code() == "OOM") { Self::Full } else { Self::Refused }
    }
}

/// A row to be written.
pub type SignedRow = (Key, Vec<u8>);

impl Redis {
    /// Connects in the background: a Redis that is unavailable is tried again later.
    pub fn open(url: &str, secret: [u8; 32], runtime: &Handle) -> Result<Arc<Self>, Fault> {
        let client = Client::open(url)
            .map_err(|error| Fault::argument(format!("the URL of the cache is not understood: {error}")))?;
        let redis = Arc::new(Self {
            client,
            secret,
            connection: ArcSwapOption::empty(),
            reads: Mutex::new(Breaker::unproven(READ_FAILURES)),
            writes: Mutex::new(Breaker::new(1)),
            opened: Notify::new(),
            writers: Arc::new(Semaphore::new(MAX_WRITES)),
            runtime: runtime.clone(),
            round_trip: AtomicU64::new(MIN_TIMEOUT_SECONDS.to_bits()),
            counters: Counters::default(),
        });
        runtime.spawn(redis.clone().maintain());
        Ok(redis)
    }

    pub fn is_up(&self) -> bool {
        self.connection.load().is_some()
    }

    /// `up`, `read_only` while writes fail, `down` while it is not used.
    pub fn state(&self) -> &'static str {
        match self.is_up() {
            false => "down",
            true if lock(&self.writes).is_open() => "read_only",
            true => "up",
        }
    }

    /// What a read of some rows usually takes.
    #[allow(clippy::cast_precision_loss, reason = "rows are few")]
    pub fn round_trip_seconds(&self, rows: usize) -> f64 {
        f64::from_bits(self.round_trip.load(Ordering::Relaxed)) + rows as f64 * ROW_SECONDS
    }

    /// The rows of some keys: None for each that is absent or not signed by Serval, and for all of them in a failure.
    pub async fn get(&self, keys: &[Key], width: usize) -> Vec<Option<Vec<u64>>> {
        let values = self.values(keys).await.unwrap_or_default();
        let mut values = values.into_iter();
        let decoded = |key: &Key| {
            let value = values.next()??;
            let words = signed::decode(&self.secret, *key, &value, width);
            self.counters.undecodable.add(usize::from(words.is_none()));
            words
        };
        keys.iter().map(decoded).collect()
    }

    async fn values(&self, keys: &[Key]) -> Option<Vec<Option<Vec<u8>>>> {
        let connection = self.connection.load_full()?;
        let names: Vec<String> = keys.iter().map(name).collect();
        let started = monotonic_nanoseconds();
        let values = read(&connection, &names, self.read_timeout(keys.len())).await;
        self.observe(seconds_between(started, monotonic_nanoseconds()), keys.len());
        match values {
            Ok(values) => {
                lock(&self.reads).succeeded();
                Some(values)
            }
            Err(failure) => {
                self.read_failed(failure);
                None
            }
        }
    }

    /// A row as it is written.
    pub fn sign(&self, key: Key, words: &[u64]) -> SignedRow {
        (key, signed::encode(&self.secret, key, words))
    }

    /// Writes rows in the background; a failure is counted, no more.
    pub fn put(self: &Arc<Self>, rows: Vec<SignedRow>, ttl_seconds: f64) {
        let Some(connection) = self.connection.load_full() else { return };
        let Ok(writer) = self.writers.clone().try_acquire_owned() else { return self.count(Failure::Backlog) };
        let pass = lock(&self.writes).pass(monotonic_nanoseconds());
        if pass == Pass::No {
            return;
        }
        let redis = self.clone();
        self.runtime.spawn(async move {
            let result = write(&connection, &rows, ttl_seconds).await;
            redis.finish_write(pass, rows.len(), result);
            drop(writer);
        });
    }

    fn finish_write(&self, pass: Pass, rows: usize, result: Result<(), Failure>) {
        let now = monotonic_nanoseconds();
        if let Err(failure) = result {
            self.count(failure);
        } else {
            self.counters.written.add(rows);
        }
        let mut writes = lock(&self.writes);
        match (pass, result) {
            (Pass::Probe, result) => writes.probed(now, result.is_ok()),
            (_, Ok(())) => writes.succeeded(),
            (_, Err(_)) => _ = writes.failed(now),
        }
    }

    /// Connects, again whenever the connection is lost, and checks an idle connection.
    async fn maintain(self: Arc<Self>) {
        loop {
            let pause = lock(&self.reads).pause(monotonic_nanoseconds());
            sleep(Duration::from_nanos(pause)).await;
            let pass = lock(&self.reads).pass(monotonic_nanoseconds());
            match pass {
                Pass::Probe => self.connect().await,
                Pass::No => {}
                Pass::Go => {
                    let is_quiet = timeout(HEARTBEAT, self.opened.notified()).await.is_err();
                    if is_quiet {
                        self.values(&[]).await;
                    }
                }
            }
        }
    }

    async fn connect(&self) {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(BACKGROUND_TIMEOUT)).set_response_timeout(None);
        let connected = match timeout(
            BACKGROUND_TIMEOUT,
            self.client.get_multiplexed_async_connection_with_config(&config),
        )
        .await
        {
            Ok(Ok(connection)) => self.tested(connection).await,
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Failure::Timeout),
        };
        if let Err(failure) = connected {
            self.count(failure);
        }
        let has_succeeded = connected.is_ok();
        self.connection.store(connected.ok().map(Arc::new));
        lock(&self.reads).probed(monotonic_nanoseconds(), has_succeeded);
    }

    /// A connection that has answered a read in time.
    async fn tested(&self, connection: MultiplexedConnection) -> Result<MultiplexedConnection, Failure> {
        let started = monotonic_nanoseconds();
        read(&connection, &[], Duration::from_secs_f64(MAX_TIMEOUT_SECONDS)).await?;
        let seconds = seconds_between(started, monotonic_nanoseconds());
        self.round_trip.store(seconds.to_bits(), Ordering::Relaxed);
        Ok(connection)
    }

    fn read_timeout(&self, rows: usize) -> Duration {
        let usual = (TIMEOUT_ROUND_TRIPS * self.round_trip_seconds(0)).clamp(MIN_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS);
        Duration::from_secs_f64(
            usual + TIMEOUT_ROUND_TRIPS * (self.round_trip_seconds(rows) - self.round_trip_seconds(0)),
        )
    }

    fn observe(&self, seconds: f64, rows: usize) {
        self.counters.round_trips.observe(seconds);
        let (usual, added) = (self.round_trip_seconds(0), self.round_trip_seconds(rows) - self.round_trip_seconds(0));
        let newest = (seconds - added).max(0.0);
        self.round_trip.store((usual + NEWEST_WEIGHT * (newest - usual)).to_bits(), Ordering::Relaxed);
    }

    fn read_failed(&self, failure: Failure) {
        self.count(failure);
        let now = monotonic_nanoseconds();
        let mut reads = lock(&self.reads);
        let opens = if failure == Failure::Connection { reads.trip(now) } else { reads.failed(now) };
        if opens {
            self.connection.store(None);
            self.counters.openings.add(1);
            self.opened.notify_one();
        }
    }

    fn count(&self, failure: Failure) {
        self.counters.errors[failure as usize].add(1);
    }

    pub fn write_metrics(&self, text: &mut String) {
        let help = "1 for the state that the second cache level is in.";
        let mut states = Family::gauge(text, "serval_cache_level_two_state", help);
        for state in ["up", "read_only", "down"] {
            states.sample(&label("state", state), u8::from(self.state() == state));
        }
        let help = "Reads and writes of the second cache level that failed, by kind.";
        let mut errors = Family::counter(text, "serval_cache_level_two_errors_total", help);
        for (failure, kind) in Failure::ALL {
            errors.sample(&label("kind", kind), self.counters.errors[failure as usize].get());
        }
        let totals = [
            (
                "serval_cache_level_two_openings_total",
                "Times that the second cache level was given up for a while.",
                &self.counters.openings,
            ),
            (
                "serval_cache_level_two_forged_total",
                "Values of the second cache level that Serval has not written so.",
                &self.counters.undecodable,
            ),
            ("serval_cache_level_two_written_total", "Rows written to the second cache level.", &self.counters.written),
        ];
        for (name, help, counter) in totals {
            Family::counter(text, name, help).sample("", counter.get());
        }
        let help = "From asking the second cache level to its answer.";
        Family::histogram(text, "serval_cache_level_two_round_trip_seconds", help)
            .distribution("", &self.counters.round_trips);
    }
}

/// The values of some names, and of one that is never written, so that a read without rows checks a connection too.
async fn read(
    connection: &MultiplexedConnection,
    names: &[String],
    limit: Duration,
) -> Result<Vec<Option<Vec<u8>>>, Failure> {
    let mut connection = connection.clone();
    let mut command = ::redis::cmd("MGET");
    command.arg(names).arg(PROBE_KEY);
    let values: RedisResult<_> =
        timeout(limit, command.query_async(&mut connection)).await.map_err(|_| Failure::Timeout)?;
    Ok(values?)
}

async fn write(connection: &MultiplexedConnection, rows: &[SignedRow], ttl_seconds: f64) -> Result<(), Failure> {
    let mut connection = connection.clone();
    for rows in rows.chunks(ROWS_PER_PIPELINE) {
        let mut pipeline = ::redis::pipe();
        for (key, value) in rows {
            pipeline.cmd("SET").arg(name(key)).arg(value).arg("PX").arg(milliseconds(ttl_seconds)).ignore();
        }
        let written: RedisResult<()> =
            timeout(BACKGROUND_TIMEOUT, pipeline.query_async(&mut connection)).await.map_err(|_| Failure::Timeout)?;
        written?;
    }
    Ok(())
}

fn name(key: &Key) -> String {
    format!("serval:{key:032x}")
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn milliseconds(seconds: f64) -> u64 {
    ((seconds * 1e3) as u64).max(1)
}
