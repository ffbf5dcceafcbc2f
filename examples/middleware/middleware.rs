//! Functions around calls, on both sides: who may call, for which tenant, how often an attempt is made, and what makes sense.

use std::sync::Arc;

use micro::codec::{Valid, Validate};
use micro::middleware::from_fn;
use micro::registry::Memory;
use micro::resilience::Retry;
use micro::{Client, Context, Error, Json, Result, Service};

#[derive(serde::Serialize, serde::Deserialize)]
struct Order {
    pieces: u32,
}

impl Validate for Order {
    fn validate(&self) -> Result<()> {
        if self.pieces == 0 {
            return Err(Error::invalid_argument("pieces: order at least one"));
        }
        Ok(())
    }
}

async fn buy(context: Context, Valid(Json(order)): Valid<Json<Order>>) -> Result<Json<String>> {
    let tenant = context.metadata().get("tenant").unwrap_or("no tenant").to_owned();
    // The client of the service that this handler belongs to.
    let call = context.client()?.call("prices", "Prices.Of", Json(order.pieces));
    let Json(price): Json<u32> = call.await?;
    Ok(Json(format!("{} pieces for {price}, to {tenant}", order.pieces)))
}

#[tokio::main]
async fn main() -> Result<()> {
    let registry = Arc::new(Memory::new());
    let prices = Service::builder("prices")
        .registry(registry.clone())
        .address("127.0.0.1:0")
        .endpoint(
            "Prices.Of",
            |_: Context, Json(pieces): Json<u32>| async move { Ok(Json(3 * pieces)) },
        )
        .start()
        .await?;

    let shop = Service::builder("shop")
        .registry(registry.clone())
        .address("127.0.0.1:0")
        .endpoint("Shop.Buy", buy)
        .endpoint("Shop.Open", |_: Context, _: Json<()>| async { Ok(Json(true)) })
        // Around every call; health checks and reflection stay outside.
        .layer_fn(|request, next| async move {
            let endpoint = request.context.endpoint().to_owned();
            let answer = next.run(request).await;
            println!("{endpoint}: {}", if answer.is_ok() { "fine" } else { "failed" });
            answer
        })
        // Around one endpoint, within the layers around all.
        .layer_for(
            ["Shop.Buy"],
            from_fn(|request: micro::server::Request, next: micro::server::Handler| async move {
                if request.context.metadata().get("tenant").is_none() {
                    return Err(Error::unauthenticated("send the header `tenant`"));
                }
                next.run(request).await
            }),
        )
        .start()
        .await?;

    let client = Client::builder()
        .registry(registry)
        // Around every call, and its retries.
        .layer_fn(|mut request, next| async move {
            if request.endpoint() == "Shop.Buy" {
                request.metadata_mut().insert("tenant", "blue")?;
            }
            next.run(request).await
        })
        // Around every attempt at a node.
        .attempt_layer_fn(|attempt, next| async move {
            println!("attempt {} at {}", attempt.number(), attempt.endpoint());
            next.run(attempt).await
        })
        // Asked after an attempt that failed.
        .retry(Retry::ask(|failed| async move { Ok(failed.idempotent) }))
        .build()?;

    let Json(open): Json<bool> = client.call("shop", "Shop.Open", Json(())).await?;
    println!("open: {open}");
    for pieces in [2, 0] {
        match client.call::<_, Json<String>>("shop", "Shop.Buy", Json(Order { pieces })).await {
            Ok(Json(bought)) => println!("{bought}"),
            Err(error) => println!("{} {}: {}", error.code(), error.id(), error.detail()),
        }
    }
    shop.stop().await?;
    prices.stop().await
}
