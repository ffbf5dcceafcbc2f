//! A shop that cleans up by the clock, once in the fleet, and refreshes what each node has by itself.

use std::time::Duration;

use micro::jobs::{Job, Missed, Scope};
use micro::resilience::Backoff;
use micro::{Context, Error, Result, Service};

async fn clean(context: Context) -> Result<()> {
    let job = context.job().ok_or_else(|| Error::internal("this is no run"))?;
    println!("cleaned, attempt {}", job.attempt);
    Ok(())
}

async fn refresh(_: Context) -> Result<()> {
    println!("refreshed");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let clean_up = std::env::var("CLEAN_UP").unwrap_or_else(|_| "0 3 * * *".to_owned());
    let nightly = Job::cron(clean_up, clean)
        .name("clean")
        .zone("Europe/Berlin")
        .missed(Missed::Once)
        .timeout(Duration::from_secs(600))
        .max_attempts(3)
        .retry(Backoff::custom(|attempt| Duration::from_secs(30) * attempt));
    let service = Service::builder("shop")
        .job(nightly)
        .job(Job::every("1s", refresh).name("refresh").scope(Scope::Node));
    service.run().await
}
