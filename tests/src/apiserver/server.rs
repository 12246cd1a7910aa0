//! The server itself: one thread for each connection, and what each request goes through.

use std::{
    collections::HashMap,
    io::{self, BufReader},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    control, discovery,
    faults::Fault,
    http::{Answer, Request, Spoil},
    list::{self, Wanted},
    query::Options,
    resources::{Resource, Target},
    state::{Asked, Settings, Shared},
    status::Status,
    time, watch,
};

/// A running server.
pub(crate) struct Server {
    pub(crate) shared: Shared,
    pub(crate) address: SocketAddr,
    listener: Mutex<Option<TcpListener>>,
    connections: Mutex<HashMap<u64, TcpStream>>,
    next: AtomicU64,
}

impl Server {
    /// Listens and serves; with port 0 on any free one.
    pub(crate) fn start(listen: SocketAddr, settings: Settings) -> Result<Arc<Self>> {
        let listener = TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
        let server = Arc::new(Self {
            shared: Shared::new(settings),
            address: listener.local_addr()?,
            listener: Mutex::new(None),
            connections: Mutex::default(),
            next: AtomicU64::new(0),
        });
        server.serve(listener)?;
        Ok(server)
    }

    fn serve(self: &Arc<Self>, listener: TcpListener) -> Result<()> {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener.try_clone()?);
        let server = Arc::clone(self);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let server = Arc::clone(&server);
                thread::spawn(move || server.connection(&stream));
            }
        });
        Ok(())
    }

    /// Refuses connections and ends those that are there, as if the server had died.
    pub(crate) fn leave(&self) -> Result<()> {
        if let Some(listener) = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // This is what wakes the thread in accept(2), and what makes the kernel refuse from now on.
            rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).context("closing the listener")?;
        }
        self.cut_all();
        Ok(())
    }

    /// Ends all connections that are there.
    pub(crate) fn cut_all(&self) {
        for stream in self.connections.lock().unwrap_or_else(PoisonError::into_inner).values() {
            // It may be gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Takes connections again, on the same port.
    pub(crate) fn come_back(self: &Arc<Self>) -> Result<()> {
        if self.listener.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.serve(TcpListener::bind(self.address).context("listening again")?)?;
        }
        Ok(())
    }

    fn connection(self: &Arc<Self>, stream: &TcpStream) {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        if let Ok(copy) = stream.try_clone() {
            self.connections.lock().unwrap_or_else(PoisonError::into_inner).insert(number, copy);
        }
        // A client that goes away, or is sent away, ends its connection and nothing else.
        let _ = self.requests(stream);
        let _ = stream.shutdown(Shutdown::Both);
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    fn requests(self: &Arc<Self>, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(request) = Request::read(&mut reader)? {
            let mut answer = Answer::new(stream);
            if request.path == "/_control" {
                let said = control::lines(self, &String::from_utf8_lossy(&request.body));
                answer.json(said.as_bytes())?;
                continue;
            }
            let mut exchange = Exchange { shared: &self.shared, request: &request, answer: &mut answer };
            exchange.run()?;
            if request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                break;
            }
        }
        Ok(())
    }
}

/// What a kubelet's list is called among resources.
pub(crate) const KUBELET: &str = "kubelet";

/// A request and its answer.
struct Exchange<'a, 's> {
    shared: &'s Shared,
    request: &'a Request,
    answer: &'a mut Answer<'s>,
}

impl Exchange<'_, '_> {
    fn run(&mut self) -> io::Result<()> {
        let target = Target::of(&self.request.path);
        let is_watch = self.request.parameters.get("watch").is_some_and(|is| !matches!(&**is, "0" | "false"));
        let (verb, resource) = match &target {
            Target::Collection { resource, .. } => (if is_watch { "watch" } else { "list" }, resource.plural),
            Target::Object { resource, .. } => ("get", resource.plural),
            Target::Kubelet(_) => ("list", KUBELET),
            _ => ("get", &*self.request.path),
        };
        let method = self.request.method.to_lowercase();
        let verb = if method == "get" { verb } else { &*method };
        let asked = Asked {
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            path: self.request.path.clone(),
            parameters: self.request.parameters.clone(),
            partial: self.wants_partial(),
            milliseconds: time::now_in_milliseconds(),
            code: None,
        };
        let number = self.shared.state().record(asked);
        self.answer.note(self.shared, number);
        self.answer_to(&target, verb)
    }

    fn answer_to(&mut self, target: &Target, verb: &str) -> io::Result<()> {
        match target {
            Target::Version => return self.answer.json(discovery::version().to_string().as_bytes()),
            Target::Kubelet(node) => {
                let fault = self.shared.state().faults.of_request(KUBELET, verb);
                if let Some(fault) = fault
                    && self.strike(&fault, KUBELET, verb)?
                {
                    return Ok(());
                }
                return list::of_kubelet(self.shared, self.answer, node);
            }
            Target::Health => return self.answer.whole(200, "text/plain; charset=utf-8", "", b"ok"),
            _ => {}
        }
        if !self.is_known() {
            return self.answer.failure(&Status::unauthorized());
        }
        let (resource, namespace, name) = match target {
            Target::Collection { resource, namespace } => (*resource, namespace.as_deref(), None),
            Target::Object { resource, namespace, name } => {
                (*resource, Some(namespace.as_str()), Some(name.as_str()))
            }
            Target::Discovery(path) => {
                return match discovery::of(path) {
                    Some(found) => self.answer.json(found.to_string().as_bytes()),
                    None => self.nothing(),
                };
            }
            Target::NoResource => {
                self.shared.state().violation(format!("{verb} {}: no such resource", self.request.path));
                return self.answer.failure(&Status::no_resource());
            }
            Target::Version | Target::Health | Target::Kubelet(_) | Target::Nothing => {
                self.shared.state().violation(format!("{verb} {}: no such path", self.request.path));
                return self.nothing();
            }
        };
        if !self.shared.state().may(verb, resource) {
            return self.answer.failure(&Status::forbidden(verb, resource, namespace, name));
        }
        if !matches!(verb, "get" | "list" | "watch") {
            return self.answer.failure(&Status::method_not_allowed());
        }
        let fault = self.shared.state().faults.of_request(resource.plural, verb);
        if let Some(fault) = fault
            && self.strike(&fault, resource.plural, verb)?
        {
            return Ok(());
        }
        self.read(resource, namespace, name)
    }

    /// Lists, watches and gets.
    fn read(
        &mut self,
        resource: &'static Resource,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> io::Result<()> {
        if !self.takes_json() {
            return self.answer.failure(&Status::not_acceptable());
        }
        let partial = self.wants_partial();
        if let Some(name) = name {
            let key = (namespace.unwrap_or("").to_owned(), name.to_owned());
            return list::one(self.shared, self.answer, resource, &key, partial);
        }
        let watch_list = self.shared.state().settings.watch_list;
        let options = match Options::of(&self.request.parameters, watch_list, resource.fields) {
            Ok(options) => options,
            Err(status) => return self.answer.failure(&status),
        };
        let wanted = Wanted { resource, namespace, partial };
        if options.watch {
            watch::answer(self.shared, self.answer, &wanted, &options)
        } else {
            list::answer(self.shared, self.answer, &wanted, &options)
        }
    }

    /// Makes a fault happen; says whether that was the answer.
    fn strike(&mut self, fault: &Fault, resource: &str, verb: &str) -> io::Result<bool> {
        match fault {
            Fault::Throttle { retry_after, plain: true } => {
                // `k8s.io/apiserver/pkg/server/filters/priority-and-fairness.go`
                let more = format!("Retry-After: {retry_after}\r\nX-Content-Type-Options: nosniff\r\n");
                let body = b"Too many requests, please try again later.\n";
                self.answer.whole(429, "text/plain; charset=utf-8", &more, body)?;
            }
            Fault::Throttle { retry_after, plain: false } => {
                self.answer.failure(&Status::throttled(*retry_after))?;
            }
            Fault::Status { code } => self.answer.failure(&Status::broken(*code))?,
            Fault::Close => return Err(self.answer.cut()),
            Fault::Cut { after } => {
                self.answer.spoil(Spoil { cut_after: Some(*after), ..Spoil::default() });
                return Ok(false);
            }
            Fault::Slow { bytes_per_second } => {
                self.answer.spoil(Spoil { bytes_per_second: Some(*bytes_per_second), ..Spoil::default() });
                return Ok(false);
            }
            Fault::Hang => {
                while self.answer.has_client() && self.shared.state().faults.is_hanging(resource, verb) {
                    thread::sleep(Duration::from_millis(50));
                }
                return Err(self.answer.cut());
            }
            Fault::Malformed { .. } => return Ok(false),
        }
        Ok(true)
    }

    fn nothing(&mut self) -> io::Result<()> {
        self.answer.whole(404, "text/plain; charset=utf-8", "", b"404 page not found\n")
    }

    fn is_known(&self) -> bool {
        let state = self.shared.state();
        let tokens = &state.settings.tokens;
        tokens.is_empty() || self.request.token().is_some_and(|token| tokens.iter().any(|one| one == token))
    }

    /// The media types of `Accept`, each with its parameters.
    fn accepted(&self) -> impl Iterator<Item = &str> {
        self.request.header("accept").unwrap_or("*/*").split(',').map(str::trim)
    }

    /// The first type that this server has decides.
    fn wants_partial(&self) -> bool {
        let first = self.accepted().find(|accepted| is_json(accepted));
        first.is_some_and(|accepted| {
            accepted.contains("as=PartialObjectMetadata") && accepted.contains("g=meta.k8s.io")
        })
    }

    fn takes_json(&self) -> bool {
        self.accepted().any(is_json)
    }
}

fn is_json(accepted: &str) -> bool {
    matches!(accepted.split(';').next().map(str::trim), Some("application/json" | "application/*" | "*/*"))
}
