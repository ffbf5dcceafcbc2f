//! Messages as plain `prost-build` makes them: with descriptors that the server is given, they speak JSON too.
#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]

use futures_util::{StreamExt as _, stream};
use micro::server::{Endpoint, Server};
use micro::{Code, Context, Json, Proto, Result, Streaming};
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, ServiceDescriptorProto,
};
use serde_json::{Value, json};

mod support;

/// `message Order { int64 order_id = 1; string buyer = 2; }`, without a descriptor.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Order {
    #[prost(int64, tag = "1")]
    order_id: i64,
    #[prost(string, tag = "2")]
    buyer: String,
}

/// `package shop.v1` with `Order`, and a service `Shop` of `rpc Buy(Order) returns (Order)` and `rpc Each(stream Order) returns (stream
/// Order)`.
fn descriptors() -> Vec<u8> {
    let field = |name: &str, number, kind: Type| FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        ..FieldDescriptorProto::default()
    };
    let method = |name: &str, streams| MethodDescriptorProto {
        name: Some(name.into()),
        input_type: Some(".shop.v1.Order".into()),
        output_type: Some(".shop.v1.Order".into()),
        client_streaming: Some(streams),
        server_streaming: Some(streams),
        ..MethodDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("shop.proto".into()),
        package: Some("shop.v1".into()),
        message_type: vec![DescriptorProto {
            name: Some("Order".into()),
            field: vec![field("order_id", 1, Type::Int64), field("buyer", 2, Type::String)],
            ..DescriptorProto::default()
        }],
        service: vec![ServiceDescriptorProto {
            name: Some("Shop".into()),
            method: vec![method("Buy", false), method("Each", true)],
            ..ServiceDescriptorProto::default()
        }],
        syntax: Some("proto3".into()),
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

async fn buy(_: Context, Proto(order): Proto<Order>) -> Result<Proto<Order>> {
    Ok(Proto(Order { order_id: order.order_id + 1, ..order }))
}

fn each() -> Endpoint {
    Endpoint::bidi_stream("Shop.Each", |_: Context, orders: Streaming<Proto<Order>>| async move {
        Ok(orders)
    })
}

#[tokio::test]
async fn a_descriptor_set_brings_json_to_plain_protobuf_types() -> Result<()> {
    let registry = support::memory();
    let service = support::service(&registry, "shop")
        .endpoint("Shop.Buy", buy)
        .handle(each())
        .descriptors(&descriptors())
        .start()
        .await?;
    let client = support::client(&registry);
    let Json(reply): Json<Value> =
        client.call("shop", "Shop.Buy", Json(json!({"orderId": "41", "new": 1}))).await?;
    assert_eq!(reply, json!({"order_id": "42", "buyer": ""}));
    let order = Order { order_id: 1, buyer: "Ada".into() };
    let Proto(reply): Proto<Order> = client.call("shop", "Shop.Buy", Proto(order)).await?;
    assert_eq!(reply, Order { order_id: 2, buyer: "Ada".into() });
    let orders = stream::iter([Json(json!({"orderId": 7})), Json(json!({"buyer": "Bob"}))]);
    let replies: Streaming<Json<Value>> = client.bidi_stream("shop", "Shop.Each", orders).await?;
    let replies: Vec<_> = replies.collect().await;
    assert_eq!(
        replies.into_iter().collect::<Result<Vec<_>>>()?,
        [
            Json(json!({"order_id": "7", "buyer": ""})),
            Json(json!({"order_id": "0", "buyer": "Bob"}))
        ]
    );
    let call = client.call::<_, Json<Value>>("shop", "Shop.Buy", Json(json!({"order_id": "x"})));
    let error = call.await.expect_err("no order");
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    assert!(error.detail().contains("order_id"), "{error}");
    // The registry knows the fields, too.
    let known = client.cache().resolve("shop").await?;
    let request = known.endpoint(None, "Shop.Buy").and_then(|known| known.request.clone());
    let names: Vec<_> = request.expect("told").values.into_iter().map(|field| field.name).collect();
    assert_eq!(names, ["order_id", "buyer"]);
    service.stop().await
}

#[tokio::test]
async fn without_descriptors_plain_protobuf_types_speak_protobuf_alone() -> Result<()> {
    let registry = support::memory();
    let service = support::service(&registry, "shop").endpoint("Shop.Buy", buy).start().await?;
    let client = support::client(&registry);
    let call = client.call::<_, Json<Value>>("shop", "Shop.Buy", Json(json!({})));
    let error = call.await.expect_err("no JSON");
    assert_eq!(error.code(), Code::Unimplemented, "{error}");
    assert!(error.detail().contains("`descriptors`"), "{error}");
    service.stop().await
}

#[tokio::test]
async fn descriptors_that_do_not_fit_end_the_start() {
    let server = || Server::builder("shop").address("127.0.0.1:0");
    let none = server().descriptors(b"no descriptors").start().await.expect_err("no set");
    assert!(none.detail().contains("FileDescriptorSet"), "{none}");
    let unary = Endpoint::unary("Shop.Each", buy);
    let other = server().descriptors(&descriptors()).handle(unary).start().await;
    let other = other.expect_err("another kind");
    assert_eq!(other.code(), Code::InvalidArgument, "{other}");
    assert!(other.detail().contains("shop.v1.Shop.Each"), "{other}");
}

#[tokio::test]
async fn of_two_packages_each_has_its_own_descriptors() -> Result<()> {
    let server = Server::builder("shop")
        .address("127.0.0.1:0")
        .descriptors(&descriptors())
        .handle(Endpoint::unary("shop.v1.Shop.Buy", buy))
        .handle(Endpoint::unary("shop.v2.Shop.Buy", buy))
        .start()
        .await?;
    let told: Vec<_> = server
        .endpoints()
        .iter()
        .map(|known| known.request.as_ref().map_or(0, |request| request.values.len()))
        .collect();
    assert_eq!(told, [2, 0]);
    server.stop().await;
    Ok(())
}
