//! The fake Kubernetes API server of a scenario: a process on loopback that takes commands.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{machine, namespace::tethered, process::Process};
use crate::apiserver::{
    Asked,
    objects::{Pod, owner},
};

/// What the server has seen since the last [`ApiServer::forget`].
#[derive(Debug, Deserialize)]
pub(crate) struct Account {
    pub(crate) asked: Vec<Asked>,
    pub(crate) violations: Vec<String>,
    /// The resources of the watches that are running.
    pub(crate) watches: Vec<String>,
    /// Events that were created.
    pub(crate) events: Vec<Value>,
}

impl Account {
    /// Requests of this kind.
    pub(crate) fn of<'a>(&'a self, verb: &'a str, resource: &'a str) -> impl Iterator<Item = &'a Asked> {
        self.asked.iter().filter(move |asked| asked.verb == verb && asked.resource == resource)
    }

    /// Fails if the client asked for anything that its role does not grant, or that is not there.
    pub(crate) fn expect_nothing_wrong(&self) -> Result<()> {
        ensure!(self.violations.is_empty(), "the client asked for what it may not: {:?}", self.violations);
        Ok(())
    }

    /// Fails if a whole list was asked for at once: with neither a limit nor a page to go on from.
    pub(crate) fn expect_paged(&self, resource: &str) -> Result<()> {
        for asked in self.of("list", resource) {
            let has = |name: &str| asked.parameters.contains_key(name);
            ensure!(has("limit") || has("continue"), "not paged: {asked:?}");
        }
        Ok(())
    }
}

/// A running server; killed, and its files removed, when dropped.
pub(crate) struct ApiServer {
    process: Mutex<(Process, u64)>,
    address: SocketAddr,
    directory: PathBuf,
}

impl ApiServer {
    /// Starts one that requires a token. `args`: see `netcause-lab apiserver --help`.
    pub(crate) fn start(scenario: &str, args: &[&str]) -> Result<Self> {
        let mut command = tethered(None, None, &[])?;
        command.arg(&machine()?.exe).arg("apiserver").args(args);
        let process = Process::spawn("the API server", &mut command)?;
        let address = process.wait_stdout("its address", |line| {
            let said: Value = serde_json::from_str(line).ok()?;
            said.get("listening")?.as_str()?.parse().ok()
        })?;
        let directory =
            std::env::temp_dir().join(format!("netcause-lab-{}-{scenario}-api", std::process::id()));
        fs::create_dir(&directory).with_context(|| format!("making {}", directory.display()))?;
        let server = Self { process: Mutex::new((process, 0)), address, directory };
        server.rotate_token("a-first-secret")?;
        let config = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
             clusters:\n- name: lab\n  cluster:\n    server: http://{address}\n\
             users:\n- name: netcause\n  user:\n    tokenFile: {}\n\
             contexts:\n- name: lab\n  context:\n    cluster: lab\n    user: netcause\n",
            server.token_file().display()
        );
        fs::write(server.kubeconfig(), config).context("writing the kubeconfig")?;
        Ok(server)
    }

    /// The file that tells a client where the server is and which file has its token.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig.yaml")
    }

    /// What the agent's configuration has to say to be a client of this server.
    pub(crate) fn config(&self) -> String {
        format!(
            "kubernetes: api\nkubernetes_list_jitter_seconds: 0\nkubeconfig: {}\n",
            self.kubeconfig().display()
        )
    }

    /// What the agent's configuration has to say to ask the kubelet of a node, which this server is as well.
    pub(crate) fn kubelet_config(&self, node: &str) -> String {
        format!("kubernetes: kubelet\nkubelet_url: http://{}/kubelet/{node}/pods\n", self.address)
    }

    fn token_file(&self) -> PathBuf {
        self.directory.join("token")
    }

    /// From now on this token is good and no other; the client's file has it, all at once, as the kubelet does it.
    pub(crate) fn rotate_token(&self, token: &str) -> Result<()> {
        let new = self.directory.join("token.new");
        fs::write(&new, token).context("writing the token")?;
        fs::rename(&new, self.token_file()).context("replacing the token")?;
        self.tell(&json!({ "tokens": [token] })).map(drop)
    }

    /// Sends a command (see `Command` in tests/apiserver/src/control.rs) and waits for its answer.
    pub(crate) fn tell(&self, command: &Value) -> Result<Value> {
        let mut guard = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let (process, told) = &mut *guard;
        process.write_line(&command.to_string())?;
        *told += 1;
        let answer = process.wait_stdout("the command carried out", |line| {
            let said: Value = serde_json::from_str(line).ok()?;
            (said.get("done")?.as_u64()? == *told).then_some(said)
        })?;
        ensure!(answer.get("error").is_none(), "the API server said: {answer}");
        Ok(answer)
    }

    /// Creates or updates an object.
    pub(crate) fn put(&self, object: &Value) -> Result<()> {
        self.tell(&json!({ "put": object })).map(drop)
    }

    /// Creates or updates a pod.
    pub(crate) fn put_pod(&self, pod: &Pod) -> Result<()> {
        self.put(&pod.json())
    }

    /// Takes a pod away.
    pub(crate) fn delete_pod(&self, pod: &Pod) -> Result<()> {
        self.delete("pods", &pod.namespace, &pod.name)
    }

    /// Takes an object away.
    pub(crate) fn delete(&self, resource: &str, namespace: &str, name: &str) -> Result<()> {
        let named = json!({"resource": resource, "namespace": namespace, "name": name});
        self.tell(&json!({ "delete": named })).map(drop)
    }

    /// The Job of pods, and the CronJob that made it.
    pub(crate) fn put_cron_job(&self, namespace: &str, cron_job: &str, job: &str) -> Result<()> {
        self.put(&owner("batch/v1", "CronJob", namespace, cron_job, None))?;
        self.put(&owner("batch/v1", "Job", namespace, job, Some(("batch/v1", "CronJob", cron_job))))
    }

    /// Lets something go wrong: `{"throttle": {"retry_after": 1}}`, `"hang"`, … with a resource, a verb, and how often
    /// (`null`: until [`Self::clear`]).
    pub(crate) fn fault(
        &self,
        resource: &str,
        verb: Option<&str>,
        times: Option<u64>,
        what: &Value,
    ) -> Result<()> {
        let fault = json!({"resource": resource, "verb": verb, "times": times, "do": what});
        self.tell(&json!({ "fault": fault })).map(drop)
    }

    /// Takes back all faults.
    pub(crate) fn clear(&self) -> Result<()> {
        self.tell(&json!({ "clear": null })).map(drop)
    }

    /// Orders something of the running watches of a resource: `cut`, `end`, `freeze`, `expire`, `fail`, `bookmark`.
    pub(crate) fn watches(&self, resource: &str, what: &str) -> Result<()> {
        self.tell(&json!({"watches": {"resource": resource, "do": what}})).map(drop)
    }

    /// Compacts the history: a client that was away lists again.
    pub(crate) fn compact(&self) -> Result<()> {
        self.tell(&json!("compact")).map(drop)
    }

    /// Refuses connections and ends all, or takes them again.
    pub(crate) fn listen(&self, listens: bool) -> Result<()> {
        self.tell(&json!({ "listen": listens })).map(drop)
    }

    /// Refuses verbs on a resource from now on.
    pub(crate) fn forbid(&self, resource: &str, verbs: &[&str]) -> Result<()> {
        self.tell(&json!({"forbid": {"resource": resource, "verbs": verbs}})).map(drop)
    }

    /// Grants verbs on a resource from now on.
    pub(crate) fn allow(&self, resource: &str, verbs: &[&str]) -> Result<()> {
        self.tell(&json!({"allow": {"resource": resource, "verbs": verbs}})).map(drop)
    }

    /// Makes so many pods, spread over nodes.
    pub(crate) fn generate(&self, pods: u32, nodes: u32) -> Result<()> {
        self.tell(&json!({"generate": {"pods": pods, "nodes": nodes}})).map(drop)
    }

    /// What it has seen.
    pub(crate) fn account(&self) -> Result<Account> {
        serde_json::from_value(self.tell(&json!("account"))?).context("reading the account")
    }

    /// Begins a new account.
    pub(crate) fn forget(&self) -> Result<()> {
        self.tell(&json!("forget")).map(drop)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // Best effort: it is in the temporary directory.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
