//! How a client enters the port of an agent: tokens, passwords, certificates.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use tokio_rustls::TlsConnector;

use super::tls;

/// Arguments of commands that ask an agent.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Access {
    /// File with the token that the agent asks for (its --api-token-file); the first one of several is used.
    #[arg(long, value_name = "FILE", env = "NETCAUSE_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// File with the certificates (PEM) that may have signed the agent's, instead of the system's. For a URL with https.
    #[arg(long, value_name = "FILE", env = "NETCAUSE_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// File with a client certificate (PEM), where the agent asks for one.
    #[arg(long, value_name = "FILE", env = "NETCAUSE_CERT_FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// File with the private key of the client certificate (PEM).
    #[arg(long, value_name = "FILE", env = "NETCAUSE_KEY_FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
}

impl Access {
    /// The token, as a header has it after `prefix`.
    ///
    /// # Errors
    ///
    /// When there is to be one, and the file has none.
    pub fn token(&self, prefix: &str) -> Result<Option<HeaderValue>, String> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let text = tls::read("--token-file", path)?;
        let text = String::from_utf8_lossy(&text);
        let token = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        let value = token.and_then(|token| HeaderValue::try_from(format!("{prefix}{token}")).ok());
        let mut value =
            value.ok_or_else(|| format!("--token-file {}: there is no token in it", path.display()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// What makes TLS connections.
    ///
    /// # Errors
    ///
    /// When a file cannot be used.
    pub fn connector(&self) -> Result<TlsConnector, String> {
        let identity = self.cert_file.as_deref().zip(self.key_file.as_deref());
        let files = tls::Files {
            ca: self.ca_file.as_deref().map(|path| ("--ca-file", path)),
            identity: identity.map(|(cert, key)| [("--cert-file", cert), ("--key-file", key)]),
        };
        files.connector()
    }
}

/// `Authorization` of a user and a password as a URL has them, percent-encoded; `None` when they are no text.
pub(super) fn basic(userinfo: &str) -> Option<HeaderValue> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let text = format!("{}:{}", decoded(user)?, decoded(password)?);
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(text))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// RFC 3986 section 2.1.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(16 * high + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_of_a_url_are_decoded() {
        // RFC 7617 section 2.
        assert_eq!(basic("Aladdin:open%20sesame").unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(basic("a:b:c").unwrap(), format!("Basic {}", STANDARD.encode("a:b:c")));
        assert_eq!(basic("a%3").map(|_| ()), None);
        assert!(basic("a:b").unwrap().is_sensitive());
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let access = |file: &str| Access { token_file: Some(file.into()), ..Access::default() };
        assert!(access("/nowhere/token").token("").unwrap_err().contains("/nowhere/token"));
        assert!(
            access("/dev/null").token("").unwrap_err().contains("--token-file /dev/null: there is no token")
        );
        let access = Access { ca_file: Some("/dev/null".into()), ..Access::default() };
        assert!(access.connector().err().unwrap().contains("--ca-file /dev/null: no certificate"));
    }
}
