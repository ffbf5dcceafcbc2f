//! Layers of a client: around its calls, and around their attempts. See [`crate::middleware`].
//!
//! | a layer around | is set with | runs | takes and gives |
//! |---|---|---|---|
//! | calls | [`ClientBuilder::layer`](super::ClientBuilder::layer), [`Call::layer`](super::Call::layer) | once a call, around its retries | [`Request`], [`Response`] |
//! | attempts | [`ClientBuilder::attempt_layer`](super::ClientBuilder::attempt_layer), [`Call::attempt_layer`](super::Call::attempt_layer) | once an attempt, at the node that was picked | [`AttemptRequest`], [`AttemptResponse`] |
//!
//! Those of the client stand around those of the call. All of them run within the call's deadline, and when the caller
//! gives a call up, they are dropped where they wait. Health checks ([`Client::health`](crate::Client::health)) are calls too. So are calls
//! that stubs of tonic make.
//!
//! ```
//! # use std::sync::Arc;
//! # use micro::registry::Memory;
//! use micro::{Client, Error};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> micro::Result<()> {
//! # let registry = Arc::new(Memory::new());
//! let client = Client::builder()
//!     .registry(registry)
//!     .layer_fn(|mut request, next| async move {
//!         request.metadata_mut().insert("tenant", "blue")?;
//!         next.run(request).await
//!     })
//!     .attempt_layer_fn(|attempt, next| async move {
//!         let (node, number) = (attempt.node().id().to_owned(), attempt.number());
//!         let answer = next.run(attempt).await;
//!         println!("attempt {number} at {node}: {:?}", answer.as_ref().err().map(Error::code));
//!         answer
//!     })
//!     .build()?;
//! # assert_eq!(client.call::<_, micro::Raw>("no", "No.No", micro::Raw::default()).await.unwrap_err().code(), micro::Code::Unavailable);
//! # Ok(())
//! # }
//! ```

mod attempt;
mod call;

pub(super) use attempt::{Asked, AttemptLayers, Perform};
pub use attempt::{AttemptRequest, AttemptResponse, AttemptWay};
pub(super) use call::CallLayers;
pub use call::{CallWay, Request, Response};
