//! Reads a stream, sends a stream, and holds a conversation.

use futures_util::stream;
use micro::{Client, Json, Result, Streaming};

type Number = Json<u64>;

#[tokio::main]
async fn main() -> Result<()> {
    let client = Client::new()?;

    let mut counted: Streaming<Number> =
        client.server_stream("numbers", "Numbers.Count", Json(3u64)).await?;
    while let Some(Json(number)) = counted.message().await? {
        println!("counted {number}");
    }

    let numbers = stream::iter([1u64, 2, 3].map(Json));
    let Json(sum): Number = client.client_stream("numbers", "Numbers.Sum", numbers).await?;
    println!("the sum is {sum}");

    // Both directions are open at once: each request is sent after the reply to the last one.
    let (outgoing, mut doubled) =
        client.open::<Number, Number>("numbers", "Numbers.Double").await?;
    let mut number = 1;
    while number < 10 {
        outgoing.send(Json(number)).await?;
        let Some(Json(twice)) = doubled.message().await? else { break };
        println!("twice {number} is {twice}");
        number = twice;
    }
    Ok(())
}
