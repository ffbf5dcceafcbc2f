//! go-micro's functions: a service that serves one call or message, and ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use super::builder::ServiceBuilder;
use crate::broker::{Incoming, MessageHandler};
use crate::error::{Error, Result};
use crate::server::{Handler, Request};

/// One call or message is served.
#[derive(Clone)]
struct Once {
    is_taken: Arc<AtomicBool>,
    served: CancellationToken,
}

/// Ends the function, however the handler ends.
struct Serving(CancellationToken);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Once {
    fn take(&self) -> Result<Serving> {
        match self.is_taken.swap(true, Ordering::AcqRel) {
            false => Ok(Serving(self.served.clone())),
            true => Err(Error::unavailable(
                "this function serves one call or message, and has got it: try another",
            )),
        }
    }
}

impl ServiceBuilder {
    /// Runs as a function: serves one call or one message, and ends once that is answered or settled, whatever became of it. A
    /// further one that comes meanwhile is refused. Health checks, reflection and `Debug` do not count.
    ///
    /// Before that it ends as [`ServiceBuilder::run`] does.
    ///
    /// ```no_run
    /// use micro::{Context, Json, Service};
    ///
    /// # async fn example() -> micro::Result<()> {
    /// Service::builder("resize")
    ///     .endpoint("Resize.Call", |_: Context, Json(width): Json<u32>| async move { Ok(Json(width / 2)) })
    ///     .run_once()
    ///     .await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`ServiceBuilder::run`]. That a handler fails or panics is none.
    pub async fn run_once(mut self) -> Result<()> {
        let served = self.shutdown.take().unwrap_or_default().child_token();
        self.once(served.clone()).shutdown_on(served).run().await
    }

    /// Serves one call or one message, as [`run_once`](Self::run_once) does, and cancels `served` once that is answered or settled:
    /// for a service that is [started](Self::start) and stopped by its program.
    pub fn once(mut self, served: CancellationToken) -> Self {
        let once = Once { is_taken: Arc::default(), served };
        let of_messages = once.clone();
        for subscriber in &mut self.subscribers {
            // What is with a function that ends is delivered later than it need be.
            subscriber.subscription.max_in_flight = 1;
        }
        self.layer_fn(move |request: Request, next: Handler| {
            let once = once.clone();
            async move {
                let _serving = once.take()?;
                next.run(request).await
            }
        })
        .message_layer_fn(move |incoming: Incoming, next: MessageHandler| {
            let once = of_messages.clone();
            async move {
                let _serving = once.take()?;
                next.run(incoming).await
            }
        })
    }
}
