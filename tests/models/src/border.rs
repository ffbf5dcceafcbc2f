//! What must hold of the bridge's queue and ids, whatever the order.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use crate::id::{Id, IdKind};
use crate::inbox::{Bell, Chime, Inbox};
use crate::leases::Leases;
use crate::models::both;
use crate::slab::Slab;

/// Every model by its name.
pub const MODELS: &[(&str, fn())] = &[
    ("no_wake_is_lost_by_a_drain_of_one", || no_wake_is_lost(1, tell_each)),
    ("no_wake_is_lost_by_a_drain_of_two", || no_wake_is_lost(2, tell_each)),
    ("no_wake_is_lost_by_a_drain_of_all", || no_wake_is_lost(usize::MAX, tell_each)),
    ("no_late_wake_is_lost_by_a_drain_of_one", || no_wake_is_lost(1, tell_all)),
    ("no_late_wake_is_lost_by_a_drain_of_all", || no_wake_is_lost(usize::MAX, tell_all)),
    ("a_bell_sounds_while_something_waits_and_is_silent_else", a_bell_sounds_while_something_waits),
    ("a_waiting_thread_gets_every_event_once", a_waiting_thread_gets_every_event_once),
    ("waiting_threads_share_the_events", waiting_threads_share_the_events),
    ("a_waiting_thread_hears_of_the_end", a_waiting_thread_hears_of_the_end),
    ("what_is_left_at_the_end_is_kept_or_given_back", what_is_left_at_the_end),
    ("a_new_bell_rings_for_what_waits", a_new_bell_rings_for_what_waits),
    ("an_id_names_its_thing_or_nothing", an_id_names_its_thing_or_nothing),
    ("things_kept_at_once_have_ids_of_their_own", things_kept_at_once_have_ids_of_their_own),
    ("of_two_that_remove_one_gets_the_thing", of_two_that_remove_one_gets_the_thing),
    ("a_change_is_made_before_the_end_or_not_at_all", a_change_is_made_before_the_end),
];

/// A bell as event loops have it: it fires once for many rings, and the host that is woken takes that away.
#[derive(Clone)]
struct Doorbell {
    fired: Arc<AtomicBool>,
    rings: Arc<AtomicUsize>,
}

impl Doorbell {
    fn new() -> Self {
        Self { fired: Arc::new(AtomicBool::new(false)), rings: Arc::new(AtomicUsize::new(0)) }
    }

    /// Whether the host is woken now.
    fn wakes(&self) -> bool {
        self.fired.swap(false, Ordering::SeqCst)
    }
}

impl Bell for Doorbell {
    type Chime = Self;

    fn ring(&self) -> Option<Self> {
        self.rings.fetch_add(1, Ordering::SeqCst);
        Some(self.clone())
    }

    // An edge is not taken back.
    fn silence(&self) -> usize {
        0
    }
}

impl Chime for Doorbell {
    fn sound(&self) {
        // Not a store: loom does not order one among the swaps of another thread.
        self.fired.swap(true, Ordering::SeqCst);
    }
}

/// A bell as descriptors are: it sounds until it is silenced, and knows how many have rung.
#[derive(Clone)]
struct Siren(Arc<AtomicUsize>);

impl Siren {
    fn sounds(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

impl Bell for Siren {
    type Chime = Self;

    fn ring(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn silence(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

impl Chime for Siren {
    fn sound(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn inbox() -> (Arc<Inbox<u32, Doorbell>>, Doorbell) {
    let bell = Doorbell::new();
    (Arc::new(Inbox::new(bell.clone())), bell)
}

fn slab(shards: usize) -> Slab<u32> {
    Slab::new(shards, Arc::new(Leases::new()))
}

/// Leaves events, and rings at once for each that has to be rung for.
fn tell_each(inbox: &Inbox<u32, Doorbell>, events: RangeInclusive<u32>) {
    for event in events {
        if inbox.leave(event).expect("open") {
            inbox.ring();
        }
    }
}

/// Leaves events, and rings once for all of them.
fn tell_all(inbox: &Inbox<u32, Doorbell>, events: RangeInclusive<u32>) {
    let firsts = events.filter(|event| inbox.leave(*event).expect("open"));
    if firsts.count() > 0 {
        inbox.ring();
    }
}

/// A host drains `max` for each time it is woken, and never on its own accord.
fn no_wake_is_lost(max: usize, tell: fn(&Inbox<u32, Doorbell>, RangeInclusive<u32>)) {
    let (inbox, bell) = inbox();
    let teller = thread::spawn({
        let inbox = inbox.clone();
        move || tell(&inbox, 1..=3)
    });
    let mut batch = VecDeque::new();
    if bell.wakes() {
        inbox.drain(&mut batch, max);
    }
    teller.join().expect("it ends");
    while bell.wakes() {
        inbox.drain(&mut batch, max);
    }
    assert_eq!(batch, [1, 2, 3]);
    assert!(bell.rings.load(Ordering::SeqCst) <= 3, "it is rung at most once for each");
}

fn a_bell_sounds_while_something_waits() {
    let siren = Siren(Arc::new(AtomicUsize::new(0)));
    let inbox = Arc::new(Inbox::new(siren.clone()));
    let tell = |event| {
        let inbox = inbox.clone();
        thread::spawn(move || {
            if inbox.leave(event).expect("open") {
                inbox.ring();
            }
        })
    };
    let tellers = [tell(1), tell(2)];
    let mut batch = VecDeque::new();
    inbox.drain(&mut batch, 9);
    for teller in tellers {
        teller.join().expect("it ends");
    }
    assert_eq!(siren.sounds(), inbox.look(VecDeque::len) > 0);
    inbox.drain(&mut batch, 9);
    assert_eq!(batch.len(), 2);
    assert!(!siren.sounds(), "all of it was taken");
}

fn a_waiting_thread_gets_every_event_once() {
    let (inbox, _) = inbox();
    let teller = thread::spawn({
        let inbox = inbox.clone();
        move || tell_all(&inbox, 1..=2)
    });
    let mut batch = VecDeque::new();
    while batch.len() < 2 {
        inbox.wait(&mut batch, 1, None);
    }
    teller.join().expect("it ends");
    assert_eq!(batch, [1, 2]);
    assert_eq!(inbox.look(VecDeque::len), 0);
}

fn waiting_threads_share_the_events() {
    let (inbox, _) = inbox();
    let waiter = |inbox: Arc<Inbox<u32, Doorbell>>| {
        let mut batch = VecDeque::new();
        inbox.wait(&mut batch, 1, None);
        batch
    };
    let other = thread::spawn({
        let inbox = inbox.clone();
        move || waiter(inbox)
    });
    let teller = thread::spawn({
        let inbox = inbox.clone();
        move || tell_all(&inbox, 1..=2)
    });
    let mut got = waiter(inbox);
    teller.join().expect("it ends");
    got.extend(other.join().expect("it is woken"));
    got.make_contiguous().sort_unstable();
    assert_eq!(got, [1, 2]);
}

fn a_waiting_thread_hears_of_the_end() {
    let (inbox, _) = inbox();
    let waiter = thread::spawn({
        let inbox = inbox.clone();
        move || {
            let mut batch = VecDeque::new();
            inbox.wait(&mut batch, 9, None);
            batch
        }
    });
    assert!(inbox.close(None));
    assert!(waiter.join().expect("it is woken").is_empty());
}

fn what_is_left_at_the_end() {
    let (inbox, _) = inbox();
    let teller = thread::spawn({
        let inbox = inbox.clone();
        move || inbox.leave(1)
    });
    let kept = inbox.shut();
    let left = teller.join().expect("it ends");
    assert_eq!(kept.len(), usize::from(left.is_ok()));
    assert_eq!(inbox.leave(2), Err(2));
    assert_eq!(inbox.look(VecDeque::len), 0);
}

fn a_new_bell_rings_for_what_waits() {
    let (inbox, _) = inbox();
    let teller = thread::spawn({
        let inbox = inbox.clone();
        move || tell_each(&inbox, 1..=1)
    });
    let bell = Doorbell::new();
    inbox.change_bell(|old| *old = bell.clone());
    teller.join().expect("it ends");
    assert!(bell.wakes());
}

fn an_id_names_its_thing_or_nothing() {
    let slab = Arc::new(slab(1));
    let first = slab.insert(IdKind::Call, 1).expect("room");
    let other = thread::spawn({
        let slab = slab.clone();
        move || {
            assert_eq!(slab.remove(first), Some(1));
            slab.insert(IdKind::Call, 2).expect("room")
        }
    });
    assert!(matches!(slab.get(first), Some(1) | None));
    let second = other.join().expect("it ends");
    assert_eq!(first.index(), second.index(), "the place is used again");
    assert_eq!((slab.get(first), slab.get(second)), (None, Some(2)));
}

fn things_kept_at_once_have_ids_of_their_own() {
    let slab = Arc::new(slab(2));
    let gone = slab.insert(IdKind::Call, 0).expect("room");
    slab.remove(gone);
    let insert = |slab: &Slab<u32>, thing: u32| -> Id {
        let id = slab.insert(IdKind::Call, thing).expect("room");
        assert_eq!(slab.get(id), Some(thing));
        id
    };
    let other = thread::spawn({
        let slab = slab.clone();
        move || [insert(&slab, 1), insert(&slab, 2)]
    });
    let mine = insert(&slab, 3);
    let [one, two] = other.join().expect("it ends");
    assert!(mine != one && mine != two && one != two && mine != gone);
    assert_eq!([one, two, mine].map(|id| slab.get(id)), [Some(1), Some(2), Some(3)]);
}

fn of_two_that_remove_one_gets_the_thing() {
    let slab = Arc::new(slab(1));
    let id = slab.insert(IdKind::Stream, 7).expect("room");
    let taken = both({
        let slab = slab.clone();
        move || slab.remove(id)
    });
    assert_eq!(taken.iter().flatten().collect::<Vec<_>>(), [&7]);
    assert_eq!(slab.get(id), None);
}

fn a_change_is_made_before_the_end() {
    let slab = Arc::new(slab(1));
    let id = slab.insert(IdKind::Operation, 1).expect("room");
    let other = thread::spawn({
        let slab = slab.clone();
        move || slab.change(id, |thing| *thing = 2)
    });
    let removed = slab.remove(id);
    let changed = other.join().expect("it ends");
    assert_eq!(removed, Some(if changed { 2 } else { 1 }));
}
