//! The text formats of Prometheus: a writer of the tables.
//!
//! Both have the same samples. Their metadata differ: 0.0.4 has the name of the sample, not of the family (`x_total`, `x_info`),
//! has no `info` type, no `# UNIT` and no `# EOF`.

use std::fmt::{self, Write as _};

use super::births::{Reader, grows};
use super::series::{Distribution, Family, Kind, Sample, Value};
use super::snapshot::Snapshot;
use super::tables;

/// A text format of the exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics {
        /// With the start of each counter and histogram (`_created`).
        created: bool,
    },
    /// Prometheus text 0.0.4.
    Prometheus,
}

impl Format {
    /// The value of the header Content-Type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics { .. } => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes the exposition as this reader gets it.
#[must_use]
pub fn render(snapshot: &Snapshot, format: Format, reader: Reader<'_>) -> String {
    let mut writer = Writer { text: String::new(), labels: String::new(), format, reader };
    for family in tables::families(snapshot) {
        // Writing to a string cannot fail.
        let _ = writer.family(&family);
    }
    if format != Format::Prometheus {
        writer.text.push_str("# EOF\n");
    }
    writer.text
}

struct Writer<'a> {
    text: String,
    /// Those of the sample that is being written, with a comma after each.
    labels: String,
    format: Format,
    reader: Reader<'a>,
}

impl Writer<'_> {
    fn family(&mut self, family: &Family<'_>) -> fmt::Result {
        let (name, help) = (family.metric.name, family.metric.help);
        let (suffix, kind) = match family.metric.kind {
            Kind::Counter => ("_total", "counter"),
            Kind::Gauge => ("", "gauge"),
            Kind::Histogram => ("", "histogram"),
            Kind::Info => ("_info", "info"),
        };
        match self.format {
            Format::Prometheus => {
                let kind = if kind == "info" { "gauge" } else { kind };
                write!(self.text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n")?;
            }
            Format::OpenMetrics { .. } => {
                write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n")?;
                if let Some(unit) = family.metric.unit() {
                    writeln!(self.text, "# UNIT {name} {unit}")?;
                }
            }
        }
        let grows = grows(family.metric.kind);
        let mut result = Ok(());
        family.each(|sample| {
            result = result.and_then(|()| self.sample(name, suffix, grows, sample));
        });
        result
    }

    fn sample(&mut self, name: &str, suffix: &str, grows: bool, sample: &Sample<'_>) -> fmt::Result {
        self.labels.clear();
        for (label, value) in sample.labels() {
            let begin = if self.labels.is_empty() { "" } else { "," };
            write!(self.labels, "{begin}{label}=\"")?;
            escape(value, &mut self.labels);
            self.labels.push('"');
        }
        let is_zero = grows && self.reader.sees_zero(sample);
        match sample.value {
            Value::Distribution(distribution) => self.histogram(name, &distribution, is_zero)?,
            _ if is_zero => self.line(name, suffix, 0_u64)?,
            Value::Unsigned(value) => self.line(name, suffix, value)?,
            Value::Signed(value) => self.line(name, suffix, value)?,
            Value::Real(value) => self.line(name, suffix, Real(value))?,
        }
        if grows
            && self.format == (Format::OpenMetrics { created: true })
            && let Some(start) = self.reader.start(sample)
        {
            self.line(name, "_created", start)?;
        }
        Ok(())
    }

    fn line(&mut self, name: &str, suffix: &str, value: impl fmt::Display) -> fmt::Result {
        let Self { text, labels, .. } = self;
        if labels.is_empty() {
            writeln!(text, "{name}{suffix} {value}")
        } else {
            writeln!(text, "{name}{suffix}{{{labels}}} {value}")
        }
    }

    fn histogram(&mut self, name: &str, distribution: &Distribution<'_>, is_zero: bool) -> fmt::Result {
        let Distribution { bounds, counts, sum } = *distribution;
        let shown = |count: u64| if is_zero { 0 } else { count };
        self.line(name, "_sum", Real(if is_zero { 0.0 } else { sum }))?;
        self.line(name, "_count", shown(counts.iter().sum()))?;
        let Self { text, labels, .. } = self;
        let begin = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        for (bound, count) in bounds.iter().copied().chain([f64::INFINITY]).zip(counts) {
            below += shown(*count);
            writeln!(text, "{name}_bucket{{le=\"{}\"{begin}{labels}}} {below}", Real(bound))?;
        }
        Ok(())
    }
}

/// A number that always has a fraction, so that the label `le` has one form in both formats.
struct Real(f64);

impl fmt::Display for Real {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            f64::INFINITY => to.write_str("+Inf"),
            whole if whole.fract() == 0.0 => write!(to, "{whole:.1}"),
            real => write!(to, "{real}"),
        }
    }
}

fn escape(value: &str, to: &mut String) {
    let mut rest = value;
    while let Some(at) = rest.find(['"', '\\', '\n']) {
        let (plain, special) = rest.split_at(at);
        to.push_str(plain);
        to.push_str(match special.as_bytes().first() {
            Some(b'"') => "\\\"",
            Some(b'\\') => "\\\\",
            _ => "\\n",
        });
        rest = special.get(1..).unwrap_or_default();
    }
    to.push_str(rest);
}
