//! Where to send, how often, and as whom: by the settings, checked when the agent starts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::resource::Resource;
use crate::client::tls;

/// Names of headers that the client sets itself, or that are of the connection (RFC 9110 section 7.6.1).
const RESERVED: [&str; 8] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "transfer-encoding",
];

/// A setting that cannot be used; the text begins with its name and has no secret in it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OtlpError(pub String);

/// What is sent where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the collector is.
    pub endpoint: Endpoint,
    /// Files of headers and certificates.
    pub files: Files,
    /// Whether metrics are sent.
    pub metrics: bool,
    /// Whether findings are sent.
    pub findings: bool,
    /// Time between two exports of metrics.
    pub interval: Duration,
    /// Bytes of each signal that may wait.
    pub max_bytes: usize,
    /// Who sends.
    pub resource: Resource,
    /// For one request and its answer.
    pub timeout: Duration,
    /// The first wait after a failure, and the longest.
    pub waits: [Duration; 2],
}

/// For one request and its answer, as `OTEL_EXPORTER_OTLP_TIMEOUT` has it.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// The first wait after a failure, and the longest.
pub const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// A collector's address, from a URL.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Host and port.
    pub authority: String,
    /// Where the URL says https.
    pub tls: Option<ServerName<'static>>,
    /// What comes before `/v1/metrics`, without a slash at its end.
    prefix: String,
}

impl Endpoint {
    /// From the URL of a collector, as in `OTEL_EXPORTER_OTLP_ENDPOINT`.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn parse(url: &str) -> Result<Self, OtlpError> {
        let shown = if url.contains('@') { "the URL" } else { url };
        let bad = |what: &str| OtlpError(format!("otlp_endpoint: {shown} {what}"));
        if url.contains('@') {
            return Err(bad("has a user in it: credentials are a header of otlp_headers_file"));
        }
        let no_url = "is not the URL of a collector, such as http://collector:4318";
        let parsed: Uri = url.parse().map_err(|_| bad(no_url))?;
        let (is_tls, port) = match parsed.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(bad(no_url)),
        };
        if parsed.query().is_some() {
            return Err(bad("has a query"));
        }
        let prefix = parsed.path().trim_end_matches('/').to_owned();
        if prefix.ends_with("/v1/metrics") || prefix.ends_with("/v1/logs") {
            return Err(bad("ends in the path of a signal, which is added to it: leave it out"));
        }
        let host = parsed.host().filter(|host| !host.is_empty()).ok_or_else(|| bad(no_url))?;
        let tls = match is_tls {
            true => {
                let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                Some(ServerName::try_from(name).map_err(|_| bad(no_url))?)
            }
            false => None,
        };
        Ok(Self { authority: format!("{host}:{}", parsed.port_u16().unwrap_or(port)), tls, prefix })
    }

    /// The path of a signal.
    pub fn path(&self, signal: &str) -> String {
        format!("{}{signal}", self.prefix)
    }
}

/// Files that are read anew for each connection or request, because certificates and tokens are replaced.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Headers of each request.
    pub headers: Option<PathBuf>,
    /// Certificates that may have signed the collector's.
    pub ca: Option<PathBuf>,
    /// Our own certificate.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
}

impl Files {
    /// Reads all of them once, to see that they can be used.
    ///
    /// # Errors
    ///
    /// When one cannot; the text begins with the name of its setting.
    pub fn check(&self, endpoint: &Endpoint) -> Result<(), OtlpError> {
        for (one, other, name, needed) in [
            (&self.cert, &self.key, "otlp_cert_file", "otlp_key_file"),
            (&self.key, &self.cert, "otlp_key_file", "otlp_cert_file"),
        ] {
            if one.is_some() && other.is_none() {
                return Err(OtlpError(format!("{name}: needs {needed} as well")));
            }
        }
        let has_files = self.ca.is_some() || self.cert.is_some();
        if endpoint.tls.is_none() && has_files {
            return Err(OtlpError(
                "otlp_endpoint: begins with http://, and there are certificates for https://".to_owned(),
            ));
        }
        self.headers().map_err(OtlpError)?;
        if has_files { self.connector().map(drop).map_err(OtlpError) } else { Ok(()) }
    }

    /// The headers, of which none is shown anywhere.
    ///
    /// # Errors
    ///
    /// When the file cannot be used.
    pub fn headers(&self) -> Result<HeaderMap, String> {
        const SETTING: &str = "otlp_headers_file";
        let Some(path) = &self.headers else { return Ok(HeaderMap::new()) };
        let text = String::from_utf8(tls::read(SETTING, path)?)
            .map_err(|_| format!("{SETTING} {}: is no text", path.display()))?;
        let mut headers = HeaderMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = header(line)
                .map_err(|what| format!("{SETTING} {}, line {number}: {what}", path.display()))?;
            headers.append(name, value);
        }
        Ok(headers)
    }

    /// What makes TLS connections.
    ///
    /// # Errors
    ///
    /// When a file cannot be used.
    pub fn connector(&self) -> Result<TlsConnector, String> {
        let identity = self.cert.as_deref().zip(self.key.as_deref());
        let files = tls::Files {
            ca: self.ca.as_deref().map(|path| ("otlp_ca_file", path)),
            identity: identity
                .map(|(cert, key): (&Path, &Path)| [("otlp_cert_file", cert), ("otlp_key_file", key)]),
        };
        files.connector()
    }
}

/// `Name: value`, as curl's `-H` has it.
fn header(line: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = line.split_once(':').ok_or("is not `Name: value`")?;
    let name: HeaderName = name.trim().parse().map_err(|_| "has a name that no header has")?;
    if RESERVED.contains(&name.as_str()) {
        return Err("is a header that the agent sets itself");
    }
    let mut value = HeaderValue::from_str(value.trim()).map_err(|_| "has a value that no header has")?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_the_url_of_a_collector() {
        for (url, authority, is_tls, path) in [
            ("http://collector:4318", "collector:4318", false, "/v1/metrics"),
            ("http://collector:4318/", "collector:4318", false, "/v1/metrics"),
            ("https://otlp.example.org/tenant/a/", "otlp.example.org:443", true, "/tenant/a/v1/metrics"),
            ("https://[2001:db8::1]:4318", "[2001:db8::1]:4318", true, "/v1/metrics"),
            ("http://10.0.0.1", "10.0.0.1:80", false, "/v1/metrics"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!((endpoint.authority.as_str(), endpoint.tls.is_some()), (authority, is_tls), "{url}");
            assert_eq!(endpoint.path("/v1/metrics"), path, "{url}");
        }
        for url in [
            "",
            "collector:4318",
            "grpc://a:4317",
            "http://",
            "http://a/?b",
            "http://a:4318/v1/metrics",
            "http://a b",
        ] {
            let error = Endpoint::parse(url).unwrap_err().to_string();
            assert!(error.starts_with("otlp_endpoint: ") && error.contains(url), "{url}: {error}");
        }
        let error = Endpoint::parse("https://user:s3cret@a:4318").unwrap_err().to_string();
        assert!(error.contains("otlp_headers_file") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn headers_are_read_and_not_shown() {
        let (name, value) = header("Authorization:  Bearer s3cret ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("authorization", "Bearer s3cret"));
        assert!(value.is_sensitive());
        for line in ["Authorization", "a b: c", "Content-Type: text/plain", "Host: a", "x: \u{7f}"] {
            let error = header(line).unwrap_err();
            assert!(!error.contains(line), "{error}");
        }
    }

    #[test]
    fn files_that_cannot_be_used_are_refused_by_name() {
        let https = Endpoint::parse("https://a").unwrap();
        let http = Endpoint::parse("http://a").unwrap();
        let none = PathBuf::from("/nowhere/file");
        let refused = |files: &Files, endpoint| files.check(endpoint).unwrap_err().to_string();
        let files = Files { headers: Some(none.clone()), ..Files::default() };
        assert!(refused(&files, &http).starts_with("otlp_headers_file: cannot read /nowhere/file"));
        let files = Files { ca: Some("/dev/null".into()), ..Files::default() };
        assert!(refused(&files, &https).starts_with("otlp_ca_file /dev/null: no certificate"));
        assert!(refused(&files, &http).starts_with("otlp_endpoint: begins with http://"));
        let files = Files { cert: Some(none.clone()), ..Files::default() };
        assert!(refused(&files, &https).starts_with("otlp_cert_file: needs otlp_key_file"));
        let files = Files { key: Some(none), ..Files::default() };
        assert!(refused(&files, &https).starts_with("otlp_key_file: needs otlp_cert_file"));
        assert!(Files::default().check(&http).is_ok());
    }
}
