//! Records of a data folder that another process of the machine owns.

use async_trait::async_trait;

use super::wire::{
    APPLY, Applied, Apply, AskNames, Changed, Follow, Found, LIST, List, Listed, NAMES, Names, Of,
    READ, Read, WATCH, missed,
};
use crate::codec::Proto;
use crate::data::Link;
use crate::error::{Error, Result};
use crate::store::batch::Batch;
use crate::store::query::{Page, Query};
use crate::store::record::{Place, Record};
use crate::store::watch::{Changes, Event, Watch};
use crate::streaming::Streaming;

/// Asks the owner, once.
async fn ask<Q, R>(link: &Link, endpoint: &str, question: Q) -> Result<R>
where
    Q: prost::Message + Default + 'static,
    R: prost::Message + Default + 'static,
{
    // What a handler asks for is not cut off with its call.
    let call = link.client.call(&link.service, endpoint, Proto(question)).detached().retries(0);
    let Proto(answer) = call.await?;
    Ok(answer)
}

pub(super) async fn read(link: &Link, place: &Place, key: &str) -> Result<Option<Record>> {
    let question = Read { of: Of::new(place), key: key.to_owned() };
    let Found { record } = ask(link, READ, question).await?;
    record.map(super::wire::Told::record).transpose()
}

pub(super) async fn apply(link: &Link, batch: &Batch) -> Result<Vec<u64>> {
    let applied: Applied = ask(link, APPLY, Apply::new(batch)?).await?;
    applied.versions()
}

pub(super) async fn list(link: &Link, query: &Query) -> Result<Page> {
    let listed: Listed = ask(link, LIST, List::new(query)).await?;
    listed.page()
}

pub(super) async fn names(link: &Link, database: Option<&str>) -> Result<Vec<String>> {
    let question = AskNames { database: database.map(str::to_owned) };
    let Names { names } = ask(link, NAMES, question).await?;
    Ok(names)
}

pub(super) async fn watch(link: &Link, watch: &Watch) -> Result<Followed> {
    let follow = Proto(Follow::new(watch));
    let call = link.client.server_stream(&link.service, WATCH, follow).detached().no_timeout();
    let mut changes: Streaming<Proto<Changed>> = call.retries(0).await.map_err(missed)?;
    // The first one says that it has begun.
    match changes.message().await.map_err(missed)? {
        Some(Proto(_)) => Ok(Followed { changes }),
        None => Err(ended()),
    }
}

fn ended() -> Error {
    Error::unavailable("the owner of the data folder has ended")
}

/// A watch by way of the owner.
pub(super) struct Followed {
    changes: Streaming<Proto<Changed>>,
}

#[async_trait]
impl Changes for Followed {
    async fn next(&mut self) -> Result<Option<Event>> {
        match self.changes.message().await.map_err(missed)? {
            Some(Proto(changed)) => changed.event().map(Some),
            None => Err(ended()),
        }
    }
}
