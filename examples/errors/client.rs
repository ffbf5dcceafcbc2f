//! Every failure is an `Error` that says what, where and how often it was tried.

use std::time::Duration;

use micro::{Client, Code, Error, Json, Reason, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let client = Client::new()?;

    let Json(balance): Json<i64> =
        client.call("accounts", "Accounts.Balance", Json("ada".to_owned())).await?;
    println!("ada has {balance}");

    // What the handler refused with arrives as it was: code, detail, and the id it gave itself.
    let refused: Result<Json<i64>> =
        client.call("accounts", "Accounts.Balance", Json("bob".to_owned())).await;
    tell(&refused.err());

    // A deadline holds on both sides: the caller stops waiting, the handler is stopped.
    let late: Result<Json<()>> = client
        .call("accounts", "Accounts.Audit", Json(()))
        .timeout(Duration::from_millis(100))
        .await;
    tell(&late.err());

    // A service that was not started.
    let missing: Result<Json<()>> = client.call("payments", "Payments.Pay", Json(())).await;
    tell(&missing.err());
    Ok(())
}

fn tell(error: &Option<Error>) {
    let Some(error) = error else { return println!("no error") };
    let advice = match error.code() {
        Code::NotFound => "look for something else",
        Code::Unavailable if error.reason() == Some(Reason::NoNodes) => {
            "start it, or wait_for_ready"
        }
        Code::DeadlineExceeded => "give it more time",
        _ => "ask its owner",
    };
    // Where the call went is known of every error a client returns.
    let attempts = error.origin().map_or(0, |origin| origin.attempts);
    println!("{} {}: {} ({attempts} attempts; {advice})", error.code(), error.id(), error.detail());
}
