//! Landlock: which files a process may read.

use std::ffi::{c_long, c_uint, c_void};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};

use crate::confine::step::{Step, prctl};

const LANDLOCK_VERSION_FLAG: c_uint = 1;

/// The highest Landlock ABI that the running kernel offers; 0 where there is none.
pub fn landlock_abi() -> c_long {
    // SAFETY: with a null attribute and the version flag the call only reads its arguments and returns a number.
    let abi = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<c_void>(), 0_usize, LANDLOCK_VERSION_FLAG)
    };
    abi.max(0)
}

/// Landlock (before ABI 8) and the capabilities belong to a thread: one that already runs would stay free, a later one
/// inherits.
pub fn restrict(readable: &[String], required: bool) -> Step {
    let threads = std::fs::read_dir("/proc/self/task")
        .map_err(|error| format!("/proc/self/task cannot be read: {error}"))?
        .count();
    if threads != 1 {
        return Err(format!("{threads} threads run where only one can be restricted"));
    }
    prctl("no_new_privs", libc::PR_SET_NO_NEW_PRIVS, 1)?;
    if !required && landlock_abi() == 0 {
        return Ok(());
    }
    match landlock(readable).map_err(|error| format!("Landlock: {error}"))? {
        RulesetStatus::NotEnforced => Err("Landlock is not enforced by this kernel".to_owned()),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

/// Reading files and listing folders under `readable`; of the rest of the file system and of TCP nothing.
fn landlock(readable: &[String]) -> Result<RulesetStatus, landlock::RulesetError> {
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V7))?
        .handle_access(AccessNet::from_all(ABI::V7))?
        .scope(Scope::from_all(ABI::V7))?
        .create()?
        .add_rules(path_beneath_rules(readable, reading))?;
    Ok(ruleset.restrict_self()?.ruleset)
}
