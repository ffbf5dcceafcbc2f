//! Forks noticed: what was made before a fork has no threads in the child, and must not be used there.
//!
//! [`watch`] has the system tell of each fork; every entry compares one number ([`Stamp`](crate::stamp::Stamp)). Nothing
//! inherited is dropped or joined in the child: its threads are not there to let go. What a new runtime in the child shares
//! with the old ones is held across the fork, so that no thread that stays behind has it, and made before there can be a fork.
//! The parent's sockets and locked files are closed in the child, so that they end with the parent.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::leases::{LEASES, Leased};
use crate::log::{self, Ring};
use crate::stamp;

/// Keeps forks away while something is made that threads share.
static GATE: Mutex<()> = Mutex::new(());

/// Locks that the thread which forks holds meanwhile.
struct Held {
    _gate: MutexGuard<'static, ()>,
    _ids: MutexGuard<'static, Leased>,
    _log: MutexGuard<'static, Ring>,
    _core: micro::fork::Held,
}

thread_local! {
    static HELD: Cell<Option<Held>> = const { Cell::new(None) };
}

/// Notices forks from now on, and makes what threads share before one can come in between. Called when a shell is loaded, or
/// by the first runtime; after that it costs nothing.
pub fn watch() {
    static READY: AtomicBool = AtomicBool::new(false);
    #[cfg(unix)]
    HOOKS.register();
    let _gate = gate();
    if !READY.load(Ordering::Relaxed) {
        micro::fork::warm_up();
        LazyLock::force(&LEASES);
        log::install();
        READY.store(true, Ordering::Relaxed);
    }
}

/// No fork happens before this is dropped. Its holder must not wait for anything of the host's.
pub(crate) fn gate() -> MutexGuard<'static, ()> {
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Called before a fork, on the thread that forks.
fn before() {
    // The gate is first: a thread that has it may need the others.
    let gate = gate();
    // What is being made may log.
    let core = micro::fork::hold();
    let held = Held { _gate: gate, _ids: LEASES.lock(), _log: log::ring(), _core: core };
    // A thread that has no such place any more is about to end, and forks nothing.
    let _ = HELD.try_with(|place| place.set(Some(held)));
}

/// Called after a fork, in the process that goes on.
fn in_parent() {
    let _ = HELD.try_with(|place| drop(place.take()));
}

/// Called in the child of a fork.
fn in_child() {
    stamp::forked();
    in_parent();
    micro::fork::in_child();
}

#[cfg(unix)]
static HOOKS: micro_process::fork::Hooks<Forked> = micro_process::fork::Hooks::new();

/// What the system's hooks do.
#[cfg(unix)]
struct Forked;

#[cfg(unix)]
impl micro_process::fork::Forks for Forked {
    fn before() {
        before();
    }

    fn in_parent() {
        in_parent();
    }

    fn in_child() {
        in_child();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_other_thread_gets_at_what_is_shared_while_one_forks() {
        watch();
        before();
        let (done, taken) = mpsc::channel();
        let uses: [fn(); 3] =
            [|| drop(log::take()), || assert!(LEASES.take(15, 0).is_some()), || drop(gate())];
        let others = uses.map(|share| {
            let done = done.clone();
            std::thread::spawn(move || {
                share();
                let _ = done.send(());
            })
        });
        assert!(taken.recv_timeout(Duration::from_millis(50)).is_err(), "they were free");
        in_parent();
        for other in others {
            taken.recv_timeout(Duration::from_secs(20)).expect("free again");
            other.join().expect("the other thread");
        }
        // As in a child whose parent did not hold them.
        in_parent();
    }
}
