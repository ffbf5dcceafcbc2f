//! Orders in a store: written once, changed by version, listed and watched.

use std::time::Duration;

use micro::{Client, Json, Result};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    item: String,
    paid: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    // What MICRO_STORE or --store names; a folder of this machine unless they say otherwise.
    let client = Client::builder().build()?;
    let orders = client.table("orders")?;
    let order = Order { item: "tea".to_owned(), paid: false };

    let day = Duration::from_secs(24 * 60 * 60);
    let version = orders.write("7", Json(order)).ttl(day).if_absent().await?;

    let mut changes = orders.watch::<Json<Order>>().after(version).await?;

    let mut order = orders.read::<Json<Order>>("7").await?;
    order.value.0.paid = true;
    orders.write("7", Json(order.value.0)).if_version(order.version).await?;

    if let Some(change) = changes.next().await? {
        match change.entry {
            Some(order) => println!("order {} is paid: {}", change.key, order.value.0.paid),
            None => println!("{} is gone", change.key),
        }
    }

    let mut all = orders.list().prefix("7").entries::<Json<Order>>();
    while let Some(order) = all.next().await? {
        println!("{}: {}", order.key, order.value.0.item);
    }

    let again = orders.write("7", Json(())).if_absent().await;
    let refused = again.err().and_then(|error| error.reason());
    println!("written once more: {}", refused.map_or("yes", |reason| reason.name()));
    orders.delete("7").await?;
    Ok(())
}
