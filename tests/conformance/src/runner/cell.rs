//! One client against one server.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tokio::sync::Mutex;

use super::Outcome;
use super::adapters::Adapter;
use super::document::document;
use super::endpoints;
use super::events::Events;
use super::process::Process;
use super::variables::Variables;
use crate::Line;

/// A client's adapter and a server's, and where they meet.
pub struct Cell {
    pub(super) client: Adapter,
    pub(super) server: Adapter,
    folder: tempfile::TempDir,
    pub(super) events: Arc<Events>,
    pub(super) service: String,
    pub(super) shared_client: Mutex<Option<Arc<Process>>>,
    pub(super) shared_server: Mutex<Option<Arc<Process>>>,
    address: OnceLock<String>,
    /// Where connections are made, and nothing is ever said.
    silent: TcpListener,
    /// Scenarios begun.
    begun: AtomicU64,
}

impl Cell {
    /// A cell with a registry of its own.
    ///
    /// # Errors
    /// When no folder can be made for it, or no certificate.
    pub fn new(client: &Adapter, server: &Adapter) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("registry"))?;
        certify(folder.path())?;
        Ok(Self {
            client: client.clone(),
            server: server.clone(),
            folder,
            events: Arc::default(),
            service: "conformance".to_owned(),
            shared_client: Mutex::default(),
            shared_server: Mutex::default(),
            address: OnceLock::new(),
            silent: TcpListener::bind("127.0.0.1:0")?,
            begun: AtomicU64::new(1),
        })
    }

    /// A number that no other scenario of this cell has.
    pub(super) fn number(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::Relaxed)
    }

    /// A folder for the data of one scenario.
    pub(super) fn data(&self, number: u64) -> String {
        self.folder.path().join(format!("data-{number}")).to_string_lossy().into_owned()
    }

    /// Address of the shared server.
    pub(super) fn address(&self) -> Option<&String> {
        self.address.get()
    }

    pub(super) fn variables(&self) -> Variables {
        let path = |name: &str| self.folder.path().join(name).to_string_lossy().into_owned();
        let variables = [
            ("registry", format!("local://{}", path("registry"))),
            ("certificate", path("certificate.pem")),
            ("stranger", path("stranger.pem")),
            ("private_key", path("private_key.pem")),
            ("folder", path("")),
            ("silent", self.silent.local_addr().map(|at| at.to_string()).unwrap_or_default()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// Starts an adapter in a role.
    pub(super) async fn start(&self, role: &str) -> Result<Arc<Process>, String> {
        let adapter = if role == "client" { &self.client } else { &self.server };
        Process::start(adapter, role, &self.events).await.map_err(|error| error.to_string())
    }

    /// Settings of a role with those of a scenario, as a document.
    pub(super) fn settings(&self, role: &str, own: &toml::Table) -> Result<String, String> {
        let mut settings = document(own)?;
        let registry = self.variables()["registry"].clone();
        settings.entry("registry").or_insert(registry.into());
        if role == "server" {
            settings.entry("address").or_insert("127.0.0.1:0".into());
        }
        Ok(Value::from(settings).to_string())
    }

    /// The client of all scenarios that start none.
    pub(super) async fn shared_client(&self) -> Result<Arc<Process>, String> {
        let mut shared = self.shared_client.lock().await;
        if let Some(client) = shared.as_ref().filter(|client| client.lives()) {
            return Ok(client.clone());
        }
        let client = self.start("client").await?;
        let settings = self.settings("client", &toml::Table::new())?;
        let answer = client.ask("start", |line| line.with("settings", settings)).await?;
        if answer.verb != "ok" {
            return Err(format!("the client did not start: {answer}\n{}", client.trace()));
        }
        Ok(shared.insert(client).clone())
    }

    /// The server of all scenarios that start none.
    pub(super) async fn shared_server(&self) -> Result<Arc<Process>, String> {
        let mut shared = self.shared_server.lock().await;
        if let Some(server) = shared.as_ref().filter(|server| server.lives()) {
            return Ok(server.clone());
        }
        let server = self.start("server").await?;
        let settings = self.settings("server", &toml::Table::new())?;
        let line = Line::new("")
            .with("service", &self.service)
            .with("tag", "shared")
            .with("settings", settings);
        let line = endpoints::onto(line, &BTreeMap::new())?;
        let answer = server.ask("start", |begun| begun.followed(line)).await?;
        match (answer.verb.as_str(), answer.get("address")) {
            ("started", Some(address)) => {
                let _ = self.address.set(address.to_owned());
                Ok(shared.insert(server).clone())
            }
            _ => Err(format!("the server did not start: {answer}\n{}", server.trace())),
        }
    }
}

/// A certificate of 127.0.0.1 that is its own authority, and one whose key was thrown away.
fn certify(folder: &Path) -> Outcome {
    let certificate = || rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]);
    let own = certificate()?;
    std::fs::write(folder.join("stranger.pem"), certificate()?.cert.pem())?;
    std::fs::write(folder.join("certificate.pem"), own.cert.pem())?;
    std::fs::write(folder.join("private_key.pem"), own.signing_key.serialize_pem())?;
    Ok(())
}
