//! Resolves the offsets of kernel struct members that the programs read, from the kernel's BTF.

use std::collections::BTreeMap;

use netcause_common::layout::KernelLayout;

use super::btf::{Argument, Btf, BtfError};

/// The layout of the running kernel's structs.
pub struct Resolved {
    /// Offsets and flags, passed to the programs.
    pub layout: KernelLayout,
    /// Members that this kernel lacks, by field of [`KernelLayout`], with the reason.
    pub missing: BTreeMap<&'static str, String>,
}

/// Looks up every member and feature that a program needs.
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
    (layout.icsk_ca_state_shift, layout.icsk_ca_state_mask) =
        bits(btf, "inet_connection_sock", "icsk_ca_state");
    (layout.chrono_type_shift, layout.chrono_type_mask) = bits(btf, "tcp_sock", "chrono_type");
    (layout.skb_pkt_type_shift, layout.skb_pkt_type_mask) = bits(btf, "sk_buff", "pkt_type");
    match btf.enumerator("sock_flags", "SOCK_DONE") {
        // A flag is a bit of a word.
        Ok(bit) if bit < u64::BITS => layout.sock_done = bit,
        Ok(bit) => {
            missing.insert("sock_done", format!("SOCK_DONE is bit {bit} on this kernel"));
        }
        Err(error) => {
            missing.insert("sock_done", error.to_string());
        }
    }
    layout.has_sock_from_file = u32::from(btf.enumerator("bpf_func_id", "BPF_FUNC_sock_from_file").is_ok());
    let argument = |tracepoint, index| {
        btf.tracepoint(tracepoint).ok().and_then(|arguments: Vec<Argument>| arguments.get(index).cloned())
    };
    layout.retransmit_has_error = u32::from(argument("tcp_retransmit_skb", 2) == Some(Argument::Other));
    let packet = Argument::Pointer("sk_buff".to_owned());
    layout.udp_drop_has_packet = u32::from(argument("udp_fail_queue_rcv_skb", 2) == Some(packet));
    let socket = Argument::Pointer("sock".to_owned());
    layout.drop_has_socket = u32::from(argument("kfree_skb", 3) == Some(socket));
    Resolved { layout, missing }
}

/// Shift and mask of a member of at most one byte, which may be a bit field; zeros if it does not exist.
fn bits(btf: &Btf, structure: &str, member: &str) -> (u32, u32) {
    let Ok(location) = btf.member(structure, member) else { return (0, 0) };
    // A plain member is a whole byte.
    let mask = if location.bit_width == 0 { 0xff } else { (1 << location.bit_width.min(8)) - 1 };
    (location.bit_offset % 8, mask)
}

fn offset(btf: &Btf, structure: &str, path: &str) -> Result<u32, BtfError> {
    Ok(btf.member(structure, path)?.bit_offset / 8)
}

#[cfg(test)]
mod tests;
