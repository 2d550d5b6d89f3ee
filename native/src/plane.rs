//! The data plane: everything that a prediction needs, in one place.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tokio::runtime::Runtime;

use crate::cache::memory::{Cache, random_secret};
use crate::cache::redis::Redis;
use crate::compute::pool::Compute;
use crate::compute::scheduler::QueueLimits;
use crate::engine::version::Engine;
use crate::error::Fault;
use crate::history::ring::{self as history, History};
use crate::limits::callers::Callers;
use crate::limits::limiter::RateLimiter;
use crate::limits::usage::UsageMeters;
use crate::metrics::{Metrics, label};
use crate::predict::routes::{Route, Routes};

/// Routes, callers with their budgets, loaded versions, both cache levels, compute threads, counters and history.
pub struct Plane {
    pub routes: ArcSwap<Routes>,
    pub callers: Callers,
    pub rates: RateLimiter,
    pub meters: UsageMeters,
    pub engine: Engine,
    pub cache: Cache,
    /// The second cache level, where there is one.
    pub redis: Option<Arc<Redis>>,
    pub compute: Compute,
    pub metrics: Metrics,
    pub history: History,
    pub settings: Settings,
    runtime: OnceLock<Runtime>,
}

pub struct Settings {
    pub cache_bytes: u64,
    pub cache_ttl_seconds: f64,
    pub cache_l2_ttl_seconds: f64,
    /// Of the second cache level.
    pub cache_url: Option<String>,
    /// Shared by the replicas; None: this process has one of its own.
    pub cache_secret: Option<[u8; 32]>,
    /// A prediction that is expected to take longer is left to another thread.
    pub inline_below_seconds: f64,
    pub max_rows: usize,
    /// For how long a caller is known at most after Python has checked it.
    pub caller_age_seconds: f64,
    /// Of the compute threads; the runtime has as many again.
    pub compute: QueueLimits,
    pub history: history::Settings,
}

impl Plane {
    pub fn new(settings: Settings) -> Result<Self, Fault> {
        let secret = settings.cache_secret.map_or_else(random_secret, Ok)?;
        let metrics = Metrics::default();
        let mut plane = Self {
            routes: ArcSwap::default(),
            callers: Callers::new(),
            rates: RateLimiter::default(),
            meters: UsageMeters::default(),
            engine: Engine::default(),
            cache: Cache::new(settings.cache_bytes, blake3::derive_key("serval cache keys 1", &secret)),
            redis: None,
            compute: Compute::new(settings.compute, metrics.compute.clone()),
            metrics,
            history: History::new(&settings.history),
            runtime: OnceLock::new(),
            settings,
        };
        if let Some(url) = &plane.settings.cache_url {
            let secret = blake3::derive_key("serval cache values 1", &secret);
            plane.redis = Some(Redis::open(url, secret, plane.runtime()?.handle())?);
        }
        Ok(plane)
    }

    /// The threads that wait for sockets and timers; started when they are first needed, because a confined child has
    /// no use for them.
    pub fn runtime(&self) -> Result<&Runtime, Fault> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let built = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.settings.compute.threads)
            .thread_name("plane")
            .enable_all()
            .build()
            .map_err(|error| Fault::load(format!("the threads of the data plane do not start: {error}")))?;
        Ok(self.runtime.get_or_init(|| built))
    }

    /// Replaces the table of routes; versions keep their counters as long as a route leads to them.
    pub fn set_routes(&self, routes: impl IntoIterator<Item = Route>) {
        self.metrics.publish(|counters| {
            let table =
                Routes::of(routes, |route, number, version| counters(version, &route.owner, labels(route, number)));
            self.routes.store(Arc::new(table));
        });
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        // The last to let go may be one of the runtime's own threads, which cannot wait for themselves.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn labels(route: &Route, number: u64) -> String {
    let model = format!("{}/{}", route.owner_username, route.name);
    format!("{},{}", label("model", &model), label("version", &number.to_string()))
}
