//! The way to the owner of a data folder, and to a service that serves one.

use std::sync::Arc;
use std::time::Duration;

use super::socket::{OWNER, Socket};
use crate::broker::durable::publishing::Publishing;
use crate::client::Client;
use crate::codec::Proto;
use crate::error::Result;
use crate::registry;

/// What the owner is called.
pub(crate) const SERVICE: &str = "micro.data";
/// Endpoint that answers.
pub(crate) const GREET: &str = "Messages.Greet";
/// Bytes of a request or a reply: a batch of records, or a page with one that is large.
pub(crate) const MAX_MESSAGE: usize = 12 << 20;
/// How long a silent owner is waited for before it is asked whether it is there, and then for its answer.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Nothing but an answer.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Greeting {}

/// The way to what serves a folder.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) service: Arc<str>,
    /// This process, where it is on the owner's machine; else 0.
    pub(crate) process: u32,
    /// How messages go to an owner of this machine.
    pub(crate) publishing: Option<Arc<Publishing>>,
}

impl Link {
    /// Through the socket of the folder.
    pub(crate) fn new(socket: &Socket) -> Result<Self> {
        let client = Client::builder()
            .environment(false)
            .registry(Arc::new(registry::Memory::new()))
            .broker(Arc::new(crate::broker::Memory::new()))
            .store(Arc::new(crate::store::Memory::new()))
            .network(Arc::new(socket.clone()))
            .address(OWNER)
            .max_message_size(MAX_MESSAGE)
            .keepalive(KEEPALIVE)
            .keepalive_timeout(KEEPALIVE)
            .build()?;
        let publishing = Some(Arc::new(Publishing::new(client.clone(), SERVICE)));
        Ok(Self { client, service: SERVICE.into(), process: std::process::id(), publishing })
    }

    /// Through the service of this name.
    pub(crate) fn named(client: Client, service: &str) -> Self {
        Self { client, service: service.into(), process: 0, publishing: None }
    }

    /// Whether the owner is there. The system takes connections also for one that is stopped, so that it has to answer.
    pub(crate) async fn greet(&self) -> Result<()> {
        let call = self.client.call(SERVICE, GREET, Proto(Greeting {})).detached().retries(0);
        let Proto(Greeting {}) = call.await?;
        Ok(())
    }
}
