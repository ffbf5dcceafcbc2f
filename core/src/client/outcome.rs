//! What a failure says about the node that it came from.

use crate::error::{Code, Error, Reach, Reason};
use crate::selector::Outcome;

/// What a failure says about the node.
pub(super) fn outcome(error: &Error) -> Outcome {
    match error.code() {
        _ if error.reason() == Some(Reason::OtherService) => Outcome::Refused,
        // What could not be sent has not reached it.
        _ if error.forbids_retry() && !error.is_remote() => Outcome::Cancelled,
        _ if error.reach() == Reach::Never && !error.is_remote() => Outcome::Refused,
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded => Outcome::Failure,
        Code::Internal if !error.is_remote() => Outcome::Failure,
        // Said at once, it must not make the node the fastest. A node that does not know the endpoint is no better.
        Code::Internal | Code::Unknown | Code::DataLoss | Code::Unimplemented | Code::Cancelled => {
            Outcome::Fault
        }
        // The service has answered.
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => Outcome::Success,
    }
}
