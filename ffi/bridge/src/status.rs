//! One number for how something ended: gRPC's codes, and what can go wrong on the border itself.

use micro::Code;

/// How an operation, or a function of the bridge, ended. 0 is success, 1 to 16 are gRPC's codes, from 1 000 on the
/// bridge's own. Numbers are only ever added; hosts take one they do not know for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Status(pub i32);

impl Status {
    /// Success.
    pub const OK: Self = Self(0);
    /// The id names nothing that is still there: the call, stream or watch is over.
    pub const STALE: Self = Self(1000);
    /// The object was made before this process was forked: make a new one in the child.
    pub const FORKED: Self = Self(1001);
    /// A bug in this library: something panicked. The operation is over.
    pub const PANIC: Self = Self(1002);
    /// The runtime, the queue or the sending side of the stream is closed.
    pub const CLOSED: Self = Self(1003);
    /// A limit is reached: wait for an event, then try again.
    pub const FULL: Self = Self(1004);
    /// The host was built for another version of this library.
    pub const ABI: Self = Self(1005);
    /// An argument is wrong; the message says which, and what is right.
    pub const ARG: Self = Self(1006);

    /// True for success.
    pub fn is_ok(self) -> bool {
        self == Self::OK
    }

    /// gRPC's code for this failure; `None` for success. What is the bridge's own is the code that says most of it.
    pub fn code(self) -> Option<Code> {
        match self {
            Self::OK => None,
            Self::STALE | Self::CLOSED => Some(Code::Cancelled),
            Self::FORKED => Some(Code::FailedPrecondition),
            Self::FULL => Some(Code::ResourceExhausted),
            Self::ABI | Self::ARG => Some(Code::InvalidArgument),
            Self::PANIC => Some(Code::Internal),
            Self(number) => Some(Code::from_grpc(number).unwrap_or(Code::Unknown)),
        }
    }

    /// Spelling for people, for example `DEADLINE_EXCEEDED` or `STALE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::OK => "OK",
            Self::STALE => "STALE",
            Self::FORKED => "FORKED",
            Self::PANIC => "PANIC",
            Self::CLOSED => "CLOSED",
            Self::FULL => "FULL",
            Self::ABI => "ABI",
            Self::ARG => "ARG",
            Self(number) => Code::from_grpc(number).map_or("UNKNOWN", Code::name),
        }
    }
}

impl From<Code> for Status {
    fn from(code: Code) -> Self {
        Self(code.grpc())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_grpc_code_keeps_its_number() {
        for number in 1..=16 {
            let status = Status(number);
            assert_eq!(status.code().map(Status::from), Some(status));
        }
        assert_eq!(Status::OK.code(), None);
    }

    #[test]
    fn unknown_numbers_are_failures() {
        for number in [-1, 17, 999, 1007, i32::MAX] {
            assert_eq!(Status(number).code(), Some(Code::Unknown));
            assert_eq!(Status(number).name(), "UNKNOWN");
        }
    }
}
