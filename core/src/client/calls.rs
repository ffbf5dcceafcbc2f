//! What a client calls.

use super::call::{Call, Duplex, Many, One, Open, Single, Unary};
use super::handle::Client;
use crate::codec::Message;
use crate::streaming::Streaming;

impl Client {
    /// Calls a unary endpoint. The answer's type says how it is read; await the [`Call`], or set
    /// its terms first:
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use micro::{Client, Json};
    /// # async fn example(client: Client) -> micro::Result<()> {
    /// let reply: Json<String> = client
    ///     .call("greeter", "Greeter.Hello", Json("Ada".to_owned()))
    ///     .timeout(Duration::from_millis(200))
    ///     .metadata("tenant", "blue")
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the handler answered, or what kept the call from it: `UNAVAILABLE` for a service without a node
    /// (with the reason [`NoNodes`](crate::Reason::NoNodes)) and for one that cannot be reached,
    /// `DEADLINE_EXCEEDED` when the time is up.
    pub fn call<Req: Message, Res: Message>(
        &self,
        service: &str,
        endpoint: &str,
        request: Req,
    ) -> Unary<Req, Res> {
        Call::new(self.clone(), service, endpoint, One(request))
    }

    /// Sends one message and receives many.
    pub fn server_stream<Req: Message, Res: Message>(
        &self,
        service: &str,
        endpoint: &str,
        request: Req,
    ) -> Call<One<Req>, Streaming<Res>> {
        Call::new(self.clone(), service, endpoint, One(request))
    }

    /// Sends many messages and receives one.
    pub fn client_stream<S, Req, Res>(
        &self,
        service: &str,
        endpoint: &str,
        requests: S,
    ) -> Call<Many<S>, Single<Res>>
    where
        S: futures_util::Stream<Item = Req> + Send + 'static,
        Req: Message,
        Res: Message,
    {
        Call::new(self.clone(), service, endpoint, Many(requests))
    }

    /// Sends many messages and receives many, in any order.
    pub fn bidi_stream<S, Req, Res>(
        &self,
        service: &str,
        endpoint: &str,
        requests: S,
    ) -> Call<Many<S>, Streaming<Res>>
    where
        S: futures_util::Stream<Item = Req> + Send + 'static,
        Req: Message,
        Res: Message,
    {
        Call::new(self.clone(), service, endpoint, Many(requests))
    }

    /// Opens a stream whose two directions are handled apart: messages are sent through an
    /// [`Outgoing`] as they come up, and received from a [`Streaming`].
    pub fn open<Req: Message, Res: Message>(
        &self,
        service: &str,
        endpoint: &str,
    ) -> Call<Open<Req>, Duplex<Req, Res>> {
        Call::new(self.clone(), service, endpoint, Open::default())
    }
}
