//! What is wrong with the settings.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// What is wrong with the settings.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not YAML, has an unknown key, or a value of the wrong type.
    #[error("in the configuration file {path}: {message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// A setting is given by a former name.
    #[error("{old} is now called {new} ({origin}): see docs/config.md")]
    Renamed {
        /// The former name.
        old: &'static str,
        /// Its successor.
        new: &'static str,
        /// Where the former name was given.
        origin: Origin,
    },
    /// A value that is not allowed.
    #[error("{key}: {value} {problem} ({origin})")]
    NotAllowed {
        /// The key, as in the file.
        key: &'static str,
        /// The value that was given.
        value: String,
        /// What is wrong with it, and what is allowed.
        problem: String,
        /// Where it was given.
        origin: Origin,
    },
}

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it has its default.
    Default,
    /// In the configuration file.
    File(PathBuf),
    /// In the environment, by the variable of this name.
    Environment(String),
    /// On the command line, by the flag of this name.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(formatter, "the default"),
            Self::File(path) => write!(formatter, "in the configuration file {}", path.display()),
            Self::Environment(variable) => write!(formatter, "from the environment variable {variable}"),
            Self::Flag(flag) => write!(formatter, "from the flag {flag}"),
        }
    }
}
