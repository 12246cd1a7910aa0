//! The heap of the C library, which keeps for later what is large and needed for a moment.
#![cfg_attr(target_env = "gnu", expect(unsafe_code, reason = "functions of the C library"))]

/// From this size on memory comes from the kernel and goes back to it. Each page costs a fault then: not what many small pieces
/// should pay.
const LARGE_BYTES: i32 = 1 << 20;

/// Large pieces are returned when they are freed. Left alone, glibc raises the size from which it does so to the largest that
/// was ever freed, which is that of the kernel's types: then every scrape's megabytes come from the heap, and stay in
/// it below whatever lives longer.
pub fn return_large_pieces() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no memory changes hands; it may be called at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    }
}

/// Returns what is free. The kernel's types took 20 MiB for a moment, most of it in 100 000 small pieces that glibc keeps for
/// later: of 18 MiB of resident heap 1 is in use (measured on 6.18).
pub fn return_free_pages() {
    #[cfg(target_env = "gnu")]
    // SAFETY: free pages alone are handed back; it may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
