use proptest::prelude::*;

use super::*;

fn name(text: &str) -> Name {
    text.parse::<Name>().unwrap()
}

fn address(number: u32) -> IpAddr {
    IpAddr::from(number.to_be_bytes())
}

fn resolved(number: u32, ttl: u32) -> Resolved {
    Resolved { address: address(number), ttl }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_name_counts_for_its_time_to_live_within_bounds() {
    for (ttl, last) in [(0, 59), (300, 299), (u32::MAX, 3599)] {
        let mut names = ResolvedNames::default();
        names.learn(1, &name("a.com"), &[resolved(9, ttl)], seconds(5));
        let at = |at: u64| names.name(1, address(9), seconds(5 + at)).map(Name::as_str);
        assert_eq!((at(0), at(last), at(last + 1)), (Some("a.com"), Some("a.com"), None), "{ttl}");
        assert_eq!(names.name(2, address(9), seconds(5)), None);
    }
}

#[test]
fn an_address_of_ipv4_is_the_same_in_ipv6() {
    let mut names = ResolvedNames::default();
    let mapped = Resolved { address: "::ffff:10.0.0.9".parse().unwrap(), ttl: 60 };
    names.learn(1, &name("a.com"), std::slice::from_ref(&mapped), Duration::ZERO);
    let v4 = "10.0.0.9".parse().unwrap();
    for address in [v4, mapped.address] {
        assert_eq!(names.name(1, address, Duration::ZERO).map(Name::as_str), Some("a.com"));
    }
    let known: Vec<_> = names.known(1, seconds(10)).collect();
    assert_eq!(known, [ResolvedAddress { address: v4, name: &name("a.com"), expires_in: seconds(50) }]);
}

#[test]
fn all_clients_together_are_bounded() {
    let mut names = ResolvedNames::default();
    let per_client = 100;
    for number in 0..2 * u32::try_from(MAX_ADDRESSES).unwrap() {
        names.learn((number / per_client).into(), &name("a.com"), &[resolved(number, 600)], seconds(1));
        assert!(names.order.len() <= MAX_ADDRESSES);
    }
    let all: usize = names.clients.values().map(|client| client.by_address.len()).sum();
    assert_eq!((all, names.order.len()), (MAX_ADDRESSES, MAX_ADDRESSES));
    // After an hour nothing counts any more, and is gone when something new is learned.
    names.learn(0, &name("a.com"), &[resolved(1, 600)], seconds(3601));
    assert_eq!((names.clients.len(), names.order.len()), (1, 1));
}

/// All answers, the latest last.
#[derive(Default)]
struct Model {
    told: Vec<(u64, IpAddr, Name, Duration)>,
}

impl Model {
    fn learn(&mut self, local: u64, name: &Name, of: &Resolved, at: Duration) {
        self.told.retain(|(client, address, ..)| (*client, *address) != (local, of.address));
        let ttl = of.ttl.clamp(60, 3600);
        self.told.push((local, of.address, name.clone(), at + seconds(ttl.into())));
        let mut of_client = self.told.iter().enumerate().filter(|(_, told)| told.0 == local);
        if let Some((first, _)) = of_client.next()
            && of_client.count() >= MAX_OF_CLIENT
        {
            self.told.remove(first);
        }
    }

    fn name(&self, local: u64, address: IpAddr, at: Duration) -> Option<&Name> {
        let told = self.told.iter().find(|told| (told.0, told.1) == (local, address))?;
        (at < told.3).then_some(&told.2)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn what_was_told_last_is_known(
        steps in prop::collection::vec(
            (0..3_u64, 0..5_u32, prop::collection::vec((0..400_u32, 0..4000_u32), 0..60), 0..300_u64, 0..20_u32),
            1..60,
        ),
    ) {
        let (mut names, mut model, mut at) = (ResolvedNames::default(), Model::default(), Duration::ZERO);
        for (local, asked, addresses, later, what) in steps {
            at += seconds(later);
            let asked = name(&format!("n{asked}.com"));
            let addresses: Vec<_> = addresses.iter().map(|(number, ttl)| resolved(*number, *ttl)).collect();
            if what == 0 {
                names.retain(|client| client != local);
                model.told.retain(|told| told.0 != local);
            } else {
                names.learn(local, &asked, &addresses, at);
                addresses.iter().for_each(|address| model.learn(local, &asked, address, at));
            }
            for local in 0..3 {
                for number in 0..400 {
                    prop_assert_eq!(names.name(local, address(number), at), model.name(local, address(number), at));
                }
                let known = model.told.iter().filter(|told| told.0 == local && at < told.3);
                prop_assert_eq!(names.known(local, at).count(), known.count());
            }
            let entries: usize = names.clients.values().map(|client| client.by_address.len()).sum();
            let orders: usize = names.clients.values().map(|client| client.order.len()).sum();
            prop_assert_eq!((entries, orders), (names.order.len(), names.order.len()));
        }
    }
}
