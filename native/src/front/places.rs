//! Places in the app: who may take one.

use std::sync::Arc;

use http::Method;
use http::request::Parts;

use crate::front::shares::{Exhausted, Holder, Share, ShareLimits, Shares};

/// How many requests may be in flight to the app: in all, of a user, and of an address whose clients are not known.
#[derive(Clone, Copy)]
pub struct PlaceLimits {
    pub total: usize,
    pub user: usize,
    pub address: usize,
}

/// Probes of health have places of their own: so many of readiness, and of the health of what the server depends on.
const PROBE_PLACES: usize = 16;
/// Of the probes from one address; more of them take places as other requests do.
const PROBE_PLACES_OF_ADDRESS: usize = 4;

/// The places in the app.
pub struct Places {
    requests: Arc<Shares>,
    readiness: Arc<Shares>,
    health: Arc<Shares>,
}

impl Places {
    /// A quarter of all places is kept for known callers.
    pub fn new(limits: PlaceLimits) -> Self {
        let total = limits.total;
        let requests = ShareLimits { total, user: limits.user, address: limits.address, addresses: total - total / 4 };
        let probes = ShareLimits {
            total: PROBE_PLACES,
            user: PROBE_PLACES_OF_ADDRESS,
            address: PROBE_PLACES_OF_ADDRESS,
            addresses: PROBE_PLACES,
        };
        Self { requests: Shares::new(requests), readiness: Shares::new(probes), health: Shares::new(probes) }
    }

    pub fn taken(&self) -> usize {
        self.requests.held() + self.readiness.held() + self.health.held()
    }

    pub fn take(&self, probe: Option<Probe>, holder: Holder) -> Result<Share, Exhausted> {
        let own = match probe {
            Some(Probe::Readiness) => self.readiness.take(holder.clone(), 1).ok(),
            Some(Probe::Health) => self.health.take(holder.clone(), 1).ok(),
            None => None,
        };
        own.map_or_else(|| self.requests.take(holder, 1), Ok)
    }
}

/// A probe that the app answers.
#[derive(Clone, Copy)]
pub enum Probe {
    Readiness,
    /// It asks the dependencies of the server, which may take long.
    Health,
}

impl Probe {
    /// `is_empty`: whether it has no body.
    pub fn of(parts: &Parts, is_empty: bool) -> Option<Self> {
        match parts.uri.path() {
            _ if !is_empty || !matches!(parts.method, Method::GET | Method::HEAD) => None,
            "/health/ready" | "/health/live" => Some(Self::Readiness),
            "/health" => Some(Self::Health),
            _ => None,
        }
    }
}
