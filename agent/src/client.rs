//! Asks a running agent over HTTP.

mod access;
pub mod tls;

use std::error::Error as _;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

pub use access::Access;

/// For the whole answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// An answer of a thousand rows has about one megabyte.
pub const MAX_BODY: usize = 16 << 20;

/// Where the agent is.
pub struct Client {
    /// Without a password.
    url: String,
    /// Host and port.
    authority: String,
    /// Where the URL says https.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    authorization: Option<HeaderValue>,
}

/// Why there is no answer, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is none.
    #[error(
        "--url {0}: not the URL of an agent; for example http://127.0.0.1:9779 or https://user:password@node-17:9779, without \
         a path"
    )]
    Url(String),
    /// A file for the agent's port cannot be used.
    #[error("{0}")]
    Access(String),
    /// Nothing can be asked there.
    #[error(
        "cannot reach the agent at {url}: {error}\nIs it running there? It is started with `netcause agent`, as root; \
         --url has the address that it logs at its start. In a cluster: \
         kubectl -n netcause port-forward pod/NAME 9779"
    )]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// Why that failed.
        error: String,
    },
    /// The agent asks for a password or a token.
    #[error(
        "the agent at {url} answers 401: {text}\n--token-file names the file with the token that it wants; a password is part of \
         the URL: user:password@ before the host"
    )]
    Unauthorized {
        /// Where it is.
        url: String,
        /// What it says.
        text: String,
    },
    /// Something else, or something older, listens there.
    #[error(
        "{url} does not answer as an agent of this version: {error}\nCompare `netcause --version` with {url}/"
    )]
    NotAnAgent {
        /// Where it was looked for.
        url: String,
        /// What came instead.
        error: String,
    },
    /// The agent refuses.
    #[error("the agent at {url} answers {status}: {text}")]
    Refused {
        /// Where it is.
        url: String,
        /// The status.
        status: StatusCode,
        /// What it says.
        text: String,
    },
}

impl Client {
    /// Asks nothing yet.
    ///
    /// # Errors
    ///
    /// When that is no URL of an agent, or a file for its port cannot be used.
    pub fn new(url: &str, access: &Access) -> Result<Self, ClientError> {
        let bad = || ClientError::Url(without_password(url));
        let parsed: Uri = url.parse().map_err(|_| bad())?;
        let (scheme, default_port) = match parsed.scheme_str() {
            Some("http") => ("http", 80),
            Some("https") => ("https", 443),
            _ => return Err(bad()),
        };
        let is_whole = matches!(parsed.path(), "" | "/") && parsed.query().is_none();
        let given = parsed.authority().filter(|_| is_whole).ok_or_else(bad)?;
        let host = given.host();
        let authority = format!("{host}:{}", given.port_u16().unwrap_or(default_port));
        let token = access.token("Bearer ").map_err(ClientError::Access)?;
        let authorization = match (token, given.as_str().rsplit_once('@')) {
            // All that is asked for is below /api/v1/, where the token counts.
            (Some(token), _) => Some(token),
            (None, Some((userinfo, _))) => Some(access::basic(userinfo).ok_or_else(bad)?),
            (None, None) => None,
        };
        let tls = match scheme {
            "https" => {
                let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(name).map_err(|_| bad())?;
                Some((access.connector().map_err(ClientError::Access)?, name))
            }
            _ => None,
        };
        let url = match given.port() {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        };
        Ok(Self { url, authority, tls, authorization })
    }

    /// Where the agent is, without a password.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The body of a path.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn get(&self, path: &str) -> Result<String, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| self.unreachable(&error))?;
        runtime.block_on(self.fetch(path))
    }

    /// The same, where others are asked meanwhile.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn fetch(&self, path: &str) -> Result<String, ClientError> {
        let late =
            |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", TIMEOUT.as_secs()));
        let answer = tokio::time::timeout(TIMEOUT, self.ask(path)).await;
        answer.map_err(|elapsed| self.unreachable(&late(elapsed)))?
    }

    /// What came is not what an agent of this version answers.
    pub fn not_an_agent(&self, error: &dyn std::fmt::Display) -> ClientError {
        ClientError::NotAnAgent { url: self.url.clone(), error: error.to_string() }
    }

    async fn ask(&self, path: &str) -> Result<String, ClientError> {
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| self.unreachable(&error))?;
        match &self.tls {
            None => self.ask_over(stream, path).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                self.ask_over(stream.map_err(|error| self.unreachable(&of_tls(&error)))?, path).await
            }
        }
    }

    async fn ask_over<S>(&self, stream: S, path: &str) -> Result<String, ClientError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| self.unreachable(&error))?;
        // Ends with the runtime.
        tokio::spawn(connection);
        let mut request = Request::get(path).header(HOST, &self.authority);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| self.not_an_agent(&error))?;
        let response = sender.send_request(request).await.map_err(|error| self.failed(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let bytes = body.map_err(|error| self.not_an_agent(&error))?.to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match status {
            StatusCode::OK => Ok(text),
            StatusCode::NOT_FOUND => {
                let path = path.split('?').next().unwrap_or_default();
                Err(self.not_an_agent(&format_args!("it has no {path}")))
            }
            status => {
                let (url, text) = (self.url.clone(), text.trim().chars().take(1000).collect());
                Err(match status {
                    StatusCode::UNAUTHORIZED => ClientError::Unauthorized { url, text },
                    status => ClientError::Refused { url, status, text },
                })
            }
        }
    }

    /// A request without an answer: what the connection says, else that no agent answers so.
    fn failed(&self, error: &hyper::Error) -> ClientError {
        match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
            Some(error) => self.unreachable(&of_tls(error)),
            // A server that wants TLS answers an HTTP request with an alert, or not at all.
            None if self.tls.is_none() && (error.is_parse() || error.is_incomplete_message()) => {
                self.not_an_agent(&format_args!("{error}; it may want https:// instead of http://"))
            }
            None => self.not_an_agent(error),
        }
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> ClientError {
        ClientError::Unreachable { url: self.url.clone(), error: error.to_string() }
    }
}

/// An error of a connection, with what to do about it where that is known.
fn of_tls(error: &io::Error) -> String {
    let text = error.to_string();
    let hint = if text.contains("UnknownIssuer") || text.contains("BadSignature") {
        ": --ca-file names a file with the certificate of who has signed it"
    } else if text.contains("CaUsedAsEndEntity") {
        ": it is a certificate of an authority (basicConstraints CA:TRUE), which must not be a server's"
    } else if text.contains("CertificateRequired") || text.contains("BadCertificate") {
        ": the agent wants a client certificate: --cert-file and --key-file"
    } else if text.contains("InvalidContentType") {
        ": it may want http:// instead of https://"
    } else {
        ""
    };
    format!("{text}{hint}")
}

/// A text that may be a URL, to be shown.
fn without_password(url: &str) -> String {
    let (Some(begin), Some(end)) = (url.find("://").map(|at| at + 3), url.rfind('@')) else {
        return url.to_owned();
    };
    if begin > end { url.to_owned() } else { format!("{}…{}", &url[..begin], &url[end..]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Result<Client, ClientError> {
        Client::new(url, &Access::default())
    }

    #[test]
    fn a_url_is_that_of_an_agent() {
        for (url, authority) in [
            ("http://127.0.0.1:9779", "127.0.0.1:9779"),
            ("http://node-1/", "node-1:80"),
            ("http://[::1]:9779", "[::1]:9779"),
            ("https://node-1", "node-1:443"),
            ("https://[::1]:9779/", "[::1]:9779"),
            ("http://a:p%40ss@node-1:9779", "node-1:9779"),
        ] {
            assert_eq!(client(url).unwrap().authority, authority);
        }
        for url in ["", "127.0.0.1:9779", "ftp://a:1", "http://a:1/metrics", "http://a/?b", "http://", "a b"]
        {
            let error = client(url).err().unwrap().to_string();
            assert!(error.contains("--url") && error.contains("http://127.0.0.1:9779"), "{error}");
        }
    }

    #[test]
    fn a_password_is_sent_and_not_shown() {
        let good = client("http://scraper:s3cret@node-1:9779/").unwrap();
        assert_eq!(good.url(), "http://node-1:9779");
        assert_eq!(good.authorization.unwrap(), "Basic c2NyYXBlcjpzM2NyZXQ=");
        for url in ["http://scraper:s3cret@node-1/metrics", "http://scraper:s3cret@no de", "s3cret@"] {
            let error = client(url).err().unwrap().to_string();
            assert!(!error.contains("s3cret") || url == "s3cret@", "{error}");
        }
    }

    #[test]
    fn without_an_agent_the_error_says_what_to_do() {
        // A port that was free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = client(&format!("http://{free}")).unwrap().get("/").unwrap_err().to_string();
        for word in [&free.to_string(), "refused", "netcause agent", "--url"] {
            assert!(error.contains(word), "{error}");
        }
    }
}
