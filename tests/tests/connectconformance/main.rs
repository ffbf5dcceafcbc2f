//! The conformance suite of the Connect authors, against our server and our client.
//!
//! Its reference implementations are connect-go's, so that gRPC, gRPC-Web and Connect are each told by the code of others.

mod client;
mod server;
