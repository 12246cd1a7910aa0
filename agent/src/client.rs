//! Asks a running agent over HTTP.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::HOST;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// For the whole answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// An answer of a thousand rows has about one megabyte.
pub const MAX_BODY: usize = 16 << 20;

/// Where the agent is.
#[derive(Debug)]
pub struct Client {
    url: String,
    /// Host and port.
    authority: String,
}

/// Why there is no answer, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is none.
    #[error(
        "--url {0}: not the URL of an agent; for example http://127.0.0.1:9779 (http only, without a path)"
    )]
    Url(String),
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
    /// When that is no URL of an agent.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        let bad = || ClientError::Url(url.to_owned());
        let parsed: Uri = url.parse().map_err(|_| bad())?;
        let is_plain = parsed.scheme_str() == Some("http") && matches!(parsed.path(), "" | "/");
        let authority =
            parsed.authority().filter(|_| is_plain && parsed.query().is_none()).ok_or_else(bad)?;
        let port = authority.port_u16().unwrap_or(80);
        let authority = format!("{}:{port}", authority.host());
        Ok(Self { url: url.trim_end_matches('/').to_owned(), authority })
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
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| self.unreachable(&error))?;
        // Ends with the runtime.
        tokio::spawn(connection);
        let request = Request::get(path).header(HOST, &self.authority).body(Empty::<Bytes>::new());
        let request = request.map_err(|error| self.not_an_agent(&error))?;
        let response = sender.send_request(request).await.map_err(|error| self.not_an_agent(&error))?;
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
            status => Err(ClientError::Refused {
                url: self.url.clone(),
                status,
                text: text.trim().chars().take(1000).collect(),
            }),
        }
    }

    fn unreachable(&self, error: &dyn std::fmt::Display) -> ClientError {
        ClientError::Unreachable { url: self.url.clone(), error: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_that_of_an_agent() {
        for (url, authority) in [
            ("http://127.0.0.1:9779", "127.0.0.1:9779"),
            ("http://node-1/", "node-1:80"),
            ("http://[::1]:9779", "[::1]:9779"),
        ] {
            assert_eq!(Client::new(url).unwrap().authority, authority);
        }
        for url in
            ["", "127.0.0.1:9779", "https://a:1", "http://a:1/metrics", "http://a/?b", "http://", "a b"]
        {
            let error = Client::new(url).unwrap_err().to_string();
            assert!(error.contains("--url") && error.contains("http://127.0.0.1:9779"), "{error}");
        }
    }

    #[test]
    fn without_an_agent_the_error_says_what_to_do() {
        // A port that was free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = Client::new(&format!("http://{free}")).unwrap().get("/").unwrap_err().to_string();
        for word in [&free.to_string(), "refused", "netcause agent", "--url"] {
            assert!(error.contains(word), "{error}");
        }
    }
}
