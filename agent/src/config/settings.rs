//! Every setting, declared once. To add one, add an entry here, use `config.<name>` where it matters, and run
//! `cargo xtask docs`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use netcause_common::{dns, limits};
use netcause_core::diagnose::cause::Family;
use netcause_core::enrich::policy::DnsNames;

use super::check::{AtMost, Check, LogFilter, Percent, Ports, PowerOfTwo};
use super::values::{self, Kubernetes, KubernetesNodes, KubernetesPods, OtlpSignal, PreexistingConnections};
use crate::telemetry::LogFormat;

/// Private, shared, loopback and link-local addresses (RFC 1918, 6598, 1122, 3927, 4193, 4291).
const PRIVATE_NETWORKS: [&str; 9] = [
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

/// Settings that have another name now, old and new: a file or an environment with the old one is refused with the new
/// one in the error.
pub(super) const RENAMED: [(&str, &str); 8] = [
    ("dns_details_per_second", "dns_event_rate_limit"),
    ("kernel_log", "ebpf_log"),
    ("kubelet_insecure", "kubelet_insecure_tls"),
    ("kubernetes_start_seconds", "kubernetes_list_jitter_seconds"),
    ("max_dns_queries", "max_pending_dns_queries"),
    ("max_flows", "max_tcp_flows"),
    ("max_outside_names", "max_external_names"),
    ("older_connections", "preexisting_connections"),
];

settings! {
    "HTTP and logging" {
        /// Address and port of the HTTP server. Port 0 takes a free port; the log says which.
        #[arg(value_name = "ADDR:PORT")]
        listen: SocketAddr = (Ipv4Addr::UNSPECIFIED, 9779).into();

        /// File with TLS, passwords and headers of the HTTP server, in the format of `--web.config.file` of Prometheus and its
        /// exporters; read again when it changes (docs/web-config.md).
        #[arg(value_name = "FILE", alias = "web.config.file")]
        web_config_file: PathBuf;

        /// File with the tokens for `/api/v1/`, one a line, any of which is accepted there and nothing else; read again when it
        /// changes. Without it, who may read `/metrics` may read those as well (docs/web-config.md).
        #[arg(value_name = "FILE")]
        api_token_file: PathBuf;

        /// HTTP connections served at the same time; further ones wait.
        #[arg(value_name = "COUNT")]
        http_max_connections: u32 = 64, 1..=65_536;

        /// Time limit for an HTTP request to arrive, and for its response to be sent.
        #[arg(value_name = "SECONDS")]
        http_timeout_seconds: u32 = 10, 1..=3600;

        /// Log filter: error, warn, info, debug or trace, also per target. `info,tcp_events=debug` also logs each failed
        /// connect, retransmission and reset.
        #[arg(value_name = "FILTER")]
        log: String = "info".to_owned(), LogFilter;

        /// Format of the log, which goes to standard error.
        #[arg(value_name = "FORMAT")]
        log_format: LogFormat = LogFormat::Text;

        /// Let the eBPF programs log what they cannot handle, at debug level. Costs instructions in the kernel.
        #[arg(value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        ebpf_log: bool = false;
    }

    "Recording" {
        /// Directory to keep the last minutes in of all that findings are judged by, so that `netcause why --replay` finds the
        /// same again, here or elsewhere (docs/recording.md). It is made if there is none. Without it nothing is recorded.
        #[arg(value_name = "DIR")]
        record: PathBuf;

        /// How much is kept of a recording, and up to a fifth more.
        #[arg(value_name = "MINUTES")]
        record_minutes: u32 = 15, 1..=1440;

        /// Limit on the size of a recording. Above it the oldest part goes before its time.
        #[arg(value_name = "MIB")]
        record_max_mib: u32 = 64, 1..=65_536;
    }

    "Limits" {
        /// TCP flows in the kernel's hash map. Traffic of further flows is counted under the workload `other`; one workload may
        /// have a quarter of them, and 256 at least.
        #[arg(value_name = "COUNT")]
        max_tcp_flows: u32 = limits::DEFAULT_FLOWS, FLOWS;

        /// UDP flows in the kernel's hash map. Traffic of further flows is counted under the workload `other`.
        #[arg(value_name = "COUNT")]
        max_udp_flows: u32 = limits::DEFAULT_UDP_FLOWS, FLOWS;

        /// DNS flows (client and server pairs, and servers on this node) in the kernel's hash map. Queries of further
        /// flows are counted under the workload `other`.
        #[arg(value_name = "COUNT")]
        max_dns_flows: u32 = limits::DEFAULT_DNS_FLOWS, 3..=1 << 20;

        /// DNS queries that may wait for their answer at the same time. Further queries are counted without latency and
        /// without timeout.
        #[arg(value_name = "COUNT")]
        max_pending_dns_queries: u32 = limits::DEFAULT_DNS_QUERIES, 1..=1 << 22;

        /// TCP sockets tracked from connect to close. Further connections are counted only when they close.
        #[arg(value_name = "COUNT")]
        max_sockets: u32 = limits::DEFAULT_SOCKETS, 1..=1 << 24;

        /// Listening ports tracked, to know which end of a connection is the server, and for accept queue metrics.
        #[arg(value_name = "COUNT")]
        max_listeners: u32 = limits::DEFAULT_LISTENERS, 1..=1 << 20;

        /// Time series of edges (pairs of workloads) on /metrics. An edge has about ten series, sixty with histograms.
        /// Above the limit the smallest edges lose their histograms first, then are added up under the workload `other`.
        #[arg(value_name = "COUNT")]
        max_series: u32 = 10_000, 1..=10_000_000;

        /// Nodes at the other end of connections that have counters of their own (`netcause_peer_node_*`, some thirty series each).
        /// Above the limit the smallest ones are counted together as the node `other`.
        #[arg(value_name = "COUNT")]
        max_peer_nodes: u32 = 256, 1..=20_000;

        /// External servers shown by the DNS name that the client resolved. Further ones are shown as `external`; 0 shows
        /// all of them so.
        #[arg(value_name = "COUNT")]
        max_external_names: u32 = 100, 0..=100_000;

        /// Size of the ring buffers that carry events from the kernel.
        #[arg(value_name = "BYTES")]
        event_ring_bytes: u32 = limits::DEFAULT_EVENT_RING_BYTES, PowerOfTwo(4096..=1 << 28);
    }

    "Flows and workloads" {
        /// Idle timeout: a flow without open connections is dropped, and its series end, after this time without
        /// traffic.
        #[arg(value_name = "SECONDS")]
        flow_idle_seconds: u32 = 600, 1..=1 << 24;

        /// Longest time between sweeps. A sweep reads the counters of all open connections; a scrape starts one, too.
        #[arg(value_name = "SECONDS")]
        sweep_interval_seconds: u32 = 5, 1..=86_400;

        /// CPU limit for sweeps, in percent of one CPU. With many open connections, sweeps run less often to stay below it.
        #[arg(value_name = "PERCENT")]
        sweep_cpu_percent: f64 = 0.5, Percent;

        /// Time between two readings of what the kernel counts of the node: devices, queues, protocols of each pod. They are
        /// read less often where that takes more than one percent of a CPU.
        #[arg(value_name = "SECONDS")]
        node_interval_seconds: u32 = 5, 1..=3600;

        /// What to count of connections that were open before the agent started: bytes and segments since the agent's
        /// start, or of their lifetime. With lifetime, rates jump when the agent restarts.
        #[arg(value_name = "WHICH")]
        preexisting_connections: PreexistingConnections = PreexistingConnections::SinceStart;

        /// Networks whose addresses are shown one by one, separated by commas. Clients from elsewhere are one workload,
        /// `external`.
        #[arg(value_name = "CIDR", value_delimiter = ',')]
        known_networks: Vec<IpNet> = networks(&PRIVATE_NETWORKS), AtMost(limits::NETWORKS);

        /// Ports that sidecar proxies listen on, separated by commas. A listener there is a proxy of its workload, not
        /// another server.
        #[arg(value_name = "PORT", value_delimiter = ',')]
        sidecar_ports: Vec<u16> = vec![15_001, 15_006], Ports(16);
    }

    "Findings" {
        /// Families of causes that findings may name, separated by commas: loss and delay, connects, applications, DNS, and places
        /// (listening ports and the node). An empty list (`findings: []` in the file) switches findings off.
        #[arg(value_name = "FAMILY", value_delimiter = ',', value_parser = values::finding_family())]
        findings: Vec<Family> = Family::ALL.map(|(_, family)| family).to_vec(), AtMost(5);

        /// Write a Kubernetes Event on the pods of this node that a finding of at least medium confidence hurts. Needs names from the
        /// API server and the ClusterRole of deploy/overlays/events.
        #[arg(value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        kubernetes_events: bool = false;
    }

    "OTLP export" {
        /// URL of an OpenTelemetry Collector that takes OTLP over HTTP, such as `http://collector:4318`; `/v1/metrics` and `/v1/logs` are
        /// added to it (docs/otlp.md). Without it nothing is sent.
        #[arg(value_name = "URL")]
        otlp_endpoint: String;

        /// What is sent, separated by commas: metrics, all that `/metrics` has, and findings, a log record when one begins, is surer
        /// or ends.
        #[arg(value_name = "SIGNAL", value_delimiter = ',')]
        otlp_signals: Vec<OtlpSignal> = vec![OtlpSignal::Metrics, OtlpSignal::Findings], AtMost(2);

        /// Time between two exports of metrics. Findings are sent at once.
        #[arg(value_name = "SECONDS")]
        otlp_interval_seconds: u32 = 60, 1..=60;

        /// File with headers for each request, `Name: value` one a line, such as `Authorization: Bearer …`; read for each request.
        #[arg(value_name = "FILE")]
        otlp_headers_file: PathBuf;

        /// File with the certificates (PEM) that may have signed the collector's, instead of the system's. This file and the next two
        /// are read for each connection.
        #[arg(value_name = "FILE")]
        otlp_ca_file: PathBuf;

        /// File with a client certificate (PEM), where the collector asks for one.
        #[arg(value_name = "FILE")]
        otlp_cert_file: PathBuf;

        /// File with the private key of the client certificate (PEM).
        #[arg(value_name = "FILE")]
        otlp_key_file: PathBuf;

        /// What may wait while the collector is away, compressed, of metrics and of findings each. Above it the oldest is lost and counted.
        #[arg(value_name = "KIB")]
        otlp_queue_kib: u32 = 4096, 64..=1 << 20;

        /// Name of the cluster, as the resource attribute `k8s.cluster.name`.
        #[arg(value_name = "NAME")]
        otlp_cluster_name: String;
    }

    "DNS" {
        /// Ports of DNS servers, separated by commas. An empty list (`dns_ports: []` in the file) switches DNS off.
        #[arg(value_name = "PORT", value_delimiter = ',')]
        dns_ports: Vec<u16> = vec![53], Ports(dns::MAX_PORTS);

        /// A DNS query without an answer after this time counts as a timeout. Set it to the timeout of the resolvers on
        /// the node.
        #[arg(value_name = "SECONDS")]
        dns_timeout_seconds: u32 = 5, 1..=60;

        /// Rate limit, per second, of the DNS answers whose names are read; for successes and failures each. Further
        /// answers are counted, too, but without their names.
        #[arg(value_name = "COUNT")]
        dns_event_rate_limit: u32 = 2000, 1..=1_000_000;

        /// How queried DNS names are shown: as they are, as a hash that is the same until the agent restarts, or not at
        /// all (names stay in the kernel: no list of names, no search domain metrics, no external names).
        #[arg(value_name = "HOW", value_parser = values::dns_names())]
        dns_names: DnsNames = DnsNames::Shown;
    }

    "Names of pods, services and nodes" {
        /// Source of the names of pods, services and nodes. auto uses the API server if there is a service account or a
        /// kubeconfig; kubelet knows the pods of this node only.
        #[arg(value_name = "SOURCE")]
        kubernetes: Kubernetes = Kubernetes::Auto;

        /// Which pods to watch: all, or only those of this node while their peers are looked up one by one. node saves
        /// memory in very large clusters.
        #[arg(value_name = "WHICH")]
        kubernetes_pods: KubernetesPods = KubernetesPods::All;

        /// Which nodes to know by name and zone: auto watches all of them with `kubernetes_pods: all`, and with `node` looks up this
        /// node and those of its peers, one by one; all watches all nodes, which loads the API server with the square of their number;
        /// none knows none (docs/scale.md).
        #[arg(value_name = "WHICH")]
        kubernetes_nodes: KubernetesNodes = KubernetesNodes::Auto;

        /// Random delay before the first list requests, up to this time, so that the agents of a cluster do not send them
        /// at once.
        #[arg(value_name = "SECONDS")]
        kubernetes_list_jitter_seconds: u32 = 10, 0..=3600;

        /// kubeconfig file for the API server, as for kubectl. Not needed in a pod with a service account.
        #[arg(value_name = "FILE")]
        kubeconfig: PathBuf;

        /// URL of the kubelet's list of pods. `http://127.0.0.1:10255/pods` is its read-only port, without authentication.
        #[arg(value_name = "URL")]
        kubelet_url: String = "https://127.0.0.1:10250/pods".to_owned();

        /// Do not verify the kubelet's certificate, which is often self-signed.
        #[arg(value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        kubelet_insecure_tls: bool = false;

        /// Name of this node in Kubernetes. Without it, the host name.
        #[arg(value_name = "NAME")]
        node_name: String;

        /// File with names of pods, services, nodes, external networks and cgroups, read again when it changes. Its format
        /// is in docs/names.md.
        #[arg(value_name = "FILE")]
        names_file: PathBuf;
    }
}

/// How many flows there may be. At least three: one flow, and the entries of `other` for clients and for servers.
const FLOWS: std::ops::RangeInclusive<u32> = 3..=1 << 22;

fn networks(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}
