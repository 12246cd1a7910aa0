//! What scenarios make go wrong: by resource, by verb, a number of times or until it is taken back.

use serde::Deserialize;

use super::store::Object;

/// What goes wrong.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// 429 with `Retry-After`: as a `Status`, or as the plain text of priority and fairness.
    Throttle {
        retry_after: u64,
        #[serde(default)]
        plain: bool,
    },
    /// A `Status` with this code: 500, 503, 504, …
    Status { code: u16 },
    /// The connection ends before the answer begins.
    Close,
    /// The connection ends after so many bytes of the answer's body.
    Cut { after: u64 },
    /// The body goes at so many bytes per second.
    Slow { bytes_per_second: u64 },
    /// The request is taken and never answered; when the fault is taken back, the connection ends.
    Hang,
    /// Objects are not what they should be.
    Malformed {
        how: Malformed,
        /// Only the object of this name.
        #[serde(default)]
        name: Option<String>,
    },
}

/// In which way an object is spoilt.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Malformed {
    /// `metadata.name` is a number.
    Name,
    /// `status` is a text.
    Status,
    /// `spec` is a list.
    Spec,
    /// `metadata` is missing.
    NoMetadata,
    /// It breaks off in the middle, and what follows it goes on.
    Truncated,
    /// There is a byte in its name that UTF-8 does not have.
    NotUtf8,
}

impl Malformed {
    /// Spoils the text of an object.
    pub(crate) fn spoil(self, text: &str) -> Vec<u8> {
        let change = |change: fn(&mut serde_json::Value)| {
            let mut object: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
            change(&mut object);
            object.to_string().into_bytes()
        };
        match self {
            Self::Name => change(|object| object["metadata"]["name"] = 7.into()),
            Self::Status => change(|object| object["status"] = "fine".into()),
            Self::Spec => change(|object| object["spec"] = serde_json::json!([1, 2])),
            Self::NoMetadata => change(|object| {
                if let Some(fields) = object.as_object_mut() {
                    fields.remove("metadata");
                }
            }),
            Self::Truncated => text.as_bytes()[..text.len() / 2].to_vec(),
            Self::NotUtf8 => {
                let mut bytes = text.as_bytes().to_vec();
                let name = b"\"name\":\"";
                let at = bytes.windows(name.len()).position(|part| part == name);
                bytes.insert(at.map_or(1, |at| at + name.len()), 0xff);
                bytes
            }
        }
    }
}

/// A fault and where it strikes.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Rule {
    /// A plural; without one, everything.
    #[serde(default)]
    pub(crate) resource: Option<String>,
    /// `list`, `watch` or `get`; without one, all three.
    #[serde(default)]
    pub(crate) verb: Option<String>,
    /// How often it strikes; without a number, until it is taken back.
    #[serde(default)]
    pub(crate) times: Option<u64>,
    #[serde(rename = "do")]
    pub(crate) fault: Fault,
}

impl Rule {
    fn is_for(&self, resource: &str, verb: &str) -> bool {
        self.resource.as_deref().is_none_or(|wanted| wanted == resource)
            && self.verb.as_deref().is_none_or(|wanted| wanted == verb)
            && self.times != Some(0)
    }

    fn strike(&mut self) -> Fault {
        if let Some(times) = &mut self.times {
            *times -= 1;
        }
        self.fault.clone()
    }
}

/// The faults that are there now; of those that fit, the oldest strikes.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Rule>);

impl Faults {
    pub(crate) fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    /// Takes back the faults of a resource, or all.
    pub(crate) fn clear(&mut self, resource: Option<&str>) {
        self.0.retain(|rule| resource.is_some() && rule.resource.as_deref() != resource);
    }

    /// What happens to a request.
    pub(crate) fn of_request(&mut self, resource: &str, verb: &str) -> Option<Fault> {
        let mut rules = self.0.iter_mut();
        let rule = rules
            .find(|rule| !matches!(rule.fault, Fault::Malformed { .. }) && rule.is_for(resource, verb))?;
        Some(rule.strike())
    }

    /// Whether a request that is hanging still has to.
    pub(crate) fn is_hanging(&self, resource: &str, verb: &str) -> bool {
        let hangs = |rule: &Rule| {
            // One that has struck often enough holds what it has struck.
            let rule = Rule { times: None, ..rule.clone() };
            rule.fault == Fault::Hang && rule.is_for(resource, verb)
        };
        self.0.iter().any(hangs)
    }

    /// What happens to an object.
    pub(crate) fn of_object(&mut self, verb: &str, object: &Object) -> Option<Malformed> {
        self.0.iter_mut().find_map(|rule| {
            let Fault::Malformed { how, name } = &rule.fault else { return None };
            let how = *how;
            let is_named = name.as_ref().is_none_or(|name| *name == object.key.1);
            (is_named && rule.is_for(object.resource.plural, verb)).then(|| {
                rule.strike();
                how
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn faults_strike_where_and_as_often_as_they_should() {
        let mut faults = Faults::default();
        faults.add(rule(r#"{"resource":"pods","verb":"list","times":2,"do":{"status":{"code":500}}}"#));
        faults.add(rule(r#"{"resource":"nodes","do":"hang"}"#));
        assert_eq!(faults.of_request("pods", "watch"), None);
        assert_eq!(faults.of_request("pods", "list"), Some(Fault::Status { code: 500 }));
        assert_eq!(faults.of_request("pods", "list"), Some(Fault::Status { code: 500 }));
        assert_eq!(faults.of_request("pods", "list"), None);
        assert!(faults.is_hanging("nodes", "get") && !faults.is_hanging("pods", "get"));
        faults.clear(Some("nodes"));
        assert_eq!(faults.of_request("nodes", "list"), None);
    }

    #[test]
    fn objects_are_spoilt() {
        let text = r#"{"metadata":{"name":"a","uid":"b"},"status":{}}"#;
        let spoilt = |how: Malformed| how.spoil(text);
        let json = |how| serde_json::from_slice::<serde_json::Value>(&spoilt(how));
        assert_eq!(json(Malformed::Name).unwrap()["metadata"]["name"], 7);
        assert_eq!(json(Malformed::Status).unwrap()["status"], "fine");
        assert!(json(Malformed::NoMetadata).unwrap().get("metadata").is_none());
        assert!(json(Malformed::Truncated).is_err());
        assert!(String::from_utf8(spoilt(Malformed::NotUtf8)).is_err());
    }
}
