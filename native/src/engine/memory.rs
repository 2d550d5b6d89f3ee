//! How much of the C allocator's memory is in use, to measure what a session holds.

/// Bytes that the process holds from `malloc`, over all arenas; ONNX Runtime allocates there, Rust does not.
pub fn allocated_bytes() -> u64 {
    // SAFETY: `mallinfo2` takes nothing and only reads counters, under the allocator's own locks.
    let counters = unsafe { libc::mallinfo2() };
    (counters.uordblks + counters.hblkhd) as u64
}
