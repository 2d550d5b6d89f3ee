//! Wakes the event loop, which talks to Redis: a descriptor that becomes readable.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

pub struct Wakeup {
    sender: UnixStream,
    receiver: UnixStream,
    is_pending: AtomicBool,
}

impl Wakeup {
    pub fn new() -> io::Result<Self> {
        let (sender, receiver) = UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        Ok(Self { sender, receiver, is_pending: AtomicBool::new(false) })
    }

    pub fn descriptor(&self) -> RawFd {
        self.receiver.as_raw_fd()
    }

    /// Makes the descriptor readable, once until `reset`.
    pub fn wake(&self) {
        if !self.is_pending.swap(true, Ordering::AcqRel) {
            // It fails only where the buffer is full of earlier wake-ups.
            let _ = (&self.sender).write(&[0]);
        }
    }

    /// The event loop is awake.
    pub fn reset(&self) {
        self.is_pending.store(false, Ordering::Release);
    }
}
