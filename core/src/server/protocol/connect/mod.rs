//! The Connect protocol: what `curl` and a browser's `fetch` speak without a library.
//!
//! A unary call is a POST of one message and an answer with an HTTP status; an endpoint that changes
//! nothing answers a GET too. Streams are framed as gRPC's are, and end with a message in JSON.

mod error;
mod head;
mod query;
mod stream;
mod unary;

pub(super) use head::codec;
pub(super) use query::{is_query, query};
pub(super) use stream::stream;
pub(super) use unary::unary;
