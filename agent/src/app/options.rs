//! What each part of the agent is started with, by the settings: the only place that knows both.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Kubernetes, OtlpSignal, PreexistingConnections};
use crate::kernel::{self, Pace};
use crate::otlp::{self, Endpoint, OtlpError, Resource};
use crate::record::{Keeper, Limits};
use crate::sources::kubelet::{self, Trust};
use crate::sources::kubernetes;
use crate::web;
use netcause_core::enrich;
use netcause_core::enrich::policy::{DnsNames, Labels};
use netcause_core::recording::Origin;

impl Config {
    /// Options of the kernel side.
    #[must_use]
    pub fn kernel_options(&self, cgroup_root: Option<PathBuf>) -> kernel::Options {
        kernel::Options {
            max_flows: self.max_tcp_flows,
            max_udp_flows: self.max_udp_flows,
            max_dns_flows: self.max_dns_flows,
            max_dns_queries: self.max_pending_dns_queries,
            dns_ports: self.dns_ports.clone(),
            dns_timeout: seconds(self.dns_timeout_seconds),
            dns_event_rate_limit: match self.dns_names {
                DnsNames::Off => 0,
                DnsNames::Shown | DnsNames::Hashed => self.dns_event_rate_limit,
            },
            max_sockets: self.max_sockets,
            max_listeners: self.max_listeners,
            event_ring_bytes: self.event_ring_bytes,
            ebpf_log: self.ebpf_log,
            count_since_start: self.preexisting_connections == PreexistingConnections::SinceStart,
            known_networks: self.known_networks.clone(),
            named_networks: Vec::new(),
            cgroup_root,
        }
    }

    /// Options of the directory of names.
    #[must_use]
    pub fn names_options(&self, labels: Arc<Labels>) -> enrich::Options {
        enrich::Options {
            known_networks: self.known_networks.clone(),
            labels,
            max_outside_names: self.max_external_names as usize,
            sidecar_ports: self.sidecar_ports.clone(),
        }
    }

    /// Options of requests to the kubelet.
    #[must_use]
    pub fn kubelet_options(&self) -> kubelet::Options {
        let authority = Path::new("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt");
        let trust = match self.kubelet_insecure_tls {
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
        Pace { interval: seconds(self.sweep_interval_seconds), share: self.sweep_cpu_percent / 100.0 }
    }

    /// Time between two readings of the node.
    #[must_use]
    pub fn node_interval(&self) -> Duration {
        seconds(self.node_interval_seconds)
    }

    /// Begins to record, where that is wanted.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used.
    pub fn keeper(&self) -> anyhow::Result<Option<Keeper>> {
        let Some(directory) = &self.record else { return Ok(None) };
        let limits = Limits {
            kept: Duration::from_secs(60 * u64::from(self.record_minutes)),
            max_bytes: u64::from(self.record_max_mib) << 20,
        };
        let node = self.node_name.clone().unwrap_or_default();
        let origin = Origin { agent: env!("CARGO_PKG_VERSION").to_owned(), node };
        Keeper::start(directory, limits, origin).map(Some)
    }

    /// Files with TLS, passwords and tokens of the port.
    #[must_use]
    pub fn web_files(&self) -> web::Files {
        web::Files { config: self.web_config_file.clone(), api_tokens: self.api_token_file.clone() }
    }

    /// What is sent by OTLP, and where; `None` where nothing is.
    ///
    /// # Errors
    ///
    /// When a setting cannot be used.
    pub fn otlp_options(&self) -> Result<Option<otlp::Options>, OtlpError> {
        let Some(url) = &self.otlp_endpoint else { return Ok(None) };
        let endpoint = Endpoint::parse(url)?;
        let files = otlp::Files {
            headers: self.otlp_headers_file.clone(),
            ca: self.otlp_ca_file.clone(),
            cert: self.otlp_cert_file.clone(),
            key: self.otlp_key_file.clone(),
        };
        files.check(&endpoint)?;
        let in_kubernetes = match self.kubernetes {
            Kubernetes::Auto => self.kubeconfig.is_some() || kubernetes::is_in_cluster(),
            Kubernetes::Api | Kubernetes::Kubelet => true,
            Kubernetes::Off => false,
        };
        Ok(Some(otlp::Options {
            endpoint,
            files,
            metrics: self.otlp_signals.contains(&OtlpSignal::Metrics),
            findings: self.otlp_signals.contains(&OtlpSignal::Findings),
            interval: seconds(self.otlp_interval_seconds),
            max_bytes: (self.otlp_queue_kib as usize) << 10,
            resource: Resource {
                node: self.node_name.clone().unwrap_or_default(),
                in_kubernetes,
                cluster: self.otlp_cluster_name.clone(),
            },
            timeout: otlp::TIMEOUT,
            waits: otlp::WAITS,
        }))
    }

    /// Idle timeout of a flow without open connections.
    #[must_use]
    pub fn flow_idle(&self) -> Duration {
        seconds(self.flow_idle_seconds)
    }

    /// Time limit of one HTTP request.
    #[must_use]
    pub fn http_timeout(&self) -> Duration {
        seconds(self.http_timeout_seconds)
    }
}

fn seconds(number: u32) -> Duration {
    Duration::from_secs(number.into())
}
