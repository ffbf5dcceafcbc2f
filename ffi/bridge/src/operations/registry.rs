//! What is asked of the registry that a client calls by.

use std::collections::{BTreeSet, HashMap};
use std::future::ready;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt as _, unfold};
use micro::registry::Service;
use micro::settings::{Fields, Value};

use super::ground::{Answer, Args, At, Nothing};

/// Services of a list that are asked for at a time.
const AT_ONCE: usize = 32;

/// Of `registry.get`.
pub(crate) struct Get {
    service: String,
}

impl Args for Get {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self { service: fields.require("service", Value::text)? })
    }
}

/// The versions of a service with their nodes: an array of records. `NOT_FOUND` where there is no node.
pub(crate) async fn get(at: At, args: Get) -> micro::Result<Answer> {
    Answer::json(&at.client.registry().get(&args.service).await?)
}

/// Every service there is, with its nodes: an array of records. A registry that lists names alone is asked for each of them.
pub(crate) async fn list(at: At, _: Nothing) -> micro::Result<Answer> {
    let registry = at.client.registry();
    let listed = registry.list().await?;
    let bare = |record: &Service| record.nodes.is_empty();
    let names: BTreeSet<_> =
        listed.iter().filter(|record| bare(record)).map(|record| record.name.clone()).collect();
    let mut found: HashMap<_, _> = stream::iter(names)
        .map(|name| async move {
            let versions = registry.get(&name).await;
            (name, versions)
        })
        .buffer_unordered(AT_ONCE)
        // One that has gone meanwhile, or cannot be asked for now, stays as it is listed.
        .filter_map(|(name, versions)| ready(versions.ok().map(|versions| (name, versions))))
        .collect()
        .await;
    let mut records = Vec::with_capacity(listed.len());
    for record in listed {
        match found.get_mut(&record.name).filter(|_| bare(&record)) {
            None => records.push(record),
            // Of a name that is listed more than once, all versions are told the first time.
            Some(versions) => records.append(versions),
        }
    }
    Answer::json(&records)
}

/// Of `registry.watch`.
pub(crate) struct Watch {
    /// All services, without it.
    service: Option<String>,
}

impl Args for Watch {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self { service: fields.read("service", Value::text)? })
    }
}

/// Changes from now on, each with its `action` and the record of the `service` it affects. Ends with `ABORTED` when the
/// host has fallen too far behind, and should begin anew.
pub(crate) async fn watch(
    at: At,
    args: Watch,
) -> micro::Result<impl Stream<Item = micro::Result<Answer>> + Send + 'static> {
    let watcher = at.client.registry().watch(args.service.as_deref()).await?;
    Ok(unfold(Some(watcher), |watcher| async {
        let mut watcher = watcher?;
        match watcher.next().await.and_then(|change| Answer::json(&change)) {
            Ok(change) => Some((Ok(change), Some(watcher))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

/// Of `registry.register`.
pub(crate) struct Register {
    service: Service,
    /// For ever, without it.
    ttl: Option<Duration>,
}

impl Args for Register {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self {
            service: fields.require("service", |value| value.parse("a registry record"))?,
            ttl: fields.read("ttl", Value::period)?,
        })
    }
}

/// Adds the nodes of a record, or refreshes those that are known. They are gone when the time to live has passed without
/// another registration.
pub(crate) async fn register(at: At, args: Register) -> micro::Result<Answer> {
    at.client.registry().register(&args.service, args.ttl).await?;
    Ok(Answer::default())
}

/// Of `registry.deregister`.
pub(crate) struct Deregister {
    service: Service,
}

impl Args for Deregister {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self { service: fields.require("service", |value| value.parse("a registry record"))? })
    }
}

/// Removes the nodes of a record; those that are not known are no error.
pub(crate) async fn deregister(at: At, args: Deregister) -> micro::Result<Answer> {
    at.client.registry().deregister(&args.service).await?;
    Ok(Answer::default())
}
