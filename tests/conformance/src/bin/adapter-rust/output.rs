//! Answers of the adapter.

use std::io::Write as _;

use micro::{Error, Metadata};
use micro_conformance::Line;

/// Standard output, a line at a time.
#[derive(Clone, Copy)]
pub(crate) struct Output;

impl Output {
    /// Tells the runner.
    pub(crate) fn tell(self, line: &Line) {
        let mut out = std::io::stdout().lock();
        // A runner that is gone reads nothing more, and closes standard input too.
        let _ = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush());
    }

    /// Tells the reader who looks for the reason of a failure.
    pub(crate) fn note(self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// What a failure says.
pub(crate) fn failure(line: Line, error: &Error) -> Line {
    let mut line = line
        .with("code", error.code().grpc())
        .with("http", error.http_code())
        .with("detail", error.detail())
        .with("error_id", error.id());
    if let Some(reason) = error.reason() {
        line = line.with("reason", reason);
    }
    for detail in error.attached() {
        line = line.with_bytes(&format!("attached.{}", detail.type_url), &detail.value);
    }
    match error.origin() {
        Some(origin) => line.with("attempts", origin.attempts).with("node", &origin.node),
        None => line,
    }
}

/// Metadata as fields.
pub(crate) fn metadata(mut line: Line, prefix: &str, metadata: &Metadata) -> Line {
    for (name, value) in metadata.iter() {
        line = line.with(&format!("{prefix}{name}"), value);
    }
    line
}
