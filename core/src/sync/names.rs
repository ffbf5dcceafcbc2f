//! What lines and those in them are called.

use std::sync::LazyLock;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Error, Result};
use crate::fork;

/// Bytes of a name, at most: so many that its line has room in a key.
const MAX_NAME: usize = 256;
/// Bytes of what a contender says of itself, at most.
const MAX_TEXT: usize = 1024;

/// Stays as it is in a line.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Differs between processes, but for children of a fork.
static PROCESS: LazyLock<u64> = LazyLock::new(|| fastrand::u64(..));

/// Makes what this file shares in a process, see [`crate::fork`].
pub(super) fn warm_up() {
    LazyLock::force(&PROCESS);
}

/// Differs between processes.
pub(super) fn process() -> u64 {
    PROCESS.wrapping_add(u64::from(fork::generation()))
}

/// The line for `name` among those of a kind.
///
/// # Errors
/// `INVALID_ARGUMENT` for a name that is empty or too long.
pub(super) fn line(kind: &str, name: &str) -> Result<String> {
    match name.len() {
        0 => Err(Error::invalid_argument(format!("a {kind} needs a name, and this one is empty"))),
        1..=MAX_NAME => Ok(format!("{kind}/{}", utf8_percent_encode(name, PLAIN))),
        bytes => Err(Error::invalid_argument(format!(
            "the name of a {kind} has {bytes} bytes, and at most {MAX_NAME} are allowed"
        ))),
    }
}

/// What one says of itself.
///
/// # Errors
/// `INVALID_ARGUMENT` for one that is too long.
pub(super) fn check_text(what: &str, text: &str) -> Result<()> {
    match text.len() {
        0..=MAX_TEXT => Ok(()),
        bytes => Err(Error::invalid_argument(format!(
            "{what} has {bytes} bytes, and at most {MAX_TEXT} are kept"
        ))),
    }
}

/// What a contender is called that does not say: the machine, and the number of the process.
pub(super) fn who() -> String {
    let read = |path| std::fs::read_to_string(path).ok();
    let machine = read("/proc/sys/kernel/hostname")
        .or_else(|| read("/etc/hostname"))
        .or_else(|| std::env::var("COMPUTERNAME").ok());
    let machine = machine.as_deref().map(str::trim).filter(|name| !name.is_empty());
    format!("{}/{}", machine.unwrap_or("localhost"), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_line_whatever_is_in_it() {
        assert_eq!(line("lock", "go.micro-1_x").unwrap(), "lock/go.micro-1_x");
        assert_eq!(line("lock", "a/b%").unwrap(), "lock/a%2Fb%25");
        assert!(line("lock", "").unwrap_err().detail().contains("a lock needs a name"));
        assert!(line("lock", &"a".repeat(257)).unwrap_err().detail().contains("257 bytes"));
        let longest = line("semaphore", &"/".repeat(256)).unwrap();
        assert!(longest.len() + 40 < crate::store::MAX_KEY);
    }
}
