//! What is needed of the files of one folder, as a trait: so that a test can have a disk that forgets, tears, fails and fills.
//!
//! Every call blocks, so none of them belongs on a thread of the runtime.

#[cfg(test)]
pub(crate) mod forgetful;
mod real;

use std::io;
use std::sync::Arc;

pub(crate) use self::real::Folder;

/// The files of a folder.
pub(crate) trait Disk: Send + Sync + 'static {
    /// Makes a file that is not there yet, empty. It is not sure to be there after a power cut before [`sync`](Self::sync).
    fn create(&self, name: &str) -> io::Result<Arc<dyn Blob>>;

    /// Opens a file that is there, to read and write.
    fn open(&self, name: &str) -> io::Result<Arc<dyn Blob>>;

    /// Names of all files, in no order.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Gives a file another name, in the place of what has that one. A power cut leaves the one or the other.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// What a message calls the file.
    fn describe(&self, name: &str) -> String;

    /// Returns once files that were made, renamed and removed stay so after a power cut.
    fn sync(&self) -> io::Result<()>;
}

/// The bytes of a file.
pub(crate) trait Blob: Send + Sync + 'static {
    /// How many there are.
    fn len(&self) -> io::Result<u64>;

    /// Fills `into` from `offset`; where the file ends before, the error is [`io::ErrorKind::UnexpectedEof`].
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, or fails with an unknown part of them written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file off at `len`, or fills it up to there with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns once what was written stays so after a power cut. After a failure nothing is known of what was written since
    /// the last success: neither this handle nor a second try can tell.
    fn sync(&self) -> io::Result<()>;
}
