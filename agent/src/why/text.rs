//! Findings for people: the sentence first, then what proves it, then what to do.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::merged::{Asked, Merged, Said};
use crate::expose::findings::{Missing, PairRow, Row};
use crate::terminal::{Look, Style, duration};

/// Pairs that are named; of more, the number is.
const MOST_PAIRS: usize = 5;

/// Agents that did not answer, of which it is said why; of more, the number is.
const MOST_SILENT: usize = 10;

/// Everything.
pub fn answer(merged: &Merged, style: &Style) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for one in &merged.findings {
        let _ = writeln!(text, "{}", finding(one, style));
    }
    for one in &merged.insufficient {
        let _ =
            writeln!(text, "{} {}", style.paint(Look::Dim, "no cause can be named:"), one.symptom.symptom);
        missing(&mut text, &one.symptom.missing);
        let _ = writeln!(text);
    }
    if !merged.findings.iter().any(Said::is_active) {
        let whom = if merged.agents.len() > 1 { "an" } else { "the" };
        let _ = write!(text, "Nothing is wrong that {whom} agent can name. ");
    }
    watched(&mut text, &merged.agents);
    text
}

/// What was looked at, what could not be seen, and who did not answer.
fn watched(text: &mut String, agents: &[Asked]) {
    let looked: Vec<_> =
        agents.iter().filter_map(|agent| Some((agent.node.as_ref()?, agent.watched.as_ref()?))).collect();
    let edges: usize = looked.iter().map(|(_, watched)| watched.edges).sum();
    let seconds = looked.iter().map(|(_, watched)| watched.seconds).min().unwrap_or_default();
    let whom = match looked[..] {
        [(node, _)] => node.clone(),
        _ => format!("{} nodes", looked.len()),
    };
    let least = if looked.len() > 1 { "at least " } else { "" };
    let _ =
        writeln!(text, "Watched on {whom}: {edges} pairs of workloads, for {least}{}.", duration(seconds));
    let mut nodes_without: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (node, watched) in &looked {
        for Missing { signal, why } in &watched.missing {
            nodes_without.entry((signal, why)).or_default().push(node);
        }
    }
    for ((signal, why), nodes) in nodes_without {
        let of = if looked.len() > 1 { format!(" (on {})", several(&nodes)) } else { String::new() };
        let _ = writeln!(text, "  without {signal}: {why}{of}");
    }
    let silent: Vec<_> =
        agents.iter().filter_map(|agent| Some((&agent.agent, agent.error.as_ref()?))).collect();
    if silent.is_empty() {
        return;
    }
    let _ = writeln!(text, "No answer from {} of {} agents:", silent.len(), agents.len());
    for (agent, error) in silent.iter().take(MOST_SILENT) {
        let _ = writeln!(text, "  {agent}: {error}");
    }
    if silent.len() > MOST_SILENT {
        let _ = writeln!(text, "  and {} more", silent.len() - MOST_SILENT);
    }
}

/// Names; of many, how many more there are.
fn several(names: &[&str]) -> String {
    let more = names.len().saturating_sub(MOST_PAIRS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.iter().take(MOST_PAIRS).copied().collect::<Vec<_>>().join(", "))
}

/// One finding.
pub fn finding(said: &Said, style: &Style) -> String {
    let mut text = of_row(&said.row, style);
    let names = |nodes: &[String]| several(&nodes.iter().map(String::as_str).collect::<Vec<_>>());
    if !said.nodes.is_empty() {
        let _ = writeln!(text, "  seen from {}", names(&said.nodes));
    }
    for other in &said.otherwise {
        let _ = writeln!(
            text,
            "  {} sees less of it, and calls it {} ({} confidence): {}",
            names(&other.nodes),
            other.cause,
            other.confidence,
            other.summary
        );
    }
    text
}

fn of_row(finding: &Row, style: &Style) -> String {
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
    use crate::expose::findings::tests::lately;
    use crate::expose::findings::{Answer, Query};
    use crate::expose::lately::{Findings, Lately};

    fn said(lately: &Lately) -> String {
        answer(&Merged::of_one("", Answer::new(lately, &Query::default())), &Style::default())
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

    #[test]
    fn of_several_agents_it_is_said_which_see_it_and_which_do_not_answer() {
        let answer =
            |node: &str| Answer { node: node.to_owned(), ..Answer::new(&lately(None), &Query::default()) };
        let answers = ["n1", "n2"].map(|node| (node.to_owned(), Ok(answer(node))));
        let silent = ("n3".to_owned(), Err("no answer within 10 s".to_owned()));
        let text =
            super::answer(&Merged::new(answers.into_iter().chain([silent]).collect()), &Style::default());
        assert!(text.contains("\n  seen from n1, n2\n"), "{text}");
        assert!(text.contains("Watched on 2 nodes: 14 pairs of workloads, for at least 60 s.\n"), "{text}");
        assert!(text.ends_with("No answer from 1 of 3 agents:\n  n3: no answer within 10 s\n"), "{text}");
    }
}
