//! Who may predict, as Python has checked it, and what their keys have used.

use std::collections::HashSet;
use std::sync::Arc;

use pyo3::prelude::*;

use crate::clock::now_seconds;
use crate::error::Fault;
use crate::limits::callers::{self, Digest, Lookup};
use crate::limits::usage::{self, Usage};
use crate::plane::Plane;
use crate::python::rates::{RateLimit, buckets};

#[pyclass(frozen, module = "serval._native")]
pub struct Callers(pub Arc<Plane>);

/// `serval.auth.caller.Caller`.
#[derive(FromPyObject)]
struct Caller {
    digest: Vec<u8>,
    user_id: String,
    key_id: Option<String>,
    is_admin: bool,
    can_predict: bool,
    models: Option<HashSet<String>>,
    expires_at: Option<Timestamp>,
    predict_limits: Vec<RateLimit>,
    quota: Option<Quota>,
}

#[derive(FromPyObject)]
struct Quota {
    used: u64,
    allowed: u64,
    resets_at: Timestamp,
}

/// An aware `datetime`, in Unix seconds.
struct Timestamp(f64);

impl<'a, 'py> FromPyObject<'a, 'py> for Timestamp {
    type Error = PyErr;

    fn extract(datetime: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self(datetime.call_method0("timestamp")?.extract()?))
    }
}

#[pymethods]
impl Callers {
    fn epoch(&self, digest: &[u8]) -> PyResult<u64> {
        Ok(self.0.callers.epoch(&sha256(digest)?))
    }

    fn put(&self, caller: Caller, epoch: u64) -> PyResult<bool> {
        let digest = sha256(&caller.digest)?;
        let now_seconds = now_seconds();
        let caller = self.checked(caller, now_seconds)?;
        Ok(self.0.callers.put(digest, &Arc::new(caller), epoch, now_seconds))
    }

    fn revoke(&self, digest: &[u8]) -> PyResult<()> {
        self.0.callers.revoke(&sha256(digest)?);
        Ok(())
    }

    fn revoke_user(&self, py: Python<'_>, user: &str) {
        py.detach(|| self.0.callers.revoke_user(user));
    }

    fn revoke_all(&self) {
        self.0.callers.revoke_all();
    }

    fn recognize(&self, digest: &[u8], user: &str) -> PyResult<()> {
        self.0.callers.recognize(&sha256(digest)?, user, now_seconds());
        Ok(())
    }

    fn put_unknown(&self, digest: &[u8]) -> PyResult<()> {
        self.0.callers.put_unknown(&sha256(digest)?, now_seconds());
        Ok(())
    }

    fn forget_unknown(&self, digest: &[u8]) -> PyResult<()> {
        self.0.callers.forget_unknown(&sha256(digest)?);
        Ok(())
    }

    fn is_unknown(&self, digest: &[u8]) -> PyResult<bool> {
        Ok(matches!(self.0.callers.look_up(&sha256(digest)?, now_seconds()), Lookup::Unknown))
    }

    fn user_of(&self, digest: &[u8]) -> PyResult<Option<String>> {
        match self.0.callers.look_up(&sha256(digest)?, now_seconds()) {
            Lookup::Known(caller) => Ok(Some(caller.user.to_string())),
            Lookup::Unknown | Lookup::NeverSeen => Ok(None),
        }
    }

    fn take_usage(&self, py: Python<'_>) -> Vec<(String, f64, u64)> {
        let usage = |Usage { key, last_seconds, predictions }| (key, last_seconds, predictions);
        py.detach(|| self.0.meters.take()).into_iter().map(usage).collect()
    }

    fn set_usage(&self, key: &str, used: u64) {
        self.0.meters.set_used(key, used);
    }
}

impl Callers {
    fn checked(&self, caller: Caller, now_seconds: f64) -> Result<callers::Caller, Fault> {
        if caller.key_id.is_none() && caller.quota.is_some() {
            return Err(Fault::argument("only a key has a quota"));
        }
        let latest_expiry_seconds = now_seconds + self.0.settings.caller_age_seconds;
        let used = caller.quota.as_ref().map(|quota| (quota.used, quota.resets_at.0));
        let quota = |Quota { allowed, resets_at, .. }| usage::Quota { allowed, ends_seconds: resets_at.0 };
        Ok(callers::Caller {
            user: caller.user_id.into(),
            is_admin: caller.is_admin,
            can_predict: caller.can_predict,
            models: caller.models.map(|models| models.into_iter().map(Into::into).collect()),
            expires_seconds: caller
                .expires_at
                .map_or(latest_expiry_seconds, |expiry| expiry.0.min(latest_expiry_seconds)),
            buckets: buckets(&self.0, caller.predict_limits)?.into(),
            meter: caller.key_id.map(|key| self.0.meters.meter(&key, used)),
            quota: caller.quota.map(quota),
        })
    }
}

fn sha256(digest: &[u8]) -> Result<Digest, Fault> {
    Digest::try_from(digest).map_err(|_| Fault::argument("a digest has 32 bytes"))
}
