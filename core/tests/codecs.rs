//! Codecs that a program adds: chosen by content type, by clients and servers alike.
#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]

use bytes::{BufMut as _, BytesMut};
use futures_util::{StreamExt as _, stream};
use micro::codec::{self, Format, FormatError};
use micro::server::{Body, Endpoint, Request, Response};
use micro::{Code, Codec, Context, Json, Raw, Result, Shape, Streaming};
use serde::de::DeserializeSeed;
use serde::{Deserialize, Serialize};

mod support;

struct MessagePack;

impl Format for MessagePack {
    fn write<T>(&self, value: &T, buffer: &mut BytesMut) -> Result<(), FormatError>
    where
        T: Serialize + ?Sized,
    {
        let mut writer = rmp_serde::Serializer::new(buffer.writer()).with_struct_map();
        Ok(value.serialize(&mut writer)?)
    }

    fn read<'de, S>(&self, bytes: &'de [u8], seed: S) -> Result<S::Value, FormatError>
    where
        S: DeserializeSeed<'de>,
    {
        Ok(seed.deserialize(&mut rmp_serde::Deserializer::from_read_ref(bytes))?)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    name: String,
    pieces: u32,
}

fn order(pieces: u32) -> Json<Order> {
    Json(Order { name: "screws".into(), pieces })
}

#[tokio::test]
async fn both_sides_choose_an_added_codec_by_its_content_type() -> Result<()> {
    codec::provide("msgpack", MessagePack)?;
    let registry = support::memory();
    let service = support::service(&registry, "shop")
        .handle(Endpoint::unary("Shop.Double", |_: Context, Json(order): Json<Order>| async move {
            Ok(Json(Order { pieces: order.pieces * 2, ..order }))
        }))
        .handle(Endpoint::bidi_stream(
            "Shop.Each",
            |_: Context, orders: Streaming<Json<Order>>| async move { Ok(orders) },
        ))
        .handle(Endpoint::raw("Shop.Raw", Shape::Unary, |request: Request| async move {
            let bytes = request.body.into_message().await?;
            let said = [request.codec.name().as_bytes(), b" ", &bytes].concat();
            Ok(Response { body: Body::Message(said.into()) })
        }))
        .start()
        .await?;
    let client = support::client(&registry);
    for content_type in ["application/grpc+msgpack", "application/msgpack"] {
        let call = client.call("shop", "Shop.Double", order(3));
        let Json(doubled): Json<Order> = call.content_type(content_type).await?;
        assert_eq!(doubled, order(6).0);
        // The bytes on the wire are the format's.
        let call = client.call("shop", "Shop.Raw", order(1)).content_type(content_type);
        let Raw(said) = call.await?;
        assert_eq!(said, &b"msgpack \x82\xa4name\xa6screws\xa6pieces\x01"[..]);
    }
    let orders = stream::iter([order(1), order(2)]);
    let call = client.bidi_stream("shop", "Shop.Each", orders);
    let replies: Streaming<Json<Order>> = call.content_type("application/msgpack").await?;
    let replies: Vec<_> = replies.collect().await;
    assert_eq!(replies.into_iter().collect::<Result<Vec<_>>>()?, [order(1), order(2)]);
    let call = client.call::<_, Raw>("shop", "Shop.Double", Raw::from(&b"\xc1"[..]));
    let error = call.content_type("application/msgpack").await.expect_err("no order");
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    assert!(error.detail().contains("Order"), "{error}");
    service.stop().await
}

#[tokio::test]
async fn a_declared_codec_takes_bytes_from_caller_to_handler_and_back() -> Result<()> {
    let registry = support::memory();
    let service = support::service(&registry, "echo")
        .handle(Endpoint::raw("Echo.Codec", Shape::Unary, |request: Request| async move {
            Ok(Response { body: Body::Message(request.codec.name().into()) })
        }))
        .start()
        .await?;
    let client = support::client(&registry);
    let call = |content_type| {
        client.call::<_, Raw>("echo", "Echo.Codec", Raw::from("hi")).content_type(content_type)
    };
    let error = call("application/x.sealed").await.expect_err("not in the table");
    assert_eq!(error.code(), Code::Unimplemented, "{error}");
    let sealed = codec::declare("x.sealed")?;
    assert_eq!(call(sealed.grpc_content_type()).await?, Raw::from("x.sealed"));
    assert_eq!(Codec::from_content_type("application/x.sealed")?, sealed);
    service.stop().await
}
