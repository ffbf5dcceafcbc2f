//! Connections to the server, made when they are first used and again after they broke.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use micro::{Error, Result};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, ScriptInvocation,
};
use tokio::time::timeout;

use crate::address::Address;

/// How long anything may take before the server counts as unreachable.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What is done first on every connection.
#[async_trait]
pub(crate) trait Greeting: std::fmt::Debug + Send + Sync {
    /// # Errors
    /// Why the connection is of no use.
    async fn greet(&self, link: &Link, connection: &mut MultiplexedConnection) -> Result<()>;
}

/// The connection that all of a broker or a store share, for what is answered at once.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) address: Address,
    greeting: Option<Box<dyn Greeting>>,
    known: Mutex<Option<Known>>,
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Known {
    connection: MultiplexedConnection,
    /// Its task lives on in the process that made it, and in no child of a fork.
    process: u32,
    number: u64,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Link {
    pub(crate) fn new(address: Address, greeting: Option<Box<dyn Greeting>>) -> Self {
        Self {
            address,
            greeting,
            known: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// A connection of one's own, for what is not answered at once.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the server cannot be reached, `UNAUTHENTICATED` when it does not know who this is.
    pub(crate) async fn own(&self) -> Result<MultiplexedConnection> {
        self.connect(None).await
    }

    async fn connect(&self, answers: Option<Duration>) -> Result<MultiplexedConnection> {
        let client = self.address.client()?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(answers);
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let connected = timeout(PATIENCE, connecting).await;
        let mut connection = connected
            .map_err(|_| self.unreachable("it took too long"))?
            .map_err(|error| self.failed("to connect", &error))?;
        if let Some(greeting) = &self.greeting {
            timeout(PATIENCE, greeting.greet(self, &mut connection))
                .await
                .map_err(|_| self.unreachable("it took too long"))??;
        }
        Ok(connection)
    }

    fn known(&self) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|known| known.process == std::process::id()).cloned()
    }

    async fn shared(&self) -> Result<Known> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let connecting = async {
            let _one = self.connecting.lock().await;
            if let Some(known) = self.known() {
                return Ok(known);
            }
            let connection = self.connect(Some(PATIENCE)).await?;
            let known =
                Known { connection, process: std::process::id(), number: fastrand::u64(..) };
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
            Ok(known)
        };
        timeout(PATIENCE, connecting).await.map_err(|_| self.unreachable("it took too long"))?
    }

    fn judge<T>(&self, known: &Known, what: &str, answer: redis::RedisResult<T>) -> Result<T> {
        answer.map_err(|error| {
            if error.is_unrecoverable_error() || error.is_io_error() || error.is_timeout() {
                let mut current = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                if current.as_ref().is_some_and(|current| current.number == known.number) {
                    *current = None;
                }
            }
            self.failed(what, &error)
        })
    }

    /// Asks the server; `what` is asked, for an error.
    pub(crate) async fn ask<T: FromRedisValue>(&self, what: &str, command: &Cmd) -> Result<T> {
        let mut known = self.shared().await?;
        let answer = command.query_async(&mut known.connection).await;
        self.judge(&known, what, answer)
    }

    /// Asks the server what may be asked twice: once more where the connection has broken since it was used last.
    pub(crate) async fn look<T: FromRedisValue>(&self, what: &str, command: &Cmd) -> Result<T> {
        self.twice(what, |mut connection| async move { command.query_async(&mut connection).await })
            .await
    }

    /// Has the server run a script that may run twice, as [`look`](Self::look) does.
    pub(crate) async fn look_by<T: FromRedisValue>(
        &self,
        what: &str,
        script: &ScriptInvocation<'_>,
    ) -> Result<T> {
        self.twice(what, |mut connection| async move { script.invoke_async(&mut connection).await })
            .await
    }

    async fn twice<T, F>(&self, what: &str, ask: impl Fn(MultiplexedConnection) -> F) -> Result<T>
    where
        F: Future<Output = redis::RedisResult<T>>,
    {
        let known = self.shared().await?;
        let answer = ask(known.connection.clone()).await;
        let is_broken = matches!(&answer, Err(error) if error.is_io_error() && !error.is_timeout());
        let answer = self.judge(&known, what, answer);
        if !is_broken {
            return answer;
        }
        let known = self.shared().await?;
        let answer = ask(known.connection.clone()).await;
        self.judge(&known, what, answer)
    }

    /// Asks the server several things.
    pub(crate) async fn ask_all<T: FromRedisValue>(
        &self,
        what: &str,
        commands: &Pipeline,
    ) -> Result<T> {
        let mut known = self.shared().await?;
        let answer = commands.query_async(&mut known.connection).await;
        self.judge(&known, what, answer)
    }

    /// Has the server run a script.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        what: &str,
        script: &ScriptInvocation<'_>,
    ) -> Result<T> {
        let mut known = self.shared().await?;
        let answer = script.invoke_async(&mut known.connection).await;
        self.judge(&known, what, answer)
    }

    pub(crate) fn unreachable(&self, why: &str) -> Error {
        Error::unavailable(format!("{} cannot be reached: {why}", self.address.shown()))
    }

    /// Why something failed.
    pub(crate) fn failed(&self, what: &str, error: &RedisError) -> Error {
        let place = self.address.shown();
        if error.is_io_error() || error.is_timeout() {
            return self.unreachable(&error.to_string());
        }
        let said = format!("{place} refuses {what}: {error}");
        if error.kind() == ErrorKind::AuthenticationFailed {
            return unauthenticated(said);
        }
        match error.code().unwrap_or_default() {
            "WRONGTYPE" => Error::failed_precondition(format!(
                "{said}: the key holds something else: choose another name, or a `prefix` in the URL"
            )),
            "OOM" => Error::resource_exhausted(format!("{said}: raise `maxmemory` of the server")),
            "NOAUTH" | "WRONGPASS" => unauthenticated(said),
            "NOPERM" => Error::permission_denied(said),
            "READONLY" => Error::failed_precondition(format!(
                "{said}: it is a replica: name the primary in the URL"
            )),
            "ERR" if said.contains("unknown command") => {
                Error::failed_precondition(format!("{said}: it takes Redis 7 or later"))
            }
            _ if said.contains("WRONGTYPE") => Error::failed_precondition(format!(
                "{said}: the key holds something else: choose another name, or a `prefix` in the URL"
            )),
            _ => Error::unavailable(said),
        }
    }
}

fn unauthenticated(said: String) -> Error {
    Error::unauthenticated(format!("{said}: put user and password before the host of the URL"))
}

/// Whether a group is asked for that is not there.
pub(crate) fn has_no_group(error: &RedisError) -> bool {
    error.code() == Some("NOGROUP")
}
