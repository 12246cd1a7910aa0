//! The policy for DNS names: shown, hashed, or off.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ingest::dns::Name;

/// How the names that workloads query are exposed. The setting `dns_names`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsNames {
    /// As they are.
    Shown,
    /// As a hash with a key that is random at each start of the agent.
    Hashed,
    /// Not at all: names do not leave the kernel.
    Off,
}

impl FromStr for DnsNames {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "shown" => Ok(Self::Shown),
            "hashed" => Ok(Self::Hashed),
            "off" => Ok(Self::Off),
            _ => Err("possible values: shown, hashed, off".to_owned()),
        }
    }
}

/// A name as the policy shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Label {
    /// The name itself.
    Plain(Name),
    /// Its keyed hash.
    Hashed(u64),
}

impl fmt::Display for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(name) => name.fmt(formatter),
            Self::Hashed(number) => write!(formatter, "h:{number:016x}"),
        }
    }
}

/// Makes labels of names by the policy.
#[derive(Debug)]
pub struct Labels {
    policy: DnsNames,
    /// The standard library's keyed hash (SipHash) with a random key. Without the key, a name cannot be found by trying.
    key: RandomState,
}

impl Labels {
    /// Labels by this policy, with a new random key.
    #[must_use]
    pub fn new(policy: DnsNames) -> Self {
        Self { policy, key: RandomState::new() }
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> DnsNames {
        self.policy
    }

    /// The label of a name; `None` when names are off.
    #[must_use]
    pub fn label(&self, name: &Name) -> Option<Label> {
        match self.policy {
            DnsNames::Shown => Some(Label::Plain(name.clone())),
            DnsNames::Hashed => Some(Label::Hashed(self.key.hash_one(name.as_str()))),
            DnsNames::Off => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(labels: &Labels, name: &str) -> Option<String> {
        labels.label(&name.parse::<Name>().unwrap()).map(|label| label.to_string())
    }

    #[test]
    fn a_hash_is_one_name_for_one_agent() {
        let (one, other) = (Labels::new(DnsNames::Hashed), Labels::new(DnsNames::Hashed));
        let hash = text(&one, "example.com").unwrap();
        assert!(hash.starts_with("h:") && hash.len() == 18, "{hash}");
        assert_eq!(text(&one, "example.com").unwrap(), hash);
        assert_ne!(text(&one, "example.net").unwrap(), hash);
        assert_ne!(text(&other, "example.com").unwrap(), hash);
    }

    #[test]
    fn names_are_shown_or_not() {
        assert_eq!(text(&Labels::new(DnsNames::Shown), "example.com").as_deref(), Some("example.com"));
        assert_eq!(text(&Labels::new(DnsNames::Off), "example.com"), None);
    }

    #[test]
    fn a_policy_is_one_lower_case_word() {
        for (policy, word) in
            [(DnsNames::Shown, "shown"), (DnsNames::Hashed, "hashed"), (DnsNames::Off, "off")]
        {
            assert_eq!(serde_json::to_value(policy).unwrap(), word);
            assert_eq!(word.parse(), Ok(policy));
        }
    }
}
