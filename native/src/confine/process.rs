//! Confines the process that opens an upload: Landlock, a seccomp allow-list, resource limits and another uid.

use std::ffi::{c_int, c_uint, c_ulong};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::confine::files::{landlock_abi, restrict};
use crate::confine::notifier::report_violations;
use crate::confine::privileges::{become_user, drop_capabilities};
use crate::confine::resources::ResourceLimits;
use crate::confine::seccomp::{filter_calls, has_seccomp};
use crate::confine::step::{Step, checked, prctl};

pyo3::create_exception!(serval._native, ConfinementError, PyRuntimeError);

#[pyfunction]
pub fn confinement_support(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let support = PyDict::new(py);
    support.set_item("landlock_abi", landlock_abi())?;
    support.set_item("seccomp", has_seccomp())?;
    Ok(support)
}

#[pyfunction]
pub fn adopt_orphans() -> PyResult<()> {
    prctl("adopting orphans", libc::PR_SET_CHILD_SUBREAPER, 1).map_err(ConfinementError::new_err)
}

#[pyfunction]
#[pyo3(signature = (readable, *, required = true))]
#[expect(clippy::needless_pass_by_value, reason = "the arguments are those of the Python call")]
pub fn restrict_files(readable: Vec<String>, required: bool) -> PyResult<()> {
    restrict(&readable, required).map_err(ConfinementError::new_err)
}

#[pyfunction]
#[pyo3(signature = (*, descriptors, violations, uid, memory_bytes, cpu_seconds, threads, required = true))]
#[expect(clippy::needless_pass_by_value, reason = "the arguments are those of the Python call")]
pub fn confine(
    descriptors: Vec<c_int>,
    violations: c_int,
    uid: Option<u32>,
    memory_bytes: u64,
    cpu_seconds: u64,
    threads: u64,
    required: bool,
) -> PyResult<()> {
    let limits = ResourceLimits { memory_bytes, cpu_seconds, threads: uid.map(|_| threads) };
    confine_process(&descriptors, violations, uid, &limits, required).map_err(ConfinementError::new_err)
}

/// The order matters: a change of user clears the death signal, and after seccomp nothing can be changed any more.
fn confine_process(
    descriptors: &[c_int],
    violations: c_int,
    uid: Option<u32>,
    limits: &ResourceLimits,
    required: bool,
) -> Step {
    close_all_but(descriptors, violations)?;
    limits.apply()?;
    if let Some(uid) = uid {
        become_user(uid)?;
    }
    drop_capabilities()?;
    prctl("the death signal", libc::PR_SET_PDEATHSIG, c_ulong::from(libc::SIGKILL.unsigned_abs()))?;
    prctl("dumpable", libc::PR_SET_DUMPABLE, 0)?;
    if required || has_seccomp() {
        report_violations(violations)?;
        filter_calls()?;
    }
    Ok(())
}

fn close_all_but(descriptors: &[c_int], violations: c_int) -> Step {
    let mut kept: Vec<c_uint> = descriptors.iter().chain([&violations]).map(|kept| kept.unsigned_abs()).collect();
    kept.sort_unstable();
    let mut first: c_uint = 0;
    for descriptor in kept {
        if descriptor > first {
            close_range(first, descriptor - 1)?;
        }
        first = descriptor + 1;
    }
    close_range(first, c_uint::MAX)
}

fn close_range(first: c_uint, last: c_uint) -> Step {
    // SAFETY: closing descriptors touches no memory; nothing in this process uses them any more, which the caller
    // promises.
    checked("close_range", unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}
