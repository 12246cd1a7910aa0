//! The file, as written.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;

use ipnet::IpNet;
use netcause_common::flow::{PROTOCOL_TCP, PROTOCOL_UDP};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_saphyr::Spanned;

/// Bytes of a name: the limit of names in Kubernetes (RFC 1123 subdomain).
const MAX_WORD: usize = 253;
/// IANA protocol number of SCTP.
const PROTOCOL_SCTP: u8 = 132;

/// Everything.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawFile {
    pub(super) pods: Vec<Spanned<RawPod>>,
    pub(super) services: Vec<Spanned<RawService>>,
    pub(super) nodes: Vec<Spanned<RawNode>>,
    pub(super) networks: Vec<Spanned<RawNetwork>>,
    pub(super) cgroups: Vec<Spanned<RawCgroup>>,
}

/// A pod.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPod {
    pub(super) namespace: Word,
    pub(super) workload: Option<Word>,
    pub(super) name: Option<Word>,
    pub(super) owner: Option<RawOwner>,
    pub(super) uid: Option<Word>,
    #[serde(default)]
    pub(super) addresses: Vec<IpAddr>,
    pub(super) node: Option<Word>,
    #[serde(default)]
    pub(super) host_network: bool,
}

/// The owner of a pod.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOwner {
    pub(super) kind: Word,
    pub(super) name: Word,
}

/// A service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawService {
    pub(super) namespace: Word,
    pub(super) name: Word,
    #[serde(default)]
    pub(super) addresses: Vec<IpAddr>,
    #[serde(default)]
    pub(super) ports: Vec<RawPort>,
    #[serde(default)]
    pub(super) endpoints: Vec<RawEndpoints>,
}

/// A port of a service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPort {
    #[serde(default)]
    pub(super) protocol: Protocol,
    pub(super) port: NonZeroU16,
    pub(super) node_port: Option<NonZeroU16>,
}

/// Endpoints of a service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEndpoints {
    pub(super) addresses: Vec<IpAddr>,
    #[serde(default)]
    pub(super) ports: Vec<RawEndpointPort>,
}

/// A port of endpoints.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEndpointPort {
    #[serde(default)]
    pub(super) protocol: Protocol,
    pub(super) port: NonZeroU16,
}

/// A node.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNode {
    pub(super) name: Word,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) zone: Option<Word>,
}

/// A network outside.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNetwork {
    pub(super) cidr: Cidr,
    pub(super) namespace: Option<Word>,
    pub(super) name: Word,
}

/// What a cgroup is called.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCgroup {
    pub(super) path: Pattern,
    pub(super) namespace: Option<Word>,
    pub(super) workload: Word,
}

/// As Kubernetes writes them.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) enum Protocol {
    #[default]
    #[serde(rename = "TCP", alias = "tcp")]
    Tcp,
    #[serde(rename = "UDP", alias = "udp")]
    Udp,
    #[serde(rename = "SCTP", alias = "sctp")]
    Sctp,
}

impl Protocol {
    /// IANA protocol number.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Tcp => PROTOCOL_TCP,
            Self::Udp => PROTOCOL_UDP,
            Self::Sctp => PROTOCOL_SCTP,
        }
    }
}

/// A name of something: it becomes a label.
#[derive(Debug)]
pub(super) struct Word(pub(super) Box<str>);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text("a name", word)).map(Self)
    }
}

fn word(text: &str) -> Result<Box<str>, String> {
    if text.trim().is_empty() {
        Err("a name is empty".to_owned())
    } else if text.len() > MAX_WORD {
        Err(format!("a name is longer than {MAX_WORD} bytes"))
    } else if text.chars().any(char::is_control) {
        Err(format!("{text:?} is no name: it has control characters"))
    } else {
        Ok(text.into())
    }
}

/// A pattern of paths.
#[derive(Debug)]
pub(super) struct Pattern(pub(super) Box<str>);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pattern = |text: &str| {
            let pattern = text.trim_matches('/');
            if pattern.is_empty() {
                Err(format!("{text:?} is no path below the cgroup mount"))
            } else {
                Ok(pattern.into())
            }
        };
        deserializer.deserialize_str(Text("a path", pattern)).map(Self)
    }
}

/// A network; an address is the network of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cidr(pub(super) IpNet);

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let network = |text: &str| {
            text.parse::<IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| format!("{text:?} is no network: 10.0.0.0/8 and 2001:db8::/32 are"))
        };
        deserializer.deserialize_str(Text("a network", network)).map(Self)
    }
}

/// Reads a text, or says what is wrong with it; YAML's reader adds where.
struct Text<F>(&'static str, F);

impl<T, F: Fn(&str) -> Result<T, String>> Visitor<'_> for Text<F> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).map_err(E::custom)
    }
}
