//! How many flows one local end may have: a workload with thousands of peers does not take the room of all others.
//!
//! Counted where a flow is inserted, and anew by the daemon at each reading.

use netcause_common::flow::{FlowKey, Tenant};

use crate::maps::{TENANTS, add};
use crate::settings::QUOTAS;

/// Takes room for one more flow; false when its local end has as many as it may have.
#[inline(always)]
pub fn take(key: &FlowKey) -> bool {
    let tenant = Tenant::of(key);
    let Some(flows) = TENANTS.get_ptr_mut(tenant) else {
        // Where there is no room to count it, it is not limited.
        let _ = TENANTS.insert(tenant, 1, 0);
        return true;
    };
    // SAFETY: the static is valid and aligned, and volatile because the daemon replaces the value before the load; the pointer
    // comes from a map lookup.
    #[expect(unsafe_code, reason = "a value from outside, and a map value")]
    let has_room = unsafe {
        flows.read_volatile() < (&raw const QUOTAS.0[usize::from(tenant.table & 3)]).read_volatile()
    };
    if has_room {
        add(flows, 1);
    }
    has_room
}
