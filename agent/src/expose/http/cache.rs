//! Bodies made from the current view, so that many readers share one copy.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use super::routes::Render;
use crate::expose::snapshot::Snapshot;

/// The bodies of one view.
#[derive(Default)]
pub(super) struct Cache(Mutex<Bodies>);

#[derive(Default)]
struct Bodies {
    /// Keeps the view's address from being used again, not the view.
    view: Weak<Snapshot>,
    /// By path and content type, as long as a reader has them.
    bodies: Vec<(Key, Weak<String>)>,
}

/// Path and content type.
type Key = (&'static str, &'static str);

/// A body that its readers hold together.
struct Body(Arc<String>);

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Cache {
    /// The body of a path in a content type: made now, or the one that another reader of this view still has.
    pub fn get(&self, view: &Arc<Snapshot>, key: Key, render: Render) -> Result<Bytes, String> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::ptr::eq(cached.view.as_ptr(), Arc::as_ptr(view)) {
            *cached = Bodies { view: Arc::downgrade(view), bodies: Vec::new() };
        }
        cached.bodies.retain(|(_, body)| body.strong_count() > 0);
        let of_key = |(other, body): &(Key, Weak<String>)| (*other == key).then(|| body.upgrade()).flatten();
        let body = match cached.bodies.iter().find_map(of_key) {
            Some(body) => body,
            None => {
                let body = Arc::new(render(view)?);
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
        let render: Render = |view| Ok(format!("view of {:?}", view.tick));
        let cache = Cache::default();
        let [one, two] = [1, 2].map(|seconds| {
            Arc::new(Snapshot { tick: std::time::Duration::from_secs(seconds), ..Snapshot::default() })
        });
        let first = cache.get(&one, ("/", "a"), render).unwrap();
        assert_eq!(first.as_ptr(), cache.get(&one, ("/", "a"), render).unwrap().as_ptr());
        assert_ne!(first.as_ptr(), cache.get(&one, ("/", "b"), render).unwrap().as_ptr());
        assert_eq!(cache.get(&two, ("/", "a"), render).unwrap(), "view of 2s");
        assert_eq!(first, "view of 1s", "a reader keeps what it reads");
        assert_eq!((Arc::strong_count(&one), Arc::strong_count(&two)), (1, 1), "the cache keeps no view");
    }
}
