//! The fake API server with a script and a log, for tests of the sources.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use netcause_apiserver::{Accept, Accepted, Answer, Connection, Request, Server, Settings, plain};
use tokio::net::TcpStream;

use super::tls;

/// A server; it ends with its test.
pub struct TestServer {
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<Request>>>,
    _server: Server,
}

impl TestServer {
    /// Answers by the request and how many requests there were before for its path.
    pub fn start(script: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::on(([127, 0, 0, 1], 0).into(), script)
    }

    /// At this address.
    pub fn on(
        address: SocketAddr,
        script: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::behind(Arc::new(plain), address, script)
    }

    /// Behind TLS, with [`tls::CERTIFICATE`].
    pub fn start_tls(script: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Self {
        let acceptor = tls::acceptor();
        let accept = move |stream: TcpStream| -> Accepted {
            let accepted = acceptor.accept(stream);
            // A client that does not trust the certificate goes away.
            Box::pin(async { Some(Box::new(accepted.await.ok()?) as Box<dyn Connection>) })
        };
        Self::behind(Arc::new(accept), ([127, 0, 0, 1], 0).into(), script)
    }

    fn behind(
        accept: Arc<Accept>,
        address: SocketAddr,
        script: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let log = Arc::<Mutex<Vec<Request>>>::default();
        let logged = Arc::clone(&log);
        let script = move |request: &Request, before| {
            logged.lock().unwrap().push(request.clone());
            script(request, before)
        };
        let server = Server::scripted(address, Settings::default(), accept, script).unwrap();
        Self { address: server.address, log, _server: server }
    }

    /// The requests for a path so far.
    pub fn asked(&self, path: &str) -> Vec<Request> {
        self.log.lock().unwrap().iter().filter(|request| request.path == path).cloned().collect()
    }
}
