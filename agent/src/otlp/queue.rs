//! Bodies that wait to be sent: bounded, the oldest goes first, and what is lost is counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::body::Body;
use super::counts::{Counts, Dropped};

/// Bodies of one signal, on their way from who makes them to who sends them.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    pushed: Notify,
    /// Bytes that may wait.
    max_bytes: usize,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Body>,
    /// Of all that wait, and of the one that is being sent.
    bytes: usize,
    items: u64,
}

impl Queue {
    /// An empty one.
    #[must_use]
    pub fn new(max_bytes: usize, counts: Arc<Counts>) -> Self {
        Self { state: Mutex::default(), pushed: Notify::new(), max_bytes, counts }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a body behind all others. Where there is no room, the oldest make it: metrics are totals, so that the newest say most.
    pub fn push(&self, body: Body) {
        let mut state = self.state();
        state.bytes += body.bytes.len();
        state.items += body.items;
        state.waiting.push_back(body);
        while state.bytes > self.max_bytes
            && let Some(oldest) = state.waiting.pop_front()
        {
            state.bytes -= oldest.bytes.len();
            state.items -= oldest.items;
            self.counts.dropped(Dropped::QueueFull, oldest.items);
        }
        self.counts.waiting(state.items, state.bytes);
        drop(state);
        self.pushed.notify_one();
    }

    /// The oldest body, when there is one. It counts as waiting until [`Self::settled`].
    pub async fn take(&self) -> Body {
        loop {
            let oldest = self.state().waiting.pop_front();
            match oldest {
                Some(body) => return body,
                // It remembers a notification that came before.
                None => self.pushed.notified().await,
            }
        }
    }

    /// A body that was taken is no longer ours, whatever has become of it.
    pub fn settled(&self, body: &Body) {
        let mut state = self.state();
        state.bytes = state.bytes.saturating_sub(body.bytes.len());
        state.items = state.items.saturating_sub(body.items);
        self.counts.waiting(state.items, state.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: usize, items: u64) -> Body {
        Body { bytes: vec![0; bytes].into(), items }
    }

    fn waiting(counts: &Counts) -> (u64, u64, u64) {
        let read = counts.read();
        (read.waiting_items, read.waiting_bytes, read.dropped[Dropped::QueueFull as usize])
    }

    #[tokio::test]
    async fn the_oldest_makes_room_and_is_counted() {
        let counts = Arc::<Counts>::default();
        let queue = Queue::new(100, Arc::clone(&counts));
        for items in 1..=3 {
            queue.push(body(40, items));
        }
        assert_eq!(waiting(&counts), (5, 80, 1));
        let first = queue.take().await;
        assert_eq!((first.items, waiting(&counts)), (2, (5, 80, 1)), "what is being sent still waits");
        queue.push(body(30, 10));
        assert_eq!(waiting(&counts), (12, 70, 4), "the one that is being sent stays");
        queue.settled(&first);
        assert_eq!(waiting(&counts), (10, 30, 4));
        assert_eq!(queue.take().await.items, 10);
    }

    #[tokio::test]
    async fn what_is_larger_than_the_queue_is_lost_and_counted() {
        let counts = Arc::<Counts>::default();
        let queue = Queue::new(10, Arc::clone(&counts));
        queue.push(body(11, 7));
        assert_eq!(waiting(&counts), (0, 0, 7));
    }
}
