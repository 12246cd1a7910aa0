//! What one agent said in a case, and whether that is true.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::Value;

/// How sure an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Confidence {
    Low,
    Medium,
    High,
}

impl Confidence {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "low" => Some(Self::Low),
            "medium" => Some(Self::Medium),
            "high" => Some(Self::High),
            _ => None,
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        })
    }
}

/// What is true, as far as one end can know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Truth {
    /// `cause/side`, each of which is right.
    pub(super) right: &'static [&'static str],
    /// Whether this end has nothing to see, so that silence is right as well.
    pub(super) may_be_silent: bool,
}

/// One cause that was said in a case.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    /// The surest that it was.
    pub(super) confidence: Confidence,
    /// From the begin of the fault until it was said first.
    pub(super) after: Duration,
    /// What it said of it at last.
    pub(super) summary: String,
    /// Whether it was still said when the case ended.
    pub(super) is_active: bool,
}

/// What one agent has said in a case, by `cause/side`.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    pub(super) said: BTreeMap<String, Said>,
    /// Symptoms without a cause, at last.
    pub(super) unexplained: Vec<String>,
}

/// Whether it was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Cause and side.
    Right,
    /// Nothing was said, where nothing can be seen or is wrong.
    RightlySilent,
    /// Nothing was said.
    Missed,
    /// Another cause on the right side.
    OtherCause,
    /// Another side.
    WrongSide,
    /// Something was said where nothing is wrong.
    False,
}

impl Verdict {
    pub(super) fn is_good(self) -> bool {
        matches!(self, Self::Right | Self::RightlySilent)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Right => "right",
            Self::RightlySilent => "rightly silent",
            Self::Missed => "missed",
            Self::OtherCause => "other cause",
            Self::WrongSide => "wrong side",
            Self::False => "false",
        })
    }
}

impl Heard {
    /// Adds an answer of `/api/v1/findings`: what it says, active, of this case or of no case in particular.
    pub(super) fn add(&mut self, answer: &Value, case: &str, after: Duration) {
        for said in self.said.values_mut() {
            said.is_active = false;
        }
        self.add_unexplained(answer, case);
        let findings = answer.get("findings").and_then(Value::as_array);
        for finding in findings.into_iter().flatten() {
            let text = |key: &str| finding.get(key).and_then(Value::as_str).unwrap_or_default();
            if text("state") != "active" || !concerns(finding, case) {
                continue;
            }
            let Some(confidence) = Confidence::parse(text("confidence")) else { continue };
            let said = self
                .said
                .entry(format!("{}/{}", text("cause"), text("side")))
                .or_insert_with(|| Said { confidence, after, summary: String::new(), is_active: true });
            said.confidence = said.confidence.max(confidence);
            text("summary").clone_into(&mut said.summary);
            said.is_active = true;
        }
    }

    /// Adds its symptoms without a cause.
    fn add_unexplained(&mut self, answer: &Value, case: &str) {
        let symptoms = answer.get("insufficient").and_then(Value::as_array).into_iter().flatten();
        let symptoms = symptoms.filter(|symptom| concerns(symptom, case));
        let texts: Vec<String> =
            symptoms.filter_map(|symptom| symptom.get("symptom")?.as_str().map(str::to_owned)).collect();
        if !texts.is_empty() {
            self.unexplained = texts;
        }
    }

    /// Whether something right was said.
    pub(super) fn has(&self, truth: &Truth) -> bool {
        truth.right.iter().any(|right| self.said.contains_key(*right))
    }

    /// What a user would take from it at the end of the case: the surest of what is still said, what is right first among
    /// equals; and whether that is right.
    pub(super) fn judge(&self, truth: &Truth) -> (Verdict, Option<(&str, &Said)>) {
        let is_right = |cause: &str| truth.right.contains(&cause);
        let surest = |active: bool| {
            let said = self.said.iter().filter(|(_, said)| said.is_active || !active);
            said.max_by_key(|(cause, said)| (said.confidence, is_right(cause)))
        };
        let Some((cause, said)) = surest(true).or_else(|| surest(false)) else {
            let is_right = truth.may_be_silent || truth.right.is_empty();
            return (if is_right { Verdict::RightlySilent } else { Verdict::Missed }, None);
        };
        let verdict = if is_right(cause) {
            Verdict::Right
        } else if truth.right.is_empty() {
            Verdict::False
        } else if truth.right.iter().any(|right| side(right) == side(cause)) {
            Verdict::OtherCause
        } else {
            Verdict::WrongSide
        };
        (verdict, Some((cause, said)))
    }

    /// What was said of a wrong side with high confidence, at any time: this must not be.
    pub(super) fn accused(&self, truth: &Truth) -> Vec<&str> {
        let wrong = |cause: &str| !truth.right.iter().any(|right| side(right) == side(cause));
        let said =
            self.said.iter().filter(|(cause, said)| said.confidence == Confidence::High && wrong(cause));
        said.map(|(cause, _)| cause.as_str()).collect()
    }
}

fn side(cause: &str) -> &str {
    cause.split_once('/').map_or("", |(_, side)| side)
}

/// Whether a finding is of this case's pods, or of none: of a node or a device.
fn concerns(finding: &Value, case: &str) -> bool {
    let affected = finding.get("affected").and_then(Value::as_array).into_iter().flatten();
    let mut pairs = finding.get("subject").into_iter().chain(affected);
    let namespaces = |pair: &Value| {
        ["source", "destination"].map(|end| {
            pair.get(end).and_then(|end| end.get("namespace")).and_then(Value::as_str).map(str::to_owned)
        })
    };
    let mut is_of_pods = false;
    let is_here = pairs.any(|pair| {
        let of = namespaces(pair);
        is_of_pods |= of.iter().any(Option::is_some);
        of.iter().flatten().any(|namespace| namespace == case)
    });
    is_here || !is_of_pods
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LOSS: Truth = Truth { right: &["path_loss/path"], may_be_silent: false };
    const NOTHING: Truth = Truth { right: &[], may_be_silent: true };

    fn heard(findings: &[(&str, &str, &str, &str)]) -> Heard {
        let rows = findings.iter().map(|(namespace, cause, side, confidence)| {
            json!({"cause": cause, "side": side, "confidence": confidence, "state": "active", "summary": "",
                   "subject": {"kind": "edge", "source": {"namespace": namespace, "workload": "client"}}})
        });
        let mut heard = Heard::default();
        heard.add(&json!({"findings": rows.collect::<Vec<_>>()}), "here", Duration::from_secs(5));
        heard
    }

    #[test]
    fn the_surest_counts_and_other_cases_do_not() {
        let both =
            heard(&[("here", "path_loss", "path", "high"), ("here", "slow_server", "server", "medium")]);
        assert_eq!(both.judge(&LOSS).0, Verdict::Right);
        assert!(both.accused(&LOSS).is_empty());
        let wrong = heard(&[("here", "path_loss", "path", "low"), ("here", "slow_server", "server", "high")]);
        assert_eq!(wrong.judge(&LOSS).0, Verdict::WrongSide);
        assert_eq!(wrong.accused(&LOSS), ["slow_server/server"]);
        assert_eq!(heard(&[("there", "path_loss", "path", "high")]).judge(&LOSS).0, Verdict::Missed);
        assert_eq!(heard(&[("here", "ack_loss", "path", "high")]).judge(&LOSS).0, Verdict::OtherCause);
        assert_eq!(heard(&[("here", "ack_loss", "path", "low")]).judge(&NOTHING).0, Verdict::False);
        assert_eq!(heard(&[]).judge(&NOTHING).0, Verdict::RightlySilent);
    }

    #[test]
    fn what_has_ended_is_remembered_as_ended() {
        let mut heard = heard(&[("here", "path_loss", "path", "high")]);
        heard.add(&json!({"findings": []}), "here", Duration::from_secs(9));
        assert!(!heard.said["path_loss/path"].is_active);
        assert_eq!(heard.judge(&LOSS).0, Verdict::Right);
    }
}
