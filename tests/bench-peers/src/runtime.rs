//! The same tokio runtime for both sides.

use std::future::Future;
use std::io;

use tokio::runtime::Builder;

/// Worker threads of a program.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Workers {
    /// Worker threads of the runtime; as many as cores when absent, tokio's default.
    #[arg(long)]
    workers: Option<usize>,
}

impl Workers {
    /// Runs `work` on a worker thread rather than on the main thread: the main thread is no
    /// worker, and every I/O event would cross to it.
    pub fn run<T: Send + 'static>(
        self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<T> {
        let mut builder = Builder::new_multi_thread();
        builder.enable_all();
        if let Some(workers) = self.workers {
            builder.worker_threads(workers.max(1));
        }
        let runtime = builder.build()?;
        runtime.block_on(runtime.spawn(work)).map_err(io::Error::other)
    }
}
