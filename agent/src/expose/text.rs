//! Converts OpenMetrics to the Prometheus text format 0.0.4, which prometheus-client does not write and `promtool` requires.
//!
//! The samples are the same in both formats. The metadata differ: 0.0.4 has the name of the sample, not of the family
//! (`x_total`, `x_info`), has no `info` type, no `# UNIT` and no `# EOF`.

use std::fmt::Write as _;

/// Rewrites the metadata. The input is the output of prometheus-client: for each family `# HELP`, `# TYPE`, optionally
/// `# UNIT`, then its samples.
pub(super) fn from_open_metrics(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((family, kind)) = rest.split_once(' ') else { continue };
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some((_, help)) = help.take().filter(|(name, _)| *name == family) {
                push(&mut text, format_args!("# HELP {family}{suffix} {help}\n"));
            }
            push(&mut text, format_args!("# TYPE {family}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_rewritten_and_samples_are_not() {
        let open_metrics = "# HELP a Help of a.\n# TYPE a counter\na_total{x=\"# TYPE a \\\" b\"} 1\n\
            # HELP b_seconds Help of b.\n# TYPE b_seconds histogram\n# UNIT b_seconds seconds\nb_seconds_sum 0.5\n\
            # HELP c Help of c.\n# TYPE c info\nc_info{v=\"1\"} 1\n# EOF\n";
        let text = "# HELP a_total Help of a.\n# TYPE a_total counter\na_total{x=\"# TYPE a \\\" b\"} 1\n\
            # HELP b_seconds Help of b.\n# TYPE b_seconds histogram\nb_seconds_sum 0.5\n\
            # HELP c_info Help of c.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n";
        assert_eq!(from_open_metrics(open_metrics), text);
    }
}
