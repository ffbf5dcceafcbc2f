//! Calls of the servers, with the token of a user, and what their refusals mean.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use micro::broker;
use micro::client::{Call, CallOptions, Outgoing};
use micro::registry;
use micro::{Client, Code, Error, Forward, Proto, Reason, Result, Streaming};
use prost::Message;
use tokio::time::timeout;

use crate::options::Options;
use crate::proto::{AuthenticateRequest, AuthenticateResponse};

/// How long anything may take before the servers count as unreachable.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How often a connection is probed. Servers refuse more than one in 5 seconds.
const PROBE: Duration = Duration::from_secs(7);
/// Bytes of an answer, at most.
const MAX_ANSWER: usize = 64 << 20;
/// What the servers are called in the client's metrics.
const SERVICE: &str = "etcd";
const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";

/// The servers of a cluster.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) options: Options,
    client: Client,
    /// What the servers know this user by; empty where they know all.
    token: Mutex<Option<Arc<str>>>,
    asking: tokio::sync::Mutex<()>,
}

impl Link {
    pub(crate) fn new(options: Options) -> Result<Self> {
        let mut always = CallOptions::new().detached().forward(Forward::nothing());
        for address in &options.addresses {
            always = always.address(address);
        }
        let mut client = Client::builder()
            .environment(false)
            .registry(Arc::new(registry::Memory::new()))
            .broker(Arc::new(broker::Memory::new()))
            .namespace("")
            .dial_timeout(PATIENCE)
            .keepalive(PROBE)
            .keepalive_timeout(PATIENCE)
            .max_message_size(MAX_ANSWER)
            .options(always);
        if let Some(tls) = &options.tls {
            client = client.tls(tls.clone());
        }
        let client = client.build()?;
        Ok(Self { options, client, token: Mutex::default(), asking: tokio::sync::Mutex::default() })
    }

    /// Asks for what may be asked twice; `what` is asked, for an error.
    pub(crate) async fn look<Req, Res>(&self, what: &str, path: &str, request: Req) -> Result<Res>
    where
        Req: Message + Default + Clone + 'static,
        Res: Message + Default + 'static,
    {
        self.unary(what, path, request, true).await
    }

    /// Asks for what changes something.
    pub(crate) async fn ask<Req, Res>(&self, what: &str, path: &str, request: Req) -> Result<Res>
    where
        Req: Message + Default + Clone + 'static,
        Res: Message + Default + 'static,
    {
        self.unary(what, path, request, false).await
    }

    async fn unary<Req, Res>(
        &self,
        what: &str,
        path: &str,
        request: Req,
        is_idempotent: bool,
    ) -> Result<Res>
    where
        Req: Message + Default + Clone + 'static,
        Res: Message + Default + 'static,
    {
        let mut token = self.token().await?;
        for attempt in 0..2 {
            let call = self.client.call(SERVICE, path, Proto(request.clone()));
            let call = call.timeout(PATIENCE).idempotent(is_idempotent);
            match known_by(call, &token).await {
                Ok(Proto(answer)) => return Ok(answer),
                Err(error) if attempt == 0 && self.is_forgotten(&error) => {
                    token = self.new_token(&token).await?;
                }
                Err(error) => return Err(self.failed(what, &error)),
            }
        }
        Err(self.failed(what, &Error::unauthenticated("the servers forget this user at once")))
    }

    /// Begins a stream with one message. To drop its sending half is to say that there will be no more.
    pub(crate) async fn stream<Req, Res>(
        &self,
        what: &str,
        path: &str,
        request: Req,
    ) -> Result<(Outgoing<Proto<Req>>, Streaming<Proto<Res>>)>
    where
        Req: Message + Default + 'static,
        Res: Message + Default + 'static,
    {
        let token = self.token().await?;
        let call = self.client.open::<Proto<Req>, Proto<Res>>(SERVICE, path);
        // A server that has lost the others ends the stream, and does not stay silent.
        let call = known_by(call, &token).metadata("hasleader", "true");
        let (requests, answers) = call.await.map_err(|error| self.failed(what, &error))?;
        requests.send(Proto(request)).await.map_err(|error| self.failed(what, &error))?;
        Ok((requests, answers))
    }

    /// The first answer of a stream with one message.
    pub(crate) async fn first<Req, Res>(&self, what: &str, path: &str, request: Req) -> Result<Res>
    where
        Req: Message + Default + Clone + 'static,
        Res: Message + Default + 'static,
    {
        let answered = async {
            let (_requests, mut answers) = self.stream(what, path, request).await?;
            let answer = answers.message().await.map_err(|error| self.ended(what, &error))?;
            let nothing = || self.failed(what, &Error::unavailable("there was no answer"));
            answer.map(|Proto(answer)| answer).ok_or_else(nothing)
        };
        let answered = timeout(PATIENCE, answered).await;
        answered.map_err(|_| self.failed(what, &Error::deadline_exceeded("")))?
    }

    /// The token that is known, or a new one.
    async fn token(&self) -> Result<Arc<str>> {
        match self.known() {
            Some(token) => Ok(token),
            None => self.new_token("").await,
        }
    }

    fn known(&self) -> Option<Arc<str>> {
        match self.options.user {
            None => Some("".into()),
            Some(_) => self.token.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// A token other than `old`.
    async fn new_token(&self, old: &str) -> Result<Arc<str>> {
        let _one = self.asking.lock().await;
        if let Some(token) = self.known()
            && &*token != old
        {
            return Ok(token);
        }
        let Some(user) = &self.options.user else { return Ok("".into()) };
        let request =
            AuthenticateRequest { name: user.name.clone(), password: user.password.clone() };
        let call = self.client.call(SERVICE, AUTHENTICATE, Proto(request));
        let answer: Result<Proto<AuthenticateResponse>> =
            call.timeout(PATIENCE).idempotent(true).await;
        let token = match answer {
            Ok(Proto(answer)) => answer.token,
            // The servers let all in.
            Err(error) if error.detail().contains("authentication is not enabled") => String::new(),
            Err(error) => return Err(self.failed("to let this user in", &error)),
        };
        let token: Arc<str> = token.into();
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }

    /// The servers want another token.
    fn is_forgotten(&self, error: &Error) -> bool {
        let said = error.detail();
        self.options.user.is_some()
            && ["invalid auth token", "auth store is old", "user name is empty"]
                .iter()
                .any(|text| said.contains(text))
    }

    /// Why a stream ended. The next has a new token where that is why.
    pub(crate) fn ended(&self, what: &str, error: &Error) -> Error {
        if self.is_forgotten(error) {
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.failed(what, error)
    }

    /// Why something failed.
    pub(crate) fn failed(&self, what: &str, error: &Error) -> Error {
        let place = self.options.shown();
        let said = error.detail();
        let has = |text: &str| said.contains(text);
        if has("request is too large") || has("larger than max") {
            let text = format!(
                "{place} refuses {what}: {said}: etcd takes 1.5 MiB at a time unless its servers have another `--max-request-bytes`"
            );
            return Error::invalid_argument(text).with_reason(Reason::TooLarge);
        }
        if has("too many operations") {
            let text = format!(
                "{place} refuses {what}: {said}: etcd takes 128 changes at a time, and as many conditions, unless its servers have another `--max-txn-ops`"
            );
            return Error::invalid_argument(text).with_reason(Reason::TooLarge);
        }
        if has("invalid user ID or password") || has("user name is empty") || has("invalid auth") {
            return Error::unauthenticated(format!(
                "{place} refuses {what}: {said}: put user and password before the host of the URL"
            ));
        }
        match error.code() {
            Code::DeadlineExceeded => {
                Error::unavailable(format!("{place} cannot be reached: it did not answer in time"))
            }
            Code::Unavailable => Error::unavailable(format!("{place} cannot be reached: {said}")),
            Code::PermissionDenied => Error::permission_denied(format!(
                "{place} refuses {what}: {said}: give the user a role with rights on {}/",
                self.options.prefix
            )),
            Code::ResourceExhausted if has("space exceeded") => Error::resource_exhausted(format!(
                "{place} refuses {what}: {said}: compact and defragment it, then disarm its alarm, or raise `--quota-backend-bytes`"
            )),
            code => Error::new(code, format!("{place} refuses {what}: {said}")),
        }
    }
}

fn known_by<In, Out>(call: Call<In, Out>, token: &str) -> Call<In, Out> {
    match token {
        "" => call,
        token => call.metadata("token", token),
    }
}
