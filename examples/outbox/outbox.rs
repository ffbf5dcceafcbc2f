//! An order that is written down and announced by one transaction: both happen, or neither.

use std::sync::Arc;

use micro::broker::{Broker, Durable, Start, Subscription, Verdict};
use micro::{Client, Error, Json, Result};
use micro_outbox::Relay;
use micro_outbox::sqlite::Outbox;
use rusqlite::Connection;

fn order(database: &mut Connection, outbox: &Outbox, client: &Client, id: u32) -> Result<()> {
    let said = |error: rusqlite::Error| Error::internal(error.to_string());
    let transaction = database.transaction().map_err(said)?;
    transaction.execute("INSERT INTO orders (id) VALUES (?1)", [id]).map_err(said)?;
    let message = client.publish("orders", Json(id)).key(id.to_string()).into_message()?;
    outbox.publish(&transaction, &message)?;
    transaction.commit().map_err(said)
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("tell me a folder")?;
    let shop = format!("{folder}/shop.db");
    let mut database = Connection::open(&shop)?;
    database.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY)", [])?;
    let broker: Arc<dyn Broker> = Arc::new(Durable::new(format!("{folder}/data")));
    let outbox = Outbox::new("outbox")?;
    outbox.migrate(&mut database)?;
    let relay = Relay::sqlite(&shop, outbox.clone(), broker.clone());
    let client = Client::builder().broker(broker.clone()).build()?;
    order(&mut database, &outbox, &client, 7)?;
    // The order is there already, so nothing is announced.
    assert!(order(&mut database, &outbox, &client, 7).is_err(), "an order was taken twice");
    order(&mut database, &outbox, &client, 8)?;

    let mut subscription = Subscription::new("orders");
    subscription.start = Start::First;
    let mut announced = broker.subscribe(subscription).await?;
    for _ in 0..2 {
        let delivery = announced.next().await?.ok_or("the broker has ended")?;
        println!("announced {}", String::from_utf8_lossy(&delivery.delivered.message.body));
        delivery.settle(Verdict::Ack).await?;
    }
    relay.stop().await;
    Ok(())
}
