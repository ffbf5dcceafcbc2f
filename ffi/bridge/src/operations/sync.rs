//! Locks, leaders and limits, over the store of a client.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::stream::{Stream, unfold};
use micro::settings::{Fields, Value};
use micro::sync::{Claim, Held, Leader, Leaders, Locks, Rate};
use micro::{Code, Error};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::ground::{Answer, Args, At};

fn locks(at: &At) -> Arc<dyn Locks> {
    at.client.locks()
}

/// Of `sync.lock`.
pub(crate) struct Lock {
    name: String,
    ttl: Option<Duration>,
    /// For ever, without it.
    wait: Option<Duration>,
    who: Option<String>,
    note: Option<String>,
    /// Whether stores refuse what earlier holders write from the moment it is held; `true` without it.
    fence: Option<bool>,
}

impl Args for Lock {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self {
            name: fields.require("name", Value::text)?,
            ttl: fields.read("ttl", Value::duration)?,
            wait: fields.read("wait", Value::duration)?,
            who: fields.read("who", Value::text)?,
            note: fields.read("note", Value::text)?,
            fence: fields.read("fence", Value::flag)?,
        })
    }
}

/// Of `sync.semaphore`.
pub(crate) struct Semaphore {
    name: String,
    seats: usize,
    ttl: Option<Duration>,
    /// For ever, without it.
    wait: Option<Duration>,
    who: Option<String>,
    note: Option<String>,
    /// Whether stores refuse what earlier holders write from the moment it is held; `true` without it.
    fence: Option<bool>,
}

impl Args for Semaphore {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self {
            name: fields.require("name", Value::text)?,
            seats: fields.require("seats", Value::count)?,
            ttl: fields.read("ttl", Value::duration)?,
            wait: fields.read("wait", Value::duration)?,
            who: fields.read("who", Value::text)?,
            note: fields.read("note", Value::text)?,
            fence: fields.read("fence", Value::flag)?,
        })
    }
}

/// What all of them may say.
struct Wanted {
    ttl: Option<Duration>,
    wait: Option<Duration>,
    who: Option<String>,
    note: Option<String>,
    fence: Option<bool>,
}

impl Wanted {
    fn terms(self, mut claim: Claim) -> Claim {
        if let Some(ttl) = self.ttl {
            claim = claim.ttl(ttl);
        }
        if let Some(wait) = self.wait {
            claim = claim.wait(wait);
        }
        if let Some(who) = self.who {
            claim = claim.who(who);
        }
        match self.note {
            Some(note) => claim.note(note),
            None => claim,
        }
    }
}

/// How far a claim has come.
enum Step {
    Asked(Claim, bool),
    Has(Held),
    Over,
}

type Told = micro::Result<Answer>;

/// A lock. Told once it is held, as `lock` and `token`, which `store.apply` takes as a fence. Then it ends: with `ABORTED` when it is lost,
/// well when the host closes it and it was given back.
pub(crate) async fn lock(
    at: At,
    args: Lock,
) -> micro::Result<impl Stream<Item = Told> + Send + 'static> {
    let Lock { name, ttl, wait, who, note, fence } = args;
    let wanted = Wanted { ttl, wait, who, note, fence };
    Ok(held(locks(&at).lock(name), wanted, at.closing))
}

/// A seat of a semaphore; as [`lock`].
pub(crate) async fn semaphore(
    at: At,
    args: Semaphore,
) -> micro::Result<impl Stream<Item = Told> + Send + 'static> {
    let Semaphore { name, seats, ttl, wait, who, note, fence } = args;
    let wanted = Wanted { ttl, wait, who, note, fence };
    Ok(held(locks(&at).semaphore(name, seats), wanted, at.closing))
}

/// The leadership of an election; as [`lock`].
pub(crate) async fn elect(
    at: At,
    args: Lock,
) -> micro::Result<impl Stream<Item = Told> + Send + 'static> {
    let Lock { name, ttl, wait, who, note, fence } = args;
    let wanted = Wanted { ttl, wait, who, note, fence };
    Ok(held(locks(&at).elect(name), wanted, at.closing))
}

fn held(
    claim: Claim,
    wanted: Wanted,
    closing: CancellationToken,
) -> impl Stream<Item = Told> + Send + 'static {
    let is_fenced = wanted.fence.unwrap_or(true);
    let first = Step::Asked(wanted.terms(claim), is_fenced);
    unfold((first, closing), |(step, closing)| async move {
        match step {
            Step::Asked(claim, is_fenced) => {
                let held = match claim.unless(closing.clone().cancelled_owned()).await {
                    Ok(Some(held)) => held,
                    Ok(None) => return None,
                    Err(error) => return Some((Err(error), (Step::Over, closing))),
                };
                match grant(&held, is_fenced).await {
                    Ok(told) => Some((Ok(told), (Step::Has(held), closing))),
                    Err(error) => Some((Err(error), (Step::Over, closing))),
                }
            }
            Step::Has(held) => {
                tokio::select! {
                    biased;
                    () = held.lost() => {
                        let text = format!("{:?} is no longer held: it could not be renewed in time", held.name());
                        return Some((Err(Error::new(Code::Aborted, text)), (Step::Over, closing)));
                    }
                    () = closing.cancelled() => {}
                }
                match held.unlock().await {
                    Ok(()) => None,
                    Err(error) => Some((Err(error), (Step::Over, closing))),
                }
            }
            Step::Over => None,
        }
    })
}

async fn grant(held: &Held, is_fenced: bool) -> Told {
    if !is_fenced {
        return Answer::json(&json!({ "token": held.token(), "who": held.who() }));
    }
    let fence = held.fence().await?;
    Answer::json(&json!({ "lock": fence.lock, "token": fence.token, "who": held.who() }))
}

/// Of `sync.leaders`.
pub(crate) struct Election {
    name: String,
}

impl Args for Election {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self { name: fields.require("name", Value::text)? })
    }
}

/// Who leads, now and as that changes: `who`, `note`, `token` and `since` in milliseconds since 1970; `null` for nobody.
pub(crate) async fn leaders(
    at: At,
    args: Election,
) -> micro::Result<impl Stream<Item = Told> + Send + 'static> {
    let leaders = locks(&at).leaders(&args.name)?;
    Ok(unfold(Some(leaders), |leaders| async {
        let mut leaders: Leaders = leaders?;
        match leaders.next().await.and_then(|leader| Answer::json(&leader.map(leads))) {
            Ok(told) => Some((Ok(told), Some(leaders))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

fn leads(leader: Leader) -> serde_json::Value {
    let since = leader.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let since = u64::try_from(since).unwrap_or(u64::MAX);
    json!({ "who": leader.who, "note": leader.note, "token": leader.token, "since": since })
}

/// Of `sync.take`.
pub(crate) struct Take {
    name: String,
    permits: u32,
    per: Duration,
    burst: Option<u32>,
    take: Option<u32>,
    wait: Option<Duration>,
}

impl Args for Take {
    fn read(fields: &mut Fields) -> micro::Result<Self> {
        Ok(Self {
            name: fields.require("name", Value::text)?,
            permits: fields.require("permits", Value::count)?,
            per: fields.require("per", Value::duration)?,
            burst: fields.read("burst", Value::count)?,
            take: fields.read("take", Value::count)?,
            wait: fields.read("wait", Value::duration)?,
        })
    }
}

/// Takes permits of a rate that a fleet shares. `RESOURCE_EXHAUSTED` where they are not to be had within `wait`.
pub(crate) async fn take(at: At, args: Take) -> micro::Result<Answer> {
    let mut rate = Rate::new(at.client.store(), &args.name, args.permits, args.per)?;
    if let Some(burst) = args.burst {
        rate = rate.burst(burst);
    }
    rate.take(args.take.unwrap_or(1), args.wait.unwrap_or_default()).await?;
    Ok(Answer::default())
}
