//! A caller of a fleet.

use std::time::Duration;

use micro::Client;
use micro::client::ClientBuilder;

use crate::Outcome;
use crate::fleet::Fleet;
use crate::node::{READ, SERVICE};

/// A client of the fleet that has found it.
pub(super) async fn client(
    fleet: &Fleet,
    set: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Outcome<Client> {
    let client = set(Client::builder().registry(fleet.registry()?)).build()?;
    let probe = client
        .call::<_, micro::Raw>(SERVICE, READ, micro::Raw::default())
        .timeout(Duration::from_secs(10));
    probe.await?;
    Ok(client)
}
