//! What middleware sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};

use futures_util::{StreamExt as _, stream};
use micro::server::{Body, BoxFuture, Handler, Request, Response};
use micro::{Code, Context, Error, Messages, Raw, Result, Streaming, auth};
use tower_service::Service as _;

use super::support::{call, client, echo, memory, service};

#[tokio::test]
async fn middleware_that_asks_for_tokens_takes_the_scheme_in_any_case() -> Result<()> {
    let registry = memory();
    let asking = tower_layer::layer_fn(|inner: Handler| {
        tower::service_fn(move |request: Request| {
            let mut inner = inner.clone();
            async move {
                let token = auth::bearer(request.context.metadata())?;
                if token != Some("token") {
                    return Err(Error::unauthenticated("who is there?"));
                }
                inner.call(request).await
            }
        })
    });
    let running = service(&registry, "echo").layer(asking).handle(echo()).start().await?;
    let client = client(&registry);
    let with = |value: &str| {
        client.call::<_, Raw>("echo", "Echo.Call", Raw::default()).metadata("authorization", value)
    };
    for refused in ["Basic YTpi", "Bearer", "token", "Bearer another"] {
        let error = with(refused).await.expect_err(refused);
        assert_eq!((error.code(), error.http_code()), (Code::Unauthenticated, 401), "{refused}");
    }
    for taken in ["Bearer token", "bearer token", "BEARER  token"] {
        with(taken).await?;
    }
    running.stop().await
}

/// Middleware that counts calls and messages of either direction.
#[derive(Clone, Default)]
struct Count {
    calls: Arc<AtomicUsize>,
    replies: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Counted {
    inner: Handler,
    count: Count,
}

impl tower_layer::Layer<Handler> for Count {
    type Service = Counted;
    fn layer(&self, inner: Handler) -> Counted {
        Counted { inner, count: self.clone() }
    }
}

impl tower_service::Service<Request> for Counted {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<Result<Response>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.count.calls.fetch_add(1, Ordering::SeqCst);
        let replies = self.count.replies.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let body = answer.await?.body.into_messages().inspect(move |_| {
                replies.fetch_add(1, Ordering::SeqCst);
            });
            Ok(Response { body: Body::Stream(Messages::new(body)) })
        })
    }
}

#[tokio::test]
async fn middleware_sees_unary_calls_and_streams() -> Result<()> {
    let registry = memory();
    let count = Count::default();
    let running = service(&registry, "echo")
        .layer(count.clone())
        .handle(echo())
        .server_stream("Echo.Three", |_: Context, request: Raw| async move {
            Ok(stream::iter([Ok(request.clone()), Ok(request.clone()), Ok(request)]))
        })
        .start()
        .await?;
    let client = client(&registry);
    call(&client, "echo").await?;
    let three: Streaming<Raw> = client.server_stream("echo", "Echo.Three", Raw::from("x")).await?;
    assert_eq!(three.count().await, 3);
    assert_eq!(count.calls.load(Ordering::SeqCst), 2);
    assert_eq!(count.replies.load(Ordering::SeqCst), 4);
    running.stop().await
}
