//! The server itself, and what each request goes through.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use hyper::header::ACCEPT;
use serde_json::Value;

use super::{
    control, events,
    faults::Fault,
    http::{Accept, Handler, Reply, Request, Serving, Spoil, plain},
    list::{self, Wanted},
    query::Options,
    resources::{Resource, Target},
    script::Answer,
    state::{Asked, Settings, Shared},
    status::Status,
    time, watch,
};

/// A running server; it ends when it is dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    accept: Arc<Accept>,
    handler: Arc<Handler>,
    serving: Mutex<Option<Serving>>,
}

impl Server {
    /// Listens and serves; with port 0 on any free one.
    ///
    /// # Errors
    ///
    /// When the address cannot be had.
    pub fn start(listen: SocketAddr, settings: Settings) -> Result<Self> {
        Self::scripted(listen, settings, Arc::new(plain), |_, _| Answer::unscripted())
    }

    /// As [`Self::start`], behind `accept`; `script` decides what is answered otherwise than the server would.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn scripted(
        listen: SocketAddr,
        settings: Settings,
        accept: Arc<Accept>,
        script: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
        let shared = Arc::new(Shared::new(settings));
        let of_handler = Arc::clone(&shared);
        let requests = Mutex::new(HashMap::<String, usize>::new());
        let handler = move |request: Request, mut reply: Reply| {
            let before = {
                let mut requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
                let count = requests.entry(request.path.clone()).or_default();
                std::mem::replace(count, *count + 1)
            };
            if script(&request, before).write(&mut reply)? {
                return Ok(());
            }
            Exchange { shared: &of_handler, request: &request, answer: &mut reply }.run()
        };
        let server = Self {
            address: listener.local_addr()?,
            shared,
            accept,
            handler: Arc::new(handler),
            serving: Mutex::default(),
        };
        server.serve(listener)?;
        Ok(server)
    }

    fn serve(&self, listener: TcpListener) -> Result<()> {
        let serving = Serving::start(listener, Arc::clone(&self.accept), Arc::clone(&self.handler))?;
        *self.serving() = Some(serving);
        Ok(())
    }

    fn serving(&self) -> MutexGuard<'_, Option<Serving>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses connections and ends those that are there, as if the server had died.
    pub(crate) fn leave(&self) {
        *self.serving() = None;
    }

    /// Takes connections again, on the same port.
    pub(crate) fn come_back(&self) -> Result<()> {
        if self.serving().is_none() {
            self.serve(TcpListener::bind(self.address).context("listening again")?)?;
        }
        Ok(())
    }

    /// Carries out a command, a line of JSON (see `Command` in `control.rs`). The answer is an object: empty, or with what was
    /// asked for, or with `error`.
    pub fn command(&self, line: &str) -> Value {
        control::line(self, line)
    }
}

/// What a kubelet's list is called among resources.
pub(crate) const KUBELET: &str = "kubelet";

/// A request and its answer.
struct Exchange<'a> {
    shared: &'a Arc<Shared>,
    request: &'a Request,
    answer: &'a mut Reply,
}

impl Exchange<'_> {
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
        let verb = match &*method {
            "get" => verb,
            "post" => "create",
            other => other,
        };
        let asked = Asked {
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            path: self.request.path.clone(),
            parameters: self.request.parameters.clone(),
            partial: self.wants_partial(),
            milliseconds: time::now_in_milliseconds(),
            code: None,
            bytes: 0,
        };
        let number = self.shared.state().record(asked, self.answer.sent());
        let shared = Arc::clone(self.shared);
        self.answer.on_status(move |status| shared.state().answered(number, status));
        self.answer_to(&target, verb)
    }

    fn answer_to(&mut self, target: &Target, verb: &str) -> io::Result<()> {
        if let Target::Kubelet(node) = target {
            let fault = self.shared.state().faults.of_request(KUBELET, verb);
            if let Some(fault) = fault
                && self.strike(&fault, KUBELET, verb)?
            {
                return Ok(());
            }
            return list::of_kubelet(self.shared, self.answer, node);
        }
        if !self.is_known() {
            return self.answer.failure(&Status::unauthorized());
        }
        let (resource, namespace, name) = match target {
            Target::Collection { resource, namespace } => (*resource, namespace.as_deref(), None),
            Target::Object { resource, namespace, name } => {
                (*resource, Some(namespace.as_str()), Some(name.as_str()))
            }
            Target::NoResource => {
                self.shared.state().violation(format!("{verb} {}: no such resource", self.request.path));
                return self.answer.failure(&Status::no_resource());
            }
            Target::Kubelet(_) | Target::Nothing => {
                self.shared.state().violation(format!("{verb} {}: no such path", self.request.path));
                return self.nothing();
            }
        };
        if !self.shared.state().may(verb, resource) {
            return self.answer.failure(&Status::forbidden(verb, resource, namespace, name));
        }
        let is_event = verb == "create" && resource.kind == "Event" && name.is_none();
        if !is_event && !matches!(verb, "get" | "list" | "watch") {
            return self.answer.failure(&Status::method_not_allowed());
        }
        let fault = self.shared.state().faults.of_request(resource.plural, verb);
        if let Some(fault) = fault
            && self.strike(&fault, resource.plural, verb)?
        {
            return Ok(());
        }
        if is_event {
            return self.create_event(namespace.unwrap_or_default());
        }
        self.read(resource, namespace, name)
    }

    /// Takes an Event, if it is a valid one.
    fn create_event(&mut self, namespace: &str) -> io::Result<()> {
        let problem = match serde_json::from_slice::<Value>(&self.request.body) {
            Ok(event) => match events::problem(&event, namespace) {
                None => {
                    self.shared.state().events.push(event.clone());
                    return self.answer.whole(201, "application/json", None, event.to_string().as_bytes());
                }
                Some(problem) => problem,
            },
            Err(error) => error.to_string(),
        };
        self.shared.state().violation(format!("create events: {problem}"));
        self.answer.failure(&Status::failure(422, "Invalid", &problem))
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
                let body = b"Too many requests, please try again later.\n";
                self.answer.whole(429, "text/plain; charset=utf-8", Some(*retry_after), body)?;
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
        self.answer.whole(404, "text/plain; charset=utf-8", None, b"404 page not found\n")
    }

    fn is_known(&self) -> bool {
        let state = self.shared.state();
        let tokens = &state.settings.tokens;
        tokens.is_empty() || self.request.token().is_some_and(|token| tokens.iter().any(|one| one == token))
    }

    /// The media types of `Accept`, each with its parameters.
    fn accepted(&self) -> impl Iterator<Item = &str> {
        self.request.header(&ACCEPT).unwrap_or("*/*").split(',').map(str::trim)
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
