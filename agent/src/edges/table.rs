//! A table of pairs that fits a terminal.

use std::fmt::Write as _;

use crate::expose::edges::{Answer, Labels, Row};
use crate::terminal::{Look, Style};

/// The columns of numbers: title and width.
const NUMBERS: [(&str, usize); 7] =
    [("SENT/S", 7), ("RECV/S", 7), ("CONN/S", 7), ("FAIL/S", 7), ("RETR%", 6), ("RTT", 7), ("ANSWER", 7)];
/// The least that a pair's names take.
const LEAST_NAMES: usize = 24;
/// From this share of segments sent again on a row is coloured.
const NOTABLE_SHARE: f64 = 0.01;

/// The table as text, cut where the terminal ends.
#[must_use]
pub fn table(answer: &Answer, style: &Style) -> String {
    // The line before, the titles, and the one where the cursor is.
    let room = style.height.map_or(usize::MAX, |height| height.saturating_sub(4).max(1));
    let rows = answer.edges.get(..room).unwrap_or(&answer.edges);
    let numbers: usize = NUMBERS.iter().map(|(_, width)| width + 1).sum();
    let names: Vec<String> = rows.iter().map(|row| pair(&row.labels)).collect();
    let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or_default().max(LEAST_NAMES);
    let width = style.width.map_or(widest, |width| width.saturating_sub(numbers).clamp(LEAST_NAMES, widest));

    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", head(answer, rows.len()));
    let titles: String = NUMBERS.iter().map(|(title, width)| format!(" {title:>width$}")).collect();
    let _ = writeln!(text, "{}", style.paint(Look::Bold, &format!("{:width$}{titles}", "PAIR")));
    for (row, name) in rows.iter().zip(&names) {
        let numbers: String = values(row, answer)
            .iter()
            .zip(NUMBERS)
            .map(|(value, (_, width))| format!(" {value:>width$}"))
            .collect();
        let line = format!("{:width$}{numbers}", cut(name, width));
        let line = look(row).map_or_else(|| line.clone(), |look| style.paint(look, &line));
        let _ = writeln!(text, "{line}");
    }
    text
}

fn head(answer: &Answer, shown: usize) -> String {
    let Answer { covered_seconds, longest_window_seconds, edges_total, sort, .. } = answer;
    let windows = format!("windows of up to {longest_window_seconds:.0} s");
    if *edges_total == 0 {
        return format!("nothing counted in the last {covered_seconds:.0} s ({windows})");
    }
    let most = if shown < *edges_total { format!("{shown} of ") } else { String::new() };
    format!("last {covered_seconds:.0} s ({windows}), {most}{edges_total} pairs, most {sort} first")
}

fn pair(labels: &Labels) -> String {
    let end = |namespace: &str, workload: &str| match namespace {
        "" => workload.to_owned(),
        namespace => format!("{namespace}/{workload}"),
    };
    let source = end(&labels.source_namespace, &labels.source_workload);
    let destination = end(&labels.destination_namespace, &labels.destination_workload);
    let mark = if labels.reporter == "source" { '<' } else { '>' };
    let port = if labels.destination_port.is_empty() {
        String::new()
    } else {
        format!(":{}", labels.destination_port)
    };
    let via = if labels.via.is_empty() { String::new() } else { format!(" via {}", labels.via) };
    format!("{mark} {source} -> {destination}{port}{via}")
}

/// With an ellipsis where it is longer; the end stays, since that has the port.
fn cut(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let (head, tail) = (width.saturating_sub(1) / 2, width.saturating_sub(1).div_ceil(2));
    text.chars().take(head).chain(['…']).chain(text.chars().skip(length - tail)).collect()
}

fn look(row: &Row) -> Option<Look> {
    let share = row.tcp.as_ref().and_then(|tcp| tcp.retransmitted_share).unwrap_or_default();
    if row.failures() > 0 { Some(Look::Red) } else { (share >= NOTABLE_SHARE).then_some(Look::Yellow) }
}

fn values(row: &Row, answer: &Answer) -> [String; 7] {
    let [sent, received] = row.bytes_per_second().map(short);
    let tcp = row.tcp.as_ref();
    let rate = |rate: Option<f64>| rate.filter(|rate| *rate > 0.0).map_or_else(none, short);
    let failures = row.failures() as f64 / answer.covered_seconds.max(1.0);
    let share = tcp.and_then(|tcp| tcp.retransmitted_share);
    let mean = |seconds: Option<f64>| seconds.map_or_else(none, time);
    [
        sent,
        received,
        rate(tcp.and_then(|tcp| tcp.connections_opened_per_second)),
        rate(Some(failures)),
        share.map_or_else(none, |share| format!("{:.2}", 100.0 * share)),
        mean(tcp.and_then(|tcp| tcp.rtt_mean_seconds)),
        mean(tcp.and_then(|tcp| tcp.response_mean_seconds)),
    ]
}

fn none() -> String {
    "-".to_owned()
}

/// A number in at most six characters.
fn short(number: f64) -> String {
    let (mut number, mut unit) = (number, "");
    for larger in ["k", "M", "G", "T"] {
        if number < 1000.0 {
            break;
        }
        (number, unit) = (number / 1000.0, larger);
    }
    if unit.is_empty() && number > 0.0 && number < 0.01 {
        return "<0.01".to_owned();
    }
    let decimals = if number == 0.0 || number >= 100.0 {
        0
    } else if number >= 10.0 {
        1
    } else {
        2
    };
    format!("{number:.decimals$}{unit}")
}

fn time(seconds: f64) -> String {
    match seconds {
        ..1e-3 => format!("{:.0}us", seconds * 1e6),
        1e-3..1.0 => format!("{:.1}ms", seconds * 1e3),
        _ => format!("{seconds:.2}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        let row = |reporter: &str, source: &str, tcp: &str| {
            format!(
                r#"{{"labels":{{"reporter":"{reporter}","source_namespace":"shop","source_workload":"{source}",
                "destination_namespace":"shop","destination_workload":"payments","destination_service":"",
                "destination_port":"8080","via":""}},"tcp":{tcp},"udp":null,"dns":null}}"#
            )
        };
        let tcp = |share: &str, failures: &str| {
            format!(
                r#"{{"sent_bytes":7380000,"sent_bytes_per_second":123000.0,"received_bytes":300,
                "received_bytes_per_second":5.0,"sent_segments":100,"received_segments":1,"retransmitted_segments":2,
                "retransmitted_share":{share},"connections_opened":30,"connections_opened_per_second":0.5,
                "connections_closed":3,"connect_failures":{{{failures}}},"connect_failures_per_second":0.0,
                "connect_mean_seconds":null,"resets":{{"sent":0,"received":0}},"rtt_mean_seconds":0.0012,
                "rtt_observations":5,"waiting_connections":{{"peer_application":0.9}},"response_mean_seconds":0.45,
                "responses":2}}"#
            )
        };
        let rows = [
            row("source", "checkout", &tcp("0.02", "")),
            row("destination", "checkout-with-a-name-that-is-longer", &tcp("null", r#""refused":120"#)),
        ];
        let text = format!(
            r#"{{"read_at":1,"requested_seconds":60,"covered_seconds":60,"windows":9,"longest_window_seconds":10,
            "reading_interval_seconds":10,"sort":"bytes","edges_total":3,"edges":[{}]}}"#,
            rows.join(",")
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_table_shows_rates() {
        let expected = "\
last 60 s (windows of up to 10 s), 2 of 3 pairs, most bytes first
PAIR                                                               SENT/S  RECV/S  CONN/S  FAIL/S  RETR%     RTT  ANSWER
< shop/checkout -> shop/payments:8080                                123k    5.00    0.50       -   2.00   1.2ms  450.0ms
> shop/checkout-with-a-name-that-is-longer -> shop/payments:8080     123k    5.00    0.50    2.00      -   1.2ms  450.0ms
";
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let table = table(&answer(), &Style::default());
        assert_eq!(squeeze(&table), squeeze(expected), "{table}");
        let widths: Vec<usize> = table.lines().skip(1).map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
    }

    #[test]
    fn a_table_fits_its_terminal() {
        let style = Style { width: Some(80), height: Some(5), has_colours: false };
        let text = table(&answer(), &style);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
        let style = Style { height: None, ..style };
        let text = table(&answer(), &style);
        assert!(text.contains('…') && text.contains(":8080"), "{text}");
        assert!(!text.contains('\x1b'));
        let coloured = table(&answer(), &Style { has_colours: true, ..style });
        let lines: Vec<&str> = coloured.lines().skip(1).collect();
        for (line, colour) in lines.iter().zip(["\x1b[1m", "\x1b[33m", "\x1b[31m"]) {
            assert!(line.starts_with(colour) && line.ends_with("\x1b[0m"), "{coloured}");
        }
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (0.001, "<0.01"),
            (0.5, "0.50"),
            (12.34, "12.3"),
            (999.0, "999"),
            (1e6, "1.00M"),
            (2.5e13, "25.0T"),
        ] {
            assert_eq!(short(number), text);
        }
        assert_eq!([1e-5, 0.0125, 2.5].map(time), ["10us", "12.5ms", "2.50s"]);
    }
}
