//! What the agent says of where names come from.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::DescriptorEncoder;

use super::{counter, family};
use crate::expose::catalogue;

/// See above.
#[derive(Debug, Default)]
pub struct NamesOwn {
    /// The sources.
    pub sources: Vec<SourceRow>,
    /// Objects by kind.
    pub objects: Vec<(&'static str, u64)>,
    /// Objects that found no room, by kind.
    pub dropped: Vec<(&'static str, u64)>,
    /// Walks of the tree of cgroups, by outcome.
    pub cgroup_walks: Vec<(&'static str, u64)>,
    /// Questions to the connection tracking, by outcome.
    pub conntrack: Vec<(&'static str, u64)>,
    /// Names of outside addresses, and how many there may be.
    pub outside: (u64, u64),
    /// Nodes and their zones.
    pub zones: Vec<(String, String)>,
}

/// How a source is.
#[derive(Debug)]
pub struct SourceRow {
    /// Which.
    pub source: &'static str,
    /// The kind of object; empty where all come together.
    pub kind: &'static str,
    /// Why it is not up; `None` while it is.
    pub trouble: Option<String>,
    /// Since it last said anything; `None` when it never did.
    pub age: Option<Duration>,
    /// Failures by reason.
    pub failures: Vec<(&'static str, u64)>,
}

impl NamesOwn {
    pub(super) fn encode(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut up = family(to, &catalogue::NAMES_SOURCE_UP)?;
        for row in &self.sources {
            let reason = row.trouble.as_deref().unwrap_or_default();
            let labels = [("source", row.source), ("kind", row.kind), ("reason", reason)];
            up.encode_family(&labels)?.encode_gauge(&i64::from(row.trouble.is_none()))?;
        }
        let mut age = family(to, &catalogue::NAMES_SOURCE_AGE)?;
        for row in &self.sources {
            if let Some(seconds) = row.age {
                let labels = [("source", row.source), ("kind", row.kind)];
                age.encode_family(&labels)?.encode_gauge(&seconds.as_secs_f64())?;
            }
        }
        let mut failures = family(to, &catalogue::NAMES_SOURCE_FAILURES)?;
        for row in &self.sources {
            for (reason, count) in &row.failures {
                let labels = [("source", row.source), ("kind", row.kind), ("reason", *reason)];
                counter(&mut failures, &labels, *count)?;
            }
        }
        let mut objects = family(to, &catalogue::NAMES_OBJECTS)?;
        for (kind, count) in &self.objects {
            objects.encode_family(&[("kind", *kind)])?.encode_gauge(count)?;
        }
        let mut dropped = family(to, &catalogue::NAMES_OBJECTS_DROPPED)?;
        for (kind, count) in &self.dropped {
            counter(&mut dropped, &[("kind", *kind)], *count)?;
        }
        let mut walks = family(to, &catalogue::CGROUP_WALKS)?;
        for (outcome, count) in &self.cgroup_walks {
            counter(&mut walks, &[("outcome", *outcome)], *count)?;
        }
        let mut lookups = family(to, &catalogue::CONNTRACK_LOOKUPS)?;
        for (outcome, count) in &self.conntrack {
            counter(&mut lookups, &[("outcome", *outcome)], *count)?;
        }
        let (names, limit) = self.outside;
        family(to, &catalogue::OUTSIDE_NAMES)?.encode_gauge(&names)?;
        family(to, &catalogue::OUTSIDE_NAMES_LIMIT)?.encode_gauge(&limit)?;
        let mut zones = family(to, &catalogue::NAMES_NODE_ZONE)?;
        for (node, zone) in &self.zones {
            let labels = [("node", node.as_str()), ("zone", zone.as_str())];
            zones.encode_family(&labels)?.encode_gauge(&1)?;
        }
        Ok(())
    }
}
