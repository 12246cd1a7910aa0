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
    /// By path and content type.
    bodies: Vec<((&'static str, &'static str), Bytes)>,
}

impl Cache {
    /// The body of a path in a content type: as it was made from this view before, or made now. Those of the view
    /// before are given up first.
    pub fn get(
        &self,
        view: &Arc<Snapshot>,
        key: (&'static str, &'static str),
        render: Render,
    ) -> Result<Bytes, String> {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::ptr::eq(cached.view.as_ptr(), Arc::as_ptr(view)) {
            *cached = Bodies { view: Arc::downgrade(view), bodies: Vec::new() };
        }
        if let Some((_, body)) = cached.bodies.iter().find(|(other, _)| *other == key) {
            return Ok(body.clone());
        }
        let body = Bytes::from(render(view)?);
        cached.bodies.push((key, body.clone()));
        Ok(body)
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
