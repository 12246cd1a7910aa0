//! What verifiers need in order to accept a program, or to accept it soon.
#![expect(clippy::cast_possible_truncation, reason = "halves of words are meant")]
#![cfg_attr(
    target_arch = "bpf",
    expect(unsafe_code, reason = "inline assembly, which the compiler cannot see through")
)]

/// Clamps a length to between two and `MOST`, in the register that passes it to the helper: the compiler may compare one copy
/// of a value and pass another from the stack, of which older verifiers (6.1) have learned nothing.
#[inline(always)]
pub fn between_two_and<const MOST: usize>(length: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let mut length = u64::from(length);
        // SAFETY: only the register changes.
        unsafe {
            core::arch::asm!(
                "if r4 < {more} goto +1",
                "r4 = {most}",
                "if r4 > 1 goto +1",
                "r4 = 2",
                more = const MOST + 1,
                most = const MOST,
                inout("r4") length,
                options(pure, nomem, nostack)
            );
        }
        length as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    length.clamp(2, MOST as u32)
}

/// Makes verifiers forget which of several values this is, so that they check the rest of a program once instead of once for each.
/// `unknown` is any value that they know nothing of, such as a time.
#[inline(always)]
pub fn forget(value: u64, unknown: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = value;
        // SAFETY: only the register changes, and back.
        unsafe {
            core::arch::asm!("{0} ^= {1}", "{0} ^= {1}", inout(reg) value, in(reg) unknown, options(pure, nomem, nostack));
        }
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        let _ = unknown;
        value
    }
}

/// [`forget`] for half a word.
#[inline(always)]
pub fn forget32(value: u32, unknown: u32) -> u32 {
    forget(value.into(), unknown.into()) as u32
}

/// [`forget`] for a byte.
#[inline(always)]
pub fn forget8(value: u8, unknown: u32) -> u8 {
    forget(value.into(), unknown.into()) as u8
}

/// 1 when the value is not 0, without a branch, which verifiers would follow twice.
#[inline(always)]
pub fn is_nonzero(value: u64) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let is: u64;
        // SAFETY: only the register changes.
        unsafe {
            core::arch::asm!(
                "{1} = 0", "{1} -= {0}", "{1} |= {0}", "{1} >>= 63", in(reg) value, out(reg) is, options(pure, nomem, nostack)
            );
        }
        is as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    u32::from(value != 0)
}

/// Hides the origin of a value from the compiler, so that it compares exactly the value that the verifier tracks.
#[inline(always)]
pub fn opaque(value: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = u64::from(value);
        // SAFETY: a move to itself. (Without an instruction, two line entries would have the same offset, which the kernel refuses.)
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack)) };
        value as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    value
}
