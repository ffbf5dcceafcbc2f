//! Refuses, and takes its time: what callers see of it is in the client next door.

use std::time::Duration;

use micro::{Context, Error, Json, Result, Service};

#[tokio::main]
async fn main() -> Result<()> {
    Service::builder("accounts")
        .endpoint("Accounts.Balance", |_: Context, Json(owner): Json<String>| async move {
            match owner.as_str() {
                "" => Err(Error::invalid_argument("owner is empty").with_id("accounts")),
                "ada" => Ok(Json(1815)),
                _ => Err(Error::not_found(format!("{owner} has no account")).with_id("accounts")),
            }
        })
        .endpoint("Accounts.Audit", |cx: Context, _: Json<()>| async move {
            // The deadline travels with the call; a handler can see how much of it is left.
            let left = cx.remaining().unwrap_or_default();
            eprintln!("the caller waits another {left:?}");
            // When the caller no longer waits, this handler is dropped where it stands.
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(Json(()))
        })
        .run()
        .await
}
