//! What a pod's workload is called: its top owner, as far as the pod itself tells.

use crate::enrich::objects::{Owner, Pod, Seconds};

/// How well the name of a workload is known. What is known better is not replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The pod's owner, or the pod itself.
    Reference,
    /// By the form of the owner's name.
    Form,
    /// A source told the owner's owner.
    Told,
}

/// A Job of a CronJob begins at its scheduled time, or so much later: after the controller was away, or as a second try of a
/// pod that failed.
const MAX_LATE: Seconds = 24 * 3600;
/// And not before it, but for the clocks.
const MAX_EARLY: Seconds = 300;

/// The name of a pod's workload, without its namespace.
pub fn workload(pod: &Pod) -> (&str, Rank) {
    let Some(owner) = &pod.owner else { return (&pod.name, Rank::Reference) };
    let found = match &*owner.kind {
        "Node" => return (static_pod(pod), Rank::Reference),
        "ReplicaSet" => pod.template_hash.as_deref().and_then(|hash| deployment(&owner.name, hash)),
        "Job" if is_of_group(owner, "batch") => cron_job(&owner.name, pod.since),
        _ => None,
    };
    found.map_or((&*owner.name, Rank::Reference), |name| (name, Rank::Form))
}

/// The API group of an owner; empty of the core group, and where it is not told.
pub fn group(owner: &Owner) -> &str {
    owner.api_version.split_once('/').map_or("", |(group, _)| group)
}

fn is_of_group(owner: &Owner, name: &str) -> bool {
    owner.api_version.is_empty() || group(owner) == name
}

/// The kubelet names the pod that stands for a static pod `<name>-<node>`, on each node
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
