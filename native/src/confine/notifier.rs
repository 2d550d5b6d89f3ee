//! Reports refused system calls: a signal handler writes a letter to a descriptor, and the call fails with EPERM.

use std::ffi::{c_int, c_long, c_void};
use std::sync::atomic::{AtomicI32, Ordering};

use crate::confine::step::{Step, checked};
use crate::confine::syscalls::violation_of;

/// The descriptor that violations are written to, one letter each.
static VIOLATIONS: AtomicI32 = AtomicI32::new(-1);

/// Lets a refused call fail with EPERM after its letter has been written to the descriptor `violations`.
pub fn report_violations(violations: c_int) -> Step {
    VIOLATIONS.store(violations, Ordering::Relaxed);
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = refuse_call;
    // SAFETY: an all-zero sigaction is valid, and the handler has the signature that SA_SIGINFO asks for.
    let installed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut())
    };
    checked("the SIGSYS handler", installed.into())
}

/// Runs inside a signal: only atomics, `write` and the saved registers.
extern "C" fn refuse_call(_signal: c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes the interrupted thread's own ucontext, alive until the handler returns.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext };
    let letter = violation_of(refused_call(registers)).letter();
    // SAFETY: errno is the calling thread's own; `write` reads the one byte of `letter`.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(VIOLATIONS.load(Ordering::Relaxed), (&raw const letter).cast(), 1);
        *errno = before;
    }
    answer_call(registers, -c_long::from(libc::EPERM));
}

#[cfg(target_arch = "x86_64")]
fn refused_call(registers: &libc::mcontext_t) -> c_long {
    registers.gregs[libc::REG_RAX.unsigned_abs() as usize]
}

#[cfg(target_arch = "x86_64")]
fn answer_call(registers: &mut libc::mcontext_t, value: c_long) {
    registers.gregs[libc::REG_RAX.unsigned_abs() as usize] = value;
}

#[cfg(target_arch = "aarch64")]
fn refused_call(registers: &libc::mcontext_t) -> c_long {
    c_long::from_ne_bytes(registers.regs[8].to_ne_bytes())
}

#[cfg(target_arch = "aarch64")]
fn answer_call(registers: &mut libc::mcontext_t, value: c_long) {
    registers.regs[0] = u64::from_ne_bytes(value.to_ne_bytes());
}
