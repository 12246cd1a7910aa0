//! Names of the names file that are not Kubernetes objects.

use ipnet::IpNet;

use super::cgroup::rules::Rules;
use super::networks::Networks;

/// Names of networks outside the cluster, and rules that name cgroups.
#[derive(Debug, Default)]
pub struct Extra {
    /// Names of networks outside the cluster.
    pub networks: Networks,
    /// These networks, in the order of the file.
    pub cidrs: Vec<IpNet>,
    /// Names of workloads outside Kubernetes, by cgroup path.
    pub cgroups: Rules,
}
