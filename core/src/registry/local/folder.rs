//! The folder that holds the records, and its owner: a folder that others can write to would let
//! them send a user's calls wherever they like.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::error::{Error, Result};

/// A folder that belongs to this user alone.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Folders that must be the user's, outermost first.
    guarded: Vec<PathBuf>,
    user: u32,
    warned: AtomicBool,
}

impl Folder {
    pub(super) fn of_user() -> Result<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let runtime = runtime.filter(|path| path.is_absolute() && path.is_dir());
        let temporary = std::env::temp_dir();
        let user = owner_of_new_files([runtime.as_deref(), Some(&*temporary)])?;
        let base = match runtime {
            Some(path) => path.join("micro"),
            None => temporary.join(format!("micro-{user}")),
        };
        let path = base.join("registry");
        Self { guarded: vec![base, path.clone()], path, user, warned: AtomicBool::new(false) }
            .made()
    }

    pub(super) fn at(path: PathBuf) -> Result<Self> {
        if !path.is_absolute() {
            return Err(Error::invalid_argument(format!(
                "the folder of a local registry must be absolute, as in local:///run/fleet, not {:?}",
                path.display()
            )));
        }
        make_private(&path).map_err(|error| unfit(&path, error))?;
        // One that this process only reads tells nothing of it; any other folder does then.
        let user = owner_of_new_files([Some(&*path), Some(&*std::env::temp_dir())])?;
        Self { guarded: vec![path.clone()], path, user, warned: AtomicBool::new(false) }.made()
    }

    fn made(self) -> Result<Self> {
        self.ensure()?;
        Ok(self)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the folder if need be, and refuses one that others can write to.
    pub(super) fn ensure(&self) -> Result<()> {
        for path in &self.guarded {
            let made = make_private(path).and_then(|()| self.check(path));
            made.map_err(|error| unfit(path, error))?;
        }
        Ok(())
    }

    /// Says once that there are files here which are no records.
    pub(super) fn warn(&self, file: &Path, why: &dyn std::fmt::Display) {
        if !self.warned.swap(true, Relaxed) {
            let file = file.display();
            tracing::warn!(%file, "not a record of a node: {why}; others are skipped silently");
        }
    }

    #[cfg(unix)]
    fn check(&self, path: &Path) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;

        let metadata = fs::symlink_metadata(path)?;
        if !metadata.is_dir() {
            return Err(io::Error::other("it is not a folder"));
        }
        if metadata.uid() != self.user {
            return Err(io::Error::other("it belongs to another user"));
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(io::Error::other("others may write to it: chmod 700 it"));
        }
        Ok(())
    }

    #[cfg(not(unix))]
    fn check(&self, _path: &Path) -> io::Result<()> {
        Err(io::Error::other("this system does not tell the owner"))
    }

    /// True when the file was made by this user.
    #[cfg(unix)]
    pub(super) fn owns(&self, metadata: &fs::Metadata) -> bool {
        use std::os::unix::fs::MetadataExt;

        metadata.uid() == self.user
    }

    #[cfg(not(unix))]
    pub(super) fn owns(&self, _metadata: &fs::Metadata) -> bool {
        self.user == 0
    }
}

fn unfit(path: &Path, error: io::Error) -> Error {
    Error::failed_precondition(format!(
        "folder {} cannot hold a registry: {error}; name another with local:///path",
        path.display()
    ))
    .with_source(error)
}

#[cfg(unix)]
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make_private(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// The user this process acts as: the one its files belong to, in the first folder that takes one.
#[cfg(unix)]
fn owner_of_new_files<const N: usize>(folders: [Option<&Path>; N]) -> Result<u32> {
    use std::os::unix::fs::MetadataExt;

    let mut failed = Error::failed_precondition("no folder to keep a registry in");
    for folder in folders.into_iter().flatten() {
        // Named as a draft, so that it goes should this process not come to remove it.
        let path = folder.join(format!(".owner-{}.tmp", uuid::Uuid::new_v4().simple()));
        let made = fs::File::create_new(&path);
        let owner = made.and_then(|file| file.metadata()).map(|metadata| metadata.uid());
        let _ = fs::remove_file(&path);
        match owner {
            Ok(owner) => return Ok(owner),
            Err(error) => {
                let reason = format!("cannot write to {}: {error}", folder.display());
                failed = Error::failed_precondition(reason).with_source(error);
            }
        }
    }
    Err(failed)
}

#[cfg(not(unix))]
fn owner_of_new_files<const N: usize>(_folders: [Option<&Path>; N]) -> Result<u32> {
    Ok(0)
}
