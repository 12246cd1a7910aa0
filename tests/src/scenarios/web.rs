//! The agent's port behind TLS, passwords and a token.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::lab::{
    agent::{self, Agent, Options},
    certificates::Authority,
    eventually,
    files::Files,
    metrics::{FAILURES, Metrics},
    process::{Finished, Process},
    promql::Prometheus,
    topology::Net,
};

/// What the scenario needs.
pub(super) const PROGRAMS: &[(&str, &str)] = &[("curl", "--version"), ("prometheus", "--version")];

/// Passwords, and their hashes as libxcrypt makes them.
const FIRST: (&str, &str) =
    ("first-password", "$2b$10$1rGZt2QHw1iEorVyO6z7hOQJhXpRh4nZjLXuWbY1bAqMIC1l6fy.6");
const SECOND: (&str, &str) =
    ("second-password", "$2b$10$ZhB0z4dsSsSj7981eVS5q.SVS654RFUu7ARgdaSbHpw0vRf9oi7ky");
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// An agent whose port is guarded, and the files that say how.
struct Guarded {
    agent: Agent,
    files: Files,
}

impl Guarded {
    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Writes the file anew, with this password for the user `prometheus`.
    fn write_config(files: &Files, hash: &str) -> Result<PathBuf> {
        files.write(
            "web.yaml",
            &format!(
                "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  client_ca_file: ca.pem\n  \
                 client_auth_type: RequireAndVerifyClientCert\nbasic_auth_users:\n  prometheus: {hash}\n"
            ),
        )
    }

    /// Real curl, which trusts an authority and has the client certificate.
    fn curl(&self, authority: &str, path: &str, more: &[&str]) -> Result<Finished> {
        let mut command = self.bare_curl(authority, path);
        command
            .arg("--cert")
            .arg(self.path("client.pem"))
            .arg("--key")
            .arg(self.path("client.key"))
            .args(more);
        Process::run("curl", &mut command, "")
    }

    fn bare_curl(&self, authority: &str, path: &str) -> Command {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "-w", "%{http_code}", "--cacert"]).arg(self.path(authority));
        command.arg(format!("https://{}{path}", self.agent.address()));
        command
    }

    /// The status of an answer.
    fn status(&self, path: &str, more: &[&str]) -> Result<String> {
        let said = self.curl("ca.pem", path, more)?.success()?;
        Ok(said[said.len().saturating_sub(3)..].to_owned())
    }

    /// The metrics, got with a password.
    fn scrape(&self, password: &str) -> Result<Metrics> {
        let said = self.curl("ca.pem", "/metrics", &["-u", &user(password)])?.success()?;
        Metrics::parse(said.strip_suffix("200").with_context(|| said.clone())?)
    }

    /// A command of the agent's binary that asks this agent.
    fn ask(&self, command: &str, more: &[&str]) -> Result<Finished> {
        let mut process = agent::command(None, false)?;
        process.args([command, "--url", &format!("https://{}", self.agent.address())]);
        for (flag, file) in
            [("--ca-file", "ca.pem"), ("--cert-file", "client.pem"), ("--key-file", "client.key")]
        {
            process.arg(flag).arg(self.path(file));
        }
        Process::run("netcause", process.args(more), "")
    }
}

fn user(password: &str) -> String {
    format!("prometheus:{password}")
}

/// Curl, a real Prometheus and `netcause why` get in with what they need to have and not without it; certificates and passwords
/// are read again when they change, and a file that cannot be used leaves the port as it was.
pub(super) fn guarded(name: &str) -> Result<()> {
    let (_net, client, server) = Net::pair(name)?;
    let files = Files::new(&server, "web")?;
    let authority = Authority::new("one")?;
    for (name, signed) in [("server", authority.sign("server")?), ("client", authority.sign("client")?)] {
        files.write(&format!("{name}.pem"), &signed.certificate)?;
        files.write(&format!("{name}.key"), &signed.key)?;
    }
    files.write("ca.pem", &authority.pem)?;
    let config = Guarded::write_config(&files, FIRST.1)?;
    let tokens = files.write("tokens", &format!("{TOKEN}\n"))?;
    let args = [config.to_str(), tokens.to_str()].map(Option::unwrap_or_default);
    let args = ["--web.config.file", args[0], "--api-token-file", args[1]];
    let options = Options { args: &args, without_dns: true, ..Options::default() };
    let guarded = Guarded { agent: Agent::start(name, "agent", &options)?, files };
    curl(&guarded)?;
    commands(&guarded)?;
    let prometheus = prometheus(name, &guarded)?;
    client.connect(server.at(8085), &["--count", "7"])?;
    let promql = format!("sum({FAILURES}{{source_workload=\"{}\"}})", client.workload());
    eventually("Prometheus has the lab's number", || {
        let answer = prometheus.query(&promql)?;
        ensure!(matches!(answer[..], [(_, 7.0)]), "{promql} is {answer:?}");
        Ok(())
    })?;
    reload(&guarded, &prometheus)?;
    guarded.agent.stop(Signal::TERM)
}

fn curl(guarded: &Guarded) -> Result<()> {
    let (right, wrong) = (user(FIRST.0), user(SECOND.0));
    let bearer = format!("Authorization: Bearer {TOKEN}");
    for (path, more, status) in [
        ("/livez", &[][..], "200"),
        ("/readyz", &[], "200"),
        ("/metrics", &[], "401"),
        ("/metrics", &["-u", &wrong], "401"),
        ("/metrics", &["-u", &right], "200"),
        ("/metrics", &["-H", &bearer], "401"),
        ("/api/v1/findings", &["-u", &right], "401"),
        ("/api/v1/findings", &["-H", &bearer], "200"),
        ("/nothing", &[], "401"),
    ] {
        let said = guarded.status(path, more)?;
        ensure!(said == status, "{path} {more:?}: {said}, not {status}");
    }
    let without_certificate = Process::run("curl", &mut guarded.bare_curl("ca.pem", "/livez"), "")?;
    ensure!(!without_certificate.status.success(), "no client certificate: {without_certificate:?}");
    let mut plain = Command::new("curl");
    plain.args(["-sS", "--max-time", "20"]).arg(format!("http://{}/metrics", guarded.agent.address()));
    let plain = Process::run("curl", &mut plain, "")?;
    ensure!(!plain.status.success() && !plain.stdout.contains("netcause"), "without TLS: {plain:?}");
    // A view may be a second old.
    eventually("refusals are counted", || {
        let metrics = guarded.scrape(FIRST.0)?;
        let refused = |reason| metrics.sum("netcause_http_refused_total", &[("reason", reason)]);
        ensure!(refused("unauthorized") == 5.0, "{} unauthorized", refused("unauthorized"));
        ensure!(refused("tls") == 2.0, "{} failed handshakes", refused("tls"));
        Ok(())
    })
}

fn commands(guarded: &Guarded) -> Result<()> {
    let tokens = guarded.path("tokens");
    let token = ["--token-file", tokens.to_str().unwrap_or_default()];
    let said = guarded.ask("status", &token)?;
    ensure!(said.stdout.contains("netcause"), "status: {said:?}");
    let said = guarded.ask("why", &token)?;
    ensure!(matches!(said.status.code(), Some(0 | 2)), "why: {said:?}");
    let said = guarded.ask("why", &[])?;
    ensure!(said.status.code() == Some(1) && said.stderr.contains("--token-file"), "no token: {said:?}");
    Ok(())
}

fn prometheus(name: &str, guarded: &Guarded) -> Result<Prometheus> {
    let path = |name| guarded.path(name).display().to_string();
    let how = format!(
        "  scheme: https\n  tls_config: {{ca_file: {}, cert_file: {}, key_file: {}}}\n  basic_auth: {{username: prometheus, \
         password: {}}}\n",
        path("ca.pem"),
        path("client.pem"),
        path("client.key"),
        FIRST.0
    );
    let prometheus = Prometheus::start_with(name, guarded.agent.address(), &how)?;
    eventually("Prometheus gets in", || up(&prometheus, 1.0))?;
    Ok(prometheus)
}

fn up(prometheus: &Prometheus, expected: f64) -> Result<()> {
    let up = prometheus.query("up{job=\"netcause\"}")?;
    ensure!(matches!(up[..], [(_, value)] if value == expected), "{up:?}");
    Ok(())
}

fn reload(guarded: &Guarded, prometheus: &Prometheus) -> Result<()> {
    Guarded::write_config(&guarded.files, SECOND.1)?;
    eventually("the new password is in force", || {
        let status = guarded.status("/metrics", &["-u", &user(SECOND.0)])?;
        ensure!(status == "200", "{status}");
        Ok(())
    })?;
    eventually("the old one is not", || up(prometheus, 0.0))?;
    guarded.files.write("web.yaml", "basic_auth_users:\n  prometheus: second-password\n")?;
    eventually("it is said that a file cannot be used", || {
        let outdated = guarded.scrape(SECOND.0)?.sum("netcause_web_config_outdated", &[]);
        ensure!(outdated == 1.0, "{outdated}");
        Ok(())
    })?;
    let log = guarded.agent.log();
    ensure!(log.contains("not a bcrypt hash") && !log.contains("second-password"), "{log}");
    Guarded::write_config(&guarded.files, FIRST.1)?;
    eventually("Prometheus is back", || up(prometheus, 1.0))?;
    eventually("a file that can be used is not outdated", || {
        let outdated = guarded.scrape(FIRST.0)?.sum("netcause_web_config_outdated", &[]);
        ensure!(outdated == 0.0, "{outdated}");
        Ok(())
    })?;
    let other = Authority::new("two")?;
    let signed = other.sign("server")?;
    guarded.files.write("ca2.pem", &other.pem)?;
    for (name, text) in [("server.pem", signed.certificate), ("server.key", signed.key)] {
        fs::write(guarded.path(name), text).with_context(|| format!("writing {name}"))?;
    }
    eventually("the new certificate is shown", || {
        guarded.curl("ca2.pem", "/livez", &[])?.success().map(drop)
    })?;
    let old = guarded.curl("ca.pem", "/livez", &[])?;
    ensure!(!old.status.success(), "the old certificate is still shown: {old:?}");
    Ok(())
}
