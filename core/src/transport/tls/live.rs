//! A configuration that follows the files it was made of.
//!
//! There is no task and no interval: a handshake costs a thousand times what a look at three files does, so each takes one,
//! and a renewed certificate is in force from the next connection on. What cannot be used is logged, and the configuration
//! before it stays.

use std::path::Path;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

use crate::error::Result;

pub(super) struct Live<T> {
    now: ArcSwap<T>,
    files: Option<Files<T>>,
}

struct Files<T> {
    paths: Vec<Arc<Path>>,
    read: Box<dyn Fn() -> Result<T> + Send + Sync>,
    /// What the files looked like when they were read last. Held while they are looked at: a task that finds it held goes by
    /// what is in force.
    seen: Mutex<Vec<Stamp>>,
}

/// What tells one content of a file from another, without reading it; `None` for a file that is not there.
type Stamp = Option<(std::time::SystemTime, u64, [u64; 4])>;

fn stamp(path: &Path) -> Stamp {
    let file = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let identity = {
        use std::os::unix::fs::MetadataExt as _;
        [file.dev(), file.ino(), file.ctime().cast_unsigned(), file.ctime_nsec().cast_unsigned()]
    };
    #[cfg(not(unix))]
    let identity = [0; 4];
    Some((file.modified().ok()?, file.len(), identity))
}

impl<T: Send + Sync + 'static> Live<T> {
    /// What never changes.
    pub(super) fn fixed(config: T) -> Self {
        Self { now: ArcSwap::from_pointee(config), files: None }
    }

    /// What `read` makes of the files at `paths`.
    ///
    /// # Errors
    /// What `read` says, the first time.
    pub(super) fn of_files(
        paths: Vec<Arc<Path>>,
        read: impl Fn() -> Result<T> + Send + Sync + 'static,
    ) -> Result<Self> {
        // Looked at before they are read: what changes meanwhile is read again.
        let seen = paths.iter().map(|path| stamp(path)).collect();
        let live = Self::fixed(read()?);
        if paths.is_empty() {
            return Ok(live);
        }
        let files = Files { paths, read: Box::new(read), seen: Mutex::new(seen) };
        Ok(Self { files: Some(files), ..live })
    }

    /// The configuration in force, after a look at the files.
    pub(super) async fn current(self: &Arc<Self>) -> Arc<T> {
        if self.files.is_some() {
            let live = self.clone();
            // The disk may be slow, or far away.
            let _ = tokio::task::spawn_blocking(move || live.look()).await;
        }
        self.now.load_full()
    }

    fn look(&self) {
        let Some(files) = &self.files else { return };
        let Ok(mut seen) = files.seen.try_lock() else { return };
        let stamps: Vec<_> = files.paths.iter().map(|path| stamp(path)).collect();
        if *seen == stamps {
            return;
        }
        *seen = stamps;
        let names =
            || files.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        match (files.read)() {
            Ok(config) => {
                self.now.store(Arc::new(config));
                tracing::info!(files = names().join(", "), "certificates were read again");
            }
            Err(error) => tracing::warn!(
                files = names().join(", "),
                %error,
                "changed certificates cannot be used: those before stay in force"
            ),
        }
    }
}
