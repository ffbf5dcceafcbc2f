//! Requests about a stream, on their way to it.

use micro_conformance::Line;
use tokio::sync::mpsc;

/// Where requests about one stream go: those about sending and those about receiving do not wait for
/// each other.
pub(crate) struct Requests {
    sending: mpsc::UnboundedSender<Line>,
    receiving: mpsc::UnboundedSender<Asked>,
}

/// What is asked of the receiving side.
pub(crate) enum Asked {
    Headers,
    Message,
}

/// The other ends.
pub(crate) struct Inbox {
    pub(crate) sending: mpsc::UnboundedReceiver<Line>,
    pub(crate) receiving: mpsc::UnboundedReceiver<Asked>,
}

impl Requests {
    /// Both ends.
    pub(crate) fn channel() -> (Self, Inbox) {
        let (sending, sends) = mpsc::unbounded_channel();
        let (receiving, receives) = mpsc::unbounded_channel();
        (Self { sending, receiving }, Inbox { sending: sends, receiving: receives })
    }

    /// False when the stream does not want it.
    pub(crate) fn give(&self, request: Line) -> bool {
        match request.verb.as_str() {
            "headers" => self.receiving.send(Asked::Headers).is_ok(),
            "recv" => self.receiving.send(Asked::Message).is_ok(),
            _ => self.sending.send(request).is_ok(),
        }
    }
}
