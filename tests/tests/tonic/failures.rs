//! What a caller is told when something is wrong, with either side as the server.

use std::error::Error as _;
use std::time::Duration;

use futures_util::stream;
use micro_tests::hall::{CountRequest, Text};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};

use crate::greeter::details;
use crate::hall::{Channel, Hall, PAIRS, Server, client, memory, soon};
use crate::shapes::hello;

fn is_full(status: &Status, pair: &str) {
    assert_eq!(status.code(), Code::FailedPrecondition, "{pair}: {status:?}");
    assert_eq!(status.message(), "the hall is full – später", "{pair}");
    assert_eq!(status.details(), details(), "{pair}");
    assert_eq!(status.metadata().get("seats").expect(pair), "0", "{pair}");
    let plan = status.metadata().get_bin("plan-bin").expect(pair).to_bytes().expect(pair);
    assert_eq!(*plan, [0, 200], "{pair}");
}

#[tokio::test]
async fn a_status_keeps_code_text_details_and_metadata() {
    for (server, channel) in PAIRS {
        let pair = format!("{server:?} {channel:?}");
        let hall = Hall::open(server).await;
        let mut client = hall.client(channel).await;
        is_full(&client.hello(hello("full")).await.expect_err(&pair), &pair);

        let odd = client.hello(hello("odd")).await.expect_err(&pair);
        assert_eq!((odd.code(), odd.message()), (Code::Aborted, "odd details"), "{pair}");
        assert_eq!(odd.details(), b"no protobuf at all", "{pair}");

        let not_yet = client.hello(hello("unimplemented")).await.expect_err(&pair);
        assert_eq!((not_yet.code(), not_yet.message()), (Code::Unimplemented, "not yet"), "{pair}");
    }
}

#[tokio::test]
async fn a_stream_that_fails_says_so_behind_its_messages() {
    for (server, channel) in PAIRS {
        let pair = format!("{server:?} {channel:?}");
        let hall = Hall::open(server).await;
        let mut client = hall.client(channel).await;
        let counted = client.count(CountRequest { to: 3, fail: true }).await.expect(&pair);
        let mut counted = counted.into_inner();
        for value in 1..=3 {
            let number = counted.message().await.expect(&pair).expect("a number");
            assert_eq!(number.value, value, "{pair}");
        }
        is_full(&counted.message().await.expect_err(&pair), &pair);

        let texts = ["good", "full", "never"].map(|text| Text { text: text.to_owned() });
        let mut answer = client.chat(stream::iter(texts)).await.expect(&pair).into_inner();
        assert_eq!(answer.message().await.expect(&pair).expect("a text").text, "good", "{pair}");
        is_full(&answer.message().await.expect_err(&pair), &pair);
    }
}

#[tokio::test]
async fn a_timeout_of_the_request_bounds_the_call_and_reaches_the_handler() {
    for (server, channel) in PAIRS {
        let pair = format!("{server:?} {channel:?}");
        let hall = Hall::open(server).await;
        let mut client = hall.client(channel).await;
        let mut request = Request::new(hello("timeout"));
        request.set_timeout(Duration::from_secs(60));
        let reply = client.hello(request).await.expect(&pair).into_inner();
        assert_eq!(reply.greeting, "true", "{pair}");

        let mut request = Request::new(hello("wait"));
        request.set_timeout(Duration::from_millis(100));
        let late = soon(&pair, client.hello(request)).await.expect_err(&pair);
        // tonic's own channel says CANCELLED, its server too.
        if channel == Channel::Ours || server != Server::Tonic {
            assert!(
                [Code::DeadlineExceeded, Code::Cancelled].contains(&late.code()),
                "{pair}: {late}"
            );
        }
        if channel == Channel::Ours {
            assert_eq!(late.code(), Code::DeadlineExceeded, "{pair}: {late}");
        }
        soon("the handler is let go", hall.host.left.notified()).await;
    }
}

#[tokio::test]
async fn a_deadline_ends_a_stream_that_is_silent() {
    let hall = Hall::open(Server::Ours).await;
    let mut client = hall.client(Channel::Ours).await;
    let mut request = Request::new(CountRequest { to: u32::MAX, fail: false });
    request.set_timeout(Duration::from_millis(200));
    let mut counted = client.count(request).await.expect("a head").into_inner();
    assert_eq!(counted.message().await.expect("one").expect("one").value, 1);
    let late = soon("the deadline", counted.message()).await.expect_err("silence");
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
    soon("the handler is let go", hall.host.left.notified()).await;
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_its_handler() {
    for (server, channel) in PAIRS {
        let pair = format!("{server:?} {channel:?}");
        let hall = Hall::open(server).await;
        let mut client = hall.client(channel).await;
        let call = tokio::spawn({
            let mut client = client.clone();
            async move { client.hello(hello("wait")).await }
        });
        soon(&pair, hall.host.entered.notified()).await;
        call.abort();
        soon(&pair, hall.host.left.notified()).await;

        let counted = client.count(CountRequest { to: u32::MAX, fail: false }).await.expect(&pair);
        let mut counted = counted.into_inner();
        counted.message().await.expect(&pair).expect("a number");
        drop(counted);
        soon(&pair, hall.host.left.notified()).await;

        // tonic's own channel goes on sending.
        if channel == Channel::Tonic {
            continue;
        }
        let (texts, receiver) = mpsc::channel(1);
        let answer = client.chat(ReceiverStream::new(receiver)).await.expect(&pair);
        drop(answer);
        soon(&pair, hall.host.left.notified()).await;
        soon("the stream of requests is dropped", texts.closed()).await;
    }
}

#[tokio::test]
async fn what_keeps_a_call_from_every_node_is_a_status() {
    let registry = memory();
    let mut client_of_none =
        micro_tests::hall::greeter_client::GreeterClient::new(client(&registry).channel("hall"));
    let status = client_of_none.hello(hello("Ada")).await.expect_err("no node");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("hall"), "{status}");
    let error = status.source().expect("a source").downcast_ref::<micro::Error>().expect("ours");
    assert_eq!(error.reason(), Some(micro::Reason::NoNodes));

    let nowhere = client(&registry).channel("hall").address("127.0.0.1:1");
    let mut nowhere = micro_tests::hall::greeter_client::GreeterClient::new(nowhere);
    let status = nowhere.hello(hello("Ada")).await.expect_err("no server listens");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let texts = stream::pending::<Text>();
    let status = nowhere.chat(texts).await.expect_err("no server listens");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

#[tokio::test]
async fn what_the_service_does_not_have_is_unimplemented() {
    for (server, channel) in PAIRS {
        let pair = format!("{server:?} {channel:?}");
        let hall = Hall::open(server).await;
        for (path, text) in [
            ("/hall.Greeter/Nope", "unknown service Greeter.Nope"),
            ("/hall.Porter/Hello", "unknown service Porter"),
        ] {
            let mut grpc = tonic::client::Grpc::new(hall.way(channel).await);
            grpc.ready().await.expect("ready");
            let codec = tonic_prost::ProstCodec::<_, micro_tests::hall::HelloReply>::default();
            let path = http::uri::PathAndQuery::from_static(path);
            let status = grpc.unary(Request::new(hello("Ada")), path, codec).await;
            let status = status.expect_err(&pair);
            assert_eq!(status.code(), Code::Unimplemented, "{pair}: {status}");
            if server != Server::Tonic {
                assert_eq!(status.message(), text, "{pair}");
            }
        }
    }
}

#[tokio::test]
async fn a_handler_that_panics_fails_its_own_call_alone() {
    for server in [Server::Ours, Server::Described] {
        let hall = Hall::open(server).await;
        let mut client = hall.client(Channel::Tonic).await;
        let status = client.hello(hello("panic")).await.expect_err("a panic");
        assert_eq!(status.code(), Code::Internal, "{status}");
        assert!(!status.message().contains("on purpose"), "{status}");
        client.hello(hello("Ada")).await.expect("the next call is served");
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_written_fails_the_call_with_what_tonic_says() {
    let hall = Hall::open(Server::Tonic).await;
    let mut client = hall.client(Channel::Ours).await.max_encoding_message_size(10);
    let long = "a name that is far too long";
    let status = client.hello(hello(long)).await.expect_err("too large");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    let (texts, receiver) = mpsc::channel(1);
    let mut answer = client.chat(ReceiverStream::new(receiver)).await.expect("a head").into_inner();
    texts.send(Text { text: long.to_owned() }).await.expect("taken");
    let status = soon("the end", answer.message()).await.expect_err("too large");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    assert!(hello(long).encoded_len() > 10);
}
