//! What the files say: the format of the exporter-toolkit, and what follows from it.
//!
//! The keys are those of `web/tls_config.go` of the Prometheus exporter-toolkit, but for `rate_limit`. Paths are relative to the
//! directory of the file, as there. Unknown keys are refused.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use tokio_rustls::rustls::ServerConfig;

use super::passwords::Users;
use super::tls::TlsSection;
use super::tokens::Tokens;
use super::{Files, WebError, tls};

/// Bytes of a file; bundles of authorities have some hundred thousand.
const MAX_BYTES: u64 = 4 << 20;

/// Headers that may be set, with their values where there are few: `extraHTTPHeaders` of the exporter-toolkit.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// What is in force.
#[derive(Default)]
pub(super) struct Rules {
    pub tls: Option<Arc<ServerConfig>>,
    pub users: Arc<Users>,
    pub tokens: Option<Tokens>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The file in the format of the exporter-toolkit.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    tls_server_config: Option<TlsSection>,
    http_server_config: Option<HttpSection>,
    basic_auth_users: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HttpSection {
    /// Read and not used: the agent speaks HTTP/1.1.
    #[serde(rename = "http2")]
    _http2: bool,
    headers: BTreeMap<String, String>,
}

/// Reads files, and remembers which, and what was in them.
#[derive(Default)]
pub(super) struct Reader {
    pub paths: Vec<PathBuf>,
    hasher: DefaultHasher,
}

impl Reader {
    /// The bytes of the file that a key names.
    pub fn read(&mut self, key: &str, path: &Path) -> Result<Vec<u8>, WebError> {
        self.paths.push(path.to_owned());
        let unreadable = |error| WebError(format!("{key}: cannot read {}: {error}", path.display()));
        let mut bytes = Vec::new();
        let metadata = fs::metadata(path).map_err(unreadable)?;
        // Reading a pipe would wait for ever.
        if !metadata.is_file() {
            return Err(WebError(format!("{key}: {} is no regular file", path.display())));
        }
        let file = fs::File::open(path).map_err(unreadable)?;
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(WebError(format!("{key}: {} is longer than {MAX_BYTES} bytes", path.display())));
        }
        path.hash(&mut self.hasher);
        bytes.hash(&mut self.hasher);
        Ok(bytes)
    }

    /// Of all that was read.
    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    fn text(&mut self, key: &str, path: &Path) -> Result<String, WebError> {
        let bytes = self.read(key, path)?;
        String::from_utf8(bytes).map_err(|_| WebError(format!("{key}: {} is not UTF-8", path.display())))
    }
}

/// Where the rules come from.
#[derive(Clone)]
pub(super) struct Source {
    files: Files,
}

impl Source {
    pub fn new(files: Files) -> Self {
        Self { files }
    }

    pub fn has_files(&self) -> bool {
        self.files.config.is_some() || self.files.api_tokens.is_some()
    }

    /// The rules, as the files are now.
    pub fn rules(&self, reader: &mut Reader) -> Result<Rules, WebError> {
        let Files { config, api_tokens } = &self.files;
        let mut rules = match config {
            Some(path) => {
                let text = reader.text("web_config_file", path)?;
                let in_file =
                    |WebError(error)| WebError(format!("web_config_file: in {}: {error}", path.display()));
                let directory = path.parent().unwrap_or_else(|| Path::new(""));
                parse(&text, directory, reader).map_err(in_file)?
            }
            None => Rules::default(),
        };
        if let Some(path) = api_tokens {
            let text = reader.text("api_token_file", path)?;
            let tokens = Tokens::parse(&text)
                .map_err(|error| WebError(format!("api_token_file: in {}: {error}", path.display())))?;
            rules.tokens = Some(tokens);
        }
        Ok(rules)
    }
}

fn parse(text: &str, directory: &Path, reader: &mut Reader) -> Result<Rules, WebError> {
    let is_empty = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    let file: File = match is_empty {
        true => File::default(),
        // Without the lines around it: one may be of a key.
        false => {
            serde_saphyr::from_str(text).map_err(|error| WebError(error.without_snippet().to_string()))?
        }
    };
    let section = file.tls_server_config.unwrap_or_default();
    let tls = match section.is_enabled() {
        true => {
            let config = tls::config(&section, directory, reader)
                .map_err(|WebError(error)| WebError(format!("tls_server_config: {error}")))?;
            Some(Arc::new(config))
        }
        false => None,
    };
    let users = Users::new(file.basic_auth_users.unwrap_or_default())
        .map_err(|error| WebError(format!("basic_auth_users: {error}")))?;
    let headers = headers(&file.http_server_config.unwrap_or_default().headers)
        .map_err(|error| WebError(format!("http_server_config: headers: {error}")))?;
    Ok(Rules { tls, users: Arc::new(users), tokens: None, headers })
}

fn headers(wanted: &BTreeMap<String, String>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let header = |(name, value): (&String, &String)| {
        let (name, values) = HEADERS.iter().find(|(known, _)| known == name).ok_or_else(|| {
            let names: Vec<&str> = HEADERS.iter().map(|(name, _)| *name).collect();
            format!("{name} cannot be set; these can: {}", names.join(", "))
        })?;
        if !values.is_empty() && !values.contains(&value.as_str()) {
            return Err(format!("{name}: {value:?} is none of {}", values.join(", ")));
        }
        let bad = || format!("{name}: not the value of a header");
        let value = HeaderValue::from_str(value).map_err(|_| bad())?;
        Ok((HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?, value))
    };
    wanted.iter().map(header).collect()
}

impl Rules {
    /// What of the protection that was in force these rules take away, or add to connections that are open without it.
    pub fn difference_that_needs_a_restart(&self, before: &Self) -> Option<&'static str> {
        if self.tls.is_some() != before.tls.is_some() {
            return Some(
                "tls_server_config: TLS cannot be switched on or off while the agent runs; restart it",
            );
        }
        if self.users.is_empty() && !before.users.is_empty() {
            return Some(
                "basic_auth_users: the last user cannot be taken away while the agent runs, which would open the port; restart it",
            );
        }
        None
    }
}
