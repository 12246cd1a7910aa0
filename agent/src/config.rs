//! Settings: what may be written, and what follows from it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use ipnet::IpNet;
use netcause_common::{dns, limits};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::dns::policy::DnsNames;
use crate::cli::AgentArguments;
use crate::kernel::{self, Pace};

/// How the log is written.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What counts of connections that are older than the agent.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OlderConnections {
    /// All they ever carried.
    Whole,
    /// What they carry from the agent's start on.
    Rest,
}

/// Networks whose clients are told apart unless others are named: private, shared, loopback and link-local addresses
/// (RFC 1918, 6598, 1122, 3927, 4193, 4291).
const KNOWN_NETWORKS: [&str; 9] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
];

/// What is wrong with the settings.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is not to be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is no YAML, or has a key that is not known, or a value of the wrong kind.
    #[error("in the configuration file {path}: {message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// A value that cannot be.
    #[error("{key}: {value} {problem}")]
    Impossible {
        /// The key, as in the file.
        key: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
}

/// The file, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    listen: Option<SocketAddr>,
    log: Option<String>,
    log_format: Option<LogFormat>,
    kernel_log: Option<bool>,
    max_flows: Option<u32>,
    max_udp_flows: Option<u32>,
    max_dns_flows: Option<u32>,
    max_dns_queries: Option<u32>,
    max_sockets: Option<u32>,
    max_listeners: Option<u32>,
    max_series: Option<u32>,
    flow_idle_seconds: Option<u32>,
    sweep_interval_seconds: Option<u32>,
    sweep_cpu_percent: Option<f64>,
    older_connections: Option<OlderConnections>,
    known_networks: Option<Vec<IpNet>>,
    dns_ports: Option<Vec<u16>>,
    dns_timeout_seconds: Option<u32>,
    dns_details_per_second: Option<u32>,
    dns_names: Option<DnsNames>,
    event_ring_bytes: Option<u32>,
    http_max_connections: Option<u32>,
    http_timeout_seconds: Option<u32>,
}

/// The settings, checked. Serialized they are a configuration file again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// Where to serve.
    pub listen: SocketAddr,
    /// What to log.
    pub log: String,
    /// How to log.
    pub log_format: LogFormat,
    /// Whether the programs log.
    pub kernel_log: bool,
    /// TCP flows kept apart.
    pub max_flows: u32,
    /// UDP flows kept apart.
    pub max_udp_flows: u32,
    /// Pairs of a DNS client and its server kept apart.
    pub max_dns_flows: u32,
    /// DNS queries that wait for their answer.
    pub max_dns_queries: u32,
    /// Sockets remembered.
    pub max_sockets: u32,
    /// Listening ports remembered.
    pub max_listeners: u32,
    /// Time series of edges.
    pub max_series: u32,
    /// When a flow without open connections is forgotten.
    pub flow_idle_seconds: u32,
    /// The sweeps' floor interval.
    pub sweep_interval_seconds: u32,
    /// What sweeping may take of one processor.
    pub sweep_cpu_percent: f64,
    /// What counts of older connections.
    pub older_connections: OlderConnections,
    /// Networks whose clients are told apart.
    pub known_networks: Vec<IpNet>,
    /// Ports of DNS.
    pub dns_ports: Vec<u16>,
    /// How long a resolver waits for an answer.
    pub dns_timeout_seconds: u32,
    /// Details of answers.
    pub dns_details_per_second: u32,
    /// What becomes of names.
    pub dns_names: DnsNames,
    /// Size of the ring buffer.
    pub event_ring_bytes: u32,
    /// HTTP connections at once.
    pub http_max_connections: u32,
    /// Limit of one HTTP request, in seconds.
    pub http_timeout_seconds: u32,
}

impl Config {
    /// Defaults, then the file, then what the arguments (which have the environment in them) say.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or understood, or a value is impossible; the message names the key.
    pub fn load(arguments: &AgentArguments) -> Result<Self, ConfigError> {
        let file = arguments.config.as_deref().map(read).transpose()?.unwrap_or_default();
        let config = Self {
            listen: arguments.listen.or(file.listen).unwrap_or((Ipv4Addr::UNSPECIFIED, 9779).into()),
            log: arguments.log.clone().or(file.log).unwrap_or_else(|| "info".to_owned()),
            log_format: arguments.log_format.or(file.log_format).unwrap_or(LogFormat::Text),
            kernel_log: arguments.kernel_log.or(file.kernel_log).unwrap_or(false),
            max_flows: arguments.max_flows.or(file.max_flows).unwrap_or(limits::DEFAULT_FLOWS),
            max_udp_flows: arguments
                .max_udp_flows
                .or(file.max_udp_flows)
                .unwrap_or(limits::DEFAULT_UDP_FLOWS),
            max_dns_flows: arguments
                .max_dns_flows
                .or(file.max_dns_flows)
                .unwrap_or(limits::DEFAULT_DNS_FLOWS),
            max_dns_queries: arguments
                .max_dns_queries
                .or(file.max_dns_queries)
                .unwrap_or(limits::DEFAULT_DNS_QUERIES),
            max_sockets: arguments.max_sockets.or(file.max_sockets).unwrap_or(limits::DEFAULT_SOCKETS),
            max_listeners: arguments
                .max_listeners
                .or(file.max_listeners)
                .unwrap_or(limits::DEFAULT_LISTENERS),
            max_series: arguments.max_series.or(file.max_series).unwrap_or(10_000),
            flow_idle_seconds: arguments.flow_idle_seconds.or(file.flow_idle_seconds).unwrap_or(600),
            sweep_interval_seconds: arguments
                .sweep_interval_seconds
                .or(file.sweep_interval_seconds)
                .unwrap_or(10),
            sweep_cpu_percent: arguments.sweep_cpu_percent.or(file.sweep_cpu_percent).unwrap_or(0.5),
            older_connections: arguments
                .older_connections
                .or(file.older_connections)
                .unwrap_or(OlderConnections::Whole),
            known_networks: arguments.known_networks.clone().or(file.known_networks).unwrap_or_else(|| {
                KNOWN_NETWORKS.iter().filter_map(|network| network.parse().ok()).collect()
            }),
            dns_ports: arguments.dns_ports.clone().or(file.dns_ports).unwrap_or_else(|| vec![53]),
            dns_timeout_seconds: arguments.dns_timeout_seconds.or(file.dns_timeout_seconds).unwrap_or(5),
            dns_details_per_second: arguments
                .dns_details_per_second
                .or(file.dns_details_per_second)
                .unwrap_or(2000),
            dns_names: arguments.dns_names.or(file.dns_names).unwrap_or(DnsNames::Shown),
            event_ring_bytes: arguments
                .event_ring_bytes
                .or(file.event_ring_bytes)
                .unwrap_or(limits::DEFAULT_EVENT_RING_BYTES),
            http_max_connections: arguments.http_max_connections.or(file.http_max_connections).unwrap_or(64),
            http_timeout_seconds: arguments.http_timeout_seconds.or(file.http_timeout_seconds).unwrap_or(10),
        };
        config.check()?;
        Ok(config)
    }

    /// What the kernel side needs to know.
    #[must_use]
    pub fn kernel_options(&self, cgroup_root: Option<PathBuf>) -> kernel::Options {
        kernel::Options {
            max_flows: self.max_flows,
            max_udp_flows: self.max_udp_flows,
            max_dns_flows: self.max_dns_flows,
            max_dns_queries: self.max_dns_queries,
            dns_ports: self.dns_ports.clone(),
            dns_patience: Duration::from_secs(self.dns_timeout_seconds.into()),
            dns_details_per_second: match self.dns_names {
                DnsNames::Off => 0,
                DnsNames::Shown | DnsNames::Hashed => self.dns_details_per_second,
            },
            max_sockets: self.max_sockets,
            max_listeners: self.max_listeners,
            event_ring_bytes: self.event_ring_bytes,
            kernel_log: self.kernel_log,
            older_connections: self.older_connections,
            known_networks: self.known_networks.clone(),
            cgroup_root,
        }
    }

    /// How often sweeps run.
    #[must_use]
    pub fn pace(&self) -> Pace {
        Pace {
            interval: Duration::from_secs(self.sweep_interval_seconds.into()),
            share: self.sweep_cpu_percent / 100.0,
        }
    }

    /// When a flow without open connections is forgotten.
    #[must_use]
    pub fn flow_idle(&self) -> Duration {
        Duration::from_secs(self.flow_idle_seconds.into())
    }

    /// Limit of one HTTP request.
    #[must_use]
    pub fn http_timeout(&self) -> Duration {
        Duration::from_secs(self.http_timeout_seconds.into())
    }

    fn check(&self) -> Result<(), ConfigError> {
        // Three: one flow, and the two entries that take what finds no room, for clients and for servers.
        between("max_flows", self.max_flows, 3, 1 << 22)?;
        between("max_udp_flows", self.max_udp_flows, 3, 1 << 22)?;
        between("max_dns_flows", self.max_dns_flows, 3, 1 << 20)?;
        between("max_dns_queries", self.max_dns_queries, 1, 1 << 22)?;
        between("max_sockets", self.max_sockets, 1, 1 << 24)?;
        between("max_listeners", self.max_listeners, 1, 1 << 20)?;
        between("max_series", self.max_series, 1, 10_000_000)?;
        between("flow_idle_seconds", self.flow_idle_seconds, 1, 1 << 24)?;
        between("sweep_interval_seconds", self.sweep_interval_seconds, 1, 86_400)?;
        if !(self.sweep_cpu_percent > 0.0 && self.sweep_cpu_percent <= 100.0) {
            return Err(ConfigError::Impossible {
                key: "sweep_cpu_percent",
                value: self.sweep_cpu_percent.to_string(),
                problem: "is not above 0 and at most 100".to_owned(),
            });
        }
        if self.known_networks.len() > limits::NETWORKS as usize {
            return Err(ConfigError::Impossible {
                key: "known_networks",
                value: format!("a list of {}", self.known_networks.len()),
                problem: format!("is longer than {}", limits::NETWORKS),
            });
        }
        if self.dns_ports.len() > dns::MAX_PORTS || self.dns_ports.contains(&0) {
            return Err(ConfigError::Impossible {
                key: "dns_ports",
                value: format!("{:?}", self.dns_ports),
                problem: format!("has a port 0, or more than {} ports", dns::MAX_PORTS),
            });
        }
        between("dns_timeout_seconds", self.dns_timeout_seconds, 1, 60)?;
        between("dns_details_per_second", self.dns_details_per_second, 1, 1_000_000)?;
        between("event_ring_bytes", self.event_ring_bytes, 4096, 1 << 28)?;
        between("http_max_connections", self.http_max_connections, 1, 65_536)?;
        between("http_timeout_seconds", self.http_timeout_seconds, 1, 3600)?;
        if !self.event_ring_bytes.is_power_of_two() {
            let below = 1_u32 << self.event_ring_bytes.ilog2();
            return Err(ConfigError::Impossible {
                key: "event_ring_bytes",
                value: self.event_ring_bytes.to_string(),
                problem: format!("is no power of two: {below} and {} are", below * 2),
            });
        }
        crate::telemetry::parse_filter(&self.log).map_err(|problem| ConfigError::Impossible {
            key: "log",
            value: format!("`{}`", self.log),
            problem: format!("is no log filter: {problem}"),
        })?;
        Ok(())
    }
}

fn read(path: &Path) -> Result<RawConfig, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(RawConfig::default());
    }
    serde_saphyr::from_str(&text)
        .map_err(|error| ConfigError::Malformed { path: path.to_owned(), message: error.to_string() })
}

fn between(key: &'static str, value: u32, least: u32, most: u32) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::Impossible {
        key,
        value: value.to_string(),
        problem: format!("is not between {least} and {most}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, arguments: AgentArguments) -> Result<Config, ConfigError> {
        let name = format!("netcause-config-{}-{:?}.yaml", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        let result = Config::load(&AgentArguments { config: Some(path.clone()), ..arguments });
        fs::remove_file(path).unwrap();
        result
    }

    fn complaint(text: &str) -> String {
        load(text, AgentArguments::default()).unwrap_err().to_string()
    }

    #[test]
    fn flags_are_stronger_than_the_file_and_the_file_than_defaults() {
        let arguments = AgentArguments { max_flows: Some(100), ..Default::default() };
        let config = load("max_flows: 50\nmax_sockets: 60\n", arguments).unwrap();
        assert_eq!((config.max_flows, config.max_sockets), (100, 60));
        assert_eq!(config.event_ring_bytes, limits::DEFAULT_EVENT_RING_BYTES);
    }

    #[test]
    fn unknown_keys_and_impossible_values_are_named() {
        assert!(complaint("max_flow: 50\n").contains("max_flow"));
        assert!(complaint("max_flows: many\n").contains("many"), "{}", complaint("max_flows: many\n"));
        assert!(complaint("max_flows: 0\n").starts_with("max_flows: 0 is not between"));
        assert!(complaint("event_ring_bytes: 5000\n").contains("4096 and 8192"));
        assert!(complaint("log: 'netcause=loud'\n").starts_with("log: `netcause=loud`"));
        assert!(complaint("- a\n- b\n").contains("configuration file"));
    }

    #[test]
    fn an_empty_file_is_the_defaults_and_the_printed_config_reads_back() {
        let config = load("# nothing\n\n", AgentArguments::default()).unwrap();
        let printed = serde_saphyr::to_string(&config).unwrap();
        assert_eq!(load(&printed, AgentArguments::default()).unwrap(), config);
    }
}
