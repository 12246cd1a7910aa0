//! What was said of a case against what the case did. It knows nothing of pods and programs: names, times and truth.

use super::case::Truth;
use crate::lab::findings::Finding;

/// A pair of the case.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// What the agent may call the ends.
    pub(super) client: Vec<String>,
    pub(super) server: Vec<String>,
    pub(super) port: u16,
    /// The numbers of the acts that hurt it.
    pub(super) hurt_by: Vec<usize>,
}

/// What was found at one time: seconds since the case began, and what was active of its pods.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) at: f64,
    pub(super) active: Vec<Finding>,
}

/// When a case did what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// What is wrong began, and ended, in seconds since the case began.
    pub(super) began: f64,
    pub(super) ended: f64,
}

/// What was said of one act.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Verdict {
    /// Seconds until it was named at medium confidence or better.
    pub(super) named: Option<f64>,
    /// The same at any confidence.
    pub(super) seen: Option<f64>,
    /// The confidence that it was named with at last; empty if it was not.
    pub(super) confidence: String,
    /// Seconds until it was over, from the end of the fault on; `None` if it was not named, or not over.
    pub(super) over: Option<f64>,
}

/// What a finding is, against the truth; for several acts, the first of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Right,
    /// The right cause of a wider or another subject.
    WrongSubject,
    WrongSide,
    /// Another cause than the case made, or of one that the case did not hurt.
    WrongCause,
    /// Before anything was wrong, or in a healthy case.
    False,
}

/// A finding of the case, as it was at its surest.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) confidence: String,
    /// Seconds since the case began.
    pub(super) at: f64,
    pub(super) summary: String,
}

/// Judges a case: each act, and all that was said.
pub(super) fn judge(
    truths: &[Truth],
    pairs: &[Pair],
    looks: &[Look],
    times: Times,
) -> (Vec<Verdict>, Vec<Said>) {
    let verdicts = (0..truths.len()).map(|number| verdict(truths, number, pairs, looks, times)).collect();
    (verdicts, said(truths, pairs, looks, times))
}

fn verdict(truths: &[Truth], number: usize, pairs: &[Pair], looks: &[Look], times: Times) -> Verdict {
    let of_it = |look: &Look| -> Option<String> {
        let right =
            look.active.iter().filter(|finding| kind_of(finding, truths, number, pairs) == Kind::Right);
        right.map(|finding| finding.confidence().to_owned()).max_by_key(|confidence| rank(confidence))
    };
    let mut verdict = Verdict::default();
    for look in looks.iter().filter(|look| look.at >= times.began) {
        let Some(confidence) = of_it(look) else { continue };
        if rank(&confidence) > rank(&verdict.confidence) {
            verdict.confidence.clone_from(&confidence);
        }
        if look.at <= times.ended && verdict.seen.is_none() {
            verdict.seen = Some(look.at - times.began);
        }
        if look.at <= times.ended && rank(&confidence) >= 2 && verdict.named.is_none() {
            verdict.named = Some(look.at - times.began);
        }
    }
    let is_over = verdict.named.is_some() && looks.last().is_some_and(|look| of_it(look).is_none());
    let last = looks.iter().rev().find(|look| of_it(look).is_some());
    verdict.over = last.filter(|_| is_over).map(|last| (last.at - times.ended).max(0.0));
    verdict
}

/// Each finding once, as it was at its surest.
fn said(truths: &[Truth], pairs: &[Pair], looks: &[Look], times: Times) -> Vec<Said> {
    let mut all: Vec<Said> = Vec::new();
    for look in looks {
        for finding in &look.active {
            let of_acts = (0..truths.len()).map(|number| kind_of(finding, truths, number, pairs));
            let mut kind = of_acts.min().unwrap_or(Kind::False);
            if look.at < times.began || truths.iter().all(|truth| truth.causes.is_empty()) {
                kind = Kind::False;
            }
            let new = Said {
                id: finding.id().to_owned(),
                kind,
                confidence: finding.confidence().to_owned(),
                at: look.at,
                summary: finding.summary().to_owned(),
            };
            match all.iter_mut().find(|known| known.id == new.id) {
                Some(known) if rank(&new.confidence) > rank(&known.confidence) => *known = new,
                Some(_) => {}
                None => all.push(new),
            }
        }
    }
    all
}

/// What a finding is, for one act.
fn kind_of(finding: &Finding, truths: &[Truth], number: usize, pairs: &[Pair]) -> Kind {
    let truth = &truths[number];
    if !truth.causes.contains(&finding.cause()) {
        return Kind::WrongCause;
    }
    let is_hurt = |pair: &&Pair| pair.hurt_by.contains(&number);
    let [source, destination] = [finding.source(), finding.destination()];
    let has = |names: &[String], name: &str| names.iter().any(|known| known == name);
    let is_port = |pair: &Pair| finding.port().is_none_or(|port| port == pair.port);
    let of_pair = |pair: &Pair| has(&pair.client, source) && has(&pair.server, destination) && is_port(pair);
    let of_server = |pair: &Pair| has(&pair.server, destination) && is_port(pair);
    let of_workload = |pair: &Pair| has(&pair.client, destination) || has(&pair.server, destination);
    let all_of = |is_of: &dyn Fn(&Pair) -> bool| {
        let mut of = pairs.iter().filter(|pair| is_of(pair)).peekable();
        of.peek().is_some() && of.all(|pair| is_hurt(&pair))
    };
    let is_subject = match finding.kind() {
        "edge" => pairs.iter().filter(is_hurt).any(of_pair),
        "listener" | "dns_server" => all_of(&of_server),
        "workload" if truth.of_workload => pairs.iter().filter(is_hurt).any(of_workload),
        "workload" => all_of(&of_workload),
        _ => false,
    };
    match (truth.sides.contains(&finding.side()), is_subject) {
        (true, true) => Kind::Right,
        (false, _) => Kind::WrongSide,
        (true, false) => Kind::WrongSubject,
    }
}

/// How sure: 1 to 3, and 0 for nothing.
pub(super) fn rank(confidence: &str) -> u8 {
    match confidence {
        "low" => 1,
        "medium" => 2,
        "high" => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TRUTH: Truth = Truth { causes: &["path_loss"], sides: &["path"], of_workload: false };
    const TIMES: Times = Times { began: 30.0, ended: 70.0 };

    fn pair(client: &str, server: &str, hurt_by: &[usize]) -> Pair {
        let names = |name: &str| vec![name.to_owned()];
        Pair { client: names(client), server: names(server), port: 80, hurt_by: hurt_by.to_vec() }
    }

    fn edge(cause: &str, side: &str, [source, destination]: [&str; 2], confidence: &str) -> Finding {
        let subject = json!({
            "kind": "edge", "source": {"workload": source}, "destination": {"workload": destination, "port": 80},
        });
        finding(cause, side, &subject, confidence)
    }

    fn finding(cause: &str, side: &str, subject: &serde_json::Value, confidence: &str) -> Finding {
        let id = format!("{cause}/{subject}");
        let value =
            json!({"id": id, "cause": cause, "side": side, "confidence": confidence, "subject": subject});
        value.into()
    }

    fn looks(all: &[(f64, &[Finding])]) -> Vec<Look> {
        all.iter().map(|(at, active)| Look { at: *at, active: active.to_vec() }).collect()
    }

    fn kinds(found: &Finding, pairs: &[Pair]) -> Kind {
        let (_, said) = judge(&[TRUTH], pairs, &looks(&[(40.0, std::slice::from_ref(found))]), TIMES);
        said[0].kind
    }

    #[test]
    fn times_count_from_what_the_case_did() {
        let pairs = [pair("a", "b", &[0])];
        let [low, high] = ["low", "high"].map(|confidence| edge("path_loss", "path", ["a", "b"], confidence));
        let seen = looks(&[
            (20.0, &[]),
            (35.0, std::slice::from_ref(&low)),
            (42.0, std::slice::from_ref(&high)),
            (80.0, std::slice::from_ref(&high)),
            (81.0, &[]),
        ]);
        let (verdicts, said) = judge(&[TRUTH], &pairs, &seen, TIMES);
        assert_eq!((verdicts[0].seen, verdicts[0].named), (Some(5.0), Some(12.0)));
        assert_eq!(verdicts[0].over, Some(10.0));
        assert_eq!(verdicts[0].confidence, "high");
        assert_eq!((said.len(), said[0].kind, said[0].confidence.as_str()), (1, Kind::Right, "high"));
        // Still there at the end: not over.
        let (verdicts, _) = judge(&[TRUTH], &pairs, &seen[..4], TIMES);
        assert_eq!(verdicts[0].over, None);
    }

    #[test]
    fn cause_side_and_subject_have_to_be_right() {
        let pairs = [pair("a", "b", &[0]), pair("c", "b", &[])];
        assert_eq!(kinds(&edge("path_loss", "path", ["a", "b"], "high"), &pairs), Kind::Right);
        assert_eq!(kinds(&edge("slow_server", "server", ["a", "b"], "high"), &pairs), Kind::WrongCause);
        assert_eq!(kinds(&edge("path_loss", "server", ["a", "b"], "high"), &pairs), Kind::WrongSide);
        assert_eq!(kinds(&edge("path_loss", "path", ["c", "b"], "high"), &pairs), Kind::WrongSubject);
        // Of the server only where all its clients are hurt.
        let subject = json!({"kind": "listener", "destination": {"workload": "b", "port": 80}});
        let of_server = finding("path_loss", "path", &subject, "high");
        assert_eq!(kinds(&of_server, &pairs), Kind::WrongSubject);
        assert_eq!(kinds(&of_server, &[pair("a", "b", &[0]), pair("c", "b", &[0])]), Kind::Right);
    }

    #[test]
    fn what_is_said_of_health_is_false() {
        let pairs = [pair("a", "b", &[0])];
        let found = edge("path_loss", "path", ["a", "b"], "medium");
        let early = looks(&[(10.0, std::slice::from_ref(&found))]);
        assert_eq!(judge(&[TRUTH], &pairs, &early, TIMES).1[0].kind, Kind::False);
        let healthy = Truth { causes: &[], sides: &[], of_workload: false };
        let later = looks(&[(40.0, &[found])]);
        assert_eq!(judge(&[healthy], &pairs, &later, TIMES).1[0].kind, Kind::False);
    }

    #[test]
    fn two_faults_are_two_truths() {
        let slow = Truth { causes: &["slow_server"], sides: &["server"], of_workload: false };
        let pairs = [pair("a", "b", &[0]), pair("a", "c", &[1])];
        let of = |found| looks(&[(40.0, &[found])]);
        let (verdicts, said) =
            judge(&[TRUTH, slow], &pairs, &of(edge("slow_server", "server", ["a", "c"], "high")), TIMES);
        assert_eq!((verdicts[0].named, verdicts[1].named), (None, Some(10.0)));
        assert_eq!(said[0].kind, Kind::Right);
        let (_, said) =
            judge(&[TRUTH, slow], &pairs, &of(edge("slow_server", "server", ["a", "b"], "high")), TIMES);
        assert_eq!(said[0].kind, Kind::WrongSubject);
    }
}
