use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, advance, timeout};

use super::{Locks, over};
use crate::error::{Code, Reason};
use crate::store::{Batch, Change, Memory, Place, Store};

const SECOND: Duration = Duration::from_secs(1);

fn locks() -> (Arc<dyn Store>, Arc<dyn Locks>) {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    (store.clone(), over(store))
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_hold_it_in_the_order_in_which_they_came() {
    let (_, locks) = locks();
    let first = locks.lock("stock").who("first").await.unwrap();
    let mut waiting = Vec::new();
    for who in ["second", "third", "fourth"] {
        let waits = tokio::spawn(locks.lock("stock").who(who).into_future());
        while locks.line("lock/stock").await.unwrap().last().unwrap().contender.who != who {
            tokio::task::yield_now().await;
        }
        waiting.push(waits);
    }
    let mut token = first.token();
    first.unlock().await.unwrap();
    for waits in waiting {
        let held = waits.await.unwrap().unwrap();
        assert!(held.token() > token);
        token = held.token();
        held.unlock().await.unwrap();
    }
    assert!(locks.line("lock/stock").await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_held_as_long_as_its_holder_lives_and_free_when_it_is_dropped() {
    let (_, locks) = locks();
    let held = locks.lock("stock").ttl(SECOND).await.unwrap();
    advance(20 * SECOND).await;
    // Time that passes at once is a pause of the process.
    assert!(held.is_lost());
    held.lost().await;

    let held = locks.lock("stock").ttl(SECOND).await.unwrap();
    tokio::time::sleep(20 * SECOND).await;
    assert!(!held.is_lost());
    assert!(locks.try_lock("stock").await.unwrap().is_none());
    drop(held);
    let held = timeout(SECOND / 10, locks.lock("stock").into_future()).await.unwrap().unwrap();
    assert!(!held.is_lost());
}

#[tokio::test(start_paused = true)]
async fn a_wait_has_an_end_that_says_who_holds_it() {
    let (_, locks) = locks();
    let _held = locks.lock("stock").who("web-1").await.unwrap();
    let begun = Instant::now();
    let late = locks.lock("stock").wait(5 * SECOND).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert_eq!(begun.elapsed(), 5 * SECOND);
    let told = late.detail();
    assert!(
        told.starts_with("the lock \"stock\" was not free within 5s: \"web-1\" holds it since 20"),
        "{told}"
    );
    assert!(told.ends_with("Z, in this process"), "{told}");
    assert_eq!(locks.line("lock/stock").await.unwrap().len(), 1, "it has left the line");
    let at_once = locks.lock("stock").wait(Duration::ZERO).await.unwrap_err();
    assert_eq!(at_once.code(), Code::DeadlineExceeded);
    assert!(at_once.detail().starts_with("the lock \"stock\" is not free: "), "{at_once}");
}

#[tokio::test(start_paused = true)]
async fn one_that_would_wait_for_itself_is_refused() {
    let (_, locks) = locks();
    let held = locks.lock("stock").who("me").await.unwrap();
    let again = locks.lock("stock").who("me").await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    assert!(again.detail().contains("would wait for itself"), "{again}");
    assert_eq!(locks.line("lock/stock").await.unwrap().len(), 1, "it has left the line");
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn one_that_no_longer_waits_is_out_of_the_line() {
    let (_, locks) = locks();
    let held = locks.lock("stock").await.unwrap();
    let waits = locks.lock("stock").into_future();
    assert!(timeout(SECOND, waits).await.is_err());
    tokio::time::sleep(SECOND / 10).await;
    assert_eq!(locks.line("lock/stock").await.unwrap().len(), 1);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_holder_writes_is_refused_once_the_next_has_fenced() {
    let (store, locks) = locks();
    let first = locks.lock("stock").await.unwrap();
    let fence = first.fence().await.unwrap();
    let write = |fence| {
        let changes = vec![Change::write(Place::default(), "stock", "41")];
        store.apply(Batch { changes, fences: vec![fence], ..Batch::default() })
    };
    write(fence.clone()).await.unwrap();
    first.unlock().await.unwrap();
    let second = locks.lock("stock").await.unwrap();
    let newer = second.fence().await.unwrap();
    let stale = write(fence).await.unwrap_err();
    assert_eq!(stale.reason(), Some(Reason::StaleToken));
    write(newer).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn as_many_hold_a_semaphore_as_it_has_seats() {
    let (_, locks) = locks();
    let one = locks.semaphore("pool", 2).await.unwrap();
    let two = locks.semaphore("pool", 2).await.unwrap();
    assert!(locks.semaphore("pool", 2).now().await.unwrap().is_none());
    let waits = tokio::spawn(locks.semaphore("pool", 2).wait(60 * SECOND).into_future());
    tokio::time::sleep(SECOND).await;
    drop(two);
    let three = waits.await.unwrap().unwrap();
    assert!(!one.is_lost() && !three.is_lost());
    assert!(locks.semaphore("pool", 0).await.unwrap_err().detail().contains("no seats"));
}

#[tokio::test(start_paused = true)]
async fn those_who_look_on_see_leaders_come_and_go() {
    let (_, locks) = locks();
    let mut leaders = locks.leaders("mailer").unwrap();
    assert_eq!(leaders.next().await.unwrap(), None);
    let first = locks.elect("mailer").who("a").note("10.0.0.1:80").await.unwrap();
    let told = leaders.next().await.unwrap().unwrap();
    assert_eq!((told.who.as_str(), told.note.as_str()), ("a", "10.0.0.1:80"));
    assert_eq!(told.token, first.token());
    let second = tokio::spawn(locks.elect("mailer").who("b").into_future());
    assert!(timeout(60 * SECOND, leaders.next()).await.is_err(), "no change");
    first.unlock().await.unwrap();
    assert_eq!(leaders.next().await.unwrap().unwrap().who, "b");
    assert_eq!(locks.leader("mailer").await.unwrap().unwrap().who, "b");
    second.await.unwrap().unwrap().unlock().await.unwrap();
    assert_eq!(leaders.next().await.unwrap(), None);
}

crate::sync_contract!(|| {
    let store = Memory::new();
    crate::sync::contract::Subject::over(store.clone(), store)
});

#[tokio::test(start_paused = true)]
async fn work_of_a_leader_ends_with_its_leadership_and_begins_with_the_next() {
    let (store, locks) = locks();
    let (told, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let leading = tokio::spawn({
        let locks = locks.clone();
        async move {
            let claim = || locks.elect("mailer").ttl(SECOND);
            locks
                .run_as_leader(claim, |leadership| {
                    let told = told.clone();
                    async move {
                        told.send(leadership.token()).unwrap();
                        if leadership.token() == 2 {
                            std::future::pending::<()>().await;
                        }
                        Ok(leadership.token())
                    }
                })
                .await
        }
    });
    assert_eq!(begun.recv().await, Some(2));
    // Another hand takes it out of the line.
    for record in store
        .list(&crate::store::Query::all(Place::new("micro", "locks").unwrap()))
        .await
        .unwrap()
        .records
    {
        if record.key.starts_with("leader/mailer/") {
            store
                .apply(Change::delete(Place::new("micro", "locks").unwrap(), record.key).into())
                .await
                .unwrap();
        }
    }
    let token = begun.recv().await.unwrap();
    assert!(token > 2);
    assert_eq!(leading.await.unwrap().unwrap(), token);
    assert_eq!(locks.leader("mailer").await.unwrap(), None, "it has resigned");
}
