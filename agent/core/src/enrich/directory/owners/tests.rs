use super::{Rank, workload};
use crate::enrich::objects::{Owner, Pod};

fn owned(kind: &str, name: &str, api_version: &str) -> Pod {
    let owner = Owner { kind: kind.into(), name: name.into(), api_version: api_version.into() };
    Pod { name: "pod-of-it".into(), owner: Some(owner), ..Pod::default() }
}

#[test]
fn a_pod_of_nobody_is_called_after_itself() {
    assert_eq!(workload(&Pod { name: "debug".into(), ..Pod::default() }), ("debug", Rank::Reference));
}

#[test]
fn the_hash_of_its_template_parts_a_replica_set_from_its_deployment() {
    let of = |name, hash: Option<&str>| Pod {
        template_hash: hash.map(Into::into),
        ..owned("ReplicaSet", name, "apps/v1")
    };
    assert_eq!(workload(&of("cart-7d4b9c", Some("7d4b9c"))), ("cart", Rank::NamePattern));
    assert_eq!(workload(&of("cart-7d4b9c", None)), ("cart-7d4b9c", Rank::Reference), "it may be called so");
    assert_eq!(workload(&of("cart-7d4b9c", Some("d4b9c"))), ("cart-7d4b9c", Rank::Reference));
    assert_eq!(workload(&of("-7d4b9c", Some("7d4b9c"))), ("-7d4b9c", Rank::Reference));
    assert_eq!(workload(&of("cart-", Some(""))), ("cart-", Rank::Reference));
}

#[test]
fn other_owners_are_called_as_the_reference_says() {
    for (kind, version) in
        [("StatefulSet", "apps/v1"), ("DaemonSet", "apps/v1"), ("Kafka", "kafka.strimzi.io/v1")]
    {
        assert_eq!(workload(&owned(kind, "broker", version)), ("broker", Rank::Reference));
    }
}

#[test]
fn a_job_is_a_cron_jobs_by_the_time_in_its_name() {
    let minutes = 29_400_000_u64;
    let job = |name: &str, since: Option<u64>, version| Pod { since, ..owned("Job", name, version) };
    let at = minutes * 60;
    for since in [at - 200, at, at + 5, at + 3600 * 23] {
        assert_eq!(workload(&job("backup-29400000", Some(since), "batch/v1")), ("backup", Rank::NamePattern));
    }
    for since in [None, Some(at - 3600), Some(at + 3600 * 25)] {
        assert_eq!(
            workload(&job("backup-29400000", since, "batch/v1")),
            ("backup-29400000", Rank::Reference)
        );
    }
    for name in ["backup-20261125", "backup-2940000", "backup-+9400000", "-29400000", "29400000", "backup"] {
        assert_eq!(workload(&job(name, Some(at), "batch/v1")), (name, Rank::Reference));
    }
    let (name, rank) = ("train-29400000", Rank::Reference);
    assert_eq!(
        workload(&job(name, Some(at), "batch.volcano.sh/v1alpha1")),
        (name, rank),
        "not Kubernetes' Job"
    );
}

#[test]
fn a_static_pod_is_called_without_its_node() {
    let mut pod = owned("Node", "worker-1", "v1");
    pod.name = "kube-proxy-worker-1".into();
    assert_eq!(workload(&pod), ("kube-proxy", Rank::Reference));
    pod.name = "kube-proxy".into();
    assert_eq!(workload(&pod), ("kube-proxy", Rank::Reference));
}
