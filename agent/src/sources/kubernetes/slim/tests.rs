use std::net::IpAddr;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Malformed, NodeObject, OnlyMetadata, PodObject, ServiceObject, SliceObject, Watched};
use netcause_core::enrich::objects::{Change, Endpoint, Kind, Owner, Pod, ServicePort};

fn told<K: Watched>(object: &Value) -> Result<Option<Change>, Malformed> {
    serde_json::from_slice::<K>(object.to_string().as_bytes())?.change()
}

fn pod(object: &Value) -> Pod {
    let Some(Change::ApplyPod(pod)) = told::<PodObject>(object).unwrap() else { panic!() };
    *pod
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_pod() {
    let told = pod(&json!({
        "metadata": {
            "uid": "1234", "namespace": "shop", "name": "web-5d9c7b-x", "creationTimestamp": "2026-01-02T03:04:05Z",
            "ownerReferences": [
                {"apiVersion": "x/v1", "kind": "Other", "name": "other"},
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d9c7b", "controller": true},
            ],
            "labels": {"pod-template-hash": "5d9c7b", "app": "web"},
            "annotations": {"kubernetes.io/config.hash": "abcd", "kubernetes.io/config.mirror": "abcd"},
        },
        "spec": {"nodeName": "n1", "hostNetwork": true},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
            "containerStatuses": [{"state": {"terminated": {"finishedAt": "2026-01-02T03:04:06Z"}}}]},
    }));
    let owner = Owner { kind: "ReplicaSet".into(), name: "web-5d9c7b".into(), api_version: "apps/v1".into() };
    let is = Pod {
        uid: "1234".into(),
        static_uid: Some("abcd".into()),
        namespace: "shop".into(),
        name: "web-5d9c7b-x".into(),
        owner: Some(owner),
        template_hash: Some("5d9c7b".into()),
        node: Some("n1".into()),
        is_host_network: true,
        addresses: vec![address("10.0.0.1"), address("fd00::1")],
        since: Some(1_767_323_045),
        until: None,
        has_ended: false,
    };
    assert_eq!(told, is);
}

#[test]
fn a_pod_that_has_ended_and_nulls() {
    let mut object = json!({
        "metadata": {"uid": "1", "namespace": "shop", "name": "a", "creationTimestamp": null, "labels": null,
            "annotations": null, "ownerReferences": null},
        "spec": {"nodeName": "", "hostNetwork": null},
        "status": {"phase": "Failed", "podIP": "", "podIPs": null, "containerStatuses": [
            {"state": {"terminated": {"finishedAt": "2026-01-02T03:04:06Z"}}},
            {"state": {"terminated": {"finishedAt": "2026-01-02T03:04:09.5Z"}}},
            {"state": {"terminated": {"finishedAt": null}}},
            {"state": {"waiting": {}}},
            {"state": null},
            {},
        ]},
    });
    let told = pod(&object);
    assert_eq!((told.has_ended, told.until, told.node), (true, Some(1_767_323_049), None));
    object["status"]["containerStatuses"] = Value::Null;
    assert_eq!((pod(&object).has_ended, pod(&object).until), (true, None));
    object["status"] = Value::Null;
    object["spec"] = Value::Null;
    assert!(!pod(&object).has_ended);
}

#[test]
fn an_only_owner_counts_and_one_of_many_does_not() {
    let owner = |name: &str| json!({"apiVersion": "v1", "kind": "Node", "name": name});
    let of = |owners: Value| {
        pod(&json!({"metadata": {"uid": "1", "namespace": "n", "name": "a", "ownerReferences": owners}}))
            .owner
    };
    assert_eq!(of(json!([owner("x")])).unwrap().name, "x".into());
    assert_eq!(of(json!([owner("x"), owner("y")])), None);
}

#[test]
fn what_is_no_pod_is_malformed() {
    for object in [
        json!({"metadata": {"namespace": "n", "name": "a"}}),
        json!({"metadata": {"uid": "1", "name": "a"}}),
        json!({"metadata": {"uid": "1", "namespace": "n"}}),
        json!({"metadata": {"uid": 1, "namespace": "n", "name": "a"}}),
        json!({"spec": {}}),
        json!([]),
        Value::Null,
    ] {
        let malformed = told::<PodObject>(&object);
        assert!(malformed.is_err(), "{object}: {malformed:?}");
    }
}

#[test]
fn what_is_malformed_is_not_quoted() {
    let object = json!({"metadata": {"uid": ["top-secret"], "namespace": "n", "name": "top-secret"}});
    assert!(!told::<PodObject>(&object).unwrap_err().0.contains("secret"));
}

#[test]
fn services_slices_and_nodes() {
    let meta = json!({"namespace": "shop", "name": "web", "labels": {"kubernetes.io/service-name": "web"}});
    let service = json!({"metadata": meta, "spec": {
        "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::96"], "externalIPs": ["192.0.2.1"],
        "ports": [{"port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP"}, {"port": 9, "protocol": "QUIC"}],
    }, "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}, {"hostname": "x.example"}]}}});
    let Some(Change::ApplyService(told_service)) = told::<ServiceObject>(&service).unwrap() else { panic!() };
    let all = ["10.96.0.1", "fd00::96", "192.0.2.1", "198.51.100.1"].map(address);
    assert_eq!(told_service.addresses, all);
    let port = |protocol, port, node_port| ServicePort { protocol, port, node_port };
    assert_eq!(told_service.ports, [port(6, 80, Some(30080)), port(17, 53, None)]);
    let headless = json!({"metadata": meta, "spec": {"clusterIP": "None", "clusterIPs": ["None"]}});
    let Some(Change::ApplyService(headless)) = told::<ServiceObject>(&headless).unwrap() else { panic!() };
    assert!(headless.addresses.is_empty());

    let slice = json!({"metadata": meta, "addressType": "IPv4", "ports": [{"port": 8080, "protocol": "TCP", "name": "x"}, {"port": null}],
    "endpoints": [
        {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "uid": "u", "name": "a"}},
        {"addresses": ["10.0.0.2"], "targetRef": {"kind": "Node", "uid": "v"}},
        {"addresses": ["name.example"], "conditions": {"ready": null}},
    ]});
    let Some(Change::ApplyEndpointSlice(told_slice)) = told::<SliceObject>(&slice).unwrap() else { panic!() };
    let endpoint = |addresses: &[&str], pod: Option<&str>| Endpoint {
        addresses: addresses.iter().map(|text| address(text)).collect(),
        pod: pod.map(Into::into),
    };
    let endpoints = [endpoint(&["10.0.0.1"], Some("u")), endpoint(&["10.0.0.2"], None), endpoint(&[], None)];
    assert_eq!((&*told_slice.service, &told_slice.endpoints[..]), ("web", &endpoints[..]));
    assert_eq!(told_slice.ports, [port(6, 8080, None)]);
    let of_nobody =
        json!({"metadata": {"namespace": "shop", "name": "web"}, "endpoints": null, "ports": null});
    assert_eq!(told::<SliceObject>(&of_nobody), Ok(None));

    let node = json!({"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "eu-1a"}}, "status": {"addresses": [
        {"type": "InternalIP", "address": "192.0.2.7"}, {"type": "Hostname", "address": "n1"}]}});
    let Some(Change::ApplyNode(node)) = told::<NodeObject>(&node).unwrap() else { panic!() };
    assert_eq!((&node.addresses[..], node.zone.as_deref()), (&[address("192.0.2.7")][..], Some("eu-1a")));
}

#[test]
fn what_is_gone_is_called_as_the_directory_knows_it() {
    let only = |object: Value| serde_json::from_value::<OnlyMetadata>(object).unwrap().metadata;
    let metadata = only(json!({"metadata": {"uid": "u", "namespace": "n", "name": "a"}}));
    let keys =
        [Kind::Pod, Kind::Node, Kind::Service, Kind::EndpointSlice].map(|kind| metadata.key(kind).unwrap());
    assert_eq!(keys, ["u", "a", "n/a", "n/a"].map(Box::from));
    assert_eq!(only(json!({"metadata": null})).key(Kind::Pod), None);
}

proptest! {
    #[test]
    fn nothing_panics(text in "[\\[\\]{}\":,a-z0-9 ]{0,80}", name in "(metadata|spec|status|endpoints|ports)", at in 0usize..4) {
        let text = if at == 0 { text } else { format!("{{\"{name}\":{text}}}") };
        let text = text.as_bytes();
        let _ = serde_json::from_slice::<PodObject>(text).map(Watched::change);
        let _ = serde_json::from_slice::<ServiceObject>(text).map(Watched::change);
        let _ = serde_json::from_slice::<SliceObject>(text).map(Watched::change);
        let _ = serde_json::from_slice::<NodeObject>(text).map(Watched::change);
    }
}
