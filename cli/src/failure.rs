//! Why a command failed, and the exit code that says so.

use std::fmt;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use micro::{Code, Error};
use serde_json::{Value, json};

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    cause: Cause,
    message: String,
    /// What a call failed with, for those who read JSON, and its details.
    error: Option<Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The command line makes no sense.
    Usage,
    /// The fleet said no.
    Refused,
    /// The reader of the results has left, which is no failure at all.
    Unread,
    /// A command that was run has ended like this, and said why.
    Ended(u8),
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { cause: Cause::Usage, message: message.into(), error: None }
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self { cause: Cause::Refused, message: message.into(), error: None }
    }

    /// Ends as a command has ended that was run.
    pub(crate) fn ended(code: u8) -> Self {
        Self { cause: Cause::Ended(code), message: String::new(), error: None }
    }

    /// Adds what the user may have meant.
    pub(crate) fn suggest(&mut self, suggestion: &str) {
        self.message = format!("{suggestion}\n{}", self.message);
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.cause {
            Cause::Usage => ExitCode::from(2),
            Cause::Refused => ExitCode::from(1),
            Cause::Unread => ExitCode::SUCCESS,
            Cause::Ended(code) => ExitCode::from(code),
        }
    }

    /// For programs: what failed, as the server told it where it did.
    pub(crate) fn json(&self) -> Value {
        let mut told = json!({ "message": self.message });
        let Some(error) = &self.error else { return told };
        told["code"] = json!(error.code().to_string());
        told["http"] = json!(error.http_code());
        told["id"] = json!(error.id());
        told["detail"] = json!(error.detail());
        let details = error.attached().iter();
        told["details"] = details
            .map(|detail| json!({ "type": detail.name(), "value": STANDARD.encode(&detail.value) }))
            .collect();
        if let Some(origin) = error.origin() {
            told["service"] = json!(origin.service);
            told["endpoint"] = json!(origin.endpoint);
            told["node"] = json!(origin.node);
            told["attempts"] = json!(origin.attempts);
        }
        told
    }

    /// True when there is nothing to tell, or no reader.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.cause, Cause::Unread | Cause::Ended(_))
    }
}

/// The error, and a line for each detail that the server attached.
fn text(error: &Error) -> String {
    let mut text = error.to_string();
    for detail in error.attached() {
        text.push_str(&format!("\ndetail {}: {}", detail.name(), STANDARD.encode(&detail.value)));
    }
    text
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        // What is wrong before anything is sent was wrong on the command line.
        let ours = error.code() == Code::InvalidArgument && !error.is_remote();
        Self {
            cause: if ours { Cause::Usage } else { Cause::Refused },
            message: if ours { error.detail().to_owned() } else { text(&error) },
            error: Some(error),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let unread = error.kind() == std::io::ErrorKind::BrokenPipe;
        Self {
            cause: if unread { Cause::Unread } else { Cause::Refused },
            message: format!("cannot print the result: {error}"),
            error: None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
