//! What is wrong with the settings.

use std::path::PathBuf;

use thiserror::Error;

/// What is wrong with the settings.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is not to be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is no YAML, or has a key that is not known, or a value of the wrong kind.
    #[error("in the configuration file {path}: {message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// A value that cannot be.
    #[error("{key}: {value} {problem}")]
    Impossible {
        /// The key, as in the file.
        key: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
}
