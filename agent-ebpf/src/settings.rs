//! Settings, which the daemon sets before it loads the programs.

use netcause_common::dns::{MAX_PORTS, Settings};
use netcause_common::drops::DropReasons;
use netcause_common::flow::Quotas;

/// Read-only for the programs, so that the verifier removes the code of what is switched off.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "the daemon finds it by its name")]
pub static DNS: Settings = Settings::OFF;

/// How many flows a local end may have.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "the daemon finds it by its name")]
pub static QUOTAS: Quotas = Quotas([u64::MAX; 4]);

/// Which reasons of dropped packets count.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "the daemon finds it by its name")]
pub static DROP_REASONS: DropReasons = DropReasons::NONE;

/// One value of [`DNS`], read so that the compiler cannot replace it by the default it sees here.
macro_rules! setting {
    ($($field:tt)+) => {{
        // SAFETY: a static is valid and aligned; volatile because the daemon replaces the value before the load.
        #[expect(unsafe_code, reason = "a value from outside")]
        unsafe { (&raw const $crate::settings::DNS.$($field)+).read_volatile() }
    }};
}
pub(crate) use setting;

/// True when a port, in network order, is a DNS port.
#[inline(always)]
pub fn is_dns_port(port: u16) -> bool {
    is_either_dns_port(port, port)
}

/// True when one of two ports, in network order, is a DNS port. Runs for every TCP packet.
#[inline(always)]
pub fn is_either_dns_port(one: u16, other: u16) -> bool {
    let mut index = 0;
    while index < MAX_PORTS {
        let known = setting!(ports[index]);
        if known == 0 {
            return false;
        }
        if known == one || known == other {
            return true;
        }
        index += 1;
    }
    false
}

/// What counts a packet that was dropped for this reason, by the running kernel's number; `None` when it means no fault. Runs
/// for every packet that the kernel drops, of which most are no faults.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "pointers of eBPF have 64 bits")]
pub fn drop_reason(number: u64) -> Option<u8> {
    // SAFETY: a static is valid and aligned, and the indices are below the lengths; volatile because the daemon replaces the value
    // before the load.
    #[expect(unsafe_code, reason = "a value from outside")]
    let reason = unsafe {
        let reasons = &raw const DROP_REASONS;
        if number < DropReasons::NUMBERS as u64 {
            (&raw const (*reasons).by_number).cast::<u8>().add(number as usize).read_volatile()
        } else {
            // The subsystem is in the upper half of the word (`SKB_DROP_REASON_SUBSYS_SHIFT`, include/net/dropreason.h).
            let subsystem = number as usize >> 16 & (DropReasons::SUBSYSTEMS - 1);
            (&raw const (*reasons).subsystems).cast::<u8>().add(subsystem).read_volatile()
        }
    };
    reason.checked_sub(1)
}
