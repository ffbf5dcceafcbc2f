//! What a host can ask: one row of a table an operation, one file an area. A number has the area in its upper byte and the verb
//! in the lower.
//!
//! An operation is a struct of arguments, an asynchronous function and its row in `operations!`. What it is asked with is
//! checked before it begins; its deadline, its place and its end are the business of [`crate::Client::ask`] and
//! [`crate::Client::follow`].

mod broker;
mod client;
mod ground;
mod registry;
mod service;
mod store;
mod sync;
mod task;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, Stream, StreamExt as _};
use micro::Error;
use micro::broker::Delivery;
use micro::settings::Fields;

use crate::failure::{Failure, Result};
use crate::question::{Question, Terms};

use ground::Args;
pub(crate) use ground::{Answer, At, Item};

/// Defines the operations: for each a number, the name that messages and languages give it, and what is done.
macro_rules! operations {
    ($($(#[$doc:meta])* $constant:ident = $number:literal, $name:literal, $how:ident($what:path);)+) => {
        $($(#[$doc])* pub const $constant: u32 = $number;)+

        const NUMBERS: &[(&str, u32)] = &[$(($name, $constant)),+];

        fn find(number: u32) -> Option<Row> {
            Some(match number {
                $($constant => Row { name: $name, how: $how($what) },)+
                _ => return None,
            })
        }
    };
}

operations! {
    /// Whether each node of a service wants calls.
    CLIENT_HEALTH = 0x0101, "client.health", ask(client::health);
    /// What the client has seen.
    CLIENT_STATS = 0x0102, "client.stats", ask(client::stats);
    /// The nodes that a client chooses from, with load and latency.
    CLIENT_NODES = 0x0103, "client.nodes", ask(client::nodes);
    /// The versions and nodes of a service.
    REGISTRY_GET = 0x0201, "registry.get", ask(registry::get);
    /// Every service.
    REGISTRY_LIST = 0x0202, "registry.list", ask(registry::list);
    /// Changes of a service, or of all.
    REGISTRY_WATCH = 0x0203, "registry.watch", follow(registry::watch);
    /// Adds nodes, or refreshes them.
    REGISTRY_REGISTER = 0x0204, "registry.register", ask(registry::register);
    /// Removes nodes.
    REGISTRY_DEREGISTER = 0x0205, "registry.deregister", ask(registry::deregister);
    /// A record of the store.
    STORE_READ = 0x0301, "store.read", ask(store::read);
    /// Makes changes of records.
    STORE_APPLY = 0x0302, "store.apply", give(store::apply);
    /// Records of a table.
    STORE_LIST = 0x0303, "store.list", follow(store::list);
    /// Changes of records.
    STORE_WATCH = 0x0304, "store.watch", follow(store::watch);
    /// The databases of the store.
    STORE_DATABASES = 0x0305, "store.databases", ask(store::databases);
    /// The tables of a database.
    STORE_TABLES = 0x0306, "store.tables", ask(store::tables);
    /// Messages of a topic.
    BROKER_SUBSCRIBE = 0x0401, "broker.subscribe", deliver(broker::subscribe);
    /// A lock.
    SYNC_LOCK = 0x0501, "sync.lock", hold(sync::lock);
    /// A seat of a semaphore.
    SYNC_SEMAPHORE = 0x0502, "sync.semaphore", hold(sync::semaphore);
    /// The leadership of an election.
    SYNC_ELECT = 0x0503, "sync.elect", hold(sync::elect);
    /// Who leads.
    SYNC_LEADERS = 0x0504, "sync.leaders", follow(sync::leaders);
    /// Permits of a rate.
    SYNC_TAKE = 0x0505, "sync.take", ask(sync::take);
    /// What the service behind the client has seen.
    SERVICE_STATS = 0x0801, "service.stats", ask(service::stats);
    /// The jobs of the service behind the client, and their last runs.
    SERVICE_JOBS = 0x0802, "service.jobs", ask(service::jobs);
    /// Waits for the answer of a task.
    TASK_RESULT = 0x0901, "task.result", fetch(task::result);
    /// How far a task has come.
    TASK_STATE = 0x0902, "task.state", ask(task::state);
}

/// The number of the operation that is called `name`, for example `registry.get`.
pub fn number(name: &str) -> Option<u32> {
    NUMBERS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// What the operation `number` is called; empty for none.
pub(crate) fn name(number: u32) -> &'static str {
    NUMBERS.iter().find(|(_, known)| *known == number).map_or("", |(name, _)| name)
}

/// One operation.
struct Row {
    name: &'static str,
    how: How,
}

/// How an operation is done.
enum How {
    Ask(Box<Asked>),
    /// With a payload.
    Give(Box<Asked>),
    Follow(Box<Followed>),
}

type Asked =
    dyn FnOnce(At, Fields, Bytes) -> micro::Result<BoxFuture<'static, micro::Result<Answer>>>;
type Followed = dyn FnOnce(At, Fields) -> micro::Result<BoxFuture<'static, micro::Result<Items>>>;

/// What is told of something that is followed.
pub(crate) type Items = BoxStream<'static, micro::Result<Item>>;

/// What a question asks: the name of its operation, and its work.
///
/// # Errors
/// [`Status::ARG`](crate::Status::ARG) for an unknown number and for what is followed, `INVALID_ARGUMENT` for wrong arguments,
/// and for metadata, or a payload where the operation takes none.
pub(crate) fn asked(
    at: At,
    question: &Question<'_>,
    terms: &Terms,
) -> Result<(&'static str, BoxFuture<'static, micro::Result<Answer>>)> {
    let Row { name, how } = find(question.operation).ok_or_else(|| unknown(question.operation))?;
    match how {
        How::Ask(ask) => Ok((name, ask(at, fields(name, question, terms)?, Bytes::new())?)),
        How::Give(give) => {
            let payload = question.payload.clone();
            let rest = Question { payload: Bytes::new(), ..question.clone() };
            Ok((name, give(at, fields(name, &rest, terms)?, payload)?))
        }
        How::Follow(_) => Err(Failure::argument(format!("{name} is followed, not asked"))),
    }
}

/// What a question follows: the name of its operation, and its opening.
///
/// # Errors
/// As [`asked`].
pub(crate) fn followed(
    at: At,
    question: &Question<'_>,
    terms: &Terms,
) -> Result<(&'static str, BoxFuture<'static, micro::Result<Items>>)> {
    let Row { name, how } = find(question.operation).ok_or_else(|| unknown(question.operation))?;
    match how {
        How::Follow(follow) => Ok((name, follow(at, fields(name, question, terms)?)?)),
        How::Ask(_) | How::Give(_) => {
            Err(Failure::argument(format!("{name} is asked, not followed")))
        }
    }
}

/// The arguments of a question that has nothing but arguments.
fn fields(name: &'static str, question: &Question<'_>, terms: &Terms) -> micro::Result<Fields> {
    let extra = match (question.payload.is_empty(), terms.metadata.is_empty()) {
        (true, true) => return Fields::of(name, question.args),
        (false, _) => "payload",
        (true, false) => "metadata",
    };
    Err(Error::invalid_argument(format!(
        "{name} takes no {extra}: leave it out, and give what it is asked with as args"
    )))
}

fn unknown(number: u32) -> Failure {
    Failure::argument(format!("there is no operation {number:#06x} in this version"))
}

/// An operation that answers once.
fn ask<A, F, W>(work: F) -> How
where
    A: Args + 'static,
    F: FnOnce(At, A) -> W + 'static,
    W: Future<Output = micro::Result<Answer>> + Send + 'static,
{
    How::Ask(Box::new(|at, fields, _| Ok(Box::pin(work(at, read(fields)?)))))
}

/// An operation that is given a payload, and answers once.
fn give<A, F, W>(work: F) -> How
where
    A: Args + 'static,
    F: FnOnce(At, A, Bytes) -> W + 'static,
    W: Future<Output = micro::Result<Answer>> + Send + 'static,
{
    How::Give(Box::new(|at, fields, payload| Ok(Box::pin(work(at, read(fields)?, payload)))))
}

/// The same with a message as its answer, in a codec of its own.
fn fetch<A, F, W>(work: F) -> How
where
    A: Args + 'static,
    F: FnOnce(At, A) -> W + 'static,
    W: Future<Output = micro::Result<Answer>> + Send + 'static,
{
    ask(work)
}

/// An operation that goes on answering.
fn follow<A, F, W, S>(open: F) -> How
where
    A: Args + 'static,
    F: FnOnce(At, A) -> W + 'static,
    W: Future<Output = micro::Result<S>> + Send + 'static,
    S: Stream<Item = micro::Result<Answer>> + Send + 'static,
{
    How::Follow(Box::new(|at, fields| {
        let closing = at.closing.clone();
        let opening = open(at, read(fields)?);
        Ok(Box::pin(async {
            let told = opening.await?.map(|item| item.map(Item::Change));
            Ok(told.take_until(closing.cancelled_owned()).boxed())
        }))
    }))
}

/// The same with something that is held: once the host closes it, it has an end of its own to come to.
fn hold<A, F, W, S>(open: F) -> How
where
    A: Args + 'static,
    F: FnOnce(At, A) -> W + 'static,
    W: Future<Output = micro::Result<S>> + Send + 'static,
    S: Stream<Item = micro::Result<Answer>> + Send + 'static,
{
    How::Follow(Box::new(|at, fields| {
        let opening = open(at, read(fields)?);
        Ok(Box::pin(async { Ok(opening.await?.map(|item| item.map(Item::Change)).boxed()) }))
    }))
}

/// An operation that delivers messages.
fn deliver<A, F, W, S>(open: F) -> How
where
    A: Args + 'static,
    F: FnOnce(At, A) -> W + 'static,
    W: Future<Output = micro::Result<S>> + Send + 'static,
    S: Stream<Item = Delivery> + Send + 'static,
{
    How::Follow(Box::new(|at, fields| {
        let closing = at.closing.clone();
        let opening = open(at, read(fields)?);
        let lent = |delivery| Ok(Item::Delivery(Box::new(delivery)));
        Ok(Box::pin(async move {
            let told = opening.await?.map(lent);
            Ok(told.take_until(closing.cancelled_owned()).boxed())
        }))
    }))
}

fn read<A: Args>(mut fields: Fields) -> micro::Result<A> {
    let args = A::read(&mut fields)?;
    fields.finish()?;
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_to_each_other() {
        for (known, found) in NUMBERS {
            assert_eq!((number(known), name(*found)), (Some(*found), *known));
            assert!(find(*found).is_some_and(|row| row.name == *known));
        }
        assert_eq!((number("registry.got"), name(0x02ff)), (None, ""));
    }
}
