//! The three kinds of stream: many replies, many requests, and both at once.

use futures_util::{StreamExt as _, stream};
use micro::{Context, Json, Result, Service, Streaming};

type Number = Json<u64>;

#[tokio::main]
async fn main() -> Result<()> {
    Service::builder("numbers")
        .server_stream("Numbers.Count", |_: Context, Json(to): Number| async move {
            Ok(stream::iter((1..=to).map(|n| Ok(Json(n)))))
        })
        .client_stream("Numbers.Sum", |_: Context, mut numbers: Streaming<Number>| async move {
            let mut sum = 0;
            while let Some(Json(number)) = numbers.message().await? {
                sum += number;
            }
            Ok(Json(sum))
        })
        .bidi_stream("Numbers.Double", |_: Context, numbers: Streaming<Number>| async move {
            Ok(numbers.map(|number| Ok(Json(number?.0 * 2))))
        })
        .run()
        .await
}
