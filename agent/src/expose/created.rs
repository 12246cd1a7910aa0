//! Adds the start of each counter and histogram (`_created`) to OpenMetrics, which prometheus-client does not write.
//!
//! OpenMetrics 1.0, metric types Counter and Histogram: `_created` is a sample of the family, with the labels of the series.

use std::fmt::Write as _;

/// Adds the starts (seconds since 1970; `None` is left out) to the output of prometheus-client. They are in the order of
/// its series: one for each sample of a counter, one for each histogram.
pub(super) fn with_starts(open_metrics: &str, starts: Vec<Option<u32>>) -> String {
    let mut text = String::with_capacity(open_metrics.len() + open_metrics.len() / 4);
    let mut starts = starts.into_iter();
    let (mut family, mut kind, mut labels) = ("", "", "");
    for line in open_metrics.lines() {
        text.push_str(line);
        text.push('\n');
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            (family, kind) = rest.split_once(' ').unwrap_or_default();
        }
        let Some(sample) = line.strip_prefix(family).filter(|_| !line.starts_with('#')) else { continue };
        let of = |suffix: &str| Some(sample.strip_prefix(suffix)?.rsplit_once(' ')?.0);
        let series_ends = match kind {
            "counter" => {
                labels = of("_total").unwrap_or_default();
                true
            }
            // Sum, count, then the buckets, of which the infinite one is the last.
            "histogram" => {
                labels = of("_count").unwrap_or(labels);
                sample.starts_with("_bucket{le=\"+Inf\"")
            }
            _ => false,
        };
        if series_ends && let Some(start) = starts.next().flatten() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{family}_created{labels} {start}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_series_gets_its_own_start() {
        let open_metrics = "# TYPE a counter\na_total{x=\"1 } 2\"} 5\na_total{x=\"2\"} 6\na_total{x=\"3\"} 7\n\
            # TYPE b_seconds histogram\n# UNIT b_seconds seconds\nb_seconds_sum{x=\"1\"} 0.5\nb_seconds_count{x=\"1\"} 1\n\
            b_seconds_bucket{le=\"1.0\",x=\"1\"} 1\nb_seconds_bucket{le=\"+Inf\",x=\"1\"} 1\n\
            # TYPE c gauge\nc{x=\"1\"} 1\n# TYPE d counter\nd_total 9\n# EOF\n";
        let text = with_starts(open_metrics, vec![Some(10), None, Some(30), Some(40), Some(50)]);
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
