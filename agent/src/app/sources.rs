//! The sources of names, and who takes what they tell.

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{mpsc, watch};
use tracing::info;

use crate::config::{Config, Kubernetes, KubernetesNodes, KubernetesPods};
use crate::sources::file::{self, File, FileError};
use crate::sources::kubernetes::events::{Recorder, Writer};
use crate::sources::kubernetes::{self, Scope};
use crate::sources::{Health, kubelet};
use netcause_core::enrich::extra::Extra;
use netcause_core::enrich::objects::Update;

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
        let nodes = match config.kubernetes_nodes {
            KubernetesNodes::Auto => Some(scope),
            KubernetesNodes::All => Some(Scope::All),
            KubernetesNodes::None => None,
        };
        let api = is_api.then(|| kubernetes::Options {
            kubeconfig: config.kubeconfig.clone(),
            node: config.node_name.clone(),
            scope,
            nodes,
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

    /// External networks that the file names: their addresses are distinguished.
    pub fn networks(&self) -> Vec<IpNet> {
        self.extra().cidrs.clone()
    }

    /// Whoever writes Kubernetes Events of findings, and where they are put; `None` without the API server.
    pub fn recorder(&self) -> Option<(Recorder, Writer)> {
        self.api.as_ref().map(Recorder::new)
    }

    /// Networks and rules of the file, as they are now.
    pub fn extra(&self) -> Arc<Extra> {
        self.extra.as_ref().map(|extra| Arc::clone(&extra.borrow())).unwrap_or_default()
    }

    /// Runs the sources for ever. They put their updates into `updates`, and `lookups` has the addresses that they are to
    /// look up.
    pub async fn run(self, updates: mpsc::Sender<Update>, lookups: mpsc::Receiver<IpAddr>, health: Health) {
        let Self { api, kubelet, file, .. } = self;
        let api = async {
            match api {
                Some(options) => kubernetes::run(options, updates.clone(), lookups, health.clone()).await,
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
        tokio::select! {
            () = api => {}
            () = kubelet => {}
            () = file => {}
        }
    }

    /// Whether addresses are looked up one by one.
    pub fn looks_up(&self) -> bool {
        self.api.as_ref().is_some_and(|options| options.scope == Scope::Node)
    }

    /// Networks and rules of the file, now and later; `None` without a file.
    pub fn changes(&self) -> Option<watch::Receiver<Arc<Extra>>> {
        self.extra.clone()
    }
}
