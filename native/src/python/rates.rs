//! Rates: charged here as predictions are, and shared with other replicas.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::error::Fault;
use crate::limits::bucket::{Bucket, PendingLease};
use crate::limits::limiter;
use crate::limits::rate::Rate;
use crate::plane::Plane;
use crate::python::refusal::Refusal;

#[pyclass(frozen, module = "serval._native")]
pub struct Rates(pub Arc<Plane>);

#[pyclass(frozen, get_all, module = "serval._native")]
pub struct RateState {
    policy: String,
    limit: u64,
    window_seconds: u64,
    remaining: u64,
    reset_seconds: u64,
}

impl From<limiter::RateState> for RateState {
    fn from(state: limiter::RateState) -> Self {
        let limiter::RateState { bucket, remaining, reset_seconds } = state;
        let Rate { count, seconds } = bucket.rate;
        Self { policy: bucket.policy().to_owned(), limit: count, window_seconds: seconds, remaining, reset_seconds }
    }
}

/// The rate of a subject (`kind:id`).
#[derive(FromPyObject)]
pub struct RateLimit(String, RateAttributes);

#[derive(FromPyObject)]
struct RateAttributes {
    count: u64,
    seconds: u64,
}

/// What a charge comes to.
#[derive(IntoPyObject)]
pub enum ChargeReply {
    State(RateState),
    Refusal(Refusal),
}

#[pymethods]
impl Rates {
    fn charge(&self, py: Python<'_>, limits: Vec<RateLimit>) -> PyResult<Option<ChargeReply>> {
        match self.0.rates.charge(&buckets(&self.0, limits)?) {
            Ok(state) => Ok(state.map(|state| ChargeReply::State(state.into()))),
            Err(refusal) => Ok(Some(ChargeReply::Refusal(Refusal::new(py, refusal)?))),
        }
    }

    fn peek(&self, py: Python<'_>, limits: Vec<RateLimit>) -> PyResult<Option<Refusal>> {
        let peeked = self.0.rates.peek(&buckets(&self.0, limits)?);
        peeked.err().map(|refusal| Refusal::new(py, refusal)).transpose()
    }

    fn refund(&self, limits: Vec<RateLimit>) -> PyResult<()> {
        self.0.rates.refund(&buckets(&self.0, limits)?);
        Ok(())
    }

    fn share(&self) -> PyResult<i32> {
        Ok(self.0.rates.share()?)
    }

    fn set_replicas(&self, replicas: u64) {
        self.0.rates.set_replicas(replicas);
    }

    fn partition(&self) {
        self.0.rates.partition();
    }

    fn pending_leases(&self) -> Vec<(String, u64, u64, u64)> {
        let lease = |PendingLease { bucket, rate, tokens }| (bucket, rate.interval_nanoseconds(), rate.burst(), tokens);
        self.0.rates.pending_leases().into_iter().map(lease).collect()
    }

    fn grant_lease(&self, bucket: &str, tokens: u32, ahead_ns: u64) {
        self.0.rates.grant(bucket, tokens, ahead_ns);
    }
}

/// The buckets of some limits.
pub fn buckets(plane: &Plane, limits: Vec<RateLimit>) -> Result<Vec<Arc<Bucket>>, Fault> {
    let bucket = |RateLimit(subject, RateAttributes { count, seconds }): RateLimit| {
        if count == 0 || seconds == 0 {
            return Err(Fault::argument("the count and the seconds of a rate are above 0"));
        }
        Ok(plane.rates.bucket(&subject, Rate { count, seconds }))
    };
    limits.into_iter().map(bucket).collect()
}
