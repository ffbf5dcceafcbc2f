//! Calls the greeter by its name, wherever it runs.

use micro::{Client, Json};
use serde_json::json;

#[tokio::main]
async fn main() -> micro::Result<()> {
    let client = Client::new()?;
    let request = Json(json!({ "name": "Ada" }));
    let Json(reply): Json<String> = client.call("greeter", "Greeter.Hello", request).await?;
    println!("{reply}");
    Ok(())
}
