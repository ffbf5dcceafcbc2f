//! Requests about a stream, on their way to it.

use micro_conformance::Line;
use tokio::sync::mpsc;

/// Where requests about one stream go: those about sending and those about receiving do not wait for
/// each other.
pub(crate) struct Requests {
    sending: mpsc::UnboundedSender<Line>,
    receiving: mpsc::UnboundedSender<()>,
}

impl Requests {
    pub(crate) fn new(
        sending: mpsc::UnboundedSender<Line>,
        receiving: mpsc::UnboundedSender<()>,
    ) -> Self {
        Self { sending, receiving }
    }

    /// False when the stream does not want it.
    pub(crate) fn give(&self, request: Line) -> bool {
        match request.verb.as_str() {
            "recv" => self.receiving.send(()).is_ok(),
            _ => self.sending.send(request).is_ok(),
        }
    }
}
