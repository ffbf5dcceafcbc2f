//! What a fork of the process means for what this library shares in it.
//!
//! A child of a fork has the thread that forked, and nothing else that runs. Whatever another thread was making at that moment
//! stays half made. So what is shared is made before, by [`warm_up`], but for what is large and not always used: that is made
//! at its first use, and [`hold`] keeps forks away meanwhile. And the child has every descriptor of its parent. Were it to keep
//! them, the parent's address would be listened on, its peers connected and its files locked for as long as the child lives;
//! [`let_go`] tells which to close.
//!
//! The packages of other languages call these from the hooks of `pthread_atfork`. A Rust program that forks without running
//! another program, which is rare, should do the same.

use std::ops::{Deref, DerefMut};
#[cfg(unix)]
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Descriptors that are tracked, as many as Linux gives a process unless told otherwise; those above are the child's too.
const TRACKED: usize = 1 << 20;

/// A bit for each descriptor: static, so that a child can read it without a lock.
static OURS: [AtomicU64; TRACKED / 64] = [const { AtomicU64::new(0) }; TRACKED / 64];

/// Held while something shared is made.
static MAKING: Mutex<()> = Mutex::new(());

/// Something shared that is made at its first use, when no fork is under way. What makes it uses no other such thing.
pub(crate) struct Shared<T> {
    made: OnceLock<T>,
    make: fn() -> T,
}

impl<T> Shared<T> {
    pub(crate) const fn new(make: fn() -> T) -> Self {
        Self { made: OnceLock::new(), make }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.made.get().unwrap_or_else(|| {
            let _making = hold();
            self.made.get_or_init(self.make)
        })
    }
}

/// Nothing shared is half made while this is held. For the thread that forks: from before the fork until after it, on both
/// sides.
#[derive(Debug)]
pub struct Held {
    _making: MutexGuard<'static, ()>,
}

/// Waits until nothing shared is being made, and keeps it so.
pub fn hold() -> Held {
    Held { _making: MAKING.lock().unwrap_or_else(PoisonError::into_inner) }
}

/// Makes everything that this library shares in a process and that is otherwise made at its first use, but for what [`hold`]
/// waits for. A thread that does so while another one forks would leave a child in which it is never made; call this where no
/// fork can come in between.
pub fn warm_up() {
    crate::server::warm_up();
    crate::selector::warm_up();
    crate::transport::warm_up();
    crate::registry::warm_up();
    // The seed of its hashes, and its idea of the machine.
    let map = papaya::HashMap::<u64, u64, foldhash::fast::RandomState>::default();
    map.pin().insert(1, 1);
    map.pin().remove(&1);
    warm_up_thread();
}

/// As [`warm_up`], for what each thread has of its own and takes from a store of the process.
pub fn warm_up_thread() {
    let map = papaya::HashMap::<u64, u64, foldhash::fast::RandomState>::default();
    let _ = map.pin().get(&1);
    let _ = fastrand::u8(..);
}

/// What the thread that forked has to do in the child before anything else: no two children may draw the same numbers, and what
/// processes share by name, such as `memory://shop`, is each one's own.
pub fn in_child() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_nanos() as u64);
    fastrand::seed(now ^ (u64::from(std::process::id()) << 32));
    crate::transport::in_child();
    crate::registry::in_child();
}

/// Calls `each` with every socket and locked file of this library, once. In a child of a fork, which uses none of them, put
/// something else in their places. Locks nothing and allocates nothing.
#[cfg(unix)]
pub fn let_go(mut each: impl FnMut(RawFd)) {
    for (word, bits) in OURS.iter().enumerate() {
        // Most words are 0, as few descriptors are open. A child has one thread, so no write of another thread is lost.
        let mut left = bits.load(Ordering::Relaxed);
        if left != 0 {
            bits.store(0, Ordering::Relaxed);
        }
        while left != 0 {
            let bit = left.trailing_zeros();
            left &= left - 1;
            each((word * 64) as RawFd + bit as RawFd);
        }
    }
}

/// Owns a descriptor of which a child of a fork lets go.
#[derive(Debug)]
pub(crate) struct Uninherited<T> {
    // Before the descriptor is closed: its number is soon another's.
    _mark: Mark,
    inner: T,
}

#[derive(Debug)]
struct Mark(#[cfg(unix)] RawFd);

#[cfg(unix)]
impl<T: AsRawFd> Uninherited<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { _mark: Mark::new(inner.as_raw_fd()), inner }
    }
}

#[cfg(not(unix))]
impl<T> Uninherited<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { _mark: Mark(), inner }
    }
}

#[cfg(unix)]
impl Mark {
    fn new(descriptor: RawFd) -> Self {
        if let Some((word, bit)) = place(descriptor) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Self(descriptor)
    }
}

#[cfg(unix)]
impl Drop for Mark {
    fn drop(&mut self) {
        if let Some((word, bit)) = place(self.0) {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }
}

#[cfg(unix)]
fn place(descriptor: RawFd) -> Option<(&'static AtomicU64, u64)> {
    let number = usize::try_from(descriptor).ok()?;
    Some((OURS.get(number / 64)?, 1 << (number % 64)))
}

impl<T> Deref for Uninherited<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for Uninherited<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::path::Path;

    use super::*;

    /// The sources below `folder`.
    fn sources(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.is_dir() => sources(&path, found),
                path => found.push(std::fs::read_to_string(path).unwrap_or_default()),
            }
        }
    }

    #[test]
    fn whatever_is_made_at_its_first_use_is_made_before() {
        let mut all = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
        let mut lazy = 0;
        for source in &all {
            for line in
                source.lines().filter(|line| !line.starts_with(' ') && line.contains("static "))
            {
                let Some((name, kind)) =
                    line.split_once("static ").and_then(|(_, rest)| rest.split_once(':'))
                else {
                    continue;
                };
                if kind.contains("LazyLock<") || kind.contains("OnceLock<") {
                    lazy += 1;
                    assert!(
                        source.contains(&format!("LazyLock::force(&{name})")),
                        "warm_up leaves out {name}"
                    );
                }
            }
        }
        assert!(lazy > 3, "the search finds nothing");
    }

    #[test]
    fn nothing_shared_is_half_made_while_a_thread_forks() {
        static NUMBER: Shared<u64> = Shared::new(|| 42);
        let held = hold();
        let (begun, begins) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            let _ = begun.send(());
            *NUMBER
        });
        begins.recv().expect("the other thread");
        let until = std::time::Instant::now() + std::time::Duration::from_millis(50);
        while std::time::Instant::now() < until && !other.is_finished() {
            std::thread::yield_now();
        }
        assert!(NUMBER.made.get().is_none(), "it was made during a fork");
        drop(held);
        assert_eq!(other.join().expect("the other thread"), 42);
        let _held = hold();
        assert_eq!(*NUMBER, 42, "what is made needs nothing");
    }

    #[test]
    fn a_descriptor_is_told_for_as_long_as_it_is_open() {
        // Without forgetting those of other tests.
        let told = |number| {
            place(number).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
        };
        let file = tempfile::tempfile().expect("a file");
        // A number that no other test has.
        let number = file.as_raw_fd();
        assert!(!told(number));
        let ours = Uninherited::new(file);
        assert!(told(number));
        drop(ours);
        assert!(!told(number));
        assert!(place(-1).is_none() && place(RawFd::MAX).is_none());
    }
}
