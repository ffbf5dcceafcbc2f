//! What a child of a fork has of a lock that its parent holds. One test, as a process forks once: what a fork does to the library is done
//! here without one.
#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]

use std::sync::Arc;
use std::time::Duration;

use micro::Code;
use micro::store::{Memory, Store};
use micro::sync;
use tokio::time::timeout;

#[tokio::test]
async fn a_lock_is_its_parents_and_the_child_gives_back_nothing() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let locks = sync::over(store.clone());
    let ttl = Duration::from_secs(60);
    let held = locks.lock("stock").who("me").ttl(ttl).await.expect("a lock");
    let dropped = locks.lock("orders").ttl(ttl).await.expect("a lock");
    assert!(!held.is_lost());
    micro::fork::in_child();
    assert!(held.is_lost() && dropped.is_lost());
    let at_once = Duration::from_secs(2);
    timeout(at_once, held.lost()).await.expect("it is told at once");
    assert_eq!(held.fence().await.expect_err("it is the parent's").code(), Code::Aborted);
    timeout(at_once, held.unlock()).await.expect("at once").expect("nothing to do");
    drop(dropped);
    // The parent, which is this process after all, has them still: they are what the child waits for, and not its own.
    for name in ["stock", "orders"] {
        let late = locks.lock(name).who("me").wait(Duration::from_millis(100)).await;
        assert_eq!(late.expect_err("it is held").code(), Code::DeadlineExceeded);
    }
}
