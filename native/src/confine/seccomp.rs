//! The seccomp filters: an allow-list of system calls, and of the arguments of some.

use std::collections::BTreeMap;
use std::ffi::c_long;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::confine::step::Step;
use crate::confine::syscalls::{ALLOWED, LEGACY_ALLOWED};

/// Whether the kernel filters system calls and can report a refused one as a signal.
pub fn has_seccomp() -> bool {
    let action: u32 = libc::SECCOMP_RET_TRAP;
    // SAFETY: the kernel reads one u32 through the pointer, which lives until the call returns.
    unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0_u32, &raw const action) == 0 }
}

/// Newer variants whose arguments lie in memory, where no filter can see them: libraries fall back to the older ones.
const HIDDEN: &[c_long] = &[libc::SYS_clone3, libc::SYS_openat2];

/// The flags of `pthread_create` in glibc, and with `CLONE_DETACHED` in musl.
const THREAD_FLAGS: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID)
    .unsigned_abs() as u64;
const CLONE_DETACHED: u64 = 0x0040_0000;
const TERMINAL_ATTRIBUTES: u64 = 0x5401;
const MAP_TYPE: u64 = 0x0f;

const WRITING: u64 =
    (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND | libc::O_TMPFILE & !libc::O_DIRECTORY)
        .unsigned_abs() as u64;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Two filters, of which the stricter wins: the first hides the newer variants, the second allows what is listed and
/// traps the rest.
pub fn filter_calls() -> Step {
    let hidden = HIDDEN.iter().map(|call| (*call, vec![])).collect();
    let hide = compile(hidden, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.unsigned_abs()))?;
    let allow = compile(allowed_rules()?, SeccompAction::Trap, SeccompAction::Allow)?;
    for program in [hide, allow] {
        seccompiler::apply_filter_all_threads(&program).map_err(|error| format!("seccomp: {error}"))?;
    }
    Ok(())
}

fn compile(rules: Rules, otherwise: SeccompAction, listed: SeccompAction) -> Result<BpfProgram, String> {
    let architecture = std::env::consts::ARCH.try_into().map_err(|error| format!("seccomp: {error}"))?;
    let filter =
        SeccompFilter::new(rules, otherwise, listed, architecture).map_err(|error| format!("seccomp: {error}"))?;
    filter.try_into().map_err(|error| format!("seccomp: {error}"))
}

fn allowed_rules() -> Result<Rules, String> {
    let mut rules: Rules = [ALLOWED, LEGACY_ALLOWED, HIDDEN].concat().into_iter().map(|call| (call, vec![])).collect();
    // SAFETY: reads the process's own number.
    let own = u64::from(unsafe { libc::getpid() }.unsigned_abs());
    let [reading_flags, private] = [SeccompCmpOp::MaskedEq(WRITING), SeccompCmpOp::MaskedEq(MAP_TYPE)];
    let fcntl = [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_DUPFD, libc::F_DUPFD_CLOEXEC];
    let mut only = |call: c_long, argument: u8, operator: &SeccompCmpOp, values: &[u64]| -> Step {
        let rule = |value: &u64| when(argument, operator.clone(), *value);
        rules.insert(call, values.iter().map(rule).collect::<Result<_, _>>()?);
        Ok(())
    };
    only(libc::SYS_openat, 2, &reading_flags, &[0])?;
    #[cfg(target_arch = "x86_64")]
    only(libc::SYS_open, 1, &reading_flags, &[0])?;
    only(libc::SYS_mmap, 3, &private, &[libc::MAP_PRIVATE.unsigned_abs().into()])?;
    only(libc::SYS_clone, 0, &SeccompCmpOp::Eq, &[THREAD_FLAGS, THREAD_FLAGS | CLONE_DETACHED])?;
    only(libc::SYS_kill, 0, &SeccompCmpOp::Eq, &[own])?;
    only(libc::SYS_tgkill, 0, &SeccompCmpOp::Eq, &[own])?;
    only(libc::SYS_prlimit64, 2, &SeccompCmpOp::Eq, &[0])?;
    only(libc::SYS_prctl, 0, &SeccompCmpOp::Eq, &[libc::PR_SET_NAME.unsigned_abs().into()])?;
    only(libc::SYS_ioctl, 1, &SeccompCmpOp::Eq, &[TERMINAL_ATTRIBUTES])?;
    only(libc::SYS_fcntl, 1, &SeccompCmpOp::Eq, &fcntl.map(|command| command.unsigned_abs().into()))?;
    Ok(rules)
}

/// Compares all 64 bits, so that no high half is ignored.
fn when(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, String> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value);
    condition.and_then(|condition| SeccompRule::new(vec![condition])).map_err(|error| format!("seccomp: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_for_this_architecture() {
        assert!(compile(allowed_rules().expect("rules"), SeccompAction::Trap, SeccompAction::Allow).is_ok());
    }

    #[test]
    fn a_thread_is_not_a_process() {
        assert_eq!(THREAD_FLAGS, 0x003d_0f00);
    }
}
