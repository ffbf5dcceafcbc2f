//! Connections to the server, made when they are first used and again after they broke.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use micro::{Code, Error, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Row, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::options::{Options, PATIENCE, Tls};
use crate::said::{is_over, said, unreachable, untouched};
use crate::sql::{Dialect, Sql};

/// A value of a statement.
pub(crate) type Value<'a> = &'a (dyn ToSql + Sync);
/// What the server or its client says.
pub(crate) type Said<T> = std::result::Result<T, tokio_postgres::Error>;
/// Notifications that are received and not taken yet.
const RECEIVED: usize = 1024;

/// The connections of a store.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) options: Options,
    known: Mutex<Option<Known>>,
}

#[derive(Clone)]
struct Known {
    pool: Pool,
    /// Its tasks live on in the process that made them, and in no child of a fork.
    process: u32,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("process", &self.process).finish_non_exhaustive()
    }
}

/// A connection of the pool, for one thing at a time.
pub(crate) struct Taken {
    client: Object,
    is_pooled: bool,
}

impl Link {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, known: Mutex::default() }
    }

    fn pool(&self) -> Result<Pool> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        if let Some(known) = known.as_ref().filter(|known| known.process == process) {
            return Ok(known.pool.clone());
        }
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let secret = self.options.secret.clone();
        let manager = match &self.options.tls {
            None => Manager::from_config(secret, NoTls, config),
            Some(tls) => Manager::from_config(secret, self.tls(tls)?, config),
        };
        let pool = Pool::builder(manager)
            .max_size(self.options.connections)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(Error::unexpected)?;
        *known = Some(Known { pool: pool.clone(), process });
        Ok(pool)
    }

    /// A connection, once one is free.
    ///
    /// # Errors
    /// As [`said`]; the server was asked to do nothing.
    pub(crate) async fn take(&self) -> Result<Taken> {
        let pool = self.pool()?;
        let taken = timeout(PATIENCE, pool.get()).await;
        let taken = match taken {
            Err(_) if pool.status().size >= self.options.connections => {
                let text = format!(
                    "all {} connections to {} were busy for {PATIENCE:?}: raise `connections=` in the URL",
                    self.options.connections,
                    self.options.place()
                );
                Err(Error::new(Code::ResourceExhausted, text))
            }
            Err(_) => Err(unreachable(&self.options, "it took too long")),
            Ok(Err(PoolError::Backend(error))) => Err(said(&self.options, "a connection", error)),
            Ok(Err(error)) => Err(unreachable(&self.options, &error.to_string())),
            Ok(Ok(client)) => Ok(Taken { client, is_pooled: self.options.is_pooled }),
        };
        taken.map_err(untouched)
    }

    /// Asks for rows, in a transaction of its own that changes nothing. One that a broken connection cut off is asked anew once.
    pub(crate) async fn ask(
        &self,
        what: &str,
        sql: &Sql,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>> {
        let mut is_first = true;
        loop {
            let taken = self.take().await?;
            let asked = timeout(PATIENCE, taken.query(sql, values)).await;
            match asked {
                Err(_) => {
                    taken.give_up();
                    return Err(unreachable(&self.options, "it did not answer in time"));
                }
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) => {
                    let is_over = is_over(&error);
                    if is_over {
                        taken.give_up();
                    }
                    if !is_over || !is_first {
                        return Err(said(&self.options, what, error));
                    }
                    is_first = false;
                }
            }
        }
    }

    /// A connection that is told of what is sent to a channel.
    pub(crate) async fn listen(&self, channel: &str) -> Result<Listener> {
        let secret = &self.options.secret;
        let listening = async {
            let failed = |error| said(&self.options, "a connection", error);
            let (client, listener) = match &self.options.tls {
                None => {
                    let (client, connection) = secret.connect(NoTls).await.map_err(failed)?;
                    (client, drive(connection))
                }
                Some(tls) => {
                    let tls = self.tls(tls)?;
                    let (client, connection) = secret.connect(tls).await.map_err(failed)?;
                    (client, drive(connection))
                }
            };
            let listener = Listener { _client: client, driver: listener.0, received: listener.1 };
            let listen = format!("LISTEN {channel}");
            let asked = listener._client.batch_execute(&listen).await;
            asked.map_err(|error| said(&self.options, "to listen", error))?;
            Ok(listener)
        };
        let listening = timeout(PATIENCE, listening).await;
        listening.unwrap_or_else(|_| Err(unreachable(&self.options, "it took too long")))
    }

    fn tls(&self, tls: &Tls) -> Result<MakeRustlsConnect> {
        let place = self.options.place();
        let wrong = |what: &str, why: &dyn std::fmt::Display| {
            Error::invalid_argument(format!("{place}: {what}: {why}"))
        };
        let certificates = |name: &str, path: &std::path::Path| {
            let what = format!("{name}={}", path.display());
            let read: std::result::Result<Vec<_>, _> =
                CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            match read {
                Ok(read) if read.is_empty() => Err(wrong(&what, &"it has no certificate")),
                read => read.map_err(|error| wrong(&what, &error)),
            }
        };
        let mut roots = RootCertStore::empty();
        match &tls.ca {
            Some(path) => {
                for certificate in certificates("ca", path)? {
                    roots
                        .add(certificate)
                        .map_err(|error| wrong(&format!("ca={}", path.display()), &error))?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                let (added, _) = roots.add_parsable_certificates(found.certs);
                if added == 0 {
                    let text = "this system has no certificate authorities: install ca-certificates, or give one by `ca=` in the URL";
                    return Err(Error::failed_precondition(format!("{place}: {text}")));
                }
            }
        }
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .map_err(Error::unexpected)?
            .with_root_certificates(roots);
        let config = match &tls.own {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let read = PrivateKeyDer::from_pem_file(key);
                let read = read.map_err(|e| wrong(&format!("key={}", key.display()), &e))?;
                let certificates = certificates("cert", certificate)?;
                config
                    .with_client_auth_cert(certificates, read)
                    .map_err(|error| wrong("`cert` and `key`", &error))?
            }
        };
        Ok(MakeRustlsConnect::new(config))
    }

    /// Whether the server tells of changes.
    pub(crate) fn listens(&self) -> bool {
        self.options.dialect == Dialect::Postgres && !self.options.is_pooled
    }
}

impl Taken {
    /// Asks for rows. Statements that are polled one after the other go out in that order, without waiting for answers.
    pub(crate) async fn query(&self, sql: &Sql, values: &[Value<'_>]) -> Said<Vec<Row>> {
        if self.is_pooled {
            let typed: Vec<_> = values.iter().copied().zip(sql.types.iter().cloned()).collect();
            return self.client.query_typed(&sql.text, &typed).await;
        }
        let statement = self.client.prepare_typed_cached(&sql.text, sql.types).await?;
        self.client.query(&statement, values).await
    }

    /// Makes sure that asking needs no more than one way to the server and back.
    pub(crate) async fn prepare(&self, statements: &[&Sql]) -> Said<()> {
        if !self.is_pooled {
            for sql in statements {
                self.client.prepare_typed_cached(&sql.text, sql.types).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn execute(&self, text: &str) -> Said<()> {
        self.client.batch_execute(text).await
    }

    /// Ends the connection, and with it what it is at.
    pub(crate) fn give_up(self) {
        drop(Object::take(self.client));
    }
}

/// A connection that notifications come by.
pub(crate) struct Listener {
    _client: Client,
    driver: JoinHandle<()>,
    received: mpsc::Receiver<String>,
}

impl Listener {
    /// The next notification; none when the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<String> {
        self.received.recv().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn drive<T>(mut connection: Connection<Socket, T>) -> (JoinHandle<()>, mpsc::Receiver<String>)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(RECEIVED);
    let driver = tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(told) = message
                && sender.send(told.payload().to_owned()).await.is_err()
            {
                return;
            }
        }
    });
    (driver, receiver)
}
