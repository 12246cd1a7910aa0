//! No input makes the parser panic, and it agrees with an independent parser and encoder (`simple-dns`).

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use simple_dns::rdata::{CNAME as Alias, RData, TXT};
use simple_dns::{CLASS, Label, Packet, PacketFlag, QCLASS, QTYPE, RCODE, ResourceRecord, TYPE};

use super::*;

type Labels = Vec<Vec<u8>>;

fn label() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-zA-Z0-9_-]{1,12}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..=63),
        1 => vec(prop::sample::select(b".\\\0 \"Zz\xff".to_vec()), 1..=4),
    ]
}

/// Labels before one of a few suffixes, so that there is something to compress; up to 255 bytes.
fn name() -> impl Strategy<Value = Labels> {
    let ends: [&[&[u8]]; 4] =
        [&[], &[b"example", b"com"], &[b"cdn", b"example", b"com"], &[b"a.b\\", b"\0", b"Net"]];
    let end = prop::sample::select(ends.to_vec());
    (vec(label(), 0..6), end).prop_map(|(labels, end)| {
        let mut room = 254;
        let whole = labels.into_iter().chain(end.iter().map(|label| label.to_vec()));
        whole
            .take_while(|label| {
                let fits = label.len() < room;
                room = room.saturating_sub(1 + label.len());
                fits
            })
            .collect()
    })
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(IpAddr::from),
        any::<Ipv6Addr>().prop_map(IpAddr::from),
        any::<Ipv4Addr>().prop_map(|v4| IpAddr::from(v4.to_ipv6_mapped())),
    ]
}

/// An answer to encode, and what the parser must return for it.
#[derive(Clone, Debug)]
struct Answer {
    id: u16,
    rcode: u16,
    is_truncated: bool,
    is_compressed: bool,
    asked: Labels,
    kind: u16,
    /// Each is the alias of the one before; the first is that of the queried name.
    aliases: Vec<Labels>,
    addresses: Vec<(IpAddr, u32)>,
    /// Records of other names, and where they are inserted.
    strangers: Vec<(Index, Labels, IpAddr)>,
    /// Whether owners are written in capitals.
    in_capitals: bool,
}

prop_compose! {
    fn answer()(
        (id, rcode, is_truncated, is_compressed) in (any::<u16>(), 0..16_u16, any::<bool>(), any::<bool>()),
        (asked, kind) in (name(), any::<u16>()),
        aliases in vec(name(), 0..5),
        addresses in vec((address(), any::<u32>()), 0..20),
        strangers in vec((any::<Index>(), name(), address()), 0..6),
        in_capitals in any::<bool>(),
    ) -> Answer {
        Answer {
            id, rcode, is_truncated, is_compressed, asked, kind, aliases, addresses, strangers, in_capitals,
        }
    }
}

fn theirs(labels: &Labels) -> simple_dns::Name<'static> {
    let labels: Vec<Label<'static>> = labels.iter().cloned().map(Label::new_unchecked).collect();
    simple_dns::Name::new_with_labels(&labels)
}

impl Answer {
    fn bytes(&self) -> Vec<u8> {
        let record = |owner: &Labels, ttl: u32, data: RData<'static>| {
            let capitals = owner.iter().map(|label| label.to_ascii_uppercase()).collect();
            let owner = if self.in_capitals { &capitals } else { owner };
            ResourceRecord::new(theirs(owner), CLASS::IN, ttl, data)
        };
        let data = |address: IpAddr| match address {
            IpAddr::V4(v4) => RData::A(v4.into()),
            IpAddr::V6(v6) => RData::AAAA(v6.into()),
        };
        let mut packet = Packet::new_reply(self.id);
        let kind = QTYPE::TYPE(TYPE::from(self.kind));
        let class = QCLASS::CLASS(CLASS::IN);
        packet.questions.push(simple_dns::Question::new(theirs(&self.asked), kind, class, false));
        if self.is_truncated {
            packet.set_flags(PacketFlag::TRUNCATION);
        }
        let mut owner = &self.asked;
        for alias in &self.aliases {
            packet.answers.push(record(owner, 5, RData::CNAME(Alias(theirs(alias)))));
            owner = alias;
        }
        packet.answers.push(record(owner, 5, RData::TXT(TXT::new())));
        for &(address, ttl) in &self.addresses {
            packet.answers.push(record(owner, ttl, data(address)));
        }
        for (place, end, address) in &self.strangers {
            let mut owner = end.clone();
            owner.truncate(2);
            owner.insert(0, b"a name that was not queried".to_vec());
            let place = place.index(packet.answers.len() + 1);
            packet.answers.insert(place, record(&owner, 5, data(*address)));
        }
        let bytes =
            if self.is_compressed { packet.build_bytes_vec_compressed() } else { packet.build_bytes_vec() };
        let mut bytes = bytes.unwrap();
        // The encoder supports only some response codes.
        bytes[3] = bytes[3] & 0xf0 | self.rcode.to_be_bytes()[1];
        bytes
    }
}

/// Encoded answers with some bytes changed, a range removed or the end cut off.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(vec![0, 1, 0x3f, 0x40, 0xc0, 0xff])];
    let changes = vec((any::<Index>(), byte), 0..4);
    let piece = prop::option::weighted(0.2, (any::<Index>(), any::<Index>()));
    let end = prop::option::weighted(0.2, any::<Index>());
    (answer(), changes, piece, end).prop_map(|(answer, changes, piece, end)| {
        let mut bytes = answer.bytes();
        for (place, byte) in changes {
            *place.get_mut(&mut bytes) = byte;
        }
        if let Some((from, to)) = piece {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            bytes.drain(from.min(to)..from.max(to));
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len() + 1));
        }
        bytes
    })
}

/// The addresses by the same rule from the other parser's records: follow aliases in order, take the addresses at the end.
fn their_addresses(packet: &Packet<'_>) -> Vec<Resolved> {
    let of_the_internet = |record: &&ResourceRecord<'_>| record.class == CLASS::IN && !record.cache_flush;
    let mut wanted = packet.questions[0].qname.clone();
    let mut aliases: Vec<_> = packet
        .answers
        .iter()
        .filter(of_the_internet)
        .filter_map(|record| match &record.rdata {
            RData::CNAME(alias) => Some((&record.name, &alias.0)),
            _ => None,
        })
        .collect();
    while let Some(alias) = aliases.iter().position(|(owner, _)| **owner == wanted) {
        wanted = aliases.swap_remove(alias).1.clone();
    }
    let mut found = Vec::new();
    for record in packet.answers.iter().filter(of_the_internet) {
        if record.name != wanted {
            continue;
        }
        let address = match &record.rdata {
            RData::A(a) => Ipv4Addr::from(a.address).into(),
            RData::AAAA(aaaa) => Ipv6Addr::from(aaaa.address).to_canonical(),
            _ => continue,
        };
        let ttl = if record.ttl >> 31 == 0 { record.ttl } else { 0 };
        found.push(Resolved { address, ttl });
    }
    found
}

fn assert_same_name(ours: &Name, theirs: &simple_dns::Name<'_>) {
    assert!(ours.as_str().bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
    assert_eq!(&simple_dns::Name::new(ours.as_str()).unwrap(), theirs, "they read what we write");
    assert_eq!(ours.as_str().parse().as_ref(), Ok(ours), "so do we");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..1500)) {
        let _ = message(&bytes);
        let _ = question(&bytes);
        // One question and some records, so that there is a way into them.
        let head = [&[0, 0, 0x80, 0, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 1, 0, 1][..], &bytes].concat();
        prop_assert!(message(&head).is_ok());
    }

    #[test]
    fn what_others_write_is_read(answer in answer()) {
        let bytes = answer.bytes();
        let message = message(&bytes).unwrap();
        prop_assert_eq!(message.id, answer.id);
        prop_assert_eq!((message.is_response, message.opcode), (true, 0));
        prop_assert_eq!(message.rcode, answer.rcode);
        prop_assert_eq!(message.is_truncated, answer.is_truncated);
        let asked = message.question.unwrap();
        assert_same_name(&asked.name, &theirs(&answer.asked));
        prop_assert_eq!(asked.kind, answer.kind);
        prop_assert_eq!(question(&bytes), Ok(asked));
        let seconds = |ttl: u32| if ttl < 1 << 31 { ttl } else { 0 };
        let expected = answer.addresses.iter().map(|&(address, ttl)| {
            Resolved { address: address.to_canonical(), ttl: seconds(ttl) }
        });
        prop_assert_eq!(message.addresses, expected.collect::<Vec<_>>());
        prop_assert!(!message.is_cut);
    }

    #[test]
    fn others_read_the_same(bytes in mutated()) {
        let ours = message(&bytes);
        prop_assert_eq!(question(&bytes).ok(), ours.clone().ok().and_then(|message| message.question));
        let (Ok(message), Ok(packet)) = (ours, Packet::parse(&bytes)) else { return Ok(()) };
        prop_assert_eq!(message.id, packet.id());
        prop_assert_eq!(message.is_response, packet.has_flags(PacketFlag::RESPONSE));
        prop_assert_eq!(message.is_truncated, packet.has_flags(PacketFlag::TRUNCATION));
        if packet.opt().is_none() {
            prop_assert_eq!(RCODE::from(message.rcode), packet.rcode());
        }
        prop_assert_eq!(message.question.is_some(), !packet.questions.is_empty());
        if let (Some(ours), Some(theirs)) = (&message.question, packet.questions.first()) {
            assert_same_name(&ours.name, &theirs.qname);
            prop_assert_eq!(ours.kind, u16::from(theirs.qtype));
            let is_looked_at = message.is_response && message.opcode == 0 && packet.questions.len() == 1;
            if is_looked_at && !message.is_cut {
                prop_assert_eq!(message.addresses, their_addresses(&packet));
            }
        }
    }
}
