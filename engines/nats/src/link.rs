//! The connection to the servers, made when it is first used and again whenever it breaks.

use std::sync::{Arc, Mutex, PoisonError};

use async_nats::connection::State;
use async_nats::{Client, Event, RequestErrorKind};
use micro::{Error, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::options::{Options, PATIENCE};

/// The connection of one broker.
#[derive(Debug)]
pub(crate) struct Link {
    scheme: &'static str,
    pub(crate) options: Options,
    connected: Mutex<Option<Connected>>,
    connecting: tokio::sync::Mutex<()>,
}

/// A connection, which mends itself.
#[derive(Debug, Clone)]
pub(crate) struct Connected {
    pub(crate) client: Client,
    /// How often it was made.
    pub(crate) times: watch::Receiver<u64>,
    /// Its tasks live on in the process that made it, and in no child of a fork.
    process: u32,
}

impl Link {
    pub(crate) fn new(scheme: &'static str, options: Options) -> Self {
        Self {
            scheme,
            options,
            connected: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// The connection, once it is one.
    ///
    /// # Errors
    /// `UNAVAILABLE` when no server can be reached in time, `UNAUTHENTICATED` when they do not know who this is.
    pub(crate) async fn get(&self) -> Result<Connected> {
        let deadline = Instant::now() + PATIENCE;
        let connected = match self.known() {
            Some(connected) => connected,
            None => timeout_at(deadline, self.connect())
                .await
                .map_err(|_| self.unreachable("it took too long"))??,
        };
        let mut connected = connected;
        loop {
            connected.times.mark_unchanged();
            if connected.client.connection_state() == State::Connected {
                return Ok(connected);
            }
            tokio::select! {
                changed = connected.times.changed() => {
                    if changed.is_err() {
                        self.forget(&connected);
                        return Err(self.unreachable("the connection was closed"));
                    }
                }
                () = sleep_until(deadline) => return Err(self.unreachable("the connection broke")),
            }
        }
    }

    fn known(&self) -> Option<Connected> {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        connected.as_ref().filter(|connected| connected.process == std::process::id()).cloned()
    }

    async fn connect(&self) -> Result<Connected> {
        let _one = self.connecting.lock().await;
        if let Some(connected) = self.known() {
            return Ok(connected);
        }
        let (told, times) = watch::channel(0);
        let told = Arc::new(told);
        let place = self.options.place();
        let options = self.options.connecting().event_callback(move |event| {
            let (told, place) = (told.clone(), place.clone());
            async move { tell(&event, &told, &place) }
        });
        let servers = self.options.servers.join(",nats://");
        let servers: Vec<async_nats::ServerAddr> = format!("nats://{servers}")
            .split(',')
            .filter_map(|server| server.parse().ok())
            .collect();
        let client = options.connect(servers).await.map_err(|error| {
            use async_nats::ConnectErrorKind::{Authentication, AuthorizationViolation};
            match error.kind() {
                Authentication | AuthorizationViolation => Error::unauthenticated(format!(
                    "{}://{} refuses this user: {error}: put user and password, or a token, before the host of the URL",
                    self.scheme,
                    self.options.place()
                )),
                _ => self.unreachable(&error.to_string()),
            }
        })?;
        let mut connected = Connected { client, times, process: std::process::id() };
        // What is told of this connection is not told of a later one.
        let told = timeout(PATIENCE, connected.times.wait_for(|times| *times > 0)).await;
        told.is_ok_and(|told| told.is_ok())
            .then_some(())
            .ok_or_else(|| self.unreachable("the connection was closed"))?;
        *self.connected.lock().unwrap_or_else(PoisonError::into_inner) = Some(connected.clone());
        Ok(connected)
    }

    /// Has the next one connect anew.
    pub(crate) fn forget(&self, broken: &Connected) {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if connected.as_ref().is_some_and(|known| known.times.same_channel(&broken.times)) {
            *connected = None;
        }
    }

    pub(crate) fn unreachable(&self, why: &str) -> Error {
        Error::unavailable(format!(
            "{}://{} cannot be reached: {why}",
            self.scheme,
            self.options.place()
        ))
    }

    /// What is larger than the server takes.
    pub(crate) fn check_size(&self, client: &Client, topic: &str, bytes: usize) -> Result<()> {
        let most = client.max_payload();
        match bytes <= most {
            true => Ok(()),
            false => Err(Error::invalid_argument(format!(
                "a message to {topic} has {bytes} bytes as it is sent, and {}://{} takes {most} at most: publish where the \
                 rest is, or raise `max_payload` of the server",
                self.scheme,
                self.options.place()
            ))),
        }
    }

    /// Why a request had no answer.
    pub(crate) fn unanswered(
        &self,
        connected: &Connected,
        error: &async_nats::RequestError,
    ) -> Error {
        match error.kind() {
            RequestErrorKind::TimedOut => self.unreachable("it did not answer in time"),
            RequestErrorKind::NoResponders => Error::failed_precondition(format!(
                "nothing at {}://{} answers: does the server run with JetStream (`nats-server -js`), and is the stream there?",
                self.scheme,
                self.options.place()
            )),
            RequestErrorKind::MaxPayloadExceeded | RequestErrorKind::InvalidSubject => {
                Error::invalid_argument(error.to_string())
            }
            _ => {
                self.forget(connected);
                self.unreachable(&error.to_string())
            }
        }
    }
}

fn tell(event: &Event, told: &watch::Sender<u64>, server: &str) {
    match event {
        Event::Connected => {
            told.send_modify(|times| *times += 1);
            if *told.borrow() > 1 {
                tracing::info!(server, "connected again");
            }
        }
        Event::Disconnected => tracing::warn!(server, "the connection broke: it is made again"),
        Event::SlowConsumer(_) => tracing::warn!(
            server,
            "a subscriber is too slow, and messages were lost: raise `max_in_flight`, add members to its queue, or use a \
             broker that keeps messages, such as jetstream://"
        ),
        Event::ServerError(error) => tracing::warn!(server, %error, "the server refuses something"),
        other => tracing::debug!(server, event = %other, "the connection changed"),
    }
}
