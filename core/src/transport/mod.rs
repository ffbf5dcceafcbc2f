//! Connections, TLS, HTTP/2 and gRPC framing. Nothing above this room knows sockets.

mod accept;
mod batched;
mod begun;
mod broken;
mod caller;
mod compression;
mod connection;
mod deadline;
mod dial;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod greeting;
mod head;
mod held;
pub mod network;
mod prefix;
mod relax;
mod state;
mod status;
mod target;
mod tls;

pub(crate) use accept::Accepted;
pub(crate) use batched::Batched;
pub(crate) use broken::broken;
pub(crate) use caller::{FROM_SERVICE, TRACE, X_CONTENT_TYPE, caller_is_micro};
pub use compression::Compression;
pub(crate) use compression::Compressor;
#[cfg(feature = "tonic")]
pub(crate) use compression::{GRPC_ACCEPT_ENCODING, GRPC_ENCODING};
pub(crate) use connection::{Answering, Connection, Opened};
pub(crate) use deadline::{once, read_timeout, remove_timeout, write_grpc_timeout, write_timeout};
pub(crate) use dial::Dial;
pub(crate) use frame::{FrameError, Frames};
pub(crate) use greeting::size as size_of_headers;
pub(crate) use head::Turn;
pub use held::Hold;
pub(crate) use held::{COUNTED, Reservoir, Room, Share};
pub(crate) use network::in_child;
pub(crate) use prefix::{begin_frame, end_frame, frame, frame_into, unframe};
pub(crate) use relax::{Said, restore_names};
#[cfg(feature = "tonic")]
pub(crate) use status::foreign_details;
pub(crate) use status::{GRPC_STATUS, details, is_status, read_status, write_status};
pub(crate) use target::{OTHER_SERVICE, REFUSED, TARGET, TARGET_AT, is_for_another, is_of_hop};
pub use tls::{ClientTls, Pem, ServerTls, TlsPolicy};

/// Makes what this room shares in a process, see [`crate::fork`].
pub(crate) fn warm_up() {
    relax::warm_up();
    network::warm_up();
}

/// Largest message either side takes unless told otherwise: go-micro's 4 MiB.
pub const DEFAULT_MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Bytes of messages that a server or a client holds at once unless told otherwise.
pub(crate) const DEFAULT_MAX_BUFFERED: usize = 256 * 1024 * 1024;
