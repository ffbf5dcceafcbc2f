//! Many at a time, and what is built on lines.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::cases::unique;
use super::{History, Subject, check};
use crate::error::{Code, Reason};
use crate::store::{Batch, Change, Place};
use crate::sync::{Claim, Rate, barrier, once};

/// Has eight tasks hold it three times each.
async fn contend(subject: &Subject, room: usize, claim: impl Fn(usize) -> Claim) {
    let history = Arc::new(History::default());
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let claims: Vec<Claim> = (0..3).map(|_| claim(task)).collect();
        let history = history.clone();
        tasks.spawn(async move {
            for claim in claims {
                let held = claim.await.expect("a lock");
                for _ in 0..3 {
                    if !held.is_lost() {
                        history.act(held.token());
                    }
                    tokio::task::yield_now().await;
                }
                held.unlock().await.expect("unlocks");
            }
        });
    }
    let ends = async { while tasks.join_next().await.is_some_and(|ended| ended.is_ok()) {} };
    timeout(3 * subject.patience, ends).await.expect("all are served");
    let acts = history.acts();
    assert_eq!(acts.len(), 8 * 3 * 3, "all held it, and none lost it");
    check(&acts, room).unwrap_or_else(|wrong| panic!("{wrong} in {acts:?}"));
}

pub(super) async fn many_contend_and_one_holds_it(subject: &Subject) {
    let name = unique("many");
    contend(subject, 1, |task| match task % 2 {
        0 => subject.one.lock(&*name),
        _ => subject.other.lock(&*name),
    })
    .await;
}

pub(super) async fn as_many_hold_a_semaphore_as_it_has_seats(subject: &Subject) {
    let name = unique("seats");
    let one = subject.one.semaphore(&*name, 2).await.expect("a seat");
    let two = subject.other.semaphore(&*name, 2).await.expect("another");
    assert!(subject.one.semaphore(&*name, 2).now().await.expect("an answer").is_none());
    assert!(!one.is_lost() && !two.is_lost());
    drop((one, two));
    contend(subject, 2, |task| match task % 2 {
        0 => subject.one.semaphore(&*name, 2),
        _ => subject.other.semaphore(&*name, 2),
    })
    .await;
}

pub(super) async fn a_leader_is_followed_by_the_next_and_those_who_look_on_see_it(
    subject: &Subject,
) {
    let name = unique("leader");
    let mut leaders = subject.other.leaders(&name).expect("a name");
    assert_eq!(subject.soon("looking", leaders.next()).await.expect("an answer"), None);
    let first = subject.one.elect(&*name).who("first").note("a:1").await.expect("leads");
    let told = subject.soon("hearing", leaders.next()).await.expect("an answer").expect("a leader");
    assert_eq!((&*told.who, &*told.note, told.token), ("first", "a:1", first.token()));
    let second = tokio::spawn(subject.other.elect(&*name).who("second").into_future());
    subject.until_there_are(&format!("leader/{name}"), 2).await;
    let now = subject.one.leader(&name).await.expect("an answer").expect("a leader");
    assert_eq!(now.who, "first");
    first.unlock().await.expect("resigns");
    let told = subject.soon("hearing", leaders.next()).await.expect("an answer");
    assert_eq!(told.expect("a leader").who, "second");
    let second = subject.soon("leading", second).await.expect("a task").expect("leads");
    second.unlock().await.expect("resigns");
    assert_eq!(subject.soon("hearing", leaders.next()).await.expect("an answer"), None);
}

pub(super) async fn what_an_earlier_holder_writes_is_refused(subject: &Subject) {
    let Some([store, _]) = &subject.stores else { return };
    let name = unique("fenced");
    let write = |fence| {
        let change = Change::write(Place::default(), &*name, "41").expires_in(subject.patience);
        store.apply(Batch { fences: vec![fence], ..change.into() })
    };
    let first = subject.one.lock(&*name).await.expect("a lock");
    let earlier = first.fence().await.expect("a fence");
    write(earlier.clone()).await.expect("it is held");
    first.unlock().await.expect("unlocks");
    let second = subject.other.lock(&*name).await.expect("a lock");
    write(earlier.clone()).await.expect("the store was told nothing of the next");
    let later = second.fence().await.expect("a fence");
    let stale = write(earlier).await.expect_err("another was told of");
    assert_eq!(
        (stale.code(), stale.reason()),
        (Code::FailedPrecondition, Some(Reason::StaleToken))
    );
    write(later).await.expect("it is held");
}

pub(super) async fn parties_meet_at_a_barrier(subject: &Subject) {
    let Some(stores) = &subject.stores else { return };
    let name = unique("barrier");
    let mut parties = JoinSet::new();
    for party in 0..5 {
        parties
            .spawn(barrier(&stores[party % 2], &*name, 3).wait(3 * subject.patience).into_future());
    }
    for _ in 0..3 {
        let met = subject.soon("meeting", parties.join_next()).await.expect("a party");
        met.expect("a task").expect("three are there");
    }
    // Two wait for another.
    assert!(timeout(Duration::from_millis(200), parties.join_next()).await.is_err(), "they wait");
    let late = barrier(&stores[0], unique("lonely"), 2).wait(Duration::from_millis(1)).await;
    assert_eq!(late.expect_err("nobody comes").code(), Code::DeadlineExceeded);
    subject.soon("meeting", barrier(&stores[0], &*name, 3)).await.expect("three are there");
    for _ in 0..2 {
        let met = subject.soon("meeting", parties.join_next()).await.expect("a party");
        met.expect("a task").expect("three are there");
    }
}

pub(super) async fn all_take_from_one_bucket(subject: &Subject) {
    let Some(stores) = &subject.stores else { return };
    let name = unique("rate");
    let minute = Duration::from_secs(60);
    let rates = stores.each_ref().map(|store| Rate::new(store, &name, 10, minute).expect("a rate"));
    for taken in 0..10 {
        let took = rates[taken % 2].take(1, Duration::ZERO).await;
        took.unwrap_or_else(|error| panic!("{taken} of 10 were taken: {error}"));
    }
    let empty = rates[0].take(1, Duration::ZERO).await.expect_err("all were taken");
    assert_eq!(empty.code(), Code::ResourceExhausted, "{empty}");

    // Ten a second, two at once: the last of twelve comes a second after the first.
    let name = unique("flow");
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..12 {
        let rate = Rate::new(&stores[task % 2], &name, 10, Duration::from_secs(1));
        let rate = rate.expect("a rate").burst(2);
        tasks.spawn(async move { rate.take(1, Duration::from_secs(20)).await });
    }
    while let Some(took) = subject.soon("taking", tasks.join_next()).await {
        took.expect("a task").expect("a permit");
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(950), "12 were taken within {took:?}");
}

pub(super) async fn work_is_done_once(subject: &Subject) {
    let Some(stores) = &subject.stores else { return };
    let name = unique("once");
    let failed = once::<(), _>(&stores[0], &name, subject.patience, |_| async {
        Err(crate::Error::internal("on purpose"))
    });
    assert_eq!(failed.await.expect_err("it failed").code(), Code::Internal);
    let mut tasks = JoinSet::new();
    for task in 0..6 {
        let (store, name, patience) = (stores[task % 2].clone(), name.clone(), subject.patience);
        tasks.spawn(async move { once(&store, &name, patience, |_| async { Ok(()) }).await });
    }
    let mut done = 0;
    while let Some(task) = subject.soon("working", tasks.join_next()).await {
        done += usize::from(task.expect("a task").expect("an answer").is_some());
    }
    assert_eq!(done, 1);
}
