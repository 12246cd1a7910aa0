//! Settings: what can be set ([`settings`]), and what results from file, environment and flags.

#[macro_use]
mod declare;
mod check;
mod error;
mod help;
#[cfg(test)]
mod schema;
mod settings;
mod values;

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use serde::de::IgnoredAny;

pub use error::{ConfigError, Origin};
pub use help::{flag, variable, with_details};
pub use settings::{Config, Settings};
pub use values::{Kubernetes, KubernetesNodes, KubernetesPods, OtlpSignal, PreexistingConnections};

impl Config {
    /// The settings that result from the file, and from the command line with its environment, which is the stronger one.
    /// `origin` says where on the command line a setting was given.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or parsed, or a value is not allowed; the message names the key.
    pub fn load(
        file: Option<&Path>,
        command_line: Settings,
        origin: impl Fn(&str) -> Option<Origin>,
    ) -> Result<Self, ConfigError> {
        refuse_renamed(|old| {
            let variable = variable(old);
            env::var_os(&variable).map(|_| Origin::Environment(variable))
        })?;
        let written = file.map(read).transpose()?;
        let mut config = Self::merge(command_line, written.unwrap_or_default());
        if let Some((key, problem)) = config.find_problem() {
            let from_file = file.map(|path| Origin::File(path.to_owned()));
            let origin = origin(key).or(from_file).unwrap_or(Origin::Default);
            return Err(ConfigError::NotAllowed {
                key,
                value: config.value_for_people(key),
                problem,
                origin,
            });
        }
        config.node_name.get_or_insert_with(host_name);
        Ok(config)
    }

    /// The value of a setting as text, cut short where it is a long list.
    fn value_for_people(&self, key: &str) -> String {
        match self.values().remove(key) {
            Some(serde_json::Value::Array(list)) if list.len() > 16 => format!("a list of {}", list.len()),
            Some(serde_json::Value::String(text)) => format!("`{text}`"),
            value => value.as_ref().and_then(help::text).unwrap_or_default(),
        }
    }

    /// The value of each setting, by its name.
    fn values(&self) -> serde_json::Map<String, serde_json::Value> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(values)) => values,
            // All fields are plain values with names that are text.
            _ => serde_json::Map::new(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::merge(Settings::default(), Settings::default())
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Reads the configuration file.
fn read(path: &Path) -> Result<Settings, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Settings::default());
    }
    if let Ok(keys) = serde_saphyr::from_str::<BTreeMap<String, IgnoredAny>>(&text) {
        refuse_renamed(|old| keys.contains_key(old).then(|| Origin::File(path.to_owned())))?;
    }
    serde_saphyr::from_str(&text)
        .map_err(|error| ConfigError::Malformed { path: path.to_owned(), message: error.to_string() })
}

/// Names the successor of a setting that is given by its former name. `given` says whether, and where.
fn refuse_renamed(given: impl Fn(&str) -> Option<Origin>) -> Result<(), ConfigError> {
    settings::RENAMED.iter().try_for_each(|&(old, new)| match given(old) {
        Some(origin) => Err(ConfigError::Renamed { old, new, origin }),
        None => Ok(()),
    })
}

#[cfg(test)]
mod tests;
