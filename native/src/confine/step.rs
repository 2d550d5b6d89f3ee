//! What every part of the confinement shares: a result, and the check of a system call's result.

use std::ffi::{c_int, c_long, c_ulong};
use std::io::Error as IoError;

/// Why a part of the confinement failed, as a sentence.
pub type Step = Result<(), String>;

pub fn prctl(name: &str, option: c_int, value: c_ulong) -> Step {
    const UNUSED: c_ulong = 0;
    // SAFETY: the options used here take one number.
    checked(name, unsafe { libc::prctl(option, value, UNUSED, UNUSED, UNUSED) }.into())
}

/// The result of a system call: below zero, it failed.
pub fn checked(name: &str, result: c_long) -> Step {
    if result < 0 { Err(format!("{name}: {}", IoError::last_os_error())) } else { Ok(()) }
}
