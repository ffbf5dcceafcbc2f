//! The data folder, and which process owns it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Code, Error, Result};
use crate::fork::Uninherited;

/// File that its owner has locked, with the owner's epoch and process.
const LOCK: &str = "owner";

/// Where processes of this machine share state.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// The ownership of a folder, until it is dropped.
#[derive(Debug)]
pub(crate) struct Owned {
    _lock: Uninherited<File>,
    /// One more than that of the owner before.
    pub(crate) epoch: u64,
}

impl Folder {
    /// The folder at `path`, made for this user alone unless it is there.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` where other users could write to it, those of the file system.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |what: &str, error: &io::Error| {
            Error::new(
                Code::FailedPrecondition,
                format!("cannot {what} {}: {error}", path.display()),
            )
        };
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(|error| failed("make the data folder", &error))?;
        let path = path.canonicalize().map_err(|error| failed("open the data folder", &error))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let metadata =
                fs::metadata(&path).map_err(|error| failed("open the data folder", &error))?;
            let mode = metadata.permissions().mode();
            if mode & 0o022 != 0 {
                return Err(Error::new(
                    Code::FailedPrecondition,
                    format!(
                        "other users can write to the data folder {0}: run `chmod 700 {0}`, or name another by MICRO_DATA",
                        path.display()
                    ),
                ));
            }
        }
        Ok(Self { path })
    }

    /// Where data is kept unless told otherwise: `MICRO_DATA`, else the user's state folder.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` where neither is known.
    pub(crate) fn default_path() -> Result<PathBuf> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        if let Some(path) = variable("MICRO_DATA") {
            return Ok(path.into());
        }
        let state = variable("XDG_STATE_HOME").map(PathBuf::from);
        let home = || variable("HOME").map(|home| Path::new(&home).join(".local/state"));
        state.or_else(home).map(|state| state.join("micro")).ok_or_else(|| {
            Error::new(
                Code::FailedPrecondition,
                "there is no data folder: set MICRO_DATA to one, as neither XDG_STATE_HOME nor HOME is set",
            )
        })
    }

    /// Its path, without links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes this process the owner, unless another one is.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn try_own(&self) -> Result<Option<Owned>> {
        let path = self.path.join(LOCK);
        let failed = |error: &io::Error| {
            Error::new(Code::Unavailable, format!("cannot lock {}: {error}", path.display()))
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|error| failed(&error))?;
        let mut file = Uninherited::new(file);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        let epoch = next_epoch(&mut file).map_err(|error| failed(&error))?;
        Ok(Some(Owned { _lock: file, epoch }))
    }
}

/// Counts owners; on the disk before this one serves.
fn next_epoch(file: &mut File) -> io::Result<u64> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let epoch = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
    let epoch = epoch.unwrap_or(0) + 1;
    file.rewind()?;
    // Of one length, so that no part of an older text stays behind it.
    writeln!(file, "{epoch:020} process {:>10}", std::process::id())?;
    file.sync_all()?;
    Ok(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_and_each_has_an_epoch_of_its_own() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(&parent.path().join("a/b")).unwrap();
        let first = folder.try_own().unwrap().expect("nothing else owns it");
        assert!(folder.try_own().unwrap().is_none());
        assert_eq!(first.epoch, 1);
        drop(first);
        let second = folder.try_own().unwrap().expect("its owner has gone");
        assert_eq!(second.epoch, 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = Folder::open(parent.path()).unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition);
        assert!(error.detail().contains("chmod 700"), "{error}");
        let made = Folder::open(&parent.path().join("inside")).unwrap();
        let mode = fs::metadata(made.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
