//! Work that is sent, and whose answer is asked for later, by its id.

use std::time::Duration;

use micro::broker::Subscriber;
use micro::{Client, Context, Error, Json, Result, Service};

async fn double(_: Context, Json(number): Json<u64>) -> Result<Json<u64>> {
    let doubled = number.checked_mul(2).ok_or_else(|| Error::invalid_argument("too much"))?;
    Ok(Json(doubled))
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["send", number] => {
            let number: u64 = number.parse().unwrap_or_default();
            let client = Client::new()?;
            let task = client.task("double", Json(number)).await?;
            println!("{}", task.id());
            Ok(())
        }
        ["ask", id] => {
            let task = Client::new()?.task_by_id(id)?;
            println!("{:?}", task.state().await?);
            let Json(answer): Json<u64> = task.result(Duration::from_secs(60)).await?;
            println!("{answer}");
            Ok(())
        }
        _ => {
            let worker = Subscriber::task("double", double).max_attempts(3);
            Service::builder("calculator").subscriber(worker).run().await
        }
    }
}
