//! One message or many each way, with either side as the server.

use futures_util::{StreamExt as _, stream};
use micro_tests::hall::{CountRequest, HelloRequest, Number, Text};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::metadata::MetadataValue;

use crate::hall::{Hall, PAIRS, soon};

pub(crate) fn hello(name: &str) -> HelloRequest {
    HelloRequest { name: name.to_owned(), ballast: Vec::new() }
}

#[tokio::test]
async fn every_shape_of_call_goes_through() {
    for (server, channel) in PAIRS {
        let pair = format!("{server:?} {channel:?}");
        let hall = Hall::open(server).await;
        let mut client = hall.client(channel).await;
        let reply = client.hello(hello("Ada")).await.expect(&pair).into_inner();
        assert_eq!(
            (reply.greeting.as_str(), reply.node.as_str()),
            ("Hello, Ada!", "one"),
            "{pair}"
        );

        let counted = client.count(CountRequest { to: 1000, fail: false }).await.expect(&pair);
        let counted: Vec<_> = counted.into_inner().map(|n| n.expect(&pair).value).collect().await;
        assert_eq!(counted, (1..=1000).collect::<Vec<_>>(), "{pair}");

        let none = client.count(CountRequest { to: 0, fail: false }).await.expect(&pair);
        assert_eq!(none.into_inner().count().await, 0, "{pair}");

        let numbers = stream::iter((1..=1000).map(|value| Number { value }));
        let sum = client.sum(numbers).await.expect(&pair).into_inner();
        assert_eq!(sum.value, 500_500, "{pair}");
    }
}

#[tokio::test]
async fn both_sides_of_a_stream_take_turns() {
    for (server, channel) in PAIRS {
        let pair = format!("{server:?} {channel:?}");
        let hall = Hall::open(server).await;
        let mut client = hall.client(channel).await;
        let (texts, receiver) = mpsc::channel(1);
        let answer = client.chat(ReceiverStream::new(receiver)).await.expect(&pair);
        let mut answer = answer.into_inner();
        for turn in 0..10 {
            let text = format!("turn {turn}");
            texts.send(Text { text: text.clone() }).await.expect(&pair);
            let echo = soon(&pair, answer.message()).await.expect(&pair).expect("a text");
            assert_eq!(echo.text, text, "{pair}");
        }
        drop(texts);
        assert_eq!(soon(&pair, answer.message()).await.expect(&pair), None, "{pair}");
    }
}

#[tokio::test]
async fn metadata_goes_both_ways() {
    for (server, channel) in PAIRS {
        let pair = format!("{server:?} {channel:?}");
        let hall = Hall::open(server).await;
        let mut client = hall.client(channel).await;
        let mut request = Request::new(hello("tenant"));
        request.metadata_mut().insert("tenant", "blue".parse().unwrap());
        let reply = client.hello(request).await.expect(&pair);
        assert_eq!(reply.metadata().get("served-by").expect(&pair), "one");
        let seal = reply.metadata().get_bin("seal-bin").expect(&pair).to_bytes().expect(&pair);
        assert_eq!(*seal, [255, 0], "{pair}");
        assert_eq!(reply.into_inner().greeting, "blue", "{pair}");

        let mut request = Request::new(hello("blob"));
        request.metadata_mut().insert_bin("blob-bin", MetadataValue::from_bytes(&[0, 128, 255]));
        let reply = client.hello(request).await.expect(&pair).into_inner();
        assert_eq!(reply.greeting, r#"Some(b"\0\x80\xff")"#, "{pair}");

        let counted = client.count(CountRequest { to: 1, fail: false }).await.expect(&pair);
        assert_eq!(counted.metadata().get("served-by").expect(&pair), "one");
    }
}

#[tokio::test]
async fn large_messages_go_through_and_too_large_ones_are_refused() {
    for (server, channel) in PAIRS {
        let pair = format!("{server:?} {channel:?}");
        let hall = Hall::open(server).await;
        let mut client = hall.client(channel).await;
        let ballast: Vec<u8> = (0..3 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
        let request = HelloRequest { name: "Ada".to_owned(), ballast: ballast.clone() };
        let reply = client.hello(request).await.expect(&pair).into_inner();
        assert!(reply.ballast == ballast, "{pair}: the ballast came back changed");
        let request = HelloRequest { name: "Ada".to_owned(), ballast: vec![7; 5 << 20] };
        let status = client.hello(request).await.expect_err(&pair);
        // tonic's own server says OUT_OF_RANGE.
        let codes = [tonic::Code::ResourceExhausted, tonic::Code::OutOfRange];
        assert!(codes.contains(&status.code()), "{pair}: {status}");
    }
}

#[tokio::test]
async fn messages_are_compressed_as_the_stubs_say() {
    for (server, channel) in PAIRS {
        let pair = format!("{server:?} {channel:?}");
        let hall = Hall::open(server).await;
        let mut client = hall.client(channel).await.send_compressed(Gzip).accept_compressed(Gzip);
        let request = HelloRequest { name: "Ada".to_owned(), ballast: vec![7; 100_000] };
        let reply = client.hello(request).await.expect(&pair);
        assert_eq!(reply.metadata().get("grpc-encoding").expect(&pair), "gzip", "{pair}");
        assert_eq!(reply.into_inner().ballast, vec![7; 100_000], "{pair}");
        let counted = client.count(CountRequest { to: 300, fail: false }).await.expect(&pair);
        assert_eq!(counted.metadata().get("grpc-encoding").expect(&pair), "gzip", "{pair}");
        assert_eq!(counted.into_inner().count().await, 300, "{pair}");
        let numbers = stream::iter((1..=300).map(|value| Number { value }));
        assert_eq!(client.sum(numbers).await.expect(&pair).into_inner().value, 45_150, "{pair}");

        // A client that did not say it reads gzip is sent none.
        let mut plain = hall.client(channel).await;
        let reply = plain.hello(hello("Ada")).await.expect(&pair);
        assert!(reply.metadata().get("grpc-encoding").is_none(), "{pair}");
    }
}
