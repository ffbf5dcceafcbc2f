//! Nodes of a shop that agree who does what: a lock, a leader, seats, a meeting, a rate, and work that is done once.

use std::sync::Arc;
use std::time::Duration;

use micro::Result;
use micro::store::{self, Batch, Change, Place, Store};
use micro::sync::{self, Locks, Rate};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn sell(locks: &Arc<dyn Locks>, store: &Arc<dyn Store>) -> Result<()> {
    let held = locks.lock("stock").wait(Duration::from_secs(5)).await?;
    // From here on, an earlier holder changes nothing any more.
    let fence = held.fence().await?;
    let stock = store.read(&Place::default(), "stock").await?;
    let left = stock.map_or(41, |_| 40);
    let change = Change::write(Place::default(), "stock", left.to_string());
    store.apply(Batch { fences: vec![fence], ..change.into() }).await?;
    println!("sold one, {left} are left");
    held.unlock().await
}

async fn send_mails(locks: &Arc<dyn Locks>, store: &Arc<dyn Store>) -> Result<()> {
    let mails = Rate::new(store, "mails", 100, Duration::from_secs(1))?;
    let sent = locks
        .run_as_leader(
            || locks.elect("mailer").who("shop-1").note("10.0.0.1:8080"),
            async |leadership| {
                let mut sent = 0;
                while sent < 3 && !leadership.is_lost() {
                    mails.take(1, Duration::from_secs(2)).await?;
                    sent += 1;
                }
                Ok(sent)
            },
        )
        .await?;
    println!("sent {} mails", sent);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let store = store::connect("memory://")?;
    let locks = sync::over(store.clone());
    sell(&locks, &store).await?;

    let seat = locks.semaphore("reports", 2).await?;
    println!("one of two reports is made");
    seat.unlock().await?;

    let mut leaders = locks.leaders("mailer")?;
    if leaders.next().await?.is_none() {
        println!("nobody leads");
    }
    send_mails(&locks, &store).await?;

    let done = sync::once(&store, "move the prices", DAY, async |_| Ok("moved")).await?;
    println!("the prices were {}", done.unwrap_or("moved before"));

    sync::barrier(&store, "ready", 1).wait(Duration::from_secs(60)).await?;
    println!("all are here");
    Ok(())
}
