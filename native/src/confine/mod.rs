//! Confinement of the processes that open uploads.

pub mod files;
pub mod notifier;
pub mod privileges;
pub mod process;
pub mod resources;
pub mod seccomp;
pub mod step;
pub mod syscalls;
