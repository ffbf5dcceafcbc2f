//! State without a server: files of one folder, which one process of the machine owns and serves to the others.

mod disk;
mod folder;
pub(crate) mod log;
mod socket;

#[cfg(test)]
pub(crate) use self::disk::forgetful::Forgetful;
pub(crate) use self::disk::{Disk, Folder as Files};
pub(crate) use self::folder::{Folder, Owned};
pub(crate) use self::socket::{OWNER, Socket};
