//! Greets its callers, and says which process did.

use micro::{Context, Json, Service, server::Endpoint};

#[derive(serde::Serialize, serde::Deserialize)]
struct Person {
    name: String,
}

#[tokio::main]
async fn main() -> micro::Result<()> {
    let hello = |_: Context, Json(person): Json<Person>| async move {
        Ok(Json(format!("Hello, {}! I am process {}.", person.name, std::process::id())))
    };
    Service::builder("greeter")
        .handle(Endpoint::unary("Greeter.Hello", hello).idempotent())
        .run()
        .await
}
