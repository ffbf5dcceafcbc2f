//! How a host learns that there is something to drain.

use std::fmt;

/// Told when a queue is no longer empty. Called on any thread, with the queue locked: it must return at once and touch
/// neither the queue nor the runtime.
pub trait Wake: Send + 'static {
    /// There is something to drain.
    fn wake(&self);

    /// The queue was drained empty.
    fn clear(&self) {}
}

/// Calls a function, for hosts with a way of their own to wake their loop.
pub struct Callback<F>(pub F);

impl<F: Fn() + Send + 'static> Wake for Callback<F> {
    fn wake(&self) {
        (self.0)();
    }
}

impl<F> fmt::Debug for Callback<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

#[cfg(unix)]
pub(crate) use descriptor::Descriptor;

#[cfg(unix)]
mod descriptor {
    use std::io;
    use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};

    /// A file descriptor that is readable while the queue holds something: an eventfd on Linux, a pipe elsewhere.
    #[derive(Debug)]
    pub(crate) struct Descriptor {
        read: OwnedFd,
        #[cfg(not(target_os = "linux"))]
        write: OwnedFd,
    }

    impl Descriptor {
        #[cfg(target_os = "linux")]
        pub(crate) fn new() -> io::Result<Self> {
            use rustix::event::{EventfdFlags, eventfd};
            Ok(Self { read: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
        }

        #[cfg(not(target_os = "linux"))]
        pub(crate) fn new() -> io::Result<Self> {
            let (read, write) = rustix::pipe::pipe()?;
            for end in [&read, &write] {
                rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
                rustix::io::ioctl_fionbio(end, true)?;
            }
            Ok(Self { read, write })
        }

        pub(crate) fn raw(&self) -> RawFd {
            self.read.as_raw_fd()
        }
    }

    // Neither can fail in a way that matters: what does not fit is a wake-up that is there already.
    impl Descriptor {
        #[cfg(target_os = "linux")]
        pub(crate) fn write(&self) {
            let _ = rustix::io::write(self.read.as_fd(), &1u64.to_ne_bytes());
        }

        #[cfg(not(target_os = "linux"))]
        pub(crate) fn write(&self) {
            let _ = rustix::io::write(self.write.as_fd(), &[1]);
        }

        /// Makes it unreadable; returns how many writes that took away.
        #[cfg(target_os = "linux")]
        pub(crate) fn clear(&self) -> usize {
            let mut writes = [0u8; 8];
            let read = rustix::io::read(self.read.as_fd(), &mut writes);
            read.map_or(0, |_| usize::try_from(u64::from_ne_bytes(writes)).unwrap_or(usize::MAX))
        }

        /// Makes it unreadable; returns how many writes that took away.
        #[cfg(not(target_os = "linux"))]
        pub(crate) fn clear(&self) -> usize {
            let mut all = 0;
            while let Ok(read @ 1..) = rustix::io::read(self.read.as_fd(), &mut [0u8; 64]) {
                all += read;
            }
            all
        }
    }
}
