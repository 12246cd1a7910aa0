//! Watches: one line of JSON for each event, in the order of versions, and none twice.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    http::Reply,
    list::Wanted,
    query::Options,
    state::Shared,
    status::Status,
    store::{Change, Object, Order, Store},
};

/// How often it is looked whether the client is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// What is shown of a line that is cut.
const HALF_A_LINE: &str = r#"{"type":"MODIFIED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"na"#;

/// Answers with a watch.
pub(crate) fn answer(
    shared: &Shared,
    answer: &mut Reply,
    wanted: &Wanted<'_>,
    options: &Options,
) -> io::Result<()> {
    let (initial, position, orders) = {
        let store = shared.store();
        (beginning(&store, wanted, options), store.version(), store.ordered())
    };
    let (initial, position) = match initial {
        Ok(Beginning::All(objects)) => (objects, position),
        Ok(Beginning::After(version)) => (Vec::new(), version),
        Err(status) if shared.state().settings.expired_as_event && status.code == 410 => {
            answer.begin(200, None)?;
            return answer.chunk(&line("ERROR", status.body.to_string()));
        }
        Err(status) => return answer.failure(&status),
    };
    answer.begin(200, None)?;
    let bookmark_every = shared.state().settings.bookmark_every;
    let mut watch = Watch { shared, answer, wanted, options, position, orders, bookmark_every };
    for object in initial {
        watch.event("ADDED", &object)?;
    }
    if options.initial_events == Some(true) && options.bookmarks {
        watch.bookmark(true)?;
    }
    shared.state().watches.push(wanted.resource.plural);
    let result = watch.run();
    let mut state = shared.state();
    if let Some(at) = state.watches.iter().position(|running| *running == wanted.resource.plural) {
        state.watches.remove(at);
    }
    result
}

enum Beginning {
    /// With what is there now.
    All(Vec<Arc<Object>>),
    /// With what changes after a version.
    After(u64),
}

fn beginning(store: &Store, wanted: &Wanted<'_>, options: &Options) -> Result<Beginning, Status> {
    let current = store.version();
    if options.initial_events.unwrap_or(matches!(options.version, None | Some(0))) {
        if let Some(version) = options.version.filter(|version| *version > current) {
            return Err(Status::too_large(version, current));
        }
        let objects = store.at(wanted.resource, current).unwrap_or_default();
        let all = objects.into_values().filter(|object| wanted.is(object, options));
        return Ok(Beginning::All(all.collect()));
    }
    match options.version {
        Some(version) if version > 0 => {
            if version < store.oldest() {
                return Err(Status::too_old(version, store.oldest()));
            }
            Ok(Beginning::After(version))
        }
        _ => Ok(Beginning::After(current)),
    }
}

struct Watch<'a> {
    shared: &'a Shared,
    answer: &'a mut Reply,
    wanted: &'a Wanted<'a>,
    options: &'a Options,
    /// Everything up to this version was sent.
    position: u64,
    /// So many orders were carried out.
    orders: usize,
    bookmark_every: Duration,
}

impl Watch<'_> {
    fn run(&mut self) -> io::Result<()> {
        let start = Instant::now();
        let mut bookmarked = start;
        loop {
            let (changes, orders) = match self.news() {
                Ok(news) => news,
                Err(status) => {
                    return self.error(&status);
                }
            };
            for change in &changes {
                self.change(change)?;
            }
            for order in orders {
                if self.obey(order)? {
                    return Ok(());
                }
            }
            if self.options.timeout.is_some_and(|timeout| start.elapsed() >= timeout) {
                return Ok(());
            }
            if self.options.bookmarks && bookmarked.elapsed() >= self.bookmark_every {
                self.bookmark(false)?;
                bookmarked = Instant::now();
            }
            if !self.answer.has_client() {
                return Ok(());
            }
            self.rest(start, bookmarked);
        }
    }

    /// What has changed since it was last asked for, and what was ordered.
    fn news(&mut self) -> Result<(Vec<Change>, Vec<Order>), Status> {
        let store = self.shared.store();
        // Compaction takes a version of its own: who has the one before it has everything.
        if self.position + 1 < store.oldest() {
            return Err(Status::watch_too_old());
        }
        let new = store.since(self.position).iter();
        let changes = new.filter(|change| change.resource == self.wanted.resource).cloned().collect();
        let orders = store.orders_since(self.orders, self.wanted.resource);
        self.position = self.position.max(store.version());
        self.orders = store.ordered();
        Ok((changes, orders))
    }

    /// Waits for the next thing to do, which may be nothing.
    fn rest(&self, start: Instant, bookmarked: Instant) {
        let store = self.shared.store();
        if store.version() > self.position || store.ordered() > self.orders {
            return;
        }
        let mut limit = LOOK_AGAIN.min(self.bookmark_every.saturating_sub(bookmarked.elapsed()));
        if let Some(timeout) = self.options.timeout {
            limit = limit.min(timeout.saturating_sub(start.elapsed()));
        }
        drop(self.shared.wait(store, limit.max(Duration::from_millis(1))));
    }

    /// A change as this watch sees it: an object that comes to be selected is new to it, one that ceases to be is gone.
    fn change(&mut self, change: &Change) -> io::Result<()> {
        let is = |object: &&Arc<Object>| self.wanted.is(object, self.options);
        let before = change.before.as_ref().filter(is);
        match (before, change.after.as_ref().filter(is), &change.last) {
            (None, None, _) | (Some(_), None, None) => Ok(()),
            (None, Some(object), _) => self.event("ADDED", object),
            (Some(_), Some(object), _) => self.event("MODIFIED", object),
            (Some(_), None, Some(last)) => self.event("DELETED", last),
        }
    }

    fn event(&mut self, what: &str, object: &Object) -> io::Result<()> {
        let text = if self.wanted.partial { object.partial() } else { object.whole() };
        let spoilt = self.shared.state().faults.of_object("watch", object);
        let bytes = spoilt.map_or_else(|| text.as_bytes().to_vec(), |how| how.spoil(&text));
        self.answer.chunk(&line(what, &bytes))
    }

    fn bookmark(&mut self, ends_initial_events: bool) -> io::Result<()> {
        let resource = self.wanted.resource;
        let mut metadata =
            json!({"resourceVersion": self.position.to_string(), "creationTimestamp": Value::Null});
        if ends_initial_events {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = if self.wanted.partial {
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
        } else {
            // An empty object as Go writes it.
            let mut object =
                json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata});
            match resource.plural {
                "pods" => {
                    object["spec"] = json!({ "containers": Value::Null });
                    object["status"] = json!({});
                }
                "services" => {
                    object["spec"] = json!({});
                    object["status"] = json!({ "loadBalancer": {} });
                }
                "endpointslices" => {
                    object["addressType"] = json!("");
                    object["endpoints"] = Value::Null;
                    object["ports"] = Value::Null;
                }
                "nodes" => {
                    object["spec"] = json!({});
                    object["status"] = json!({
                        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
                        "nodeInfo": {"machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "",
                            "osImage": "", "containerRuntimeVersion": "", "kubeletVersion": "",
                            "kubeProxyVersion": "", "operatingSystem": "", "architecture": ""},
                    });
                }
                _ => {}
            }
            object
        };
        self.answer.chunk(&line("BOOKMARK", object.to_string()))
    }

    fn error(&mut self, status: &Status) -> io::Result<()> {
        self.answer.chunk(&line("ERROR", status.body.to_string()))
    }

    /// Carries out an order; says whether it was the end.
    fn obey(&mut self, order: Order) -> io::Result<bool> {
        match order {
            Order::Bookmark => {
                if self.options.bookmarks {
                    self.bookmark(false)?;
                }
                return Ok(false);
            }
            Order::Cut => {
                self.answer.chunk(HALF_A_LINE.as_bytes())?;
                return Err(self.answer.cut());
            }
            Order::Freeze => {
                self.answer.hang();
                return Ok(true);
            }
            Order::End => {}
            Order::Expire => self.error(&Status::watch_too_old())?,
            Order::Fail => self.error(&Status::broken(500))?,
        }
        Ok(true)
    }
}

fn line(what: &str, object: impl AsRef<[u8]>) -> Vec<u8> {
    let mut line = format!("{{\"type\":\"{what}\",\"object\":").into_bytes();
    line.extend_from_slice(object.as_ref());
    line.extend_from_slice(b"}\n");
    line
}
