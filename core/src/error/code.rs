//! gRPC's codes and go-micro's numbers for them.

use std::fmt;

/// The sixteen failure codes of gRPC, with their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Code {
    /// The caller gave up.
    Cancelled = 1,
    /// Something failed and no cause was given.
    Unknown = 2,
    /// The request is wrong, whatever the state of the service.
    InvalidArgument = 3,
    /// The deadline passed.
    DeadlineExceeded = 4,
    /// The thing asked for does not exist. A service without a node is [`Code::Unavailable`].
    NotFound = 5,
    /// The thing to create exists.
    AlreadyExists = 6,
    /// The account may not do this.
    PermissionDenied = 7,
    /// A limit was reached: quota, concurrency or size.
    ResourceExhausted = 8,
    /// The state of the service forbids the operation.
    FailedPrecondition = 9,
    /// A conflict with a concurrent operation; try the whole transaction again.
    Aborted = 10,
    /// Past the valid range.
    OutOfRange = 11,
    /// The endpoint does not exist or does not speak this content type.
    Unimplemented = 12,
    /// A bug or a broken invariant on the far side.
    Internal = 13,
    /// No node can serve this now; trying again may help.
    Unavailable = 14,
    /// Data was lost or damaged for good.
    DataLoss = 15,
    /// The caller is not known.
    Unauthenticated = 16,
}

impl Code {
    /// The code with gRPC's number `value`; `None` for 0 (`OK`) and for numbers gRPC does not know.
    pub fn from_grpc(value: i32) -> Option<Self> {
        Some(match value {
            1 => Self::Cancelled,
            2 => Self::Unknown,
            3 => Self::InvalidArgument,
            4 => Self::DeadlineExceeded,
            5 => Self::NotFound,
            6 => Self::AlreadyExists,
            7 => Self::PermissionDenied,
            8 => Self::ResourceExhausted,
            9 => Self::FailedPrecondition,
            10 => Self::Aborted,
            11 => Self::OutOfRange,
            12 => Self::Unimplemented,
            13 => Self::Internal,
            14 => Self::Unavailable,
            15 => Self::DataLoss,
            16 => Self::Unauthenticated,
            _ => return None,
        })
    }

    /// gRPC's number, 1–16.
    pub fn grpc(self) -> i32 {
        self as i32
    }

    /// gRPC's spelling, for example `DEADLINE_EXCEEDED`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }

    /// The code of go-micro's HTTP-like number, per `server/grpc/error.go:10-42`; numbers outside
    /// that table are [`Code::Unknown`], as they are there.
    pub fn from_http(status: i32) -> Self {
        match status {
            400 => Self::InvalidArgument,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::NotFound,
            408 => Self::DeadlineExceeded,
            409 => Self::AlreadyExists,
            412 => Self::FailedPrecondition,
            500 => Self::Internal,
            501 => Self::Unimplemented,
            503 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    /// go-micro's HTTP-like number for this code: the inverse of [`Code::from_http`] where that has
    /// one, the field's usual number otherwise.
    pub fn http(self) -> i32 {
        match self {
            Self::Cancelled => 499,
            Self::InvalidArgument | Self::OutOfRange => 400,
            Self::DeadlineExceeded => 408,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Aborted => 409,
            Self::PermissionDenied => 403,
            Self::Unauthenticated => 401,
            Self::ResourceExhausted => 429,
            Self::FailedPrecondition => 412,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
            Self::Unknown | Self::Internal | Self::DataLoss => 500,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_number_of_its_own() {
        for number in 1..=16 {
            let code = Code::from_grpc(number);
            assert_eq!(code.map(Code::grpc), Some(number));
        }
        assert_eq!(Code::from_grpc(0), None);
        assert_eq!(Code::from_grpc(17), None);
        for http in [400, 401, 403, 404, 408, 409, 412, 500, 501, 503] {
            assert_eq!(Code::from_http(http).http(), http);
        }
    }
}
