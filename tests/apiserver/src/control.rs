//! How a test runs the server: commands as lines of JSON.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    faults::Rule,
    objects::generated,
    resources::Resource,
    server::{KUBELET, Server},
    store::Order,
};

/// A command.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Command {
    /// Creates or updates an object, or several.
    Put(Value),
    /// Takes an object away.
    Delete(Named),
    /// Makes pods, spread over nodes, that look as pods do.
    Generate {
        pods: u32,
        nodes: u32,
        /// The number of the first pod.
        #[serde(default)]
        first: u32,
    },
    /// Lets something go wrong.
    Fault(Rule),
    /// Takes back the faults of a resource, or all (`null`).
    Clear(Option<String>),
    /// Does something to the running watches of a resource, or to all.
    Watches {
        #[serde(default)]
        resource: Option<String>,
        #[serde(rename = "do")]
        order: Order,
    },
    /// Forgets the past: versions from before are gone.
    Compact,
    /// Takes connections, or refuses them.
    Listen(bool),
    /// Which tokens are good from now on; with none, all are.
    Tokens(Vec<String>),
    /// Refuses or grants verbs, beside what the role grants.
    Forbid(Right),
    Allow(Right),
    /// Changes how the server behaves.
    Set {
        watch_list: Option<bool>,
        expired_as_event: Option<bool>,
        bookmark_milliseconds: Option<u64>,
    },
    /// Tells what was asked since the last [`Command::Forget`].
    Account,
    /// Forgets what was asked.
    Forget,
    /// Tells the version of the last change.
    Version,
}

/// An object's name.
#[derive(Debug, Deserialize)]
pub(crate) struct Named {
    resource: String,
    #[serde(default)]
    namespace: String,
    name: String,
}

/// Verbs on a resource.
#[derive(Debug, Deserialize)]
pub(crate) struct Right {
    resource: String,
    verbs: Vec<String>,
}

impl Right {
    fn pairs(self) -> impl Iterator<Item = (String, String)> {
        let resource = self.resource;
        self.verbs.into_iter().map(move |verb| (resource.clone(), verb))
    }
}

/// Carries out one command. The answer is an object: empty, or with what was asked for, or with `error`.
pub(crate) fn line(server: &Server, text: &str) -> Value {
    let command = serde_json::from_str::<Command>(text).context("reading the command");
    match command.and_then(|command| obey(server, command)) {
        Ok(answer) => answer,
        Err(error) => json!({ "error": format!("{error:#}") }),
    }
}

fn obey(server: &Server, command: Command) -> Result<Value> {
    let shared = &server.shared;
    match command {
        Command::Put(Value::Array(objects)) => {
            return shared.change(|store| {
                for object in objects {
                    store.put(object)?;
                }
                Ok(json!({ "version": store.version() }))
            });
        }
        Command::Put(object) => return Ok(json!({ "version": shared.change(|store| store.put(object))? })),
        Command::Delete(Named { resource, namespace, name }) => {
            let resource = known(&resource)?;
            let version = shared.change(|store| store.delete(resource, &(namespace, name)))?;
            return Ok(json!({ "version": version }));
        }
        Command::Generate { pods, nodes, first } => {
            return shared.change(|store| {
                for object in generated(pods, nodes, first) {
                    store.put(object)?;
                }
                Ok(json!({ "version": store.version() }))
            });
        }
        Command::Fault(rule) => {
            if let Some(resource) = rule.resource.as_ref().filter(|resource| *resource != KUBELET) {
                known(resource)?;
            }
            shared.state().faults.add(rule);
        }
        Command::Clear(resource) => shared.state().faults.clear(resource.as_deref()),
        Command::Watches { resource, order } => {
            let resource = match resource {
                Some(name) => Some(known(&name)?.plural),
                None => None,
            };
            shared.change(|store| store.order(resource, order));
        }
        Command::Compact => shared.change(super::store::Store::compact),
        Command::Listen(true) => server.come_back()?,
        Command::Listen(false) => server.leave(),
        Command::Tokens(tokens) => shared.state().settings.tokens = tokens,
        Command::Forbid(right) => {
            let mut state = shared.state();
            for pair in right.pairs() {
                state.granted.remove(&pair);
                state.forbidden.insert(pair);
            }
        }
        Command::Allow(right) => {
            let mut state = shared.state();
            for pair in right.pairs() {
                state.forbidden.remove(&pair);
                state.granted.insert(pair);
            }
        }
        Command::Set { watch_list, expired_as_event, bookmark_milliseconds } => {
            let settings = &mut shared.state().settings;
            settings.watch_list = watch_list.unwrap_or(settings.watch_list);
            settings.expired_as_event = expired_as_event.unwrap_or(settings.expired_as_event);
            let bookmark_every = bookmark_milliseconds.map(Duration::from_millis);
            settings.bookmark_every = bookmark_every.unwrap_or(settings.bookmark_every);
        }
        Command::Account => return Ok(shared.state().account()),
        Command::Forget => shared.state().forget(),
        Command::Version => return Ok(json!({ "version": shared.store().version() })),
    }
    Ok(json!({}))
}

fn known(plural: &str) -> Result<&'static Resource> {
    let Some(resource) = Resource::named(plural) else { bail!("no resource {plural:?}") };
    Ok(resource)
}
