//! Orders that are published, billed once whatever fails, and looked at when they cannot be.

use micro::broker::Subscriber;
use micro::{Client, Context, Error, Json, Result, Service};

async fn bill(context: Context, Json(order): Json<u64>) -> Result<()> {
    let attempt = context.delivered().map_or(1, |delivered| delivered.attempt);
    if order == 13 {
        return Err(Error::failed_precondition("the card was refused"));
    }
    println!("order {order}, attempt {attempt}");
    Ok(())
}

async fn look(context: Context, Json(order): Json<u64>) -> Result<()> {
    let why = context.metadata().get("micro-dead-reason").unwrap_or_default();
    println!("order {order} was given up: {why}");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let service = Service::builder("billing")
        .subscriber(Subscriber::new("orders", bill).queue("billing").max_attempts(3))
        .subscriber(Subscriber::new("orders.dead", look).queue("people"));
    let order = std::env::args().nth(1).and_then(|order| order.parse::<u64>().ok());
    match order {
        Some(order) => {
            let client = Client::new()?;
            client.publish("orders", Json(order)).metadata("tenant", "blue").await
        }
        None => service.run().await,
    }
}
