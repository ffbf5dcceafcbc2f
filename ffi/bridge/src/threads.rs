//! Threads that are waited for.

use std::thread::JoinHandle;

/// Threads; dropping it waits for them. What they do must be about to end.
#[derive(Debug, Default)]
pub(crate) struct Threads(pub(crate) Vec<JoinHandle<()>>);

impl Drop for Threads {
    fn drop(&mut self) {
        let own = std::thread::current().id();
        for thread in self.0.drain(..) {
            if thread.thread().id() != own {
                let _ = thread.join();
            }
        }
    }
}
