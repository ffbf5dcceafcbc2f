//! A clock. What it says of itself are defaults: its operator decides, by flags, variables or a document.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use micro::{Context, Error, Json, Service};

#[tokio::main]
async fn main() -> micro::Result<()> {
    Service::builder("clock")
        .version("1.2")
        .grace(Duration::from_secs(30))
        .endpoint("Clock.Now", |_: Context, Json(()): Json<()>| async {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            Ok(Json(now.map_err(|error| Error::internal(error.to_string()))?.as_secs()))
        })
        .from_args()
        .run()
        .await
}
