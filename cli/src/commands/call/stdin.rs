//! Requests from stdin: one for a call, one a line for a stream.

use std::io::{BufRead as _, Read as _};

use tokio::sync::mpsc;

use crate::failure::Failure;

/// Longest request that is read, in bytes.
const MAX_REQUEST: u64 = 64 << 20;
/// Lines that wait to be sent.
const WAITING: usize = 16;

/// All of stdin.
///
/// # Errors
/// For what cannot be read, is no UTF-8, or is too long.
pub(super) fn whole() -> Result<String, Failure> {
    let mut text = String::new();
    let mut stdin = std::io::stdin().lock().take(MAX_REQUEST + 1);
    stdin.read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    fits(&text).map(|()| text)
}

/// The lines of stdin that are not empty, as they come. A thread of its own reads them, which ends with the process.
pub(super) fn lines() -> mpsc::Receiver<Result<String, Failure>> {
    let (sender, lines) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut line = String::new();
            let read = match stdin.by_ref().take(MAX_REQUEST + 1).read_line(&mut line) {
                Ok(0) => return,
                Ok(_) => fits(&line).map(|()| line),
                Err(error) => Err(unreadable(&error)),
            };
            let ends = read.is_err();
            let blank = read.as_ref().is_ok_and(|line| line.trim().is_empty());
            if (!blank && sender.blocking_send(read).is_err()) || ends {
                return;
            }
        }
    });
    lines
}

fn fits(text: &str) -> Result<(), Failure> {
    if text.len() as u64 <= MAX_REQUEST {
        return Ok(());
    }
    Err(Failure::usage(format!("a request from stdin may have {MAX_REQUEST} bytes")))
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::usage(format!("cannot read the request: {error}"))
}
