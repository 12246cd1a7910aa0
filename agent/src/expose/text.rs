//! Converts OpenMetrics to the Prometheus text format 0.0.4, which prometheus-client does not write and `promtool` requires.
//!
//! The samples are the same in both formats. The metadata differ: 0.0.4 has the name of the sample, not of the family
//! (`x_total`, `x_info`), has no `info` type, no `# UNIT` and no `# EOF`.

use std::io::{self, Write};

use super::lines::Rewrite;

/// Rewrites the metadata. The input is the output of prometheus-client: for each family `# HELP`, `# TYPE`, optionally
/// `# UNIT`, then its samples.
#[derive(Default)]
pub(super) struct FromOpenMetrics {
    /// The last `# HELP`: a family and its help, with a space between them.
    help: Option<String>,
}

impl Rewrite for FromOpenMetrics {
    fn line(&mut self, line: &str, to: &mut dyn Write) -> io::Result<()> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            self.help = Some(rest.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((family, kind)) = rest.split_once(' ') else { return Ok(()) };
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            let help = self.help.take();
            let help = help.as_deref().and_then(|help| help.split_once(' '));
            if let Some((_, help)) = help.filter(|(name, _)| *name == family) {
                writeln!(to, "# HELP {family}{suffix} {help}")?;
            }
            writeln!(to, "# TYPE {family}{suffix} {kind}")?;
        } else if !line.starts_with('#') {
            writeln!(to, "{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::rewritten;
    use super::*;

    #[test]
    fn metadata_is_rewritten_and_samples_are_not() {
        let open_metrics = "# HELP a Help of a.\n# TYPE a counter\na_total{x=\"# TYPE a \\\" b\"} 1\n\
            # HELP b_seconds Help of b.\n# TYPE b_seconds histogram\n# UNIT b_seconds seconds\nb_seconds_sum 0.5\n\
            # HELP c Help of c.\n# TYPE c info\nc_info{v=\"1\"} 1\n# EOF\n";
        let text = "# HELP a_total Help of a.\n# TYPE a_total counter\na_total{x=\"# TYPE a \\\" b\"} 1\n\
            # HELP b_seconds Help of b.\n# TYPE b_seconds histogram\nb_seconds_sum 0.5\n\
            # HELP c_info Help of c.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n";
        assert_eq!(rewritten(open_metrics, FromOpenMetrics::default()), text);
    }
}
