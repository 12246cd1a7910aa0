//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::config::{Kubernetes, KubernetesPods, LogFormat, OlderConnections};
use netcause_core::enrich::policy::DnsNames;

/// A node agent that says why the network hurts.
#[derive(Debug, Parser)]
#[command(name = "netcause", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent: watch this node's TCP, UDP and DNS, name who talks to whom, and serve it as metrics.
    ///
    /// Names come from the node's cgroups, from Kubernetes (its API, or this node's kubelet) and from a file.
    ///
    /// Needs root, or the capabilities BPF and PERFMON (SYS_RESOURCE too before Linux 5.11) and NET_ADMIN for UDP, DNS and
    /// what is behind services; and the host's PID namespace to look at open connections.
    #[command(
        after_help = format!(
            "Endpoints:\n{}\n\
            Each setting comes from the file, then the environment, then the flags; the later wins.\n\
            Exit codes: 0 ended by a signal, 64 usage or configuration, 69 nothing can run on this kernel,\n\
            77 not permitted, 1 anything else.",
            crate::expose::http::endpoints()
        )
    )]
    Agent(Box<AgentArguments>),
    /// Say of each probe whether it can run on this node, and why not.
    ///
    /// Loads every program into the kernel, so that its verifier has its say, attaches none and leaves nothing behind.
    #[command(
        after_help = "Exit codes: 0 something can run, 69 nothing can, 77 not permitted, 1 anything else."
    )]
    Check(CheckArguments),
}

/// Settings of the agent; what is not given here comes from the file or is the default.
#[derive(Args, Debug, Default)]
pub struct AgentArguments {
    /// Configuration file (YAML); its keys are the long flags with underscores.
    #[arg(long, value_name = "FILE", env = "NETCAUSE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print the settings that result from file, environment and flags, and end.
    #[arg(long)]
    pub print_config: bool,
    /// Address and port to serve on; port 0 takes a free one, which the log names. [default: 0.0.0.0:9779]
    #[arg(long, value_name = "ADDR:PORT", env = "NETCAUSE_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// What to log: error, warn, info, debug or trace, also by part. `tcp_events=debug` logs each connect failure,
    /// retransmit and reset. [default: info]
    #[arg(long, value_name = "FILTER", env = "NETCAUSE_LOG")]
    pub log: Option<String>,
    /// How to log. [default: text]
    #[arg(long, value_name = "FORMAT", env = "NETCAUSE_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Let the eBPF programs log what they cannot handle (at debug level); costs instructions in the kernel.
    #[arg(long, value_name = "BOOL", env = "NETCAUSE_KERNEL_LOG")]
    pub kernel_log: Option<bool>,
    /// TCP flows the kernel keeps apart; further ones are added up under the workload `other`. [default: 16384]
    #[arg(long, value_name = "COUNT", env = "NETCAUSE_MAX_FLOWS")]
    pub max_flows: Option<u32>,
    /// UDP flows the kernel keeps apart; further ones are added up under the workload `other`. [default: 16384]
    #[arg(long, value_name = "COUNT", env = "NETCAUSE_MAX_UDP_FLOWS")]
    pub max_udp_flows: Option<u32>,
    /// Pairs of a DNS client and its server kept apart, and DNS servers here; further ones are added up under the workload
    /// `other`. [default: 4096]
    #[arg(long, value_name = "COUNT", env = "NETCAUSE_MAX_DNS_FLOWS")]
    pub max_dns_flows: Option<u32>,
    /// DNS queries of clients that wait for their answer; further ones are counted without latency and timeout.
    /// [default: 16384]
    #[arg(long, value_name = "COUNT", env = "NETCAUSE_MAX_DNS_QUERIES")]
    pub max_dns_queries: Option<u32>,
    /// TCP sockets remembered from connect to close; a connection beyond them is counted at its close only.
    /// [default: 131072]
    #[arg(long, value_name = "COUNT", env = "NETCAUSE_MAX_SOCKETS")]
    pub max_sockets: Option<u32>,
    /// Listening ports remembered. [default: 8192]
    #[arg(long, value_name = "COUNT", env = "NETCAUSE_MAX_LISTENERS")]
    pub max_listeners: Option<u32>,
    /// Time series of pairs of workloads on /metrics; beyond them the smallest pairs give first their histograms, then
    /// everything to the workload `other`. A pair has some ten series, and sixty with histograms. [default: 10000]
    #[arg(long, value_name = "COUNT", env = "NETCAUSE_MAX_SERIES")]
    pub max_series: Option<u32>,
    /// A flow without open connections is forgotten, and its series end, when nothing happened for so long.
    /// [default: 600]
    #[arg(long, value_name = "SECONDS", env = "NETCAUSE_FLOW_IDLE_SECONDS")]
    pub flow_idle_seconds: Option<u32>,
    /// Open connections are looked at when metrics are asked for, and at least this often. [default: 10]
    #[arg(long, value_name = "SECONDS", env = "NETCAUSE_SWEEP_INTERVAL_SECONDS")]
    pub sweep_interval_seconds: Option<u32>,
    /// What looking at open connections may take of one processor; with very many, it happens less often.
    /// [default: 0.5]
    #[arg(long, value_name = "PERCENT", env = "NETCAUSE_SWEEP_CPU_PERCENT")]
    pub sweep_cpu_percent: Option<f64>,
    /// What counts of the bytes and segments of connections that are older than the agent: all they ever carried, or
    /// the rest from the agent's start on. With `whole`, rates jump when the agent restarts. [default: whole]
    #[arg(long, value_name = "WHICH", env = "NETCAUSE_OLDER_CONNECTIONS")]
    pub older_connections: Option<OlderConnections>,
    /// Networks whose clients are told apart, with commas between them; clients from elsewhere are one workload,
    /// `external`. [default: private, shared, loopback and link-local addresses]
    #[arg(long, value_name = "CIDR", env = "NETCAUSE_KNOWN_NETWORKS", value_delimiter = ',')]
    pub known_networks: Option<Vec<IpNet>>,
    /// Ports of DNS, with commas between them, at most eight. An empty list in the file switches DNS off. [default: 53]
    #[arg(long, value_name = "PORT", env = "NETCAUSE_DNS_PORTS", value_delimiter = ',')]
    pub dns_ports: Option<Vec<u16>>,
    /// A DNS query that is not answered within this time is a timeout: as long as resolvers wait. [default: 5]
    #[arg(long, value_name = "SECONDS", env = "NETCAUSE_DNS_TIMEOUT_SECONDS")]
    pub dns_timeout_seconds: Option<u32>,
    /// DNS answers whose names are looked at in a second, of successes and of failures each. The others are counted all
    /// the same. [default: 2000]
    #[arg(long, value_name = "COUNT", env = "NETCAUSE_DNS_DETAILS_PER_SECOND")]
    pub dns_details_per_second: Option<u32>,
    /// What becomes of the names that workloads ask for: shown, replaced by a number that is the same until the agent ends,
    /// or left in the kernel. Without names there is neither the waste of search domains nor a list of names.
    /// [default: shown]
    #[arg(long, value_name = "HOW", env = "NETCAUSE_DNS_NAMES")]
    pub dns_names: Option<DnsNames>,
    /// Where the names of pods, services and nodes come from: the Kubernetes API, the kubelet (the pods of this node
    /// alone), or nowhere. auto: the API where there is a service account or a kubeconfig. [default: auto]
    #[arg(long, value_name = "SOURCE", env = "NETCAUSE_KUBERNETES")]
    pub kubernetes: Option<Kubernetes>,
    /// Which pods are known: all, or those of this node and those that it talks to, for clusters so large that all pods
    /// take too much memory. [default: all]
    #[arg(long, value_name = "WHICH", env = "NETCAUSE_KUBERNETES_PODS")]
    pub kubernetes_pods: Option<KubernetesPods>,
    /// The agents of a cluster ask the API for their first lists at some moment in this time, so that not all of them do
    /// at once. [default: 10]
    #[arg(long, value_name = "SECONDS", env = "NETCAUSE_KUBERNETES_START_SECONDS")]
    pub kubernetes_start_seconds: Option<u32>,
    /// A file that says where the Kubernetes API is, as kubectl has it; in a pod its service account does.
    #[arg(long, value_name = "FILE", env = "NETCAUSE_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Where the kubelet lists its pods; `http://127.0.0.1:10255/pods` is its port without authentication.
    /// [default: https://127.0.0.1:10250/pods]
    #[arg(long, value_name = "URL", env = "NETCAUSE_KUBELET_URL")]
    pub kubelet_url: Option<String>,
    /// Take the kubelet's certificate as it is: many kubelets sign their own. [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", env = "NETCAUSE_KUBELET_INSECURE")]
    pub kubelet_insecure: Option<bool>,
    /// What Kubernetes calls this node. [default: the host's name]
    #[arg(long, value_name = "NAME", env = "NETCAUSE_NODE_NAME")]
    pub node_name: Option<String>,
    /// A file with names of pods, services, nodes, outside networks and cgroups; read again when it changes. See
    /// docs/names.md.
    #[arg(long, value_name = "FILE", env = "NETCAUSE_NAMES_FILE")]
    pub names_file: Option<PathBuf>,
    /// Outside addresses are shown by the name that the workload resolved them from, up to so many names; all others are
    /// `external`. 0: none is. [default: 100]
    #[arg(long, value_name = "COUNT", env = "NETCAUSE_MAX_OUTSIDE_NAMES")]
    pub max_outside_names: Option<u32>,
    /// Ports that sidecars listen on, with commas between them: who listens there is a proxy beside its workload.
    /// [default: 15001,15006]
    #[arg(long, value_name = "PORT", env = "NETCAUSE_SIDECAR_PORTS", value_delimiter = ',')]
    pub sidecar_ports: Option<Vec<u16>>,
    /// Size of the ring buffer for detail events: a power of two, at least 4096. [default: 262144]
    #[arg(long, value_name = "BYTES", env = "NETCAUSE_EVENT_RING_BYTES")]
    pub event_ring_bytes: Option<u32>,
    /// HTTP requests for metrics and JSON answered at once; further ones get 503. Health checks have places of their own.
    /// [default: 64]
    #[arg(long, value_name = "COUNT", env = "NETCAUSE_HTTP_MAX_CONNECTIONS")]
    pub http_max_connections: Option<u32>,
    /// How long one HTTP request may take to arrive, and its answer to leave. [default: 10]
    #[arg(long, value_name = "SECONDS", env = "NETCAUSE_HTTP_TIMEOUT_SECONDS")]
    pub http_timeout_seconds: Option<u32>,
}

/// Settings of the check.
#[derive(Args, Debug)]
pub struct CheckArguments {
    /// How to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

/// How a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;
    use std::{env, fs};

    use clap::CommandFactory as _;

    use super::Cli;

    fn reference() -> String {
        let mut text = String::from(
            "# Configuration\n\nMade by `cargo xtask docs` from `agent/src/cli.rs`.\n\n\
             A setting comes from the file that `--config` names (YAML, keys as below), then from the environment, then \
             from the flags; the later wins. `netcause agent --print-config` shows the result, which is a valid file. \
             Unknown keys and impossible values are errors that name the key, with exit code 64.\n\n\
             | key | environment | flag | meaning |\n|---|---|---|---|\n",
        );
        let cli = Cli::command();
        let agent = cli.find_subcommand("agent").unwrap();
        for argument in agent.get_arguments() {
            let Some(variable) = argument.get_env() else { continue };
            let key = match argument.get_id().as_str() {
                // A file does not name itself.
                "config" => String::new(),
                key => format!("`{key}`"),
            };
            let help = argument.get_help().unwrap().to_string().replace('\n', " ");
            let (flag, variable) = (argument.get_long().unwrap(), variable.to_str().unwrap());
            writeln!(text, "| {key} | `{variable}` | `--{flag}` | {help} |").unwrap();
        }
        text
    }

    #[test]
    fn docs_config_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.md");
        if env::var_os("NETCAUSE_BLESS").is_some() {
            fs::write(&path, reference()).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == reference(),
            "docs/config.md is not what the command line says: run `cargo xtask docs`"
        );
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
