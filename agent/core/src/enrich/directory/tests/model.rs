//! Services, endpoints and lists against an implementation that looks through everything.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::enrich::name::Name;
use crate::enrich::objects::{Endpoint, EndpointSlice, Service, ServicePort};

const SOURCES: [Source; 3] = [Source::Api, Source::Kubelet, Source::File];
const KINDS: [Kind; 3] = [Kind::Pod, Kind::Service, Kind::EndpointSlice];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Step {
    Apply(Change),
    Gone(Kind, u8),
    Begin(Kind),
    End(Kind),
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(&KINDS)
}

fn address(number: u8) -> IpAddr {
    ip(&format!("10.0.0.{number}"))
}

fn ports() -> impl Strategy<Value = Vec<ServicePort>> {
    let port = (1_u16..4, any::<bool>()).prop_map(|(port, is_tcp)| ServicePort {
        protocol: if is_tcp { TCP } else { UDP },
        port,
        node_port: None,
    });
    prop::collection::vec(port, 0..4)
}

fn addresses(max: usize) -> impl Strategy<Value = Vec<IpAddr>> {
    prop::collection::vec((0_u8..6).prop_map(address), 0..max)
}

fn step() -> impl Strategy<Value = Step> {
    let name = || prop::sample::select(&NAMES).prop_map(Box::<str>::from);
    let service = (name(), addresses(4), ports()).prop_map(|(name, addresses, ports)| {
        Change::ApplyService(Box::new(Service { namespace: "shop".into(), name, addresses, ports }))
    });
    let endpoint = (addresses(3), prop::option::of(0_u32..4))
        .prop_map(|(addresses, pod)| Endpoint { addresses, pod: pod.map(|number| uid_text(number).into()) });
    let slice = (name(), name(), ports(), prop::collection::vec(endpoint, 0..4)).prop_map(
        |(name, service, ports, endpoints)| {
            let namespace = "shop".into();
            Change::ApplyEndpointSlice(Box::new(EndpointSlice { namespace, name, service, ports, endpoints }))
        },
    );
    // Each has an address of its own: whose it is when is for other tests.
    let pod = (0_u8..4).prop_map(|number| Change::ApplyPod(Box::new(told_pod(number))));
    prop_oneof![
        4 => prop_oneof![service, slice, pod].prop_map(Step::Apply),
        1 => (kind(), 0_u8..4).prop_map(|(kind, number)| Step::Gone(kind, number)),
        1 => kind().prop_map(Step::Begin),
        1 => kind().prop_map(Step::End),
    ]
}

fn told_pod(number: u8) -> Pod {
    let owner = Some(owner("StatefulSet", if number < 2 { "few" } else { "more" }));
    Pod { owner, ..pod(number.into(), START, &[&address(number).to_string()]) }
}

/// As [`Change::Delete`] names it.
fn name_of(kind: Kind, number: u8) -> String {
    match kind {
        Kind::Pod => uid_text(number.into()),
        _ => format!("shop/{}", NAMES[usize::from(number)]),
    }
}

#[derive(Debug, Default)]
struct Model {
    objects: BTreeMap<(Kind, String), (Change, BTreeSet<Source>)>,
    lists: BTreeMap<(Source, Kind), BTreeSet<String>>,
    /// Pods that were applied once.
    pods: BTreeSet<String>,
}

impl Model {
    fn step(&mut self, source: Source, step: &Step) {
        match step {
            Step::Apply(change) => {
                let (kind, name) = match change {
                    Change::ApplyPod(pod) => (Kind::Pod, pod.uid.to_string()),
                    Change::ApplyService(service) => (Kind::Service, format!("shop/{}", service.name)),
                    Change::ApplyEndpointSlice(slice) => {
                        (Kind::EndpointSlice, format!("shop/{}", slice.name))
                    }
                    _ => panic!("{change:?}"),
                };
                if kind == Kind::Pod {
                    self.pods.insert(name.clone());
                }
                if let Some(listed) = self.lists.get_mut(&(source, kind)) {
                    listed.insert(name.clone());
                }
                let object = self.objects.entry((kind, name)).or_insert((change.clone(), BTreeSet::new()));
                object.0 = change.clone();
                object.1.insert(source);
            }
            Step::Gone(kind, number) => {
                self.gone(source, |this, name| (this, name) == (*kind, &name_of(*kind, *number)));
            }
            Step::Begin(kind) => _ = self.lists.insert((source, *kind), BTreeSet::new()),
            Step::End(kind) => {
                if let Some(listed) = self.lists.remove(&(source, *kind)) {
                    self.gone(source, |this, name| this == *kind && !listed.contains(name));
                }
            }
        }
    }

    fn gone(&mut self, source: Source, is_it: impl Fn(Kind, &String) -> bool) {
        self.objects.retain(|(kind, name), (_, sources)| {
            if is_it(*kind, name) {
                sources.remove(&source);
            }
            !sources.is_empty()
        });
    }

    fn services(&self, is_it: impl Fn(&Service) -> bool) -> Option<Name> {
        let names = self.objects.values().filter_map(|(change, _)| match change {
            Change::ApplyService(service) if is_it(service) => Some(Name::new("shop", &service.name)),
            _ => None,
        });
        only(&names.collect())
    }

    fn slices(&self) -> impl Iterator<Item = &EndpointSlice> {
        self.objects.values().filter_map(|(change, _)| match change {
            Change::ApplyEndpointSlice(slice) => Some(&**slice),
            _ => None,
        })
    }

    /// The workload of an endpoint at an address.
    fn workload(&self, endpoint: &Endpoint, at: IpAddr) -> Option<Name> {
        let number = match &endpoint.pod {
            Some(uid) => (0..4).find(|number| uid_text(*number) == **uid && self.pods.contains(&**uid))?,
            None => (0..4).find(|number| {
                address(u8::try_from(*number).unwrap()) == at
                    && self.objects.contains_key(&(Kind::Pod, uid_text(*number)))
            })?,
        };
        Some(Name::new("shop", if number < 2 { "few" } else { "more" }))
    }

    fn endpoint(&self, at: IpAddr, port: u16, protocol: u8) -> Option<(Option<Name>, Option<Name>)> {
        let (mut services, mut pods) = (BTreeSet::new(), BTreeSet::new());
        for slice in self.slices() {
            if slice.ports.iter().any(|known| (known.port, known.protocol) == (port, protocol)) {
                for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.addresses.contains(&at)) {
                    services.insert(Name::new("shop", &slice.service));
                    pods.insert(self.workload(endpoint, at));
                }
            }
        }
        (!services.is_empty()).then(|| (only(&services), only(&pods).flatten()))
    }

    fn backends(&self, service: &str) -> Vec<Name> {
        let slices = self.slices().filter(|slice| &*slice.service == service);
        let endpoints = slices.flat_map(|slice| &slice.endpoints);
        let workloads = endpoints.flat_map(|endpoint| {
            endpoint.addresses.iter().filter_map(|address| self.workload(endpoint, *address))
        });
        workloads.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

fn only<T: Clone + Ord>(all: &BTreeSet<T>) -> Option<T> {
    if all.len() == 1 { all.first().cloned() } else { None }
}

fn agree(directory: &Directory, model: &Model) -> Result<(), TestCaseError> {
    for number in 0..6 {
        let at = address(number);
        prop_assert_eq!(
            directory.service_any_port(at).cloned(),
            model.services(|service| service.addresses.contains(&at))
        );
        for (port, protocol) in (1..4).flat_map(|port| [(port, TCP), (port, UDP)]) {
            let is_there = |known: &ServicePort| (known.port, known.protocol) == (port, protocol);
            let is_it =
                |service: &Service| service.addresses.contains(&at) && service.ports.iter().any(is_there);
            prop_assert_eq!(directory.service(at, port, protocol).cloned(), model.services(is_it));
            let found = directory.endpoint(at, port, protocol);
            let found = found.map(|found| (found.service.cloned(), found.pod.cloned()));
            prop_assert_eq!(found, model.endpoint(at, port, protocol));
        }
    }
    for name in NAMES {
        let service = Name::new("shop", name);
        let (found, wanted) = (directory.backends(&service), model.backends(name));
        prop_assert_eq!(found, wanted.iter().collect::<Vec<_>>());
        if let Some(only) = directory.only_backend(&service) {
            prop_assert_eq!(std::slice::from_ref(only), &*wanted);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn it_answers_as_one_that_looks_through_everything(
        steps in prop::collection::vec((prop::sample::select(&SOURCES), step()), 1..60)
    ) {
        let mut directory = Directory::new(Limits { keep_seconds: 100_000, ..Limits::default() });
        let (mut model, mut now) = (Model::default(), START);
        for (source, step) in steps {
            model.step(source, &step);
            let change = match step {
                Step::Apply(change) => change,
                Step::Gone(kind, number) => Change::Delete(kind, name_of(kind, number).into()),
                Step::Begin(kind) => Change::Init(kind),
                Step::End(kind) => Change::InitDone(kind),
            };
            directory.apply_from(source, change, now);
            now += 10;
            directory.expire(now);
            agree(&directory, &model)?;
        }
        for (source, kind) in SOURCES.iter().flat_map(|source| KINDS.map(|kind| (*source, kind))) {
            directory.apply_from(source, Change::Init(kind), now);
            directory.apply_from(source, Change::InitDone(kind), now);
        }
        directory.expire(now + 200_000);
        directory.names.forget();
        prop_assert_eq!(directory.statistics(), Default::default(), "everything is forgotten");
    }
}
