//! Landlock, a seccomp allow-list, limits and another uid for the process that opens an upload.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_long, c_uint, c_ulong, c_void};
use std::io::Error as IoError;
use std::sync::atomic::{AtomicI32, Ordering};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

pyo3::create_exception!(serval._native, ConfinementError, PyRuntimeError);

/// Why a part of the confinement failed, as a sentence.
type Step = Result<(), String>;

/// Address space beyond `memory_bytes`: libraries, reserved stacks and arenas that hold no data.
const RESERVED_BYTES: u64 = 4 << 30;
const OPEN_FILES: u64 = 128;
const LANDLOCK_VERSION_FLAG: c_uint = 1;

/// The highest Landlock ABI that the running kernel offers; 0 where there is none.
fn landlock_abi() -> c_long {
    // SAFETY: with a null attribute and the version flag the call only reads its arguments and returns a number.
    let abi = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<c_void>(), 0_usize, LANDLOCK_VERSION_FLAG)
    };
    abi.max(0)
}

/// Whether the kernel filters system calls and can report a refused one as a signal.
fn has_seccomp() -> bool {
    let action: u32 = libc::SECCOMP_RET_TRAP;
    // SAFETY: the kernel reads one u32 through the pointer, which lives until the call returns.
    unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0_u32, &raw const action) == 0 }
}

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

/// Landlock (before ABI 8) and the capabilities belong to a thread: one that already runs would stay free, a later one inherits.
fn restrict(readable: &[String], required: bool) -> Step {
    let threads = std::fs::read_dir("/proc/self/task")
        .map_err(|error| format!("/proc/self/task can not be read: {error}"))?
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

#[pyfunction]
#[pyo3(signature = (*, descriptors, acts, uid, memory_bytes, cpu_seconds, threads, required = true))]
#[expect(clippy::needless_pass_by_value, reason = "the arguments are those of the Python call")]
pub fn confine(
    descriptors: Vec<c_int>,
    acts: c_int,
    uid: Option<u32>,
    memory_bytes: u64,
    cpu_seconds: u64,
    threads: u64,
    required: bool,
) -> PyResult<()> {
    let limits = Limits { memory_bytes, cpu_seconds, threads: uid.map(|_| threads) };
    lock(&descriptors, acts, uid, &limits, required).map_err(ConfinementError::new_err)
}

/// The order matters: a change of user clears the death signal, and after seccomp nothing can be changed any more.
fn lock(descriptors: &[c_int], acts: c_int, uid: Option<u32>, limits: &Limits, required: bool) -> Step {
    close_all_but(descriptors, acts)?;
    limits.apply()?;
    if let Some(uid) = uid {
        become_user(uid)?;
    }
    drop_capabilities()?;
    prctl("the death signal", libc::PR_SET_PDEATHSIG, c_ulong::from(libc::SIGKILL.unsigned_abs()))?;
    prctl("dumpable", libc::PR_SET_DUMPABLE, 0)?;
    if required || has_seccomp() {
        report_acts(acts)?;
        filter_calls()?;
    }
    Ok(())
}

fn close_all_but(descriptors: &[c_int], acts: c_int) -> Step {
    let mut kept: Vec<c_uint> = descriptors.iter().chain([&acts]).map(|kept| kept.unsigned_abs()).collect();
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
    // SAFETY: closing descriptors touches no memory; nothing in this process uses them any more, which the caller promises.
    told("close_range", unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}

/// What the process may use from now on. `threads` only with a uid of its own: the kernel counts by uid.
struct Limits {
    memory_bytes: u64,
    cpu_seconds: u64,
    threads: Option<u64>,
}

impl Limits {
    fn apply(&self) -> Step {
        let cpu_seconds = spent_cpu_seconds() + self.cpu_seconds;
        limit("memory", libc::RLIMIT_DATA, self.memory_bytes, self.memory_bytes)?;
        let address_space = self.memory_bytes.saturating_add(RESERVED_BYTES);
        limit("address space", libc::RLIMIT_AS, address_space, address_space)?;
        limit("CPU", libc::RLIMIT_CPU, cpu_seconds, cpu_seconds + 1)?;
        limit("file size", libc::RLIMIT_FSIZE, 0, 0)?;
        limit("core size", libc::RLIMIT_CORE, 0, 0)?;
        limit("open files", libc::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES)?;
        limit("locked memory", libc::RLIMIT_MEMLOCK, 0, 0)?;
        limit("message queues", libc::RLIMIT_MSGQUEUE, 0, 0)?;
        match self.threads {
            Some(threads) => limit("threads", libc::RLIMIT_NPROC, threads, threads),
            None => Ok(()),
        }
    }
}

/// CPU that the imports took, rounded up: the limit counts from here.
fn spent_cpu_seconds() -> u64 {
    let mut spent = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec through the pointer.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut spent) };
    spent.tv_sec.unsigned_abs() + 1
}

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = c_int;

/// Sets soft and hard limit, or keeps the one in force where it is lower already.
fn limit(name: &str, resource: Resource, soft: u64, hard: u64) -> Step {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit through the pointer.
    told(name, unsafe { libc::getrlimit(resource, &raw mut now) }.into())?;
    let wanted = libc::rlimit { rlim_cur: soft.min(now.rlim_max), rlim_max: hard.min(now.rlim_max) };
    // SAFETY: the kernel reads one rlimit through the pointer.
    told(name, unsafe { libc::setrlimit(resource, &raw const wanted) }.into())
}

fn become_user(uid: u32) -> Step {
    // SAFETY: an empty list of groups is read from no memory.
    told("setgroups", unsafe { libc::setgroups(0, std::ptr::null()) }.into())?;
    // SAFETY: takes three numbers; the C library carries the change to every thread.
    told("setresgid", unsafe { libc::setresgid(uid, uid, uid) }.into())?;
    // SAFETY: takes three numbers; the C library carries the change to every thread.
    told("setresuid", unsafe { libc::setresuid(uid, uid, uid) }.into())
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

/// Clears the effective, permitted and inheritable sets (the ambient set follows); nothing can bring them back after `no_new_privs`.
fn drop_capabilities() -> Step {
    const VERSION_3: u32 = 0x2008_0522;
    let header = CapabilityHeader { version: VERSION_3, pid: 0 };
    let none = [0_u32; 6];
    // SAFETY: version 3 reads the header and two blocks of three u32, which is what `none` holds.
    told("capset", unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) })
}

fn prctl(name: &str, option: c_int, value: c_ulong) -> Step {
    const UNUSED: c_ulong = 0;
    // SAFETY: the options used here take one number.
    told(name, unsafe { libc::prctl(option, value, UNUSED, UNUSED, UNUSED) }.into())
}

fn told(name: &str, result: c_long) -> Step {
    if result < 0 { Err(format!("{name}: {}", IoError::last_os_error())) } else { Ok(()) }
}

/// Where refused calls are told, one letter each.
static ACTS: AtomicI32 = AtomicI32::new(-1);

/// Lets a refused call fail with EPERM after its letter has been written to the descriptor `acts`.
fn report_acts(acts: c_int) -> Step {
    ACTS.store(acts, Ordering::Relaxed);
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = refuse_call;
    // SAFETY: an all-zero sigaction is valid, and the handler has the signature that SA_SIGINFO asks for.
    let installed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut())
    };
    told("the SIGSYS handler", installed.into())
}

/// Runs inside a signal: only atomics, `write` and the saved registers.
extern "C" fn refuse_call(_signal: c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes the interrupted thread's own ucontext, alive until the handler returns.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext };
    let letter = act_of(refused_call(registers)).letter();
    // SAFETY: errno is the calling thread's own; `write` reads the one byte of `letter`.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(ACTS.load(Ordering::Relaxed), (&raw const letter).cast(), 1);
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

/// What a refused call was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    StartProcess,
    Connect,
    ChangeFile,
    Signal,
    LookIntoProcess,
    ReachIntoKernel,
    Other,
}

impl Act {
    /// The letter that `serval.conversion.sandbox` reads.
    const fn letter(self) -> u8 {
        match self {
            Self::StartProcess => b'p',
            Self::Connect => b'c',
            Self::ChangeFile => b'f',
            Self::Signal => b's',
            Self::LookIntoProcess => b'l',
            Self::ReachIntoKernel => b'k',
            Self::Other => b'o',
        }
    }
}

fn act_of(call: c_long) -> Act {
    let is_in = |calls: &[c_long]| calls.contains(&call);
    if is_in(STARTING) || is_in(LEGACY_STARTING) {
        Act::StartProcess
    } else if is_in(CONNECTING) {
        Act::Connect
    } else if is_in(CHANGING) || is_in(LEGACY_CHANGING) {
        Act::ChangeFile
    } else if is_in(SIGNALLING) {
        Act::Signal
    } else if is_in(LOOKING) {
        Act::LookIntoProcess
    } else if is_in(REACHING) {
        Act::ReachIntoKernel
    } else {
        Act::Other
    }
}

const STARTING: &[c_long] = &[libc::SYS_clone, libc::SYS_execve, libc::SYS_execveat];

const CONNECTING: &[c_long] = &[
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
];

/// `openat` is refused only where it would write.
const CHANGING: &[c_long] = &[
    libc::SYS_openat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_renameat2,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_flock,
];

const SIGNALLING: &[c_long] = &[
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
];

const LOOKING: &[c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
];

const REACHING: &[c_long] = &[
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_open_by_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_setuid,
    libc::SYS_setresuid,
    libc::SYS_setgroups,
    libc::SYS_shmget,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
];

#[cfg(target_arch = "x86_64")]
const LEGACY_STARTING: &[c_long] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY_STARTING: &[c_long] = &[];

#[cfg(target_arch = "x86_64")]
const LEGACY_CHANGING: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_creat,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_mknod,
    libc::SYS_unlink,
    libc::SYS_symlink,
    libc::SYS_link,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY_CHANGING: &[c_long] = &[];

/// What computing, reading, threads and the one answer need, whatever the arguments.
const ALLOWED: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_recvmsg,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

#[cfg(target_arch = "x86_64")]
const LEGACY_ALLOWED: &[c_long] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_getdents,
    libc::SYS_dup2,
    libc::SYS_pause,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY_ALLOWED: &[c_long] = &[];

/// Newer spellings whose arguments lie in memory, where no filter can see them: libraries fall back to the older one.
const UNKNOWN: &[c_long] = &[libc::SYS_clone3, libc::SYS_openat2];

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

/// Two filters, of which the stricter wins: the first hides the newer spellings, the second allows what is listed and traps the rest.
fn filter_calls() -> Step {
    let hidden = UNKNOWN.iter().map(|call| (*call, vec![])).collect();
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
    let mut rules: Rules = [ALLOWED, LEGACY_ALLOWED, UNKNOWN].concat().into_iter().map(|call| (call, vec![])).collect();
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

/// Compares all 64 bits: no high half can hide behind a low one.
fn when(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, String> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value);
    condition.and_then(|condition| SeccompRule::new(vec![condition])).map_err(|error| format!("seccomp: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_both_allowed_and_an_act() {
        for call in [ALLOWED, LEGACY_ALLOWED].concat() {
            assert_eq!(act_of(call), Act::Other, "call {call}");
        }
    }

    #[test]
    fn starting_a_process_is_told_as_such() {
        assert_eq!(act_of(libc::SYS_execve), Act::StartProcess);
        assert_eq!(act_of(libc::SYS_clone), Act::StartProcess);
    }

    #[test]
    fn the_filters_compile_for_this_architecture() {
        assert!(compile(allowed_rules().expect("rules"), SeccompAction::Trap, SeccompAction::Allow).is_ok());
    }

    #[test]
    fn a_thread_is_not_a_process() {
        assert_eq!(THREAD_FLAGS, 0x003d_0f00);
    }
}
