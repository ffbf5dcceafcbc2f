//! Work that is part of a call that came in, and ends with it.

use std::pin::Pin;
use std::task::{self, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use micro::{Context, Error};
use pin_project_lite::pin_project;

pin_project! {
    /// Work that ends early when the call it is part of is over.
    pub(crate) struct Within<W> {
        #[pin]
        work: W,
        over: Option<BoxFuture<'static, ()>>,
    }
}

pub(crate) fn within<W>(parent: Option<Context>, work: W) -> Within<W> {
    let over = parent.map(|parent| async move { parent.cancelled().await }.boxed());
    Within { work, over }
}

impl<T, W: Future<Output = micro::Result<T>>> Future for Within<W> {
    type Output = micro::Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<micro::Result<T>> {
        let this = self.project();
        if let Poll::Ready(done) = this.work.poll(cx) {
            return Poll::Ready(done);
        }
        match this.over.as_mut().map(|over| over.poll_unpin(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Err(parent_is_over())),
            _ => Poll::Pending,
        }
    }
}

pub(crate) fn parent_is_over() -> Error {
    Error::cancelled("the call that this one is part of is over").with_id("go.micro.client")
}
