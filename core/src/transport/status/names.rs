//! Headers that a status is in.

use http::header::HeaderName;

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(super) const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
/// A whole `google.rpc.Status`, for the details that go-micro must not see.
pub(super) const MICRO_DETAILS: HeaderName = HeaderName::from_static("micro-status-details-bin");

/// True for the names of the headers that [`write_status`](super::write_status) writes.
pub(crate) fn is_status(name: &HeaderName) -> bool {
    [GRPC_STATUS, GRPC_MESSAGE, GRPC_DETAILS, MICRO_DETAILS].contains(name)
}
