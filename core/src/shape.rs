//! How many messages go each way in a call.

/// How many messages go each way in a call of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// One request, one reply.
    Unary,
    /// Many requests, one reply.
    ClientStream,
    /// One request, many replies.
    ServerStream,
    /// Many each way, in any order.
    BidiStream,
}

impl Shape {
    /// True when the caller may send any number of messages.
    pub fn client_streams(self) -> bool {
        matches!(self, Self::ClientStream | Self::BidiStream)
    }

    /// True when the handler may send any number of messages.
    pub fn server_streams(self) -> bool {
        matches!(self, Self::ServerStream | Self::BidiStream)
    }

    /// True when either side may send any number of messages.
    pub fn streams(self) -> bool {
        self != Self::Unary
    }
}
