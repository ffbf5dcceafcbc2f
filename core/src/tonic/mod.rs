//! Under the stubs that tonic generates: its services are served here, its clients call through here. Feature `tonic`.
//!
//! [`ServiceBuilder::tonic`](crate::service::ServiceBuilder::tonic) mounts what `tonic-prost-build` makes of a service, beside
//! any other endpoints. A call of it is let in, bounded, counted and drained as every call is, and passes the service's layers.
//!
//! [`Client::channel`](crate::Client::channel) is what a generated client is made of, in place of tonic's own channel. It finds
//! the service in the registry, and each call goes to a node as other calls of the client do.
mod answer;
mod channel;
mod mount;
mod reply;
mod requests;
mod status;

pub use channel::Channel;
pub use reply::ReplyBody;
