//! No bytes make the reader panic or go on for ever, and what is written is read.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::kernel::netlink::HEADER;

fn address(is_v4: bool) -> impl Strategy<Value = SocketAddr> {
    any::<(u128, u16)>().prop_map(move |(bits, port)| {
        let v6 = Ipv6Addr::from(bits);
        #[expect(clippy::cast_possible_truncation, reason = "any 32 bits do")]
        let v4 = Ipv4Addr::from(bits as u32);
        SocketAddr::new(if is_v4 { v4.into() } else { v6.into() }, port)
    })
}

fn tracked() -> impl Strategy<Value = Tracked> {
    any::<bool>().prop_flat_map(|is_v4| {
        let ends = (address(is_v4), address(is_v4), address(is_v4));
        (prop::sample::select(PROTOCOLS_WITH_PORTS.to_vec()), ends).prop_map(
            |(protocol, (client, destination, answers_from))| Tracked {
                protocol,
                client,
                destination,
                answers_from,
            },
        )
    })
}

fn tuple(body: &mut Vec<u8>, kind: u16, protocol: u8, ends: [SocketAddr; 2]) {
    let of_one = ask_for_one(0, protocol, ends[0], ends[1]);
    let tuple = nested(&of_one[HEADER + FAMILY_HEADER..], CTA_TUPLE_ORIG).unwrap();
    put(body, kind, tuple);
}

/// As the kernel writes it, with what we have no use for in between.
fn written(sequence: u32, tracked: &Tracked, noise: &[u8]) -> Vec<u8> {
    let family = if tracked.client.is_ipv4() { FAMILY_V4 } else { FAMILY_V6 };
    let mut bytes = request(CT_GET, sequence, 0, family, |body| {
        put(body, 8, noise);
        tuple(body, CTA_TUPLE_ORIG, tracked.protocol, [tracked.client, tracked.destination]);
        put(body, 9, noise);
        tuple(body, CTA_TUPLE_REPLY, tracked.protocol, [tracked.answers_from, tracked.client]);
        put(body, 10, noise);
    });
    bytes[4..6].copy_from_slice(&CT_NEW.to_ne_bytes());
    bytes
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_to_an_end(bytes in vec(any::<u8>(), 0..600), sequence in 0u32..3) {
        prop_assert!(Messages::new(&bytes, sequence).count() <= bytes.len() / HEADER + 1);
        let _ = connection(&bytes);
    }

    #[test]
    fn what_is_written_is_read(
        all in vec((tracked(), vec(any::<u8>(), 0..20)), 0..5),
        sequence in any::<u32>(),
    ) {
        let bytes: Vec<u8> =
            all.iter().flat_map(|(tracked, noise)| written(sequence, tracked, noise)).collect();
        let read: Vec<_> = Messages::new(&bytes, sequence).collect();
        let expected: Vec<_> = all.iter().map(|(tracked, _)| Ok(Message::Connection(Some(*tracked)))).collect();
        prop_assert_eq!(read, expected);
    }

    /// A truncated message, or one with changed bytes, is parsed or malformed; the parser neither panics nor loops.
    #[test]
    fn what_is_broken_is_read_to_an_end(
        tracked in tracked(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = written(1, &tracked, &[1, 2, 3]);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let whole = Messages::new(&bytes, 1).count();
        prop_assert!(whole >= 1);
        bytes.truncate(cut.index(bytes.len()));
        prop_assert!(Messages::new(&bytes, 1).count() <= bytes.len() / HEADER + 1);
    }

    #[test]
    fn a_cut_message_is_malformed(tracked in tracked(), cut in any::<prop::sample::Index>()) {
        let bytes = written(1, &tracked, &[]);
        let cut = &bytes[..1 + cut.index(bytes.len() - 1)];
        prop_assert_eq!(Messages::new(cut, 1).collect::<Vec<_>>(), [Err(Malformed)]);
    }
}
