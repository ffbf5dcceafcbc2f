//! Writes of many calls at once.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

pin_project! {
    /// A connection that goes to the end of the line each time it is woken. A task that has something to send wakes the
    /// connection, and tokio runs what was woken last first: each message would be written alone, with a call of the system
    /// for each. Behind the tasks that are ready to run already, it finds what they have to send, too.
    pub(crate) struct Batched<C> {
        #[pin]
        connection: C,
        behind: bool,
    }
}

impl<C> Batched<C> {
    pub(crate) fn new(connection: C) -> Self {
        Self { connection, behind: false }
    }

    pub(crate) fn connection(self: Pin<&mut Self>) -> Pin<&mut C> {
        self.project().connection
    }
}

impl<C: Future> Future for Batched<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = self.project();
        *this.behind = !*this.behind;
        if *this.behind {
            // A task that wakes itself is put behind all others.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.connection.poll(cx)
    }
}
