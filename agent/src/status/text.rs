//! The status for people: the verdict first, then a section for each part, what is wrong at its beginning.

use std::fmt::Write as _;
use std::time::Duration;

use crate::expose::status::{Answer, Fullness, Lost, NodeReader, Probe, Source, Sweep};
use crate::terminal::{Look, Style, duration};

/// Columns where there is no terminal; lines with a reason are not cut there.
const WIDTH: usize = 80;
/// Columns of the titles.
const TITLE: usize = 10;
/// From this share of its entries on a table has a line of its own.
const NEARLY_FULL: f64 = 0.8;

/// A line of a section.
struct Line {
    look: Option<Look>,
    text: String,
}

/// Everything.
pub fn answer(answer: &Answer, style: Style) -> String {
    let Answer { version, kernel, node, running_seconds, impaired, .. } = answer;
    let running = duration(*running_seconds);
    let head = format!("netcause {version} on {node}, Linux {kernel}, running for {running}");
    let verdict = match impaired.as_slice() {
        [] => style.paint(Look::Bold, "all well"),
        impaired => style.paint(Look::Red, &format!("impaired: {}", impaired.join(", "))),
    };
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}\n{verdict}", cut(&head, style.width));
    let sections = [
        ("probes", probes(&answer.probes, style)),
        ("readers", readers(&answer.node_readers, style)),
        ("names", sources(&answer.name_sources)),
        ("lost", lost(&answer.lost)),
        ("tables", tables(answer, style)),
        ("sweep", vec![Line::plain(sweep(answer.last_sweep))]),
        ("findings", vec![findings(answer.findings_active)]),
    ];
    for (title, lines) in sections {
        for (index, Line { look, text: line }) in lines.iter().enumerate() {
            let title = if index == 0 { title } else { "" };
            let line = cut(line, style.width.map(|width| width.saturating_sub(TITLE)));
            let line = look.map_or_else(|| line.clone(), |look| style.paint(look, &line));
            let _ = writeln!(text, "{title:TITLE$}{line}");
        }
    }
    text
}

impl Line {
    fn plain(text: impl Into<String>) -> Self {
        Self { look: None, text: text.into() }
    }

    fn looking(look: Look, text: String) -> Self {
        Self { look: Some(look), text }
    }
}

fn probes(probes: &[Probe], style: Style) -> Vec<Line> {
    let down = probes.iter().filter(|probe| !probe.up).map(|probe| {
        let look = if probe.is_missing() { Look::Red } else { Look::Dim };
        Line::looking(look, down(&probe.probe, &probe.reason, &probe.message, &probe.without))
    });
    let up: Vec<&str> = probes.iter().filter(|probe| probe.up).map(|probe| probe.probe.as_str()).collect();
    let count = format!("{} of {} run", up.len(), probes.len());
    down.chain(listed(&count, &up, style)).collect()
}

fn readers(readers: &[NodeReader], style: Style) -> Vec<Line> {
    let down = readers.iter().filter(|reader| !reader.up).map(|reader| {
        Line::looking(Look::Red, down(&reader.reader, &reader.reason, &reader.message, &reader.without))
    });
    let up: Vec<&str> =
        readers.iter().filter(|reader| reader.up).map(|reader| reader.reader.as_str()).collect();
    let count = format!("{} of {} work", up.len(), readers.len());
    down.chain(listed(&count, &up, style)).collect()
}

fn sources(sources: &[Source]) -> Vec<Line> {
    if sources.is_empty() {
        return vec![Line::plain("no source is configured: names are those of cgroups")];
    }
    let line = |source: &Source| {
        let kind = if source.kind.is_empty() { String::new() } else { format!(" {}", source.kind) };
        let age = match source.age_seconds {
            Some(age) => format!(", last contact {} ago", time(age)),
            None => String::new(),
        };
        let failures = match source.failures.values().sum::<u64>() {
            0 => String::new(),
            count => format!(", failures: {count}"),
        };
        let (name, reason) = (&source.source, source.reason.as_deref().unwrap_or_default());
        if source.up {
            return Line::plain(format!("{name}{kind} up{age}{failures}"));
        }
        let message = one_line(source.message.as_deref().unwrap_or_default());
        Line::looking(Look::Red, format!("{name}{kind} down ({reason}){age}{failures}: {message}"))
    };
    let (up, down): (Vec<&Source>, Vec<&Source>) = sources.iter().partition(|source| source.up);
    down.into_iter().chain(up).map(line).collect()
}

fn lost(lost: &[Lost]) -> Vec<Line> {
    if lost.is_empty() {
        return vec![Line::plain("nothing")];
    }
    // Rows of one metric stand together.
    let metrics = lost.chunk_by(|one, next| one.metric == next.metric);
    let line = |rows: &[Lost]| {
        let what = rows.first().map_or("", |lost| lost.what.as_str());
        let count: u64 = rows.iter().map(|lost| lost.count).fold(0, u64::saturating_add);
        let of: Vec<String> = rows.iter().filter_map(of).collect();
        let of = if of.is_empty() { String::new() } else { format!(" ({})", of.join(", ")) };
        Line::looking(Look::Yellow, format!("{count} {what}{of}"))
    };
    metrics.map(line).collect()
}

/// The labels of a row, if it has any.
fn of(lost: &Lost) -> Option<String> {
    let labels: Vec<String> = lost.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    (!labels.is_empty()).then(|| labels.join(" "))
}

/// The fullest first; those that are nearly full have a line of their own.
fn tables(answer: &Answer, style: Style) -> Vec<Line> {
    let tables = answer.tables.iter().map(|table| (table.table.as_str(), table.fullness));
    let mut all: Vec<(&str, Fullness)> = tables.chain([("series", answer.series)]).collect();
    all.sort_by(|(_, a), (_, b)| share(*b).total_cmp(&share(*a)));
    let says = |(name, fullness): &(&str, Fullness)| {
        let Fullness { entries, limit } = fullness;
        format!("{name} {entries}/{limit}")
    };
    let (full, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, fullness)| share(*fullness) >= NEARLY_FULL);
    let nearly = |table: &(&str, Fullness)| {
        let percent = 100.0 * share(table.1);
        Line::looking(Look::Yellow, format!("{}: {percent:.0} % full", says(table)))
    };
    let others: Vec<String> = others.iter().map(says).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    full.iter().map(nearly).chain(wrapped(&others, style).into_iter().map(Line::plain)).collect()
}

fn share(Fullness { entries, limit }: Fullness) -> f64 {
    entries as f64 / limit.max(1) as f64
}

fn sweep(last: Option<Sweep>) -> String {
    let Some(Sweep { age_seconds, duration_seconds, connections }) = last else {
        return "none: open connections count when they close".to_owned();
    };
    let took = time(duration_seconds);
    format!("{} ago, in {took}: {connections} open connections", time(age_seconds))
}

fn findings(active: usize) -> Line {
    match active {
        0 => Line::plain("none is active"),
        active => Line::looking(Look::Yellow, format!("{active} active: netcause why")),
    }
}

/// What is down, and why.
fn down(name: &str, reason: &Option<String>, message: &Option<String>, without: &Option<String>) -> String {
    let [reason, message, without] =
        [reason, message, without].map(|text| one_line(text.as_deref().unwrap_or_default()));
    format!("{name} down ({reason}): {message}; {without}")
}

/// Names behind their count, in as many lines as they take.
fn listed(count: &str, names: &[&str], style: Style) -> Vec<Line> {
    if names.is_empty() {
        return vec![Line::plain(count)];
    }
    let first = format!("{count}: {}", names.first().copied().unwrap_or_default());
    let mut parts = vec![first.as_str()];
    parts.extend(names.iter().skip(1));
    wrapped(&parts, style).into_iter().map(Line::plain).collect()
}

/// Parts with commas between them, broken into lines that fit beside the titles.
fn wrapped(parts: &[&str], style: Style) -> Vec<String> {
    let width = style.width.unwrap_or(WIDTH).saturating_sub(TITLE);
    let mut lines: Vec<String> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let comma = if index + 1 < parts.len() { "," } else { "" };
        let part = format!("{part}{comma}");
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + part.chars().count() <= width => {
                line.push(' ');
                line.push_str(&part);
            }
            _ => lines.push(part),
        }
    }
    lines
}

/// Without line breaks: the verifier's messages have many.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cut(text: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if text.chars().count() > width => {
            text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
        }
        _ => text.to_owned(),
    }
}

/// A time that may be short.
fn time(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        1.0..10.0 => format!("{seconds:.1} s"),
        _ => duration(Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs()),
    }
}

#[cfg(test)]
mod tests;
