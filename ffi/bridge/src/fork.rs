//! Forks noticed: what was made before a fork has no threads in the child, and must not be used there.
//!
//! [`watch`] has the system tell of each fork; every entry compares one number ([`Stamp`]). Nothing inherited is dropped or
//! joined in the child: its threads are not there to let go. What a new runtime in the child shares with the old ones is held
//! across the fork, so that no thread that stays behind has it, and made before there can be a fork. The parent's sockets and
//! locked files are closed in the child, so that they end with the parent.

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
    hooks::register();
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
#[allow(
    unsafe_code,
    reason = "the system is asked for hooks, and descriptors are closed that others own"
)]
mod hooks {
    use std::sync::atomic::{AtomicU32, Ordering};

    /// The process that asks for the hooks at this moment; [`DONE`] once they are there.
    static STATE: AtomicU32 = AtomicU32::new(NOBODY);
    const NOBODY: u32 = 0;
    const DONE: u32 = u32::MAX;

    extern "C" fn before_fork() {
        let _ = std::panic::catch_unwind(super::before);
    }

    extern "C" fn in_parent() {
        let _ = std::panic::catch_unwind(super::in_parent);
    }

    extern "C" fn in_child() {
        let _ = std::panic::catch_unwind(|| {
            super::in_child();
            close_inherited();
        });
    }

    /// Asks for the hooks, once. Not with a `Once`: a fork in the middle of one would leave a child that waits for ever.
    pub(super) fn register() {
        let here = std::process::id();
        loop {
            match STATE.load(Ordering::Acquire) {
                DONE => return,
                // Another thread is about to be done.
                busy if busy == here => std::thread::yield_now(),
                // The thread of a parent, which is not here.
                before => {
                    let taken =
                        STATE.compare_exchange(before, here, Ordering::AcqRel, Ordering::Relaxed);
                    if taken.is_ok() {
                        // SAFETY: the three functions live as long as the program, because a library with threads of its own
                        // is never unloaded. They do not unwind, and the system calls them on the thread that forks.
                        unsafe {
                            libc::pthread_atfork(Some(before_fork), Some(in_parent), Some(in_child))
                        };
                        STATE.store(DONE, Ordering::Release);
                        return;
                    }
                }
            }
        }
    }

    /// Puts nothing in the places of the parent's sockets and locked files. Their numbers stay taken: whatever owns them is
    /// still there, although it is not used.
    fn close_inherited() {
        // SAFETY: the path ends in NUL.
        let nothing = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        // SAFETY: both numbers are open descriptors, and what owned the second is never used in this process: its stamp is
        // foreign, or its thread is not here.
        micro::fork::let_go(|descriptor| unsafe {
            if nothing < 0 || libc::dup2(nothing, descriptor) < 0 {
                libc::close(descriptor);
            } else {
                libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        });
        if nothing >= 0 {
            // SAFETY: opened above, and nothing else has it.
            unsafe { libc::close(nothing) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn nobody_else_gets_at_what_is_shared_while_a_thread_forks() {
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
