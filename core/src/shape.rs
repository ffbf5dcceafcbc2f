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
    /// The name, as the registry and documents write it: `unary`, `client_stream`, `server_stream` or `bidi_stream`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ClientStream => "client_stream",
            Self::ServerStream => "server_stream",
            Self::BidiStream => "bidi_stream",
        }
    }

    /// The shape of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Unary, Self::ClientStream, Self::ServerStream, Self::BidiStream]
            .into_iter()
            .find(|shape| shape.name() == name)
    }

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
