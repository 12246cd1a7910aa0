//! Findings for people: the sentence first, then what proves it, then what to do.

use std::fmt::Write as _;

use crate::expose::findings::{Answer, Missing, PairRow, Row};
use crate::terminal::{Look, Style, duration};

/// Pairs that are named; of more, the number is.
const MOST_PAIRS: usize = 5;

/// Everything.
pub fn answer(answer: &Answer, style: &Style) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for one in &answer.findings {
        let _ = writeln!(text, "{}", finding(one, style));
    }
    for one in &answer.insufficient {
        let _ = writeln!(text, "{} {}", style.paint(Look::Dim, "no cause can be named:"), one.symptom);
        missing(&mut text, &one.missing);
        let _ = writeln!(text);
    }
    let watched = &answer.watched;
    let nothing = if answer.findings.iter().any(|finding| finding.until.is_none()) {
        ""
    } else {
        "Nothing is wrong that the agent can name. "
    };
    let _ = writeln!(
        text,
        "{nothing}Watched on {}: {} pairs of workloads, for {}.",
        answer.node,
        watched.edges,
        duration(watched.seconds)
    );
    missing(&mut text, &watched.missing);
    text
}

/// One finding.
pub fn finding(finding: &Row, style: &Style) -> String {
    let mut text = String::new();
    let is_over = finding.until.is_some();
    let look = match finding.confidence.as_str() {
        _ if is_over => Look::Dim,
        "high" => Look::Red,
        _ => Look::Yellow,
    };
    let _ = writeln!(text, "{}", style.paint(Look::Bold, &finding.summary));
    let when = match &finding.until {
        Some(until) => format!("{} to {until}, ended", finding.since),
        None => format!("since {}", finding.since),
    };
    let label = format!("{} ({} confidence)", finding.cause, finding.confidence);
    let _ = writeln!(
        text,
        "  {}  side: {}, to act: {}, {when}",
        style.paint(look, &label),
        finding.side,
        finding.owner
    );
    for signal in &finding.evidence {
        let _ = writeln!(text, "  + {}", signal.says);
    }
    for signal in &finding.counter_evidence {
        let _ = writeln!(text, "  - {}", signal.says);
    }
    for excluded in &finding.excluded {
        let _ = writeln!(text, "  not {}: {}", excluded.cause, excluded.because);
    }
    missing(&mut text, &finding.missing_evidence);
    if finding.affected_total > 1 {
        let pairs: Vec<String> = finding.affected.iter().take(MOST_PAIRS).map(pair).collect();
        let more = finding.affected_total.saturating_sub(pairs.len());
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        let _ = writeln!(text, "  affects {}{more}", pairs.join(", "));
    }
    if !is_over {
        let _ = writeln!(text, "  next: {}", finding.next_step.text);
        let _ = writeln!(text, "        {}", style.paint(Look::Bold, &finding.next_step.command));
    }
    text
}

fn missing(text: &mut String, missing: &[Missing]) {
    for Missing { signal, why } in missing {
        let _ = writeln!(text, "  without {signal}: {why}");
    }
}

fn pair(pair: &PairRow) -> String {
    let name = |namespace: &str, workload: &str| match namespace {
        "" => workload.to_owned(),
        namespace => format!("{namespace}/{workload}"),
    };
    let (source, destination) = (&pair.source, &pair.destination);
    let port = destination.port.map_or_else(String::new, |port| format!(":{port}"));
    format!(
        "{} -> {}{port}",
        name(&source.namespace, &source.workload),
        name(&destination.namespace, &destination.workload)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expose::findings::Query;
    use crate::expose::findings::tests::lately;
    use crate::expose::lately::{Findings, Lately};

    fn said(lately: &Lately) -> String {
        answer(&Answer::new(lately, &Query::default()), &Style::default())
    }

    #[test]
    fn the_sentence_comes_first_and_the_command_last() {
        assert_eq!(
            said(&lately(None)),
            "packets are lost\n  \
             path_loss (high confidence)  side: path, to act: network, since 2026-11-29T10:00:00Z\n  \
             + 2.3 % were sent again\n  \
             not reordering: few duplicates\n  \
             without packet_drops: no reasons\n  \
             next: See\n        \
             ss -tin\n\n\
             Watched on node-17: 7 pairs of workloads, for 60 s.\n"
        );
    }

    #[test]
    fn what_has_ended_needs_no_next_step() {
        let text = said(&lately(Some(1_795_946_430)));
        assert!(text.contains("2026-11-29T10:00:00Z to 2026-11-29T10:00:30Z, ended"), "{text}");
        assert!(
            text.contains("Nothing is wrong that the agent can name.") && !text.contains("next:"),
            "{text}"
        );
    }

    #[test]
    fn without_findings_it_says_what_it_looked_at_and_what_it_could_not_see() {
        let missing = [("packet_drops", "this kernel has no reasons".to_owned())].into();
        let findings = Findings { missing, node: "node-17".to_owned(), ..Findings::default() };
        let text = said(&Lately { findings, ..Lately::default() });
        assert_eq!(
            text,
            "Nothing is wrong that the agent can name. Watched on node-17: 0 pairs of workloads, for 0 s.\n  \
             without packet_drops: this kernel has no reasons\n"
        );
    }
}
