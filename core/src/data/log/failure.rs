//! Failures in words.

use std::io;

use super::scan::Unreadable;
use super::segment;
use crate::data::disk::Disk;
use crate::error::{Code, Error};

/// A failure of the disk, in words.
pub(super) fn failure(disk: &dyn Disk, what: &str, name: &str, error: &io::Error) -> Error {
    let file = disk.describe(name);
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::ResourceExhausted,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Code::FailedPrecondition
        }
        _ => Code::Unavailable,
    };
    Error::new(code, format!("cannot {what} {file}: {error}"))
}

pub(super) fn unreadable(disk: &dyn Disk, base: u64, unreadable: Unreadable) -> Error {
    let name = segment::name(base);
    let file = disk.describe(&name);
    match unreadable {
        Unreadable::Io(error) => failure(disk, "read", &name, &error),
        Unreadable::Version(version) => Error::new(
            Code::FailedPrecondition,
            format!("{file} has format {version}, of a newer version: use that, or another folder"),
        ),
        Unreadable::Unborn => damaged(disk, &format!("{file} is empty")),
        Unreadable::Damaged(at) => {
            damaged(disk, &format!("{file} is damaged at byte {at}, where there is more behind it"))
        }
    }
}

fn damaged(disk: &dyn Disk, what: &str) -> Error {
    let folder = disk.describe("");
    let folder = folder.trim_end_matches('/');
    Error::new(
        Code::DataLoss,
        format!(
            "{what}: `micro data doctor {folder}` says what can be read, and `micro data repair {folder}` keeps that"
        ),
    )
}
