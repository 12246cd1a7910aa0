//! What a metric is: its name, its type and what it says.

/// Type of a metric, as in OpenMetrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its samples end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in bins; in protobuf a native histogram beside the classic one.
    Histogram,
    /// Facts as labels; its sample ends in `_info` and is always 1.
    Info,
}

/// One metric: its declaration.
#[derive(Debug)]
pub struct Metric {
    /// The name without the suffix that its kind adds. It ends in its unit, see [`Metric::unit`].
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The label that it has beside those of its table, if any.
    pub label: Option<&'static str>,
    /// What it counts, on which side, and when it does not count. No quotes and no backslashes: the two text formats
    /// escape them differently.
    pub help: &'static str,
    /// Set where it counts what was lost, folded or left out: `/api/v1/status` shows it then.
    pub loss: Option<Loss>,
}

/// What a metric says was lost.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// In a few words.
    pub what: &'static str,
    /// The value of the metric's own label that counts it; `None` when all do.
    pub of: Option<&'static str>,
}

impl Metric {
    /// The name as it is queried; of a histogram the name that `_bucket`, `_sum` and `_count` follow.
    #[must_use]
    pub fn sample_name(&self) -> String {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{}{suffix}", self.name)
    }

    /// The unit, which is the last word of the name; `None` for plain numbers.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"].into_iter().find(|unit| self.name.rsplit('_').next() == Some(unit))
    }
}
