//! How many flows one local end may have: a workload with thousands of peers does not take the room of all others.
//!
//! Counted where a flow is inserted, and anew by the daemon at each reading.

use netcause_common::flow::{FlowKey, Tenant};

use crate::maps::{TENANTS, add};
use crate::settings::QUOTAS;

/// What a local end has when a flow of it is new.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// No other flow.
    Unused,
    /// Room for one more.
    Room,
    /// As many as it may have.
    Full,
}

/// Takes room for one more flow, if there is any.
#[inline(always)]
pub fn take(key: &FlowKey) -> Quota {
    let tenant = Tenant::of(key);
    let Some(flows) = TENANTS.get_ptr_mut(tenant) else {
        // Where there is no room to count it, it is not limited.
        let _ = TENANTS.insert(tenant, 1, 0);
        return Quota::Unused;
    };
    // SAFETY: the static is valid and aligned, and volatile because the daemon replaces the value before the load; the pointer
    // comes from a map lookup.
    #[expect(unsafe_code, reason = "a value from outside, and a map value")]
    let has_room = unsafe {
        flows.read_volatile() < (&raw const QUOTAS.0[usize::from(tenant.table & 3)]).read_volatile()
    };
    if !has_room {
        return Quota::Full;
    }
    add(flows, 1);
    Quota::Room
}
