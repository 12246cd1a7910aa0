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
    /// Who takes has something to do.
    pushed: Notify,
    /// Who waits to send again need not.
    closed: Notify,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Body>,
    /// Of all that wait, and of the one that is being sent.
    bytes: usize,
    items: u64,
    is_closed: bool,
}

impl Queue {
    /// An empty one, of as many bytes as the counts say.
    #[must_use]
    pub fn new(counts: Arc<Counts>) -> Self {
        Self { state: Mutex::default(), pushed: Notify::new(), closed: Notify::new(), counts }
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
        while state.bytes > self.counts.max_bytes()
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

    /// Says that no more bodies come. What waits can be taken still.
    pub fn close(&self) {
        self.state().is_closed = true;
        self.pushed.notify_one();
        self.closed.notify_one();
    }

    /// Waits for [`Self::close`]; ends once.
    pub async fn closing(&self) {
        self.closed.notified().await;
    }

    /// The oldest body, when there is one; `None` when none comes any more. It counts as waiting until [`Self::settled`].
    pub async fn take(&self) -> Option<Body> {
        loop {
            {
                let mut state = self.state();
                let oldest = state.waiting.pop_front();
                if oldest.is_some() || state.is_closed {
                    return oldest;
                }
            }
            // It remembers a notification that came before.
            self.pushed.notified().await;
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
        let counts = Counts::new(100);
        let queue = Queue::new(Arc::clone(&counts));
        for items in 1..=3 {
            queue.push(body(40, items));
        }
        assert_eq!(waiting(&counts), (5, 80, 1));
        let first = queue.take().await.unwrap();
        assert_eq!((first.items, waiting(&counts)), (2, (5, 80, 1)), "what is being sent still waits");
        queue.push(body(30, 10));
        assert_eq!(waiting(&counts), (12, 70, 4), "the one that is being sent stays");
        queue.settled(&first);
        assert_eq!(waiting(&counts), (10, 30, 4));
        assert_eq!(queue.take().await.unwrap().items, 10);
    }

    #[tokio::test]
    async fn a_closed_queue_ends_when_it_is_empty() {
        let queue = Queue::new(Counts::new(100));
        queue.push(body(40, 1));
        queue.close();
        queue.closing().await;
        assert_eq!(queue.take().await.map(|body| body.items), Some(1));
        assert_eq!(queue.take().await, None);
    }

    #[tokio::test]
    async fn what_is_larger_than_the_queue_is_lost_and_counted() {
        let counts = Counts::new(10);
        let queue = Queue::new(Arc::clone(&counts));
        queue.push(body(11, 7));
        assert_eq!(waiting(&counts), (0, 0, 7));
    }
}
