//! Privileges: the user and the capabilities of a confined process.

use std::ffi::c_int;

use crate::confine::step::{Step, checked};

pub fn become_user(uid: u32) -> Step {
    // SAFETY: an empty list of groups is read from no memory.
    checked("setgroups", unsafe { libc::setgroups(0, std::ptr::null()) }.into())?;
    // SAFETY: takes three numbers; the C library carries the change to every thread.
    checked("setresgid", unsafe { libc::setresgid(uid, uid, uid) }.into())?;
    // SAFETY: takes three numbers; the C library carries the change to every thread.
    checked("setresuid", unsafe { libc::setresuid(uid, uid, uid) }.into())
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

/// Clears the effective, permitted and inheritable sets (the ambient set follows); nothing can bring them back after
/// `no_new_privs`.
pub fn drop_capabilities() -> Step {
    const VERSION_3: u32 = 0x2008_0522;
    let header = CapabilityHeader { version: VERSION_3, pid: 0 };
    let none = [0_u32; 6];
    // SAFETY: version 3 reads the header and two blocks of three u32, which is what `none` holds.
    checked("capset", unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) })
}
