//! Greets, counts, and is told what it did wrong.

use std::time::Duration;

use greeter::greeter_client::GreeterClient;
use greeter::{CountRequest, HelloRequest};
use tonic::Request;

mod greeter {
    tonic::include_proto!("greeter");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = format!("http://{}", std::env::var("GREETER_ADDRESS")?);
    let mut greeter = GreeterClient::connect(address).await?;
    let mut request = Request::new(HelloRequest { name: "Ada".to_owned() });
    request.set_timeout(Duration::from_secs(2));
    println!("{}", greeter.say_hello(request).await?.into_inner().greeting);

    let mut numbers = greeter.count(CountRequest { to: 3 }).await?.into_inner();
    while let Some(number) = numbers.message().await? {
        println!("{}", number.value);
    }

    let nameless = greeter.say_hello(HelloRequest::default()).await;
    println!("{}", nameless.err().ok_or("a greeter needs a name")?.message());
    Ok(())
}
