//! What was lost: the samples of the metrics that are declared to say so.

use std::collections::BTreeMap;

use super::Lost;
use crate::expose::series::{Loss, Sample, Value};
use crate::expose::snapshot::Snapshot;
use crate::expose::tables;

/// Everything that is not zero, in the order of the exposition.
pub(super) fn all(snapshot: &Snapshot) -> Vec<Lost> {
    let mut all = Vec::new();
    for family in tables::families(snapshot) {
        let Some(Loss { what, of }) = family.metric.loss else { continue };
        let mut counts: BTreeMap<BTreeMap<String, String>, u64> = BTreeMap::new();
        family.each(|sample| {
            let Value::Unsigned(count) = sample.value else { return };
            if count > 0 && of.is_none_or(|of| sample.labels().any(|(_, value)| value == of)) {
                let sum = counts.entry(labels(sample)).or_default();
                *sum = sum.saturating_add(count);
            }
        });
        let lost = |(labels, count)| Lost {
            what: what.to_owned(),
            count,
            metric: family.metric.sample_name(),
            labels,
        };
        all.extend(counts.into_iter().map(lost));
    }
    all
}

/// The labels of a sample, without those that name workloads: there may be thousands.
fn labels(sample: &Sample<'_>) -> BTreeMap<String, String> {
    let is_name = |name: &str| {
        ["source_", "destination_"].iter().any(|end| name.starts_with(end))
            || ["reporter", "via"].contains(&name)
    };
    let labels = sample.labels().filter(|(name, _)| !is_name(name));
    labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
