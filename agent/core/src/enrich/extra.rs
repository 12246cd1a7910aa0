//! Names that come from configuration instead of an API.

use ipnet::IpNet;

use super::cgroup::rules::Rules;
use super::networks::Networks;

/// Names that are no object of Kubernetes: networks outside the cluster and rules for cgroups.
#[derive(Debug, Default)]
pub struct Extra {
    /// Names of networks outside the cluster.
    pub networks: Networks,
    /// All of these networks.
    pub cidrs: Vec<IpNet>,
    /// Names of what runs outside Kubernetes: the first rule that fits counts.
    pub cgroups: Rules,
}
