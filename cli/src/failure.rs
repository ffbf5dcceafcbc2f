//! Why a command failed, and the exit code that says so.

use std::fmt;
use std::process::ExitCode;

use micro::{Code, Error};

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The command line makes no sense.
    Usage,
    /// The fleet said no.
    Refused,
    /// The reader of the results has left, which is no failure at all.
    Unread,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, message: message.into() }
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self { kind: Kind::Refused, message: message.into() }
    }

    /// Adds what the user may have meant.
    pub(crate) fn suggest(&mut self, suggestion: &str) {
        self.message = format!("{suggestion}\n{}", self.message);
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.kind {
            Kind::Usage => ExitCode::from(2),
            Kind::Refused => ExitCode::from(1),
            Kind::Unread => ExitCode::SUCCESS,
        }
    }

    /// True when there is nothing to tell, or no reader.
    pub(crate) fn is_silent(&self) -> bool {
        self.kind == Kind::Unread
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        // What is wrong before anything is sent was wrong on the command line.
        let ours = error.code() == Code::InvalidArgument && !error.is_remote();
        Self {
            kind: if ours { Kind::Usage } else { Kind::Refused },
            message: if ours { error.detail().to_owned() } else { error.to_string() },
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let unread = error.kind() == std::io::ErrorKind::BrokenPipe;
        Self {
            kind: if unread { Kind::Unread } else { Kind::Refused },
            message: format!("cannot print the result: {error}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
