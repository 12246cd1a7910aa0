//! Derives the name of a pod's workload from the pod alone: its top-level owner, as far as the pod shows it.

use crate::enrich::objects::{Owner, Pod, Seconds};

/// Where the name of a workload comes from, from least to most reliable. A more reliable name is not replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The pod's owner reference, or the pod's own name.
    Reference,
    /// The owner's name, by the pattern in which its controller makes it.
    NamePattern,
    /// The owner object's own owner reference.
    OwnerObject,
}

/// A pod of a CronJob may be created so many seconds after the scheduled time: when the controller was down, or to retry a
/// pod that failed.
const MAX_LATE: Seconds = 24 * 3600;
/// And so many seconds before it, by clock skew.
const MAX_EARLY: Seconds = 300;

/// The name of a pod's workload, without its namespace, and where it comes from.
pub fn workload(pod: &Pod) -> (&str, Rank) {
    let Some(owner) = &pod.owner else { return (&pod.name, Rank::Reference) };
    let found = match &*owner.kind {
        "Node" => return (static_pod(pod), Rank::Reference),
        "ReplicaSet" => pod.template_hash.as_deref().and_then(|hash| deployment(&owner.name, hash)),
        "Job" if is_of_group(owner, "batch") => cron_job(&owner.name, pod.since),
        _ => None,
    };
    found.map_or((&*owner.name, Rank::Reference), |name| (name, Rank::NamePattern))
}

/// The API group of an owner; empty for the core group, and when unknown.
pub fn group(owner: &Owner) -> &str {
    owner.api_version.split_once('/').map_or("", |(group, _)| group)
}

fn is_of_group(owner: &Owner, name: &str) -> bool {
    owner.api_version.is_empty() || group(owner) == name
}

/// The kubelet names the mirror pod of a static pod `<name>-<node>`
/// (kubernetes/pkg/kubelet/config/common.go, `generatePodName`).
fn static_pod(pod: &Pod) -> &str {
    let node = pod.owner.as_ref().map(|owner| &*owner.name).into_iter().chain(pod.node.as_deref());
    node.filter(|node| !node.is_empty()).find_map(|node| before(&pod.name, node)).unwrap_or(&pod.name)
}

/// The Deployment's controller names its ReplicaSets `<deployment>-<hash>` and labels their pods with the hash
/// (kubernetes/pkg/controller/deployment/sync.go, `getNewReplicaSet`); so do Argo's Rollouts.
fn deployment<'a>(replica_set: &'a str, hash: &str) -> Option<&'a str> {
    before(replica_set, hash).filter(|_| !hash.is_empty())
}

/// `<name>-<end>` without `-<end>`.
fn before<'a>(whole: &'a str, end: &str) -> Option<&'a str> {
    whole.strip_suffix(end)?.strip_suffix('-').filter(|name| !name.is_empty())
}

/// The CronJob's controller names its Jobs `<cronjob>-<scheduled time in minutes since 1970>`
/// (kubernetes/pkg/controller/cronjob/cronjob_controllerv2.go, `getJobName`): 8 digits from 1989 to 2160.
fn cron_job(job: &str, since: Option<Seconds>) -> Option<&str> {
    let (name, minutes) = job.rsplit_once('-').filter(|(name, _)| !name.is_empty())?;
    let is_number = minutes.len() == 8 && minutes.bytes().all(|digit| digit.is_ascii_digit());
    let scheduled = minutes.parse::<Seconds>().ok().filter(|_| is_number)? * 60;
    let since = since?;
    (scheduled.saturating_sub(MAX_EARLY)..=scheduled + MAX_LATE).contains(&since).then_some(name)
}

#[cfg(test)]
mod tests;
