//! The two ways to read memory of the kernel.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// A way to read memory of the kernel.
pub trait Memory: Copy {
    /// Reads a `T` at `offset`; zero when the memory cannot be read.
    fn read<T: Copy + Default>(self, offset: u32) -> T;
    /// Where the pointer at `offset` leads to.
    fn follow(self, offset: u32) -> Self;
}

/// A pointer whose type the verifier knows: one load per read.
///
/// What a NULL pointer leads to reads as zero, and is never tried: the kernel would handle the fault, but one without "bpf: ensure
/// main program has an extable" (6.4, in some stable series) may panic instead when the program has functions
/// (`search_bpf_extables`, kernel/bpf/core.c, finds the twin of the program that has no table). Seen on 5.10.
#[derive(Clone, Copy)]
pub struct Typed(pub(super) *const c_void);

impl Memory for Typed {
    #[inline(always)]
    fn read<T: Copy + Default>(self, offset: u32) -> T {
        if self.0.is_null() {
            return T::default();
        }
        // SAFETY: the verifier proves that the pointer is a kernel object and that the offset lies inside a member of it
        // (`btf_struct_access`); the CPU's fault, if any, is handled by the kernel's exception table.
        // Volatile keeps the compiler from merging neighbouring loads into one that crosses members.
        unsafe { self.0.byte_add(offset as usize).cast::<T>().read_volatile() }
    }

    #[inline(always)]
    fn follow(self, offset: u32) -> Self {
        // Not the pointer itself, which is NULL as well, but has another type for the verifier.
        if self.0.is_null() { Self(core::ptr::null()) } else { self.follow_known(offset) }
    }
}

impl Typed {
    /// [`Memory::follow`] from a pointer that the kernel never sets to NULL.
    #[inline(always)]
    pub(super) fn follow_known(self, offset: u32) -> Self {
        // SAFETY: as in `read`; the verifier knows the type of what a typed member points to.
        Self(unsafe { self.0.byte_add(offset as usize).cast::<*const c_void>().read_volatile() })
    }
}

/// A pointer that was itself read from memory: every read is a checked copy.
#[derive(Clone, Copy)]
pub struct Untyped(pub(super) u64);

impl Memory for Untyped {
    #[inline(always)]
    fn read<T: Copy + Default>(self, offset: u32) -> T {
        let address = self.0.wrapping_add(u64::from(offset)) as *const T;
        // SAFETY: the helper accepts any address and fails on what cannot be read.
        unsafe { bpf_probe_read_kernel(address) }.unwrap_or_default()
    }

    #[inline(always)]
    fn follow(self, offset: u32) -> Self {
        Self(self.read(offset))
    }
}
