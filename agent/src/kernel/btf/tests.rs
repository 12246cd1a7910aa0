//! Lookups in the BTF of real kernels, and in damaged BTF, which must neither panic nor loop.

use std::time::{Duration, Instant};

use netcause_common::layout::KernelLayout;
use proptest::prelude::*;

use super::testing::{Builder, at, fixtures};
use super::*;
use crate::probe::{self, Hook};

fn parsed(builder: Builder) -> Btf {
    Btf::parse(builder.build()).unwrap()
}

fn offset(btf: &Btf, structure: &str, path: &str) -> u32 {
    btf.member(structure, path).unwrap().bit_offset
}

#[test]
fn anonymous_members_are_passed_through() {
    let mut builder = Builder::new();
    let int = builder.int();
    let pair = builder.structure("", &[at("a", int, 0), at("b", int, 32)]);
    let either = builder.union("", &[at("", pair, 0), at("c", int, 0)]);
    let hidden = builder.union("", &[at("inum", int, 64)]);
    let ns = builder.structure("ns_common", &[at("", hidden, 32)]);
    let constant = builder.constant(ns);
    let alias = builder.typedef("ns_t", constant);
    builder.structure("net", &[at("", either, 64), at("ns", alias, 128), at("a", int, 512)]);
    let btf = parsed(builder);
    assert_eq!(offset(&btf, "net", "a"), 64, "the first of a name counts");
    assert_eq!(offset(&btf, "net", "b"), 96);
    assert_eq!(offset(&btf, "net", "c"), 64);
    assert_eq!(offset(&btf, "net", "ns"), 128);
    assert_eq!(offset(&btf, "net", "ns.inum"), 224);
}

#[test]
fn bit_fields_have_a_width() {
    let mut builder = Builder::new();
    let int = builder.int();
    let state = Location { bit_offset: 67, bit_width: 5 };
    builder.structure("s", &[at("plain", int, 32), ("state", int, state)]);
    let btf = parsed(builder);
    assert_eq!(btf.member("s", "state").unwrap(), state);
    assert_eq!(btf.member("s", "plain").unwrap(), Location { bit_offset: 32, bit_width: 0 });
}

#[test]
fn a_name_belongs_to_several_types() {
    let mut builder = Builder::new();
    let int = builder.int();
    builder.union("sock", &[at("x", int, 8)]);
    builder.typedef("sock", int);
    builder.structure("sock_common", &[at("x", int, 16)]);
    builder.structure("sock", &[at("y", int, 24)]);
    builder.structure("sock", &[at("x", int, 32)]);
    builder.typedef("only_typedef", int);
    let btf = parsed(builder);
    assert_eq!(offset(&btf, "sock", "x"), 32);
    assert_eq!(offset(&btf, "sock", "y"), 24);
    assert!(btf.has_struct("sock_common"));
    assert!(!btf.has_struct("soc"));
    assert!(!btf.has_struct("only_typedef"));
}

#[test]
fn what_is_not_there_is_named() {
    let mut builder = Builder::new();
    let int = builder.int();
    let inner = builder.structure("inner", &[at("x", int, 0)]);
    let pointer = builder.pointer(inner);
    builder.structure("s", &[at("number", int, 0), at("pointer", pointer, 64)]);
    let not_a_function = builder.pointer(inner);
    builder.typedef("btf_trace_odd", not_a_function);
    let btf = parsed(builder);
    let said = |structure: &str, path: &str| btf.member(structure, path).unwrap_err().to_string();
    assert_eq!(said("none", "x"), "this kernel has no struct none");
    assert_eq!(said("s", "none"), "this kernel has no member s.none");
    assert_eq!(said("s", "number.x"), "this kernel has no member s.number.x");
    // A member that is reached through a pointer has no offset from the start of the struct.
    assert_eq!(said("s", "pointer.x"), "this kernel has no member s.pointer.x");
    assert_eq!(btf.tracepoint("none").unwrap_err().to_string(), "this kernel has no tracepoint none");
    assert!(btf.tracepoint("odd").is_err());
}

#[test]
fn a_tracepoint_names_what_it_passes() {
    let mut builder = Builder::new();
    let int = builder.int();
    let sock = builder.structure("sock", &[]);
    let constant = builder.constant(sock);
    let pointer = builder.pointer(constant);
    let alias = builder.typedef("sock_ptr", pointer);
    let to_number = builder.pointer(int);
    builder.tracepoint("t", &[pointer, int, alias, to_number, 0]);
    builder.tracepoint("long", &[pointer; 1000]);
    let btf = parsed(builder);
    let sock = || Argument::Pointer("sock".to_owned());
    let other = Argument::Other;
    assert_eq!(btf.tracepoint("t").unwrap(), [sock(), other.clone(), sock(), other.clone(), other]);
    assert_eq!(btf.tracepoint("long").unwrap().len(), MAX_ARGUMENTS);
}

#[test]
fn a_longer_header_is_stepped_over() {
    let mut builder = Builder::new();
    let int = builder.int();
    builder.structure("s", &[at("a", int, 32)]);
    let btf = Btf::parse(builder.build_with(&[7, 7])).unwrap();
    assert_eq!(offset(&btf, "s", "a"), 32);
}

#[test]
fn damage_is_an_error() {
    let mut builder = Builder::new();
    builder.int();
    let good = builder.build();
    assert!(Btf::parse(good.clone()).is_ok());
    // Each header word at its largest: the sums must not overflow, on machines of 32 bits either.
    for word in 1..6 {
        let mut bad = good.clone();
        bad[word * 4..][..4].fill(0xff);
        assert!(Btf::parse(bad).is_err(), "word {word}");
    }
    for length in 0..good.len() {
        assert!(Btf::parse(good[..length].to_vec()).is_err(), "{length}");
    }
    // The type section ends within its only type, and what follows would complete it.
    let mut cut = good;
    cut[12] -= 4;
    assert!(Btf::parse(cut).is_err());
    for unknown in [0, kind::LAST + 1, 0x7f] {
        let mut builder = Builder::new();
        builder.raw("x", unknown << 24, 0, &[]);
        assert!(Btf::parse(builder.build()).is_err(), "kind {unknown}");
    }
    // More members than there are bytes.
    let mut builder = Builder::new();
    builder.raw("x", kind::STRUCT << 24 | 0x00ff_ffff, 0, &[0; 3]);
    assert!(Btf::parse(builder.build()).is_err());
}

#[test]
fn names_end_with_the_strings() {
    let mut builder = Builder::new();
    builder.structure("sock", &[]);
    let mut data = builder.build();
    // The terminator of the last name lies just outside the section.
    let length = data[20] - 1;
    data[20] = length;
    assert!(!Btf::parse(data).unwrap().has_struct("sock"));
}

#[test]
fn functions_have_as_many_arguments_as_the_programs_take_them_to_have() {
    for fixture in fixtures() {
        let btf = Btf::parse(fixture.data).unwrap();
        for name in ["tcp_v4_connect", "tcp_v6_connect", "tcp_v4_pre_connect", "tcp_v6_pre_connect"] {
            assert_eq!(btf.arguments(name).unwrap(), 3, "{name} on {:?}", fixture.version);
        }
        // A tracepoint's prototype is no function.
        for name in ["tcp_connect", "btf_trace_tcp_send_reset", ""] {
            assert!(btf.arguments(name).is_err(), "{name} on {:?}", fixture.version);
        }
    }
}

/// Does all lookups of the agent, and fails if they take long: whole kernels take milliseconds.
fn look_up_all(data: Vec<u8>) {
    let start = Instant::now();
    if let Ok(btf) = Btf::parse(data) {
        for member in KernelLayout::MEMBERS {
            drop(btf.member(member.structure, member.path));
        }
        for program in probe::ALL.iter().flat_map(|probe| probe.programs) {
            match program.hook {
                Hook::Tracepoint { name, .. } => drop(btf.tracepoint(name)),
                Hook::FunctionEnd { name, .. } => drop(btf.arguments(name)),
                Hook::Kprobe { functions, .. } => functions.iter().for_each(|name| drop(btf.arguments(name))),
                Hook::Function(_)
                | Hook::Cgroup(_)
                | Hook::Continuation { .. }
                | Hook::SocketClosed
                | Hook::SweepMaps(_) => {}
                Hook::AtStart { iterator: name, .. } | Hook::Sweep(name) => _ = btf.has_struct(name),
            }
        }
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn cycles_end() {
    let mut builder = Builder::new();
    // Typedefs in a circle, and a struct of one.
    let first = builder.next();
    builder.typedef("a", first + 1);
    builder.typedef("b", first);
    builder.structure("net", &[at("", first, 0), at("ns", first, 0)]);
    // Structs that contain themselves and each other without a name: depth alone would allow 1000^32 steps.
    let one = builder.next();
    builder.structure("sock", &vec![at("", one + 1, 0); 1000]);
    builder.union("", &vec![at("", one, 0); 1000]);
    // With a name at each step the path's length is the bound.
    let named = builder.next();
    builder.structure("cgroup", &[at("kn", named, 1), at("", named, 1)]);
    let prototype = builder.next();
    builder.typedef("btf_trace_tcp_destroy_sock", prototype);
    look_up_all(builder.build());
}

#[test]
fn many_structs_of_a_name_share_one_bound() {
    let mut builder = Builder::new();
    for _ in 0..300 {
        let own = builder.next();
        builder.structure("sock", &vec![at("", own, 0); 300]);
    }
    look_up_all(builder.build());
}

#[test]
fn endless_names_are_not_copied() {
    let mut builder = Builder::new();
    let sock = builder.structure(&"s".repeat(1 << 22), &[]);
    let pointer = builder.pointer(sock);
    builder.tracepoint("tcp_destroy_sock", &vec![pointer; 0xfff0]);
    let btf = parsed(builder);
    assert_eq!(btf.tracepoint("tcp_destroy_sock").unwrap(), [const { Argument::Other }; MAX_ARGUMENTS]);
}

/// Words that are likely to be valid: numbers of types, counts, kinds, ends of ranges.
fn plausible_word() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        0..1000_u32,
        Just(u32::MAX),
        (0..=kind::LAST, 0..400_u32, any::<bool>())
            .prop_map(|(kind, count, flag)| u32::from(flag) << 31 | kind << 24 | count),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_no_harm(mut data in proptest::collection::vec(any::<u8>(), 0..4096), is_btf in any::<bool>()) {
        if is_btf && data.len() >= HEADER_BYTES {
            // A header that holds, so that the types are random and not only the header.
            let types = u32::try_from(data.len() - HEADER_BYTES).unwrap() / 2;
            let words = [0, types, types, types].map(u32::to_ne_bytes).concat();
            data[..8].copy_from_slice(&[MAGIC.to_ne_bytes().to_vec(), vec![1, 0, 24, 0, 0, 0]].concat());
            data[8..24].copy_from_slice(&words);
        }
        look_up_all(data);
    }

    #[test]
    fn damaged_kernels_do_no_harm(
        which in any::<prop::sample::Index>(),
        bytes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        words in proptest::collection::vec((any::<prop::sample::Index>(), plausible_word()), 0..64),
        end in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let fixtures = fixtures();
        let mut data = which.get(&fixtures).data.clone();
        // The header is tested above; here most cases should get as far as the lookups.
        let body = HEADER_BYTES..data.len();
        for (index, value) in words {
            let position = body.start + index.index(body.len() / 4 - 1) * 4;
            data[position..position + 4].copy_from_slice(&value.to_ne_bytes());
        }
        for (index, value) in bytes {
            let position = index.index(data.len());
            data[position] = value;
        }
        if let Some(end) = end {
            data.truncate(end.index(data.len()));
        }
        look_up_all(data);
    }
}
