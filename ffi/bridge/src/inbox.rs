//! The mechanism of a queue: many push, one drains, and nobody is woken twice or not at all.
//!
//! *Level-triggered*: the bell is rung when the first event comes in and silenced, under the same lock, when the last is
//! taken. A bell that only fires at an edge is rung again by a drain that leaves something. So whatever a drain takes, and
//! whenever it runs, something that waits is something that rings. Free of tokio and of what the events are, for loom.

use std::collections::VecDeque;
use std::time::Instant;

use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What is rung.
pub(crate) trait Bell {
    /// Something is there.
    fn ring(&self);
    /// Nothing is there any more.
    fn silence(&self);
}

/// What a drain leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Events for another drain.
    Something,
    /// An empty inbox.
    Nothing,
    /// An empty inbox that stays so.
    Never,
}

/// Events for one host.
#[derive(Debug)]
pub(crate) struct Inbox<E, B> {
    state: Mutex<State<E, B>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct State<E, B> {
    events: VecDeque<E>,
    bell: B,
    /// Threads in [`Inbox::wait`].
    waiting: usize,
    open: bool,
}

impl<E, B: Bell> Inbox<E, B> {
    pub(crate) fn new(bell: B) -> Self {
        let state = State { events: VecDeque::new(), bell, waiting: 0, open: true };
        Self { state: Mutex::new(state), arrived: Condvar::new() }
    }

    /// Adds an event; gives it back when the inbox is closed.
    pub(crate) fn push(&self, event: E) -> Result<(), E> {
        let mut state = self.lock();
        if !state.open {
            return Err(event);
        }
        state.add(event);
        let waiting = state.waiting > 0;
        drop(state);
        if waiting {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Moves up to `max` events behind those of `batch`, oldest first.
    pub(crate) fn drain(&self, batch: &mut VecDeque<E>, max: usize) -> Left {
        self.lock().take(batch, max)
    }

    /// As [`Inbox::drain`], once there is something, the inbox is closed or the time is up; `None` waits for ever.
    pub(crate) fn wait(&self, batch: &mut VecDeque<E>, max: usize, until: Option<Instant>) -> Left {
        let mut state = self.lock();
        while state.events.is_empty() && state.open {
            state.waiting += 1;
            let late;
            (state, late) = self.sleep(state, until);
            state.waiting -= 1;
            if late {
                break;
            }
        }
        state.take(batch, max)
    }

    /// Adds a last event, if there is one, and takes no more. False when it was closed before.
    pub(crate) fn close(&self, last: Option<E>) -> bool {
        let mut state = self.lock();
        let was_open = std::mem::replace(&mut state.open, false);
        if was_open && let Some(last) = last {
            state.add(last);
        }
        drop(state);
        self.arrived.notify_all();
        was_open
    }

    /// Takes everything and lets nothing more in.
    pub(crate) fn shut(&self) -> VecDeque<E> {
        let mut state = self.lock();
        state.open = false;
        let mut all = VecDeque::new();
        let _ = state.take(&mut all, usize::MAX);
        drop(state);
        self.arrived.notify_all();
        all
    }

    /// Changes the bell; it is rung if something waits.
    pub(crate) fn change_bell<R>(&self, change: impl FnOnce(&mut B) -> R) -> R {
        let mut state = self.lock();
        let changed = change(&mut state.bell);
        if !state.events.is_empty() {
            state.bell.ring();
        }
        changed
    }

    /// Looks at what waits.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&VecDeque<E>) -> R) -> R {
        look(&self.lock().events)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().open
    }

    fn sleep<'a>(
        &self,
        state: MutexGuard<'a, State<E, B>>,
        until: Option<Instant>,
    ) -> (MutexGuard<'a, State<E, B>>, bool) {
        let Some(until) = until else {
            return (self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner), false);
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return (state, true);
        }
        let (state, _) =
            self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        // Woken or not, the loop looks at the clock again.
        (state, false)
    }

    fn lock(&self) -> MutexGuard<'_, State<E, B>> {
        // Only a bell runs while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E, B: Bell> State<E, B> {
    fn add(&mut self, event: E) {
        self.events.push_back(event);
        if self.events.len() == 1 {
            self.bell.ring();
        }
    }

    fn take(&mut self, batch: &mut VecDeque<E>, max: usize) -> Left {
        if self.events.is_empty() || max == 0 {
            return self.left();
        }
        if batch.is_empty() && self.events.len() <= max {
            // The two buffers change places, so neither is ever allocated anew.
            std::mem::swap(batch, &mut self.events);
        } else {
            let taken = self.events.len().min(max);
            batch.extend(self.events.drain(..taken));
        }
        if self.events.is_empty() {
            self.bell.silence();
        } else {
            self.bell.ring();
        }
        self.left()
    }

    fn left(&self) -> Left {
        match (self.events.is_empty(), self.open) {
            (true, false) => Left::Never,
            (true, true) => Left::Nothing,
            (false, _) => Left::Something,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Counts, and knows whether it rings.
    #[derive(Default)]
    struct Count {
        rung: Cell<usize>,
        ringing: Cell<bool>,
    }

    impl Bell for Count {
        fn ring(&self) {
            self.rung.set(self.rung.get() + 1);
            self.ringing.set(true);
        }

        fn silence(&self) {
            self.ringing.set(false);
        }
    }

    fn state(inbox: &Inbox<u32, Count>) -> (usize, bool) {
        inbox.change_bell(|bell| (bell.rung.get(), bell.ringing.get()))
    }

    fn drained(inbox: &Inbox<u32, Count>, max: usize) -> Vec<u32> {
        let mut batch = VecDeque::new();
        let _ = inbox.drain(&mut batch, max);
        batch.into()
    }

    #[test]
    fn many_pushes_ring_once_and_an_empty_inbox_is_silent() {
        let inbox = Inbox::new(Count::default());
        for n in 0..100 {
            inbox.push(n).expect("open");
        }
        assert_eq!(inbox.look(VecDeque::len), 100);
        assert_eq!(drained(&inbox, 1000).len(), 100);
        assert_eq!(state(&inbox), (1, false));
        assert!(drained(&inbox, 1000).is_empty());
    }

    #[test]
    fn a_drain_that_leaves_something_rings_again() {
        let inbox = Inbox::new(Count::default());
        for n in 0..3 {
            inbox.push(n).expect("open");
        }
        assert_eq!(drained(&inbox, 2), [0, 1]);
        assert!(inbox.change_bell(|bell| bell.rung.get() == 2 && bell.ringing.get()));
        assert_eq!(drained(&inbox, 2), [2]);
        assert!(!state(&inbox).1);
    }

    #[test]
    fn a_closed_inbox_gives_back_what_is_pushed_and_keeps_what_was() {
        let inbox = Inbox::new(Count::default());
        inbox.push(1).expect("open");
        assert!(inbox.close(Some(2)));
        assert!(!inbox.close(Some(3)));
        assert_eq!(inbox.push(4), Err(4));
        assert_eq!(drained(&inbox, 9), [1, 2]);
    }

    #[test]
    fn waiting_ends_with_an_event_the_time_or_the_end() {
        let inbox = Inbox::new(Count::default());
        let mut batch = VecDeque::new();
        assert_eq!(inbox.wait(&mut batch, 9, Some(Instant::now())), Left::Nothing);
        assert!(batch.is_empty());
        inbox.push(1).expect("open");
        inbox.push(2).expect("open");
        assert_eq!(inbox.wait(&mut batch, 1, None), Left::Something);
        assert_eq!(inbox.wait(&mut batch, 9, None), Left::Nothing);
        assert_eq!(batch, [1, 2]);
        inbox.close(None);
        assert_eq!(inbox.wait(&mut batch, 9, None), Left::Never);
        assert_eq!(batch, [1, 2]);
    }
}
