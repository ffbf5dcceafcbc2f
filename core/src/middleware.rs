//! What stands around calls: layers, on servers and on clients.
//!
//! A layer takes a request and the rest of the way, [`Next`]. It may change the request, answer it without going on, go on
//! and change the answer, or end it with an error. It is a tower layer, or a plain function:
//!
//! ```
//! use micro::server::{Handler, Request};
//! use micro::{Error, Service};
//!
//! let service = Service::builder("greeter").layer_fn(|request: Request, next: Handler| async move {
//!     if request.context.metadata().get("tenant").is_none() {
//!         return Err(Error::unauthenticated("send the header `tenant`"));
//!     }
//!     next.run(request).await
//! });
//! ```
//!
//! | where | set with | sees |
//! |---|---|---|
//! | a server | [`ServerBuilder::layer`](crate::server::ServerBuilder::layer) | each call of a handler |
//! | chosen endpoints of a server | [`ServerBuilder::layer_for`](crate::server::ServerBuilder::layer_for), [`Endpoint::layer`](crate::server::Endpoint::layer) | each call of one of them |
//! | a client | [`ClientBuilder::layer`](crate::client::ClientBuilder::layer) | each call, around its retries |
//! | a client | [`ClientBuilder::attempt_layer`](crate::client::ClientBuilder::attempt_layer) | each attempt at a node |
//!
//! Of several layers in one place, the first that was added is the outermost: it sees a request first and its answer last.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use crate::error::{Error, Result};

/// A future that can be moved and named.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Puts the future that `make` returns into a box without building it elsewhere first. `Box::pin` copies the whole state,
/// kilobytes of which nothing is set yet.
#[inline(always)]
pub(crate) fn in_place<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let place = Box::new_uninit();
    Box::into_pin(Box::write(place, make()))
}

type Way<Req, Res> = dyn Fn(Req) -> BoxFuture<Result<Res>> + Send + Sync;

/// The rest of the way of a request: what a layer wraps. Cheap to clone, and may be taken more than once.
pub struct Next<Req, Res>(Arc<Way<Req, Res>>);

impl<Req, Res> Next<Req, Res> {
    pub(crate) fn new<F, R>(run: F) -> Self
    where
        F: Fn(Req) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Res>> + Send + 'static,
    {
        Self(Arc::new(move |request| in_place(|| run(request))))
    }

    /// A way whose futures are boxed already.
    pub(crate) fn boxed(
        run: impl Fn(Req) -> BoxFuture<Result<Res>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(run))
    }

    /// Goes on with `request`.
    ///
    /// # Errors
    /// What the layers further in say, and then what the call ends in.
    pub fn run(&self, request: Req) -> BoxFuture<Result<Res>> {
        (self.0)(request)
    }

    /// This way with `layer` around it.
    pub(crate) fn wrap<L>(self, layer: &L) -> Self
    where
        L: Layer<Self>,
        L::Service: Service<Req, Response = Res, Error = Error> + Clone + Send + Sync + 'static,
        <L::Service as Service<Req>>::Future: Send + 'static,
        Req: Send + 'static,
    {
        let service = layer.layer(self);
        Self::new(move |request| {
            let mut service = service.clone();
            async move {
                poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request).await
            }
        })
    }
}

impl<Req, Res> Clone for Next<Req, Res> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Req, Res> Service<Req> for Next<Req, Res> {
    type Response = Res;
    type Error = Error;
    type Future = BoxFuture<Result<Res>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        self.run(request)
    }
}

impl<Req, Res> fmt::Debug for Next<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Next")
    }
}

/// Layers that were added in one place, the outermost first.
pub(crate) struct Layers<Req, Res>(Vec<Wrap<Req, Res>>);

/// Puts one layer around a way.
type Wrap<Req, Res> = Arc<dyn Fn(Next<Req, Res>) -> Next<Req, Res> + Send + Sync>;

impl<Req: Send + 'static, Res: 'static> Layers<Req, Res> {
    /// Adds one inside those that are there.
    pub(crate) fn add<L>(&mut self, layer: L)
    where
        L: Layer<Next<Req, Res>> + Send + Sync + 'static,
        L::Service: Service<Req, Response = Res, Error = Error> + Clone + Send + Sync + 'static,
        <L::Service as Service<Req>>::Future: Send + 'static,
    {
        self.0.push(Arc::new(move |next| next.wrap(&layer)));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The way with all of them around it.
    pub(crate) fn around(&self, way: Next<Req, Res>) -> Next<Req, Res> {
        self.0.iter().rev().fold(way, |inner, wrap| wrap(inner))
    }
}

impl<Req, Res> Default for Layers<Req, Res> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<Req, Res> Clone for Layers<Req, Res> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Req, Res> fmt::Debug for Layers<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Layers").field(&self.0.len()).finish()
    }
}

/// A layer out of a function of a request and the [`Next`] to go on with. The methods whose names end in `_fn` do the same.
///
/// ```
/// use micro::middleware::from_fn;
/// use micro::server::{Endpoint, Handler, Request};
/// use micro::{Context, Raw};
///
/// let logged = from_fn(|request: Request, next: Handler| async move {
///     let endpoint = request.context.endpoint().to_owned();
///     let answer = next.run(request).await;
///     println!("{endpoint}: {}", if answer.is_ok() { "fine" } else { "failed" });
///     answer
/// });
/// let echo = Endpoint::unary("Echo.Call", |_: Context, request: Raw| async move { Ok(request) });
/// let endpoint = echo.layer(logged);
/// ```
pub fn from_fn<F>(function: F) -> FromFn<F> {
    FromFn(Arc::new(function))
}

/// The layer of a function, see [`from_fn`].
pub struct FromFn<F>(Arc<F>);

impl<F> Clone for FromFn<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromFn")
    }
}

impl<F, N> Layer<N> for FromFn<F> {
    type Service = Around<F, N>;

    fn layer(&self, next: N) -> Around<F, N> {
        Around { function: self.0.clone(), next }
    }
}

/// A function around the rest of the way, see [`from_fn`].
pub struct Around<F, N> {
    function: Arc<F>,
    next: N,
}

impl<F, N: Clone> Clone for Around<F, N> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), next: self.next.clone() }
    }
}

impl<F, N> fmt::Debug for Around<F, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Around")
    }
}

impl<F, N, Req, Res, R> Service<Req> for Around<F, N>
where
    F: Fn(Req, N) -> R,
    N: Clone,
    R: Future<Output = Result<Res>>,
{
    type Response = Res;
    type Error = Error;
    type Future = R;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> R {
        (self.function)(request, self.next.clone())
    }
}
