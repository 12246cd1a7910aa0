//! Bodies made from the current view, so that many readers share one copy.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use crate::expose::births::ViewNumber;
use crate::expose::prometheus::Format;
use crate::expose::snapshot::Snapshot;

/// The bodies of one view.
#[derive(Default)]
pub(super) struct Cache(Mutex<Bodies>);

#[derive(Default)]
struct Bodies {
    /// Keeps the view's address from being used again, not the view.
    view: Weak<Snapshot>,
    /// As long as a reader has them.
    bodies: Vec<(Key, Weak<Vec<u8>>)>,
}

/// What a body depends on, beside the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub path: &'static str,
    /// The format of an exposition, and which view its reader saw last.
    pub exposition: Option<(Format, ViewNumber)>,
    pub gzip: bool,
}

/// A body that its readers hold together.
struct Body(Arc<Vec<u8>>);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Cache {
    /// The body with this key: made now, or the one that another reader of this view still has.
    pub fn get(
        &self,
        view: &Arc<Snapshot>,
        key: Key,
        make: impl FnOnce() -> Result<Vec<u8>, String>,
    ) -> Result<Bytes, String> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::ptr::eq(cached.view.as_ptr(), Arc::as_ptr(view)) {
            *cached = Bodies { view: Arc::downgrade(view), bodies: Vec::new() };
        }
        cached.bodies.retain(|(_, body)| body.strong_count() > 0);
        let of_key = |(other, body): &(Key, Weak<Vec<u8>>)| (*other == key).then(|| body.upgrade()).flatten();
        let body = match cached.bodies.iter().find_map(of_key) {
            Some(body) => body,
            None => {
                let body = Arc::new(make()?);
                cached.bodies.push((key, Arc::downgrade(&body)));
                body
            }
        };
        Ok(Bytes::from_owner(Body(body)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_of_one_view_share_a_body() {
        let cache = Cache::default();
        let key = |path| Key { path, exposition: None, gzip: false };
        let get = |view: &Arc<Snapshot>, key| {
            cache.get(view, key, || Ok(format!("view of {:?}", view.tick).into_bytes())).unwrap()
        };
        let [one, two] = [1, 2].map(|seconds| {
            Arc::new(Snapshot { tick: std::time::Duration::from_secs(seconds), ..Snapshot::default() })
        });
        let first = get(&one, key("/"));
        assert_eq!(first.as_ptr(), get(&one, key("/")).as_ptr());
        for other in [key("/a"), Key { gzip: true, ..key("/") }] {
            assert_ne!(first.as_ptr(), get(&one, other).as_ptr());
        }
        assert_eq!(get(&two, key("/")), "view of 2s");
        assert_eq!(first, "view of 1s", "a reader keeps what it reads");
        assert_eq!((Arc::strong_count(&one), Arc::strong_count(&two)), (1, 1), "the cache keeps no view");
    }
}
