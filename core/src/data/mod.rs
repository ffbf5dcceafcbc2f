//! State without a server: files of one folder, which one process of the machine owns and serves to the others.
//!
//! Programs use it through what stands on it, such as [`Durable`](crate::broker::Durable). Here is what looks after the folder
//! itself: [`examine`] reads every record of it, and [`repair`] makes one that is damaged open again.

mod checkup;
mod disk;
mod folder;
mod link;
pub(crate) mod log;
mod owner;
mod socket;
mod terms;

pub use self::checkup::{
    Condition, Damage, Examination, Examined, Repaired, Step, examine, repair,
};
#[cfg(test)]
pub(crate) use self::disk::Folder as Files;
#[cfg(test)]
pub(crate) use self::disk::forgetful::Forgetful;
pub(crate) use self::disk::{Blob, Disk};
pub use self::folder::Ownership;
pub(crate) use self::folder::{Folder, Owned};
#[cfg(test)]
pub(crate) use self::link::GREET;
pub(crate) use self::link::Link;
pub(crate) use self::owner::{Seat, Way, owner};
#[cfg(test)]
pub(crate) use self::socket::{OWNER, Socket};
pub(crate) use self::terms::Terms;

/// Where data is kept unless told otherwise: the folder that `MICRO_DATA` names, else `micro` in the user's state folder.
///
/// # Errors
/// `FAILED_PRECONDITION` where neither is known.
pub fn default_folder() -> crate::Result<std::path::PathBuf> {
    Folder::default_path()
}
