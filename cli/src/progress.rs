//! How far long work has come, on stderr.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often a terminal is told, and how often a file.
const OFTEN: Duration = Duration::from_millis(200);
const SELDOM: Duration = Duration::from_secs(5);

/// Tells how far work has come, now and then; nothing of work that is done at once.
pub(crate) struct Progress {
    what: &'static str,
    is_terminal: bool,
    told: Instant,
    is_shown: bool,
}

impl Progress {
    /// Of work that is called `what`, such as `reading`.
    pub(crate) fn new(what: &'static str) -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self { what, is_terminal, told: Instant::now(), is_shown: false }
    }

    /// So much of so much is done.
    pub(crate) fn tell(&mut self, done: u64, total: u64) {
        let often = if self.is_terminal { OFTEN } else { SELDOM };
        if self.told.elapsed() < often {
            return;
        }
        self.told = Instant::now();
        let percent = done.min(total) * 100 / total.max(1);
        let mut stderr = io::stderr();
        let _ = match self.is_terminal {
            true => write!(stderr, "\r{}: {percent} %", self.what),
            false => writeln!(stderr, "{}: {percent} %", self.what),
        };
        self.is_shown = true;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal && self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
