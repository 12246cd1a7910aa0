//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::client::Access;
use crate::config::{self, Origin, Settings};
use crate::expose::edges::{Limit, Sort, Window, Workload};
use crate::record::At;

/// Find out why the network of this node is slow or failing: per pair of workloads, from the kernel, by eBPF.
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
    /// Run the agent: observe TCP, UDP and DNS on this node and serve metrics per pair of workloads.
    ///
    /// Workloads are named from the cgroups of this node, from Kubernetes (the API server or this node's kubelet) and
    /// from a file.
    ///
    /// Needs root, or the capabilities BPF and PERFMON (and SYS_RESOURCE before Linux 5.11), and NET_ADMIN for UDP, DNS
    /// and the backends of services. Needs the host's PID namespace to read the counters of open connections.
    #[command(after_help = format!("HTTP endpoints:\n{}\n{AGENT_NOTES}", crate::expose::http::endpoints()))]
    Agent(Box<AgentArguments>),
    /// Check which probes can run on this node, and why others cannot.
    ///
    /// Loads every eBPF program, so that the kernel's verifier checks it, and unloads it again. Attaches none.
    #[command(
        after_help = "Exit codes:\n  0   at least one probe can run\n  69  none can\n  77  not permitted\n  \
        1   any other error"
    )]
    Check(CheckArguments),
    /// Say what is wrong with the network of this node, or that nothing is: cause, side, evidence, who acts, and the next step.
    ///
    /// Asks a running agent for `/api/v1/findings`. Needs no rights of its own.
    #[command(after_help = WHY_NOTES)]
    Why(WhyArguments),
    /// Look into a recording (`netcause agent --record DIR`), or cut out a part that can be passed on.
    ///
    /// `netcause why --replay DIR` says what the agent found. Needs no agent and no rights of its own.
    #[command(subcommand)]
    Record(RecordCommand),
    /// Say how a running agent is: what is down and why, what was lost, and how full its tables are.
    ///
    /// Asks it for `/api/v1/status`. Needs no rights of its own. Counts are since the agent started.
    #[command(after_help = STATUS_NOTES)]
    Status(StatusArguments),
    /// Show who talks to whom right now, and how well: rates per pair of workloads, like top.
    ///
    /// Asks a running agent for `/api/v1/edges`. Needs no rights of its own.
    #[command(after_help = EDGES_NOTES)]
    Edges(EdgesArguments),
}

const WHY_NOTES: &str = "\
Confidence:
  high    neighbouring causes are excluded by evidence
  medium  the nearest other cause cannot be excluded; it is named
  low     more likely than not

Examples:
  Is it the network? For one workload, over the last ten minutes:
      netcause why --workload shop/checkout --since 10m
  Wait for whatever comes:
      netcause why --follow
  In a script, by the exit code:
      netcause why --fail-on high -o json
  All agents of a cluster, from a laptop; it needs the rights to list pods in their namespace and to get pods/proxy there:
      netcause why --kube --workload shop/checkout
  The same as a plugin of kubectl, when this program is also installed as kubectl-netcause:
      kubectl netcause why --workload shop/checkout
  Both ends of a pair, where the agents can be reached:
      netcause why --url http://node-17:9779 --url http://node-23:9779
  An agent with TLS and a token:
      netcause why --url https://node-17:9779 --ca-file ca.pem --token-file token
  What did it find last night? From a recording, on any machine:
      netcause why --replay /var/lib/netcause/record --at 2026-11-29T03:12:00Z

Exit codes:
  0   nothing is wrong that is as sure as --fail-on
  1   no agent can be reached, or answers; there is no recording, or none of that time
  2   something is
  64  error in the command line";

const TRIM_NOTES: &str = "\
With --strip-names each name has one hash in the whole output, so that what belongs together is seen. The key is random and not
kept: whoever has the output cannot try names. Ports, times, counts, causes and kinds stay, and the kernel's numbers of cgroups and network
namespaces. Findings that are equally sure and began together come in the order of their names, which is another one then.

Examples:
  For a bug report, the ten minutes around a finding, without names:
      netcause record trim --from 2026-11-29T03:05:00Z --to 2026-11-29T03:15:00Z --strip-names /var/lib/netcause/record out
      netcause why --replay out
      tar czf out.tar.gz out";

const STATUS_NOTES: &str = "\
The second line is `all well`, or `impaired` with the parts that are not as they should be:
  probes        a probe does not run; one that a setting has switched off does not count
  node_readers  a reader of the node does not work
  name_sources  a source of names does not work; the names that it gave stay
  lost          something was lost, folded or left out since the agent started
Each is a line below, with its reason. Lines end where the terminal does; in a file or a pipe, and with -o json, reasons are whole.

Examples:
  Is anything missing in what this agent shows?
      netcause status
  In a script, the metrics that say what was lost:
      netcause status -o json | jq -r '.lost[] | \"\\(.metric) \\(.count)\"'
  An agent in a cluster:
      kubectl -n netcause exec netcause-x7k2p -- /usr/bin/netcause status

Exit codes:
  0   all well
  1   the agent cannot be reached, or does not answer
  2   impaired: something is down, or was lost
  64  error in the command line";

const EDGES_NOTES: &str = "\
Columns:
  SENT/S, RECV/S  payload of TCP and UDP, in bytes, as the end saw it that this node runs
  CONN/S, FAIL/S  TCP connections opened; failures: failed connects, resets, DNS failures and timeouts, dropped datagrams
  RETR%           share of the sent TCP segments that were sent again
  RTT             mean smoothed round-trip time of TCP
  ANSWER          mean time from a request to its answer over TCP, of those that sweeps saw: the network is in RTT, the rest is the
                  server's application
A row is marked < where this node runs the client, > where it runs the server, as `reporter` in the metrics.

Examples:
  The ten pairs that retransmit most, again and again:
      netcause edges --watch --sort retransmits --limit 10
  What one workload fails at, over five minutes, for a script:
      netcause edges --workload shop/checkout --sort failures --window 5m -o json
  An agent in a cluster:
      kubectl -n netcause port-forward pod/netcause-x7k2p 9779 &
      netcause edges

Exit codes:
  0   shown
  64  error in the command line
  69  the agent cannot be reached, or does not answer";

const AGENT_NOTES: &str = "\
Each setting has a flag, an environment variable and a key in the configuration file.
Flags override the environment, which overrides the file.

Examples:
  Serve metrics on the loopback address only:
      netcause agent --listen 127.0.0.1:9779
  Log each failed connect, retransmission and reset:
      netcause agent --log info,tcp_events=debug
  Name workloads outside of a cluster, by kubeconfig or by a file:
      netcause agent --kubernetes api --kubeconfig ~/.kube/config
      netcause agent --kubernetes off --names-file names.yaml
  Write a configuration file with the settings of this command line:
      netcause agent --max-series 50000 --print-config > netcause.yaml

Exit codes:
  0   ended by SIGTERM or SIGINT
  64  error in the command line or the configuration
  69  no probe can run on this kernel
  77  not permitted
  1   any other error";

/// Arguments of `netcause agent`.
#[derive(Args, Debug)]
pub struct AgentArguments {
    /// Configuration file (YAML). Its keys are the names of the flags, with underscores.
    #[arg(long, value_name = "FILE", env = "NETCAUSE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print the resulting settings as a configuration file, and exit.
    #[arg(long)]
    pub print_config: bool,
    /// The settings that are given here or in the environment.
    #[command(flatten)]
    pub settings: Settings,
}

/// Arguments of `netcause check`.
#[derive(Args, Debug)]
pub struct CheckArguments {
    /// Output format.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

/// Arguments of `netcause edges`.
#[derive(Args, Debug)]
pub struct EdgesArguments {
    /// Show it again every two seconds, until interrupted.
    #[arg(short, long)]
    pub watch: bool,
    /// Only pairs with this workload at one of their ends; without a namespace, in any.
    #[arg(short = 'n', long, value_name = "NS/NAME")]
    pub workload: Option<Workload>,
    /// What comes first: the most of it.
    #[arg(short, long, value_name = "KEY", default_value = "bytes")]
    pub sort: Sort,
    /// The time to look back, up to 10m. More is shown where that is within a longer window.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub window: Window,
    /// Rows at most, up to 1000.
    #[arg(short, long, value_name = "COUNT", default_value = "100")]
    pub limit: Limit,
    /// URL of the agent.
    #[arg(long, value_name = "URL", env = "NETCAUSE_URL", default_value = "http://127.0.0.1:9779")]
    pub url: String,
    /// How its port is entered.
    #[command(flatten)]
    pub access: Access,
    /// Output format. json is the agent's own answer.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: EdgesOutput,
}

/// Arguments of `netcause why`.
#[derive(Args, Debug)]
pub struct WhyArguments {
    /// Only what concerns this workload; without a namespace, in any.
    #[arg(short = 'n', long, value_name = "NS/NAME")]
    pub workload: Option<Workload>,
    /// Say too what has ended within this time, up to 10m.
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub since: Window,
    /// Go on, and say what begins and ends, until interrupted.
    #[arg(short, long)]
    pub follow: bool,
    /// Say what an agent found that has recorded (`netcause agent --record DIR`), instead of asking one.
    #[arg(long, value_name = "DIR", conflicts_with = "follow")]
    pub replay: Option<PathBuf>,
    /// The time in the recording: 2026-11-29T10:00:00Z, or -5m for five minutes before its end. Without it, the end.
    #[arg(long, value_name = "TIME", requires = "replay", allow_hyphen_values = true)]
    pub at: Option<At>,
    /// Exit with 2 for findings that are active and at least so sure.
    #[arg(long, value_name = "CONFIDENCE", default_value = "medium")]
    pub fail_on: Confidence,
    /// URL of the agent. Of several, given one by one or with commas between them, the answers are put together.
    #[arg(
        long,
        value_name = "URL",
        env = "NETCAUSE_URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:9779"
    )]
    pub url: Vec<String>,
    /// How its port is entered.
    #[command(flatten)]
    pub access: Access,
    /// Ask all agents of a cluster, through its API server: those in this namespace, or in netcause. No URL is asked then.
    #[arg(
        long,
        value_name = "NAMESPACE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "netcause",
        conflicts_with = "replay"
    )]
    pub kube: Option<String>,
    /// With --kube: this file, instead of KUBECONFIG or the one in the home directory.
    #[arg(long, value_name = "FILE", requires = "kube")]
    pub kubeconfig: Option<PathBuf>,
    /// With --kube: this context of the file, instead of the current one.
    #[arg(long, value_name = "NAME", requires = "kube")]
    pub context: Option<String>,
    /// Output format. json is the agent's own answer; of several agents, what they say put together.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: EdgesOutput,
}

/// What is done with a recording.
#[derive(Debug, Subcommand)]
pub enum RecordCommand {
    /// Say what a recording has: node, span, windows, pairs of workloads, size.
    Show(ShowArguments),
    /// Write the part of a recording between two times, without names if so wanted.
    ///
    /// The findings of the part are those of the whole, because it begins with what the agent had learned by then.
    #[command(after_help = TRIM_NOTES)]
    Trim(TrimArguments),
}

/// Arguments of `netcause record show`.
#[derive(Args, Debug)]
pub struct ShowArguments {
    /// The recording: a directory, or one segment of it.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// Arguments of `netcause record trim`.
#[derive(Args, Debug)]
pub struct TrimArguments {
    /// When it begins: 2026-11-29T10:00:00Z, or -10m for ten minutes before the end. Without it, at the begin.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<At>,
    /// When it ends. Without it, at the end.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<At>,
    /// Replace namespaces, workloads, services, nodes, devices, domain names and addresses by hashes.
    #[arg(long)]
    pub strip_names: bool,
    /// The recording: a directory, or one segment of it.
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// A directory without a recording; it is made if there is none.
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
}

/// Arguments of `netcause status`.
#[derive(Args, Debug)]
pub struct StatusArguments {
    /// URL of the agent.
    #[arg(long, value_name = "URL", env = "NETCAUSE_URL", default_value = "http://127.0.0.1:9779")]
    pub url: String,
    /// How its port is entered.
    #[command(flatten)]
    pub access: Access,
    /// Output format. json is the agent's own answer.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: EdgesOutput,
}

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Confidence {
    /// More likely than not.
    Low,
    /// The nearest other cause cannot be excluded.
    Medium,
    /// Neighbouring causes are excluded.
    High,
}

/// How `netcause edges`, `netcause status` and `netcause why` print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EdgesOutput {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The command line, with all that its help says about settings.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command().mut_subcommand("agent", |agent| agent.mut_args(config::with_details))
}

/// The arguments of this program. As a plugin of kubectl, `kubectl netcause why` asks the cluster unless it says whom else.
#[must_use]
pub fn arguments(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = given.into_iter().collect();
    let is_plugin = arguments.first().is_some_and(|program| {
        Path::new(program)
            .file_stem()
            .is_some_and(|name| name == "kubectl-netcause" || name == "kubectl_netcause")
    });
    let says_whom = arguments.iter().any(|argument| {
        let text = argument.to_string_lossy();
        ["--kube", "--url", "--replay"]
            .iter()
            .any(|flag| text == *flag || text.starts_with(&format!("{flag}=")))
    });
    if is_plugin && !says_whom && arguments.get(1).is_some_and(|command| command == "why") {
        arguments.insert(2, "--kube".into());
    }
    arguments
}

/// Where a setting was given on the command line of `netcause agent`, or in its environment.
#[must_use]
pub fn origin(matches: &ArgMatches, setting: &str) -> Option<Origin> {
    match matches.subcommand_matches("agent")?.value_source(setting)? {
        ValueSource::CommandLine => Some(Origin::Flag(config::flag(setting))),
        ValueSource::EnvVariable => Some(Origin::Environment(config::variable(setting))),
        _ => None,
    }
}

/// For a value that cannot be parsed: the environment variable that it comes from, if it does. clap names the flag.
#[must_use]
pub fn blamed_variable(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(usage)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = usage.split([' ', '=', '[']).next()?;
    let is_given = std::env::args().any(|argument| argument.split('=').next() == Some(flag));
    let variable = config::variable(&flag.strip_prefix("--")?.replace('-', "_"));
    (!is_given && std::env::var_os(&variable).is_some()).then_some(variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn a_plugin_of_kubectl_asks_the_cluster_unless_it_says_whom_else() {
        let given = |words: &str| {
            arguments(words.split(' ').map(OsString::from)).join(" ".as_ref()).into_string().unwrap()
        };
        assert_eq!(
            given("/usr/bin/kubectl-netcause why -n shop/cart"),
            "/usr/bin/kubectl-netcause why --kube -n shop/cart"
        );
        for words in [
            "netcause why",
            "kubectl-netcause why --kube=x",
            "kubectl-netcause why --url http://a:1",
            "kubectl-netcause status",
        ] {
            assert_eq!(given(words), words);
        }
        let parsed = |words: &str| Cli::try_parse_from(arguments(words.split(' ').map(OsString::from)));
        assert!(parsed("kubectl-netcause why --context lab").is_ok());
        assert!(parsed("netcause why --context lab").is_err());
    }
}
