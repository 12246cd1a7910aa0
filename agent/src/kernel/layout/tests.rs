//! Layouts of real kernels, compared with bpftool's output for the same BTF.

use std::collections::BTreeSet;
use std::path::Path;

use netcause_common::probe::ProbeId;

use super::super::btf::Location;
use super::super::btf::testing::{Builder, Fixture, at, fixtures};
use super::*;
use crate::probe::{self, Support};

fn parsed(fixture: &Fixture) -> Btf {
    Btf::parse(fixture.data.clone()).unwrap()
}

#[test]
fn the_matrix_is_there() {
    let versions: Vec<(u32, u32)> = fixtures().iter().map(|fixture| fixture.version).collect();
    for version in [(5, 10), (6, 1), (6, 12)] {
        assert!(versions.contains(&version), "{versions:?}");
    }
    assert!(versions.iter().any(|version| *version >= (6, 18)), "{versions:?}");
}

#[test]
fn every_probe_is_supported_on_every_kernel() {
    for fixture in fixtures() {
        let btf = parsed(&fixture);
        let resolved = resolve(&btf);
        for probe in probe::ALL {
            let is_supported =
                |probe: &probe::Probe| probe::support(probe, &btf, &resolved.missing) == Support::Yes;
            let is_expected = match probe.id {
                // Its tracepoint came with 5.14.
                ProbeId::DnsRefused => fixture.version >= (5, 14),
                // Reasons came with 5.17.
                ProbeId::PacketDrop => fixture.version >= (5, 17),
                _ => true,
            };
            assert_eq!(is_supported(probe), is_expected, "{} on {:?}", probe.name(), fixture.version);
            if probe.id != ProbeId::PacketDrop {
                let is_supported = is_supported(probe) || probe.older.is_some_and(is_supported);
                assert!(is_supported, "{} on {:?}", probe.name(), fixture.version);
            }
        }
    }
}

#[test]
fn every_offset_is_what_bpftool_says() {
    for Fixture { version, data, places } in fixtures() {
        let resolved = resolve(&Btf::parse(data).unwrap());
        let mut expected = KernelLayout::UNKNOWN;
        let mut missing = BTreeSet::new();
        for member in KernelLayout::MEMBERS {
            let name = format!("{}.{}", member.structure, member.path);
            let place = places.get(&name).unwrap_or_else(|| panic!("{name}: run `cargo xtask btf`"));
            match place {
                Some(place) => {
                    assert!(place.bit_width > 0 || place.bit_offset % 8 == 0, "{name} on {version:?}");
                    (member.set)(&mut expected, place.bit_offset / 8);
                }
                None => {
                    missing.insert(member.field);
                }
            }
        }
        assert_eq!(places.len(), KernelLayout::MEMBERS.len(), "run `cargo xtask btf`");
        // A bit field of 5 bits that starts a byte, in all of them.
        let state = places["inet_connection_sock.icsk_ca_state"].unwrap();
        assert_eq!((state.bit_offset % 8, state.bit_width), (0, 5), "{version:?}");
        expected.icsk_ca_state_mask = 0b1_1111;
        let chrono = places["tcp_sock.chrono_type"].unwrap();
        expected.chrono_type_shift = chrono.bit_offset % 8;
        expected.chrono_type_mask = if chrono.bit_width == 0 { 0xff } else { (1 << chrono.bit_width) - 1 };
        let kind = places["sk_buff.pkt_type"].unwrap();
        assert_eq!(kind.bit_width, 3, "{version:?}");
        (expected.skb_pkt_type_shift, expected.skb_pkt_type_mask) = (kind.bit_offset % 8, 0b111);
        expected.sock_done = 1;
        expected.drop_has_socket = u32::from(version >= (6, 11));
        expected.has_sock_from_file = u32::from(version >= (5, 11));
        expected.retransmit_has_error = u32::from(version >= (6, 18));
        expected.udp_drop_has_packet = u32::from(version >= (6, 10));
        assert_eq!(resolved.layout, expected, "{version:?}");
        assert_eq!(resolved.missing.keys().copied().collect::<BTreeSet<_>>(), missing, "{version:?}");
        // Debian's 5.10 has the pointer too: the change of 5.15 came to its series as a fix.
        assert!(missing.remove("sk_cgroup_val"), "{version:?}");
        // Debian's 5.10 for clouds has no MPTCP.
        let of_mptcp = if version == (5, 10) { BTreeSet::from(["mptcp_first"]) } else { BTreeSet::new() };
        assert_eq!(missing, of_mptcp, "{version:?}");
    }
}

#[test]
fn before_the_cgroup_was_a_pointer() {
    // `struct sock_cgroup_data` as in v5.10: flags and the pointer share one word.
    let mut builder = Builder::new();
    let int = builder.int();
    let bit = |bit_offset| Location { bit_offset, bit_width: 1 };
    let flags = builder
        .structure("", &[("is_data", int, bit(0)), ("no_refcnt", int, bit(1)), at("classid", int, 32)]);
    let either = builder.union("", &[at("", flags, 0), at("val", int, 0)]);
    let data = builder.structure("sock_cgroup_data", &[at("", either, 0)]);
    builder.structure("sock", &[at("sk_cgrp_data", data, 640)]);
    let resolved = resolve(&Btf::parse(builder.build()).unwrap());
    assert_eq!(resolved.layout.sk_cgroup_val, 80);
    assert!(!resolved.missing.contains_key("sk_cgroup_val"));
    assert_eq!(resolved.missing["sk_cgroup"], "this kernel has no member sock.sk_cgrp_data.cgroup");
}

#[test]
fn the_congestion_state_is_extracted_from_its_byte() {
    let cut = |bit_offset, bit_width| {
        let mut builder = Builder::new();
        let int = builder.int();
        let place = Location { bit_offset, bit_width };
        builder.structure("inet_connection_sock", &[("icsk_ca_state", int, place)]);
        let layout = resolve(&Btf::parse(builder.build()).unwrap()).layout;
        (layout.icsk_ca_state, layout.icsk_ca_state_shift, layout.icsk_ca_state_mask)
    };
    assert_eq!(cut(16, 5), (2, 0, 0x1f));
    assert_eq!(cut(18, 6), (2, 2, 0x3f));
    assert_eq!(cut(16, 8), (2, 0, 0xff));
    assert_eq!(cut(16, 0), (2, 0, 0xff));
}

#[test]
fn a_kernel_without_anything_supports_nothing() {
    let btf = Btf::parse(Builder::new().build()).unwrap();
    let resolved = resolve(&btf);
    assert_eq!(resolved.layout, KernelLayout::UNKNOWN);
    // The members, and one enumerator.
    assert_eq!(resolved.missing.len(), KernelLayout::MEMBERS.len() + 1);
    for probe in probe::ALL {
        let needs_no_member = probe.common.is_empty() && probe.members.is_empty();
        let support = probe::support(probe, &btf, &resolved.missing);
        assert_eq!(support == Support::Yes, needs_no_member, "{}", probe.name());
    }
}

#[test]
fn the_running_kernel_is_understood() {
    let path = Path::new("/sys/kernel/btf/vmlinux");
    // Not every build machine has BTF.
    if std::fs::File::open(path).is_err() {
        return;
    }
    let btf = Btf::from_file(path).unwrap();
    let resolved = resolve(&btf);
    let required = ["skc_family", "skc_state", "sk_err", "net_inum", "total_retrans", "skb_head"];
    let lacking: Vec<_> = required.iter().filter_map(|member| resolved.missing.get(member)).collect();
    assert!(lacking.is_empty(), "{lacking:?}");
    assert!(resolved.missing.contains_key("sk_cgroup") != resolved.missing.contains_key("sk_cgroup_val"));
}
