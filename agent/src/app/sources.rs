//! The sources of names, and who takes what they tell.

use std::collections::HashSet;
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{mpsc, watch};
use tracing::info;

use super::Agent;
use crate::config::{Config, Kubernetes, KubernetesPods};
use crate::sources::file::{self, File, FileError};
use crate::sources::kubernetes::{self, Scope};
use crate::sources::{CAPACITY, Health, kubelet};
use netcause_core::enrich::extra::Extra;
use netcause_core::enrich::objects::Update;

/// Addresses that wait to be looked up; of more, the next look tells them again.
const MAX_WANTED: usize = 1024;
/// How soon an address that nobody knows is asked for.
const WANTED_INTERVAL: Duration = Duration::from_millis(250);
/// How often those are told again that are known and in use.
const IN_USE_INTERVAL: Duration = Duration::from_secs(30);

/// The sources that are configured.
pub(super) struct Sources {
    api: Option<kubernetes::Options>,
    kubelet: Option<kubelet::Options>,
    file: Option<File>,
    extra: Option<watch::Receiver<Arc<Extra>>>,
}

impl Sources {
    /// By the configuration.
    ///
    /// # Errors
    ///
    /// When the names file cannot be read or understood.
    pub fn new(config: &Config) -> Result<Self, FileError> {
        let file = config.names_file.as_deref().map(File::load).transpose()?;
        let has_api = config.kubeconfig.is_some() || kubernetes::is_in_cluster();
        let is_api = match config.kubernetes {
            Kubernetes::Auto => has_api,
            Kubernetes::Api => true,
            Kubernetes::Kubelet | Kubernetes::Off => false,
        };
        let scope = match config.kubernetes_pods {
            KubernetesPods::All => Scope::All,
            KubernetesPods::Node => Scope::Node,
        };
        let api = is_api.then(|| kubernetes::Options {
            kubeconfig: config.kubeconfig.clone(),
            node: config.node_name.clone(),
            scope,
            start_jitter: Duration::from_secs(config.kubernetes_list_jitter_seconds.into()),
            ..kubernetes::Options::default()
        });
        let kubelet = (config.kubernetes == Kubernetes::Kubelet).then(|| config.kubelet_options());
        if api.is_none() && kubelet.is_none() && file.is_none() {
            info!("no source of Kubernetes names: no service account, no kubeconfig, no names file");
        }
        let extra = file.as_ref().map(File::extra);
        Ok(Self { api, kubelet, file, extra })
    }

    /// What the file names of outside networks: their addresses are told apart.
    pub fn networks(&self) -> Vec<IpNet> {
        self.extra().cidrs.clone()
    }

    /// Networks and rules of the file, as they are now.
    pub fn extra(&self) -> Arc<Extra> {
        self.extra.as_ref().map(|extra| Arc::clone(&extra.borrow())).unwrap_or_default()
    }

    /// Takes what the sources tell, for ever.
    pub async fn run(self, agent: &Agent, health: Health) {
        let (updates, told) = mpsc::channel(CAPACITY);
        let (wanted, to_look_up) = mpsc::channel(MAX_WANTED);
        let Self { api, kubelet, file, extra } = self;
        let looks_up = api.as_ref().is_some_and(|options| options.scope == Scope::Node);
        let api = async {
            match api {
                Some(options) => kubernetes::run(options, updates.clone(), to_look_up, health.clone()).await,
                None => pending().await,
            }
        };
        let kubelet = async {
            match kubelet {
                Some(options) => kubelet::run(options, updates.clone(), health.clone()).await,
                None => pending().await,
            }
        };
        let file = async {
            match file {
                Some(file) => file::run(file, updates.clone(), health.clone()).await,
                None => pending().await,
            }
        };
        let began = agent.state().began;
        tokio::select! {
            () = api => {}
            () = kubelet => {}
            () = file => {}
            () = take(told, agent) => {}
            () = take_extra(extra, agent) => {}
            () = want(wanted, agent), if looks_up => {}
            () = super::conntrack::serve(began, |use_it| agent.state().names.with_conntrack(use_it)) => {}
        }
    }
}

/// Takes updates as they come; those that wait together are taken together.
async fn take(mut told: mpsc::Receiver<Update>, agent: &Agent) {
    let mut updates = Vec::new();
    while told.recv_many(&mut updates, CAPACITY).await > 0 {
        agent.state().learn(&mut updates);
        tokio::task::yield_now().await;
    }
}

/// Takes networks and rules when they have changed.
async fn take_extra(extra: Option<watch::Receiver<Arc<Extra>>>, agent: &Agent) {
    let Some(mut extra) = extra else { return pending().await };
    while extra.changed().await.is_ok() {
        let new = Arc::clone(&extra.borrow_and_update());
        agent.state().set_extra(new);
    }
}

/// Asks for the addresses that nobody knows, and again for those that are in use: they may have another holder.
async fn want(wanted: mpsc::Sender<IpAddr>, agent: &Agent) {
    let mut unknown = tokio::time::interval(WANTED_INTERVAL);
    let mut in_use = tokio::time::interval(IN_USE_INTERVAL);
    loop {
        let addresses: HashSet<IpAddr> = tokio::select! {
            _ = unknown.tick() => agent.state().names.take_unknown(),
            _ = in_use.tick() => agent.state().remotes(),
        };
        for address in addresses {
            // What does not fit now is told again.
            if wanted.try_send(address).is_err() {
                break;
            }
        }
    }
}
