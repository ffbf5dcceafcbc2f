//! The mechanism of a queue: many push, one drains, and is neither woken twice nor left asleep.
//!
//! *Level-triggered*: the bell is rung once something is there and silenced when the last event is taken. A bell that only fires
//! at an edge is rung again by a drain that leaves something. So whatever a drain takes, and whenever it runs, something that
//! waits is something that rings. A thread that adds an event either rings at once, or leaves it and rings a little later, for
//! that and whatever came meanwhile. Free of tokio and of what events are, for loom.
//!
//! A bell may sound once the inbox is unlocked: the host that it wakes takes the lock at once, and would wait for the thread that
//! rings. What sounds after the drain that would have silenced it is silenced by the thread that rang.

use std::collections::VecDeque;
use std::time::Instant;

use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What is rung.
pub(crate) trait Bell {
    /// What sounds once the inbox is unlocked.
    type Chime: Chime;
    /// Something is there.
    fn ring(&self) -> Option<Self::Chime>;
    /// Nothing is there any more. Returns how many chimes it has silenced.
    fn silence(&self) -> usize;
}

/// The part of a bell that sounds once the inbox is unlocked.
pub(crate) trait Chime {
    fn sound(&self);
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
    /// The bell rings, and those who wait have been woken.
    rung: bool,
    /// Chimes that sound, or are about to.
    chimes: usize,
    /// Threads in [`Inbox::wait`].
    waiting: usize,
    open: bool,
}

impl<E, B: Bell> Inbox<E, B> {
    pub(crate) fn new(bell: B) -> Self {
        let events = VecDeque::new();
        let state = State { events, bell, rung: false, chimes: 0, waiting: 0, open: true };
        Self { state: Mutex::new(state), arrived: Condvar::new() }
    }

    /// Adds an event without a sound; true when it is the first, and the caller must [`Inbox::ring`] for it. Gives it back when
    /// the inbox is closed.
    pub(crate) fn leave(&self, event: E) -> Result<bool, E> {
        let mut state = self.lock();
        if !state.open {
            return Err(event);
        }
        state.events.push_back(event);
        Ok(state.events.len() == 1)
    }

    /// Rings for what was left, unless it rings or was taken.
    pub(crate) fn ring(&self) {
        let mut state = self.lock();
        let rung = state.ring();
        drop(state);
        self.wake(rung);
    }

    /// Moves up to `max` events behind those of `batch`, oldest first.
    pub(crate) fn drain(&self, batch: &mut VecDeque<E>, max: usize) -> Left {
        self.take(self.lock(), batch, max)
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
        self.take(state, batch, max)
    }

    /// Adds a last event, if there is one, and takes no more. False when it was closed before.
    pub(crate) fn close(&self, last: Option<E>) -> bool {
        let mut state = self.lock();
        let was_open = std::mem::replace(&mut state.open, false);
        let mut rung = None;
        if was_open && let Some(last) = last {
            state.events.push_back(last);
            rung = state.ring();
        }
        drop(state);
        self.wake(rung);
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
        // The one before may have rung.
        state.rung = false;
        let rung = state.ring();
        drop(state);
        self.wake(rung);
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

    fn take(
        &self,
        mut state: MutexGuard<'_, State<E, B>>,
        batch: &mut VecDeque<E>,
        max: usize,
    ) -> Left {
        let (left, rung) = state.take(batch, max);
        drop(state);
        self.wake(rung);
        left
    }

    /// Wakes those that a ring is to wake; the inbox is not locked.
    fn wake(&self, rung: Option<Rung<B::Chime>>) {
        let Some(Rung { chime, waiting }) = rung else { return };
        if waiting {
            self.arrived.notify_one();
        }
        let Some(chime) = chime else { return };
        chime.sound();
        let mut state = self.lock();
        if state.chimes > 0 && !state.rung {
            state.silence();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<E, B>> {
        // Only a bell runs while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is left to do of a ring.
struct Rung<C> {
    chime: Option<C>,
    /// A thread waits that has to be woken.
    waiting: bool,
}

impl<E, B: Bell> State<E, B> {
    fn ring(&mut self) -> Option<Rung<B::Chime>> {
        if self.rung || self.events.is_empty() {
            return None;
        }
        self.rung = true;
        let chime = self.bell.ring();
        self.chimes += usize::from(chime.is_some());
        Some(Rung { chime, waiting: self.waiting > 0 })
    }

    /// What is left, and what is to be woken for it.
    fn take(&mut self, batch: &mut VecDeque<E>, max: usize) -> (Left, Option<Rung<B::Chime>>) {
        if self.events.is_empty() || max == 0 {
            return (self.left(), None);
        }
        if batch.is_empty() && self.events.len() <= max {
            // The two buffers change places, so neither is ever allocated anew.
            std::mem::swap(batch, &mut self.events);
        } else {
            let taken = self.events.len().min(max);
            batch.extend(self.events.drain(..taken));
        }
        if !self.events.is_empty() {
            self.rung = false;
            let rung = self.ring();
            return (self.left(), rung);
        }
        if std::mem::take(&mut self.rung) {
            self.silence();
        }
        (self.left(), None)
    }

    fn silence(&mut self) {
        self.chimes = self.chimes.saturating_sub(self.bell.silence());
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
        type Chime = Silent;

        fn ring(&self) -> Option<Silent> {
            self.rung.set(self.rung.get() + 1);
            self.ringing.set(true);
            None
        }

        fn silence(&self) -> usize {
            self.ringing.set(false);
            0
        }
    }

    struct Silent;

    impl Chime for Silent {
        fn sound(&self) {}
    }

    fn push(inbox: &Inbox<u32, Count>, event: u32) {
        if inbox.leave(event).expect("open") {
            inbox.ring();
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
            push(&inbox, n);
        }
        assert_eq!(inbox.look(VecDeque::len), 100);
        assert_eq!(drained(&inbox, 1000).len(), 100);
        assert_eq!(state(&inbox), (1, false));
        assert!(drained(&inbox, 1000).is_empty());
    }

    #[test]
    fn what_was_left_rings_late_or_not_at_all() {
        let inbox = Inbox::new(Count::default());
        assert_eq!((inbox.leave(1), inbox.leave(2)), (Ok(true), Ok(false)));
        inbox.ring();
        inbox.ring();
        assert_eq!(drained(&inbox, 9), [1, 2]);
        assert_eq!(inbox.leave(3), Ok(true));
        assert_eq!(drained(&inbox, 9), [3]);
        inbox.ring();
        assert_eq!(state(&inbox), (1, false));
    }

    #[test]
    fn a_drain_that_leaves_something_rings_again() {
        let inbox = Inbox::new(Count::default());
        for n in 0..3 {
            push(&inbox, n);
        }
        assert_eq!(drained(&inbox, 2), [0, 1]);
        assert!(inbox.change_bell(|bell| bell.rung.get() == 2 && bell.ringing.get()));
        assert_eq!(drained(&inbox, 2), [2]);
        assert!(!state(&inbox).1);
    }

    #[test]
    fn a_closed_inbox_gives_back_what_is_pushed_and_keeps_what_was() {
        let inbox = Inbox::new(Count::default());
        push(&inbox, 1);
        assert!(inbox.close(Some(2)));
        assert!(!inbox.close(Some(3)));
        assert_eq!(inbox.leave(4), Err(4));
        assert_eq!(drained(&inbox, 9), [1, 2]);
    }

    #[test]
    fn waiting_ends_with_an_event_the_time_or_the_end() {
        let inbox = Inbox::new(Count::default());
        let mut batch = VecDeque::new();
        assert_eq!(inbox.wait(&mut batch, 9, Some(Instant::now())), Left::Nothing);
        assert!(batch.is_empty());
        push(&inbox, 1);
        push(&inbox, 2);
        assert_eq!(inbox.wait(&mut batch, 1, None), Left::Something);
        assert_eq!(inbox.wait(&mut batch, 9, None), Left::Nothing);
        assert_eq!(batch, [1, 2]);
        inbox.close(None);
        assert_eq!(inbox.wait(&mut batch, 9, None), Left::Never);
        assert_eq!(batch, [1, 2]);
    }
}
