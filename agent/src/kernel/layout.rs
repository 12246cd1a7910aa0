//! From the kernel's BTF to the offsets that the programs read by, and what of it is missing.

use std::collections::BTreeMap;

use netcause_common::layout::KernelLayout;

use super::btf::{Argument, Btf, BtfError};

/// What was found of the running kernel.
pub struct Resolved {
    /// Handed to the programs.
    pub layout: KernelLayout,
    /// Members that this kernel does not have, by field of [`KernelLayout`], with the reason.
    pub missing: BTreeMap<&'static str, String>,
}

/// Looks up every member and fact that some program wants.
#[must_use]
pub fn resolve(btf: &Btf) -> Resolved {
    let mut layout = KernelLayout::UNKNOWN;
    let mut missing = BTreeMap::new();
    for member in KernelLayout::MEMBERS {
        match offset(btf, member.structure, member.path) {
            Ok(offset) => (member.set)(&mut layout, offset),
            Err(error) => {
                missing.insert(member.field, error.to_string());
            }
        }
    }
    if let Ok(state) = btf.member("inet_connection_sock", "icsk_ca_state") {
        layout.icsk_ca_state_shift = state.bit_offset % 8;
        // A plain member is a whole octet.
        layout.icsk_ca_state_mask =
            if state.bit_width == 0 { 0xff } else { (1 << state.bit_width.min(8)) - 1 };
    }
    let error_argument =
        btf.tracepoint("tcp_retransmit_skb").ok().and_then(|arguments| arguments.get(2).cloned());
    layout.retransmit_has_error = u32::from(error_argument == Some(Argument::Other));
    Resolved { layout, missing }
}

fn offset(btf: &Btf, structure: &str, path: &str) -> Result<u32, BtfError> {
    Ok(btf.member(structure, path)?.bit_offset / 8)
}

#[cfg(test)]
mod tests;
