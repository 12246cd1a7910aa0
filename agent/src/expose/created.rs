//! Adds the start of each counter and histogram (`_created`) to OpenMetrics, which prometheus-client does not write.
//!
//! OpenMetrics 1.0, metric types Counter and Histogram: `_created` is a sample of the family, with the labels of the series.

use std::io::{self, Write};

use super::lines::Rewrite;

/// Adds the starts (seconds since 1970; `None` is left out) to the output of prometheus-client. They are in the order of
/// its series: one for each sample of a counter, one for each histogram.
pub(super) struct WithStarts {
    starts: std::vec::IntoIter<Option<u32>>,
    family: String,
    kind: String,
    /// Of the histogram whose samples are being written.
    labels: String,
}

impl WithStarts {
    pub fn new(starts: Vec<Option<u32>>) -> Self {
        Self { starts: starts.into_iter(), family: String::new(), kind: String::new(), labels: String::new() }
    }
}

impl Rewrite for WithStarts {
    fn line(&mut self, line: &str, to: &mut dyn Write) -> io::Result<()> {
        let Self { starts, family, kind, labels } = self;
        writeln!(to, "{line}")?;
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of_kind) = rest.split_once(' ').unwrap_or_default();
            name.clone_into(family);
            of_kind.clone_into(kind);
        }
        let sample = line.strip_prefix(family.as_str()).filter(|_| !line.starts_with('#'));
        let Some(sample) = sample else { return Ok(()) };
        let of = |suffix: &str| Some(sample.strip_prefix(suffix)?.rsplit_once(' ')?.0);
        let series_ends = match kind.as_str() {
            "counter" => {
                of("_total").unwrap_or_default().clone_into(labels);
                true
            }
            // Sum, count, then the buckets, of which the infinite one is the last.
            "histogram" => {
                if let Some(of_count) = of("_count") {
                    of_count.clone_into(labels);
                }
                sample.starts_with("_bucket{le=\"+Inf\"")
            }
            _ => false,
        };
        if series_ends && let Some(start) = starts.next().flatten() {
            writeln!(to, "{family}_created{labels} {start}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::rewritten;
    use super::*;

    #[test]
    fn each_series_gets_its_own_start() {
        let open_metrics = "# TYPE a counter\na_total{x=\"1 } 2\"} 5\na_total{x=\"2\"} 6\na_total{x=\"3\"} 7\n\
            # TYPE b_seconds histogram\n# UNIT b_seconds seconds\nb_seconds_sum{x=\"1\"} 0.5\nb_seconds_count{x=\"1\"} 1\n\
            b_seconds_bucket{le=\"1.0\",x=\"1\"} 1\nb_seconds_bucket{le=\"+Inf\",x=\"1\"} 1\n\
            # TYPE c gauge\nc{x=\"1\"} 1\n# TYPE d counter\nd_total 9\n# EOF\n";
        let text =
            rewritten(open_metrics, WithStarts::new(vec![Some(10), None, Some(30), Some(40), Some(50)]));
        let added: Vec<_> =
            text.lines().filter(|line| !open_metrics.lines().any(|known| known == *line)).collect();
        assert_eq!(
            added,
            [
                "a_created{x=\"1 } 2\"} 10",
                "a_created{x=\"3\"} 30",
                "b_seconds_created{x=\"1\"} 40",
                "d_created 50"
            ]
        );
        assert!(text.contains("+Inf\",x=\"1\"} 1\nb_seconds_created") && text.ends_with("# EOF\n"));
    }
}
