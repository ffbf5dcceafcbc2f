//! Forks and signals, with real children.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests panic")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use micro::server::Server;
use micro_process::fork::{Forks, Hooks};
use micro_process::signal::SigpipeBlocked;

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Code(i32),
    Signal(i32),
}

/// Hooks of one test notice the forks of another: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child, killed when the test is over before it.
struct Child(libc::pid_t);

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: nothing else waits for this child, so the number is still its.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

/// Forks; the child ends with what `child` returns.
fn fork(child: impl FnOnce() -> i32) -> Child {
    // SAFETY: the child runs what the test gives it and ends without returning.
    match unsafe { libc::fork() } {
        0 => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(99);
            // SAFETY: ends the process at once, without what the parent has set up for its own end.
            unsafe { libc::_exit(code) }
        }
        id => {
            assert!(id > 0, "no fork");
            Child(id)
        }
    }
}

/// Waits for a child.
fn end(child: Child) -> End {
    let Child(id) = child;
    std::mem::forget(child);
    let mut status = 0;
    // SAFETY: `status` is a place of ours.
    assert_eq!(unsafe { libc::waitpid(id, &raw mut status, 0) }, id);
    if libc::WIFSIGNALED(status) {
        End::Signal(libc::WTERMSIG(status))
    } else {
        End::Code(libc::WEXITSTATUS(status))
    }
}

#[test]
fn hooks_are_called_once_each_on_their_side_of_a_fork() {
    static BEFORE: AtomicU32 = AtomicU32::new(0);
    static PARENT: AtomicU32 = AtomicU32::new(0);
    static CHILD: AtomicU32 = AtomicU32::new(0);
    struct Counting;
    impl Forks for Counting {
        fn before() {
            BEFORE.fetch_add(1, Ordering::Relaxed);
        }
        fn in_parent() {
            PARENT.fetch_add(1, Ordering::Relaxed);
        }
        fn in_child() {
            CHILD.fetch_add(1, Ordering::Relaxed);
        }
    }
    static HOOKS: Hooks<Counting> = Hooks::new();
    let counts = || [&BEFORE, &PARENT, &CHILD].map(|count| count.load(Ordering::Relaxed));

    let _alone = alone();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| HOOKS.register());
        }
    });
    HOOKS.register();
    let child = fork(|| {
        HOOKS.register();
        if counts() != [1, 0, 1] {
            return 1;
        }
        // A child's hooks are those of its parent, not two of each.
        let grandchild = fork(|| i32::from(counts() != [2, 0, 2]));
        i32::from(end(grandchild) != End::Code(0) || counts() != [2, 1, 1])
    });
    assert_eq!(end(child), End::Code(0));
    assert_eq!(counts(), [1, 1, 0]);
}

#[test]
fn a_hook_that_panics_ends_nothing() {
    struct Panicking;
    impl Forks for Panicking {
        fn before() {
            panic!("before");
        }
        fn in_parent() {
            panic!("in the parent");
        }
        fn in_child() {
            panic!("in the child");
        }
    }
    static HOOKS: Hooks<Panicking> = Hooks::new();

    let _alone = alone();
    HOOKS.register();
    assert_eq!(end(fork(|| 7)), End::Code(7));
}

#[test]
fn a_child_does_not_keep_what_its_parent_listens_on() {
    struct Closing;
    impl Forks for Closing {
        fn before() {}
        fn in_parent() {}
        fn in_child() {}
    }
    static HOOKS: Hooks<Closing> = Hooks::new();

    let _alone = alone();
    HOOKS.register();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut begins, mut begun) = std::io::pipe().unwrap();
    let (mut waits, mut ends) = std::io::pipe().unwrap();
    let (child, address) = runtime.block_on(async {
        let server = Server::builder("kept").address("127.0.0.1:0").start().await.unwrap();
        let address = server.address();
        TcpStream::connect(address).expect("the parent listens");
        let child = fork(|| {
            let told = begun.write_all(b".").and_then(|()| waits.read_exact(&mut [0]));
            i32::from(told.is_err())
        });
        // Past its hooks.
        begins.read_exact(&mut [0]).unwrap();
        server.stop().await;
        (child, address)
    });
    drop(runtime);
    let refused = TcpStream::connect(address).expect_err("the parent is gone");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    ends.write_all(b".").unwrap();
    assert_eq!(end(child), End::Code(0));
}

/// Writes to a pipe that nothing reads, in a child in which SIGPIPE does what it does in programs in C. The code is the error.
fn write_to_nothing(write: impl FnOnce(OwnedFd) -> i32) -> End {
    end(fork(|| {
        // SAFETY: the default action needs no handler.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let (reads, writes) = std::io::pipe().unwrap();
        drop(reads);
        write(writes.into())
    }))
}

fn write_one(to: OwnedFd) -> i32 {
    let error = std::fs::File::from(to).write(b".").expect_err("nothing reads");
    error.raw_os_error().unwrap_or(98)
}

#[test]
fn a_thread_started_without_sigpipe_gets_an_error_instead() {
    let _alone = alone();
    let spared = write_to_nothing(|writes| {
        let blocked = SigpipeBlocked::new();
        let (go, goes) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || goes.recv().map_or(97, |()| write_one(writes)));
        drop(blocked);
        let _ = go.send(());
        thread.join().unwrap_or(96)
    });
    assert_eq!(spared, End::Code(libc::EPIPE));
}

#[test]
fn afterwards_the_signal_is_the_program_s_again() {
    let _alone = alone();
    let ended = write_to_nothing(|writes| {
        drop(SigpipeBlocked::new());
        write_one(writes)
    });
    assert_eq!(ended, End::Signal(libc::SIGPIPE));
}
