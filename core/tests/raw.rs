//! Endpoints whose handler takes the call unread, as handlers in other languages do.
#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]

use futures_util::StreamExt as _;
use micro::server::{Body, Endpoint, Request, Response};
use micro::settings::EndpointSettings;
use micro::{Codec, Json, Messages, Raw, Result, Shape};

mod support;

/// Answers with the codec and the requests, one message each.
fn mirror(name: &str, shape: Shape) -> Endpoint {
    Endpoint::raw(name, shape, |request: Request| async move {
        let codec = request.codec;
        let Body::Stream(messages) = request.body else {
            return Ok(Response { body: Body::Message(codec.name().into()) });
        };
        let body = Body::Stream(Messages::new(messages));
        Ok(Response { body })
    })
}

#[tokio::test]
async fn a_raw_endpoint_is_given_the_codec_and_the_bytes_of_the_caller() -> Result<()> {
    let registry = support::memory();
    let service = support::service(&registry, "mirror")
        .handle(mirror("Mirror.Codec", Shape::Unary))
        .handle(mirror("Mirror.Echo", Shape::BidiStream))
        .start()
        .await?;
    let client = support::client(&registry);
    for codec in [Codec::Proto, Codec::Json] {
        let Raw(named) = client
            .call("mirror", "Mirror.Codec", Raw::from("hi"))
            .content_type(codec.grpc_content_type())
            .await?;
        assert_eq!(named, codec.name());
    }
    let numbers = futures_util::stream::iter([Json(1), Json(2)]);
    let replies = client.bidi_stream("mirror", "Mirror.Echo", numbers).await?;
    let replies: Vec<Result<Json<u32>>> = replies.collect().await;
    assert_eq!(replies.into_iter().collect::<Result<Vec<_>>>()?, [Json(1), Json(2)]);
    service.stop().await
}

#[tokio::test]
async fn the_registry_says_of_a_raw_endpoint_what_its_settings_do() -> Result<()> {
    let registry = support::memory();
    let settings = r#"{"idempotent": true, "request": "Name", "response": "Greeting"}"#;
    let hello = mirror("Greeter.Hello", Shape::Unary);
    let service = support::service(&registry, "greeter")
        .handle(EndpointSettings::from_json(settings)?.apply(hello)?)
        .handle(mirror("Greeter.Plain", Shape::Unary))
        .start()
        .await?;
    let described: Vec<_> = service
        .server()
        .endpoints()
        .iter()
        .map(|endpoint| {
            let name = |value: &Option<micro::registry::Value>| {
                value.as_ref().map(|value| value.name.clone()).unwrap_or_default()
            };
            let idempotent = endpoint.metadata.contains_key("idempotent");
            (endpoint.name.as_str(), name(&endpoint.request), name(&endpoint.response), idempotent)
        })
        .collect();
    assert_eq!(
        described,
        [
            ("Greeter.Hello", "Name".to_owned(), "Greeting".to_owned(), true),
            ("Greeter.Plain", "bytes".to_owned(), "bytes".to_owned(), false),
        ]
    );
    service.stop().await
}

#[tokio::test]
async fn the_registry_has_the_fields_of_types_of_serde() -> Result<()> {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Order {
        id: u64,
        lines: Vec<Line>,
        first: Option<Line>,
    }
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Line {
        part: String,
    }
    let registry = support::memory();
    let buy = |_: micro::Context, Json(order): Json<Order>| async move { Ok(Json(order.lines)) };
    let service = support::service(&registry, "shop")
        .handle(Endpoint::unary("Shop.Buy", buy))
        .start()
        .await?;
    let client = support::client(&registry);
    let known = client.cache().resolve("shop").await?;
    let endpoint = known.endpoint(None, "Shop.Buy").expect("it is advertised");
    assert_eq!(
        serde_json::to_value(&endpoint.request).expect("a record"),
        serde_json::json!({"name": "Order", "type": "Order", "values": [
            {"name": "id", "type": "uint64", "values": null},
            {"name": "lines", "type": "[]Line", "values": null},
            {"name": "first", "type": "Line", "values": [{"name": "part", "type": "string", "values": null}]},
        ]})
    );
    let response = endpoint.response.as_ref().expect("it is told");
    assert_eq!((response.kind.as_str(), response.values.len()), ("[]Line", 0));
    service.stop().await
}
