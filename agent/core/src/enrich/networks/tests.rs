use proptest::prelude::*;

use super::*;

fn network(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn named(networks: &[(&str, &str)]) -> Networks {
    let named: Vec<_> =
        networks.iter().map(|(cidr, name)| (network(cidr), Name::new("bank", name))).collect();
    Networks::new(&named).unwrap()
}

fn workload(networks: &Networks, address: &str) -> Option<String> {
    networks.name(address.parse().unwrap()).map(|name| name.workload().to_owned())
}

#[test]
fn the_longest_prefix_wins() {
    let networks = named(&[
        ("10.0.0.0/8", "all"),
        ("10.1.0.0/16", "branch"),
        ("10.1.2.3/32", "till"),
        ("10.1.255.0/24", "edge"),
        ("fd00::/8", "all6"),
        ("fd00:1::/32", "branch6"),
    ]);
    for (address, name) in [
        ("9.255.255.255", None),
        ("10.0.0.0", Some("all")),
        ("10.1.0.0", Some("branch")),
        ("10.1.2.2", Some("branch")),
        ("10.1.2.3", Some("till")),
        ("10.1.2.4", Some("branch")),
        ("10.1.255.255", Some("edge")),
        ("10.2.0.0", Some("all")),
        ("11.0.0.0", None),
        ("::ffff:10.1.2.3", Some("till")),
        ("fd00::1", Some("all6")),
        ("fd00:1::1", Some("branch6")),
        ("fe00::", None),
    ] {
        assert_eq!(workload(&networks, address).as_deref(), name, "{address}");
    }
}

#[test]
fn everything_and_the_last_address_can_be_named() {
    let networks = named(&[("0.0.0.0/0", "v4"), ("255.255.255.255/32", "last"), ("::/0", "v6")]);
    for (address, name) in [("0.0.0.0", "v4"), ("255.255.255.255", "last"), ("::", "v6"), ("ffff::", "v6")] {
        assert_eq!(workload(&networks, address).as_deref(), Some(name), "{address}");
    }
    assert_eq!(workload(&Networks::default(), "10.0.0.1"), None);
}

#[test]
fn a_network_has_one_name_however_it_is_written() {
    let name = Name::new("bank", "oracle");
    let twice = [("10.0.0.0/8", "::ffff:10.0.0.0/104"), ("10.9.0.0/8", "10.8.0.0/8")];
    for (first, second) in twice {
        let named = [(network(first), name.clone()), (network(second), name.clone())];
        let expected = Err((1, NetworksError::Twice(network("10.0.0.0/8"))));
        assert_eq!(Networks::new(&named).map(drop), expected);
    }
}

#[test]
fn there_is_a_bound() {
    let name = Name::new("bank", "oracle");
    let mut all: Vec<_> = (0..u32::try_from(MAX_NETWORKS).unwrap())
        .map(|number| (IpNet::from(IpAddr::from(number.to_be_bytes())), name.clone()))
        .collect();
    let networks = Networks::new(&all).unwrap();
    assert_eq!((networks.names.len(), networks.name("0.0.255.255".parse().unwrap())), (1, Some(&name)));
    assert_eq!(networks.name("0.1.0.0".parse().unwrap()), None);
    all.push((network("10.0.0.0/8"), name));
    assert_eq!(Networks::new(&all).map(drop), Err((MAX_NETWORKS, NetworksError::TooMany)));
}

/// Networks that lie close together: of the first and last addresses, so that many contain each other.
fn any_network() -> impl Strategy<Value = IpNet> {
    let v4 = (prop_oneof![0..64_u32, u32::MAX - 63..=u32::MAX], 0..=32_u8)
        .prop_map(|(bits, length)| IpNet::new(IpAddr::from(bits.to_be_bytes()), length).unwrap());
    let v6 = (prop_oneof![0..64_u128, u128::MAX - 63..=u128::MAX], 0..=128_u8)
        .prop_map(|(bits, length)| IpNet::new(IpAddr::from(bits.to_be_bytes()), length).unwrap());
    prop_oneof![v4, v6]
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        prop_oneof![0..80_u32, u32::MAX - 79..=u32::MAX, any::<u32>()]
            .prop_map(|bits| bits.to_be_bytes().into()),
        prop_oneof![0..80_u128, u128::MAX - 79..=u128::MAX, any::<u128>()]
            .prop_map(|bits| bits.to_be_bytes().into()),
    ]
}

proptest! {
    #[test]
    fn it_finds_what_looking_at_every_network_finds(
        networks in prop::collection::vec(any_network(), 0..40),
        addresses in prop::collection::vec(any_address(), 1..60),
    ) {
        let mut distinct: Vec<IpNet> = networks.iter().map(IpNet::trunc).collect();
        distinct.sort_unstable();
        distinct.dedup();
        // Several networks have the same name.
        let named: Vec<_> = distinct
            .iter()
            .enumerate()
            .map(|(index, network)| (*network, Name::new("bank", &format!("n{}", index % 7))))
            .collect();
        let table = Networks::new(&named).unwrap();
        for address in addresses {
            let naive = named
                .iter()
                .filter(|(network, _)| network.contains(&address))
                .max_by_key(|(network, _)| network.prefix_len())
                .map(|(_, name)| name);
            prop_assert_eq!(table.name(address), naive, "{}", address);
        }
    }
}
