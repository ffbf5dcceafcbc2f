//! The data folder, and which process owns it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

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

/// Which process has, or had, the files of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Ownership {
    /// How many owners there have been, this one included.
    pub epoch: u64,
    /// Its process.
    pub process: u32,
    /// When it began, in milliseconds since 1970; 0 where an older version wrote it.
    pub since: u64,
    /// It has them now.
    pub is_alive: bool,
}

impl std::fmt::Display for Ownership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {}", self.process)?;
        if self.since > 0 {
            let seconds = (self.since / 1000).cast_signed();
            write!(f, " since {}", prost_types::Timestamp { seconds, nanos: 0 })?;
        }
        Ok(())
    }
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

    /// Which process owns it, or did last; none where there never was one.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn owner(path: &Path) -> Result<Option<Ownership>> {
        let path = path.join(LOCK);
        let failed = |error: &io::Error| {
            Error::new(Code::Unavailable, format!("cannot read {}: {error}", path.display()))
        };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| failed(&error))?,
        };
        let mut file = Uninherited::new(file);
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| failed(&error))?;
        let is_alive = match file.try_lock_shared() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |nth: usize| words.get(nth).and_then(|word| word.parse::<u64>().ok());
        let Some(epoch) = number(0) else { return Ok(None) };
        let process = number(2).unwrap_or_default() as u32;
        Ok(Some(Ownership { epoch, process, since: number(4).unwrap_or_default(), is_alive }))
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
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    writeln!(file, "{epoch:020} process {:>10} since {since:020}", std::process::id())?;
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
        let owner = Folder::owner(folder.path()).unwrap().unwrap();
        assert_eq!((owner.epoch, owner.process, owner.is_alive), (1, std::process::id(), true));
        assert!(owner.to_string().contains(" since 20"), "{owner}");
        drop(first);
        assert!(!Folder::owner(folder.path()).unwrap().unwrap().is_alive);
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
