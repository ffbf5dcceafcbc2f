//! What a service tells of itself beside go-micro's `Debug`.
//!
//! `Debug.Cache` (wire reference 11) is what its client keeps of replies. go-micro tells the replies themselves, to any caller. They
//! are answers to others, so this tells that they are there. `Debug.Jobs` is ours.

use serde_json::{Value, json};

use crate::client::Client;
use crate::codec::Json;
use crate::context::Context;
use crate::jobs::{Board, Status};
use crate::proto::debug::{CacheRequest, CacheResponse};
use crate::server::Endpoint;

pub(super) fn cache(client: &Client) -> Endpoint {
    let client = client.clone();
    Endpoint::unary("Debug.Cache", move |_: Context, _: CacheRequest| {
        let replies = client.cached().into_iter().map(|reply| {
            let told = json!({
                "service": reply.service,
                "endpoint": reply.endpoint,
                "bytes": reply.message.len(),
                "expires_ms": u64::try_from(reply.expires_in.as_millis()).unwrap_or(u64::MAX),
            });
            (reply.key, told.to_string())
        });
        let values = replies.collect();
        async move { Ok(CacheResponse { values }) }
    })
    .internal()
}

/// The jobs of a service, and their last runs. Moments are milliseconds since 1970.
pub(super) fn jobs(board: &Board) -> Endpoint {
    let board = board.clone();
    Endpoint::unary("Debug.Jobs", move |_: Context, _: Json<Value>| {
        let jobs: Vec<Value> = board.statuses().iter().map(Status::to_json).collect();
        async move { Ok(Json(json!({ "jobs": jobs }))) }
    })
    .internal()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::Fleet;
    use crate::{Json, Result, Service};

    #[tokio::test]
    async fn the_cache_of_a_service_is_told_without_what_is_in_it() -> Result<()> {
        let fleet = Fleet::new();
        let hello = |_: Context, Json(name): Json<String>| async move { Ok(Json(name)) };
        let greeter = Service::builder("greeter").endpoint("Greeter.Hello", hello);
        let service = fleet.start(greeter).await?;
        let call = service.client().call("greeter", "Greeter.Hello", Json("secret".to_owned()));
        let _: Json<String> = call.cached(Duration::from_secs(60)).await?;
        let asked = fleet.client().call("greeter", "Debug.Cache", Json(json!({})));
        let Json(answer): Json<Value> = asked.await?;
        let (key, told) = answer["values"].as_object().and_then(|map| map.iter().next()).unwrap();
        assert_eq!(*key, service.client().cached()[0].key);
        let told: Value = serde_json::from_str(told.as_str().unwrap()).unwrap();
        assert_eq!(
            (&told["service"], &told["endpoint"]),
            (&json!("greeter"), &json!("Greeter.Hello"))
        );
        assert_eq!(told["bytes"], 8);
        assert!(!answer.to_string().contains("secret"));
        fleet.stop().await
    }
}
