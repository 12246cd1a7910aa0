//! Settings: what may be written, and what follows from it.

mod error;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use ipnet::IpNet;
use netcause_common::{dns, limits};
use serde::{Deserialize, Serialize};

use crate::cli::AgentArguments;
use crate::kernel::{self, Pace};
use crate::sources::kubelet::{self, Trust};
pub use error::ConfigError;
use netcause_core::enrich;
use netcause_core::enrich::policy::{DnsNames, Labels};

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

/// Ports of sidecars that may be set.
const MAX_SIDECAR_PORTS: usize = 16;

/// Where the names of pods and services come from.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kubernetes {
    /// The API, where a service account or a kubeconfig says where it is; else nowhere.
    Auto,
    /// The API.
    Api,
    /// The kubelet of this node: the pods of this node alone.
    Kubelet,
    /// Nowhere.
    Off,
}

/// Which pods are known.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum KubernetesPods {
    /// Those of the whole cluster.
    All,
    /// Those of this node, and those that it talks to.
    Node,
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
    kubernetes: Option<Kubernetes>,
    kubernetes_pods: Option<KubernetesPods>,
    kubernetes_start_seconds: Option<u32>,
    kubeconfig: Option<PathBuf>,
    kubelet_url: Option<String>,
    kubelet_insecure: Option<bool>,
    node_name: Option<String>,
    names_file: Option<PathBuf>,
    max_outside_names: Option<u32>,
    sidecar_ports: Option<Vec<u16>>,
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
    /// Where names of pods and services come from.
    pub kubernetes: Kubernetes,
    /// Which pods are known.
    pub kubernetes_pods: KubernetesPods,
    /// The agents of a cluster ask for their first lists at some moment in this time.
    pub kubernetes_start_seconds: u32,
    /// Where the API is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// Where the kubelet is.
    pub kubelet_url: String,
    /// Whether the kubelet's certificate is taken as it is.
    pub kubelet_insecure: bool,
    /// What Kubernetes calls this node.
    pub node_name: String,
    /// A file with names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names_file: Option<PathBuf>,
    /// Names that outside addresses are shown by.
    pub max_outside_names: u32,
    /// Ports that sidecars listen on.
    pub sidecar_ports: Vec<u16>,
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
            kubernetes: arguments.kubernetes.or(file.kubernetes).unwrap_or(Kubernetes::Auto),
            kubernetes_pods: arguments
                .kubernetes_pods
                .or(file.kubernetes_pods)
                .unwrap_or(KubernetesPods::All),
            kubernetes_start_seconds: arguments
                .kubernetes_start_seconds
                .or(file.kubernetes_start_seconds)
                .unwrap_or(10),
            kubeconfig: arguments.kubeconfig.clone().or(file.kubeconfig),
            kubelet_url: arguments
                .kubelet_url
                .clone()
                .or(file.kubelet_url)
                .unwrap_or_else(|| kubelet::URL.to_owned()),
            kubelet_insecure: arguments.kubelet_insecure.or(file.kubelet_insecure).unwrap_or(false),
            node_name: arguments.node_name.clone().or(file.node_name).unwrap_or_else(host_name),
            names_file: arguments.names_file.clone().or(file.names_file),
            max_outside_names: arguments.max_outside_names.or(file.max_outside_names).unwrap_or(100),
            sidecar_ports: arguments
                .sidecar_ports
                .clone()
                .or(file.sidecar_ports)
                .unwrap_or_else(|| vec![15001, 15006]),
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
            named_networks: Vec::new(),
            cgroup_root,
        }
    }

    /// What names are made by.
    #[must_use]
    pub fn names_options(&self, labels: Arc<Labels>) -> enrich::Options {
        enrich::Options {
            known_networks: self.known_networks.clone(),
            labels,
            max_outside_names: self.max_outside_names as usize,
            sidecar_ports: self.sidecar_ports.clone(),
        }
    }

    /// How the kubelet is asked.
    #[must_use]
    pub fn kubelet_options(&self) -> kubelet::Options {
        let authority = Path::new("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt");
        let trust = match self.kubelet_insecure {
            true => Trust::Anyone,
            false if authority.exists() => Trust::Authority(authority.to_owned()),
            false => Trust::System,
        };
        let token = Path::new(kubelet::TOKEN).exists().then(|| kubelet::TOKEN.into());
        kubelet::Options { url: self.kubelet_url.clone(), token, trust, ..kubelet::Options::default() }
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
        between("kubernetes_start_seconds", self.kubernetes_start_seconds, 0, 3600)?;
        between("max_outside_names", self.max_outside_names, 0, 100_000)?;
        if self.sidecar_ports.len() > MAX_SIDECAR_PORTS || self.sidecar_ports.contains(&0) {
            return Err(ConfigError::Impossible {
                key: "sidecar_ports",
                value: format!("{:?}", self.sidecar_ports),
                problem: format!("has a port 0, or more than {MAX_SIDECAR_PORTS} ports"),
            });
        }
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

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
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
mod tests;
