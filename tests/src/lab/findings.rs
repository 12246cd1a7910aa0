//! What the agent finds wrong, as a user's script would read it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{agent::Agent, eventually_within, topology::Pod};

/// One finding.
#[derive(Clone, Debug)]
pub(crate) struct Finding(Value);

#[cfg(test)]
impl From<Value> for Finding {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

/// What there should be.
pub(crate) struct Wanted<'a> {
    pub(crate) cause: &'a str,
    pub(crate) side: &'a str,
    /// `edge`, `listener`, …
    pub(crate) kind: &'a str,
    pub(crate) client: Option<&'a Pod>,
    pub(crate) server: Option<&'a Pod>,
}

impl Finding {
    fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> &str {
        self.text("id")
    }

    pub(crate) fn cause(&self) -> &str {
        self.text("cause")
    }

    pub(crate) fn side(&self) -> &str {
        self.text("side")
    }

    pub(crate) fn owner(&self) -> &str {
        self.text("owner")
    }

    pub(crate) fn confidence(&self) -> &str {
        self.text("confidence")
    }

    pub(crate) fn summary(&self) -> &str {
        self.text("summary")
    }

    /// The kind of its subject.
    pub(crate) fn kind(&self) -> &str {
        self.at("/subject/kind")
    }

    /// The client of its subject; empty if it has none.
    pub(crate) fn source(&self) -> &str {
        self.at("/subject/source/workload")
    }

    /// The server of its subject, or the workload that it is; empty if it is neither.
    pub(crate) fn destination(&self) -> &str {
        self.at("/subject/destination/workload")
    }

    /// The device of its subject; empty if it has none.
    pub(crate) fn interface(&self) -> &str {
        self.at("/subject/interface")
    }

    /// The server's port.
    pub(crate) fn port(&self) -> Option<u16> {
        let port = self.0.pointer("/subject/destination/port")?;
        port.as_u64().and_then(|port| port.try_into().ok()).or_else(|| port.as_str()?.parse().ok())
    }

    fn at(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// True from medium confidence on.
    pub(crate) fn is_sure(&self) -> bool {
        matches!(self.text("confidence"), "medium" | "high")
    }

    pub(crate) fn is_active(&self) -> bool {
        self.text("state") == "active"
    }

    /// True if it is of one with such a name, or hurts it.
    pub(crate) fn concerns(&self, names: &[String]) -> bool {
        let is_it = |end: Option<&Value>| {
            let workload = end.and_then(|end| end.get("workload")).and_then(Value::as_str);
            workload.is_some_and(|workload| names.iter().any(|name| name == workload))
        };
        let of = |pair: &Value| is_it(pair.get("source")) || is_it(pair.get("destination"));
        let affected = self.0.get("affected").and_then(Value::as_array);
        self.0.get("subject").is_some_and(of) || affected.is_some_and(|pairs| pairs.iter().any(of))
    }

    fn is(&self, wanted: &Wanted<'_>) -> bool {
        self.text("cause") == wanted.cause
            && self.text("side") == wanted.side
            && self.0.pointer("/subject/kind").and_then(Value::as_str) == Some(wanted.kind)
            && wanted.client.is_none_or(|pod| self.concerns(&[pod.workload().to_owned()]))
            && wanted.server.is_none_or(|pod| self.concerns(&pod.names()))
    }
}

/// All findings.
pub(crate) fn all(agent: &Agent) -> Result<Vec<Finding>> {
    let response = agent.get("/api/v1/findings", "*/*")?;
    ensure!(response.status == 200, "/api/v1/findings says {}: {}", response.status, response.body);
    let body: Value = serde_json::from_str(&response.body).context("/api/v1/findings")?;
    let findings = body.get("findings").and_then(Value::as_array).context("no list of findings")?;
    Ok(findings.iter().cloned().map(Finding).collect())
}

/// Those that concern one of these pods by its name: other scenarios have the same addresses.
pub(crate) fn of(agent: &Agent, pods: &[&Pod]) -> Result<Vec<Finding>> {
    let found = all(agent)?.into_iter();
    Ok(found
        .filter(|finding| pods.iter().any(|pod| finding.concerns(&[pod.workload().to_owned()])))
        .collect())
}

/// Waits until it is named, and checks that nothing else is said of these pods as surely.
pub(crate) fn expect(agent: &Agent, wanted: &Wanted<'_>, pods: &[&Pod], within: Duration) -> Result<Finding> {
    eventually_within(within, &format!("{} is named", wanted.cause), || {
        let found = of(agent, pods)?;
        let Some(finding) = found.iter().find(|finding| finding.is(wanted) && finding.is_active()) else {
            bail!("instead: {found:#?}");
        };
        for other in &found {
            ensure!(other.text("id") == finding.text("id") || !other.is_sure(), "beside it: {other:#?}");
        }
        ensure!(
            !finding.text("summary").is_empty()
                && !finding.0["evidence"].as_array().is_none_or(Vec::is_empty),
            "{finding:#?}"
        );
        Ok(finding.clone())
    })
}

/// Waits until it has ended.
pub(crate) fn expect_end(agent: &Agent, finding: &Finding, within: Duration) -> Result<()> {
    eventually_within(within, &format!("{} ends", finding.id()), || {
        let found = all(agent)?;
        let Some(now) = found.iter().find(|other| other.id() == finding.id()) else {
            bail!("it is not there any more: {found:#?}");
        };
        ensure!(now.text("state") == "ended" && !now.text("until").is_empty(), "{now:#?}");
        Ok(())
    })
}
