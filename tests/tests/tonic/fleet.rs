//! What a generated client has of ours: discovery, balancing, retries, deadlines, counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use micro::client::CallOptions;
use micro::selector::{Filter, RoundRobin};
use micro::{Context, Raw};
use micro_tests::hall::greeter_client::GreeterClient;
use micro_tests::hall::{CountRequest, Number};
use tonic::codec::CompressionEncoding::Gzip;
use tonic::service::Interceptor;
use tonic::{Code, Request, Status};

use crate::hall::{Hall, Server, client, memory, service, soon};
use crate::shapes::hello;

#[tokio::test]
async fn calls_spread_over_the_nodes_of_the_registry() {
    let registry = memory();
    let _one = Hall::node(Server::Ours, &registry, "one").await;
    let _two = Hall::node(Server::Tonic, &registry, "two").await;
    let in_turn = CallOptions::new().strategy(Arc::new(RoundRobin::new()));
    let mut greeter = GreeterClient::new(client(&registry).channel("hall").options(in_turn));
    let mut served = BTreeMap::new();
    for _ in 0..100 {
        let reply = greeter.hello(hello("Ada")).await.expect("a reply").into_inner();
        *served.entry(reply.node).or_insert(0) += 1;
    }
    assert!(served.len() == 2 && served.values().all(|calls| *calls == 50), "{served:?}");
}

#[tokio::test]
async fn a_filter_and_an_address_say_where_calls_go() {
    let registry = memory();
    let one = Hall::node(Server::Ours, &registry, "one").await;
    let two = Hall::node(Server::Ours, &registry, "two").await;
    let channel = client(&registry).channel("hall");
    let mut only_two = GreeterClient::new(channel.clone().filter(Filter::label("node", "two")));
    let mut only_one = GreeterClient::new(channel.address(one.address.to_string()));
    for _ in 0..10 {
        assert_eq!(only_two.hello(hello("Ada")).await.expect("two").into_inner().node, "two");
        assert_eq!(only_one.hello(hello("Ada")).await.expect("one").into_inner().node, "one");
    }
    drop(two);
}

#[tokio::test]
async fn a_node_that_is_gone_is_made_up_for_on_another() {
    let registry = memory();
    let dead = Hall::node(Server::Tonic, &registry, "dead").await;
    let _alive = Hall::node(Server::Ours, &registry, "alive").await;
    // The registry goes on naming it.
    drop(dead);
    for _ in 0..20 {
        let mut greeter = GreeterClient::new(client(&registry).channel("hall"));
        let reply = soon("a reply", greeter.hello(hello("Ada"))).await.expect("the other node");
        assert_eq!(reply.into_inner().node, "alive");
    }
}

#[tokio::test]
async fn what_is_safe_to_repeat_is_tried_again_and_what_is_not_is_not() {
    let hall = Hall::open(Server::Described).await;
    let channel = client(&hall.registry).channel("hall");
    let calls = || hall.host.calls.swap(0, Ordering::Relaxed);

    let mut greeter = GreeterClient::new(channel.clone());
    assert_eq!(greeter.hello(hello("busy")).await.expect_err("busy").code(), Code::Unavailable);
    assert_eq!(calls(), 1);
    // The registry says that it is idempotent.
    assert_eq!(greeter.look(hello("busy")).await.expect_err("busy").code(), Code::Unavailable);
    assert_eq!(calls(), 3);
    let mut greeter = GreeterClient::new(channel.clone().idempotent(true));
    assert_eq!(greeter.hello(hello("busy")).await.expect_err("busy").code(), Code::Unavailable);
    assert_eq!(calls(), 3);
    let mut request = Request::new(hello("busy"));
    request.extensions_mut().insert(CallOptions::new().retries(0));
    greeter.hello(request).await.expect_err("busy");
    assert_eq!(calls(), 1);
}

#[tokio::test]
async fn a_stream_that_fails_before_its_first_message_is_tried_again_too() {
    let hall = Hall::open(Server::Tonic).await;
    let channel = client(&hall.registry).channel("hall");
    let nothing = CountRequest { to: 0, fail: true };
    let mut greeter = GreeterClient::new(channel.clone().idempotent(true));
    assert_eq!(greeter.count(nothing).await.expect_err("busy").code(), Code::Unavailable);
    assert_eq!(hall.host.calls.swap(0, Ordering::Relaxed), 3);
    let mut greeter = GreeterClient::new(channel);
    assert_eq!(greeter.count(nothing).await.expect_err("busy").code(), Code::Unavailable);
    assert_eq!(hall.host.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_timeout_of_the_channel_holds_and_that_of_the_request_comes_first() {
    let hall = Hall::open(Server::Ours).await;
    let channel = client(&hall.registry).channel("hall").timeout(Duration::from_millis(100));
    let mut greeter = GreeterClient::new(channel);
    let late = soon("the deadline", greeter.hello(hello("wait"))).await.expect_err("late");
    assert_eq!(late.code(), Code::DeadlineExceeded);
    soon("the handler is let go", hall.host.left.notified()).await;
    let mut request = Request::new(hello("remaining"));
    request.set_timeout(Duration::from_secs(60));
    let reply = greeter.hello(request).await.expect("in time").into_inner();
    let seconds: u64 = reply.greeting.parse().expect("seconds");
    assert!((30..60).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn a_call_made_in_a_handler_inherits_deadline_and_metadata() {
    let hall = Hall::open(Server::Ours).await;
    let inner = GreeterClient::new(client(&hall.registry).channel("hall"));
    let outer = micro::Service::builder("outer")
        .address("127.0.0.1:0")
        .registry(hall.registry.clone())
        .handle_signals(false)
        .endpoint("Outer.Relay", move |_: Context, name: Raw| {
            let mut inner = inner.clone();
            async move {
                let name = String::from_utf8(name.0.to_vec()).expect("text");
                let reply = inner.hello(hello(&name)).await;
                let text = reply.map(|reply| reply.into_inner().greeting);
                let text = text.unwrap_or_else(|status| format!("{:?}", status.code()));
                Ok(Raw::from(text.into_bytes()))
            }
        })
        .start()
        .await
        .expect("the outer service");
    let caller = client(&hall.registry);
    let relay = async |name: &'static str| {
        let call = caller.call("outer", "Outer.Relay", Raw::from(name)).metadata("tenant", "red");
        let reply: Raw = call.timeout(Duration::from_millis(500)).await?;
        Ok::<_, micro::Error>(String::from_utf8(reply.0.to_vec()).expect("text"))
    };
    assert_eq!(relay("tenant").await.expect("a reply"), "red");
    assert_eq!(relay("timeout").await.expect("a reply"), "true");
    let late = soon("the deadline", relay("wait")).await;
    assert!(late.is_err() || late.as_deref() == Ok("DeadlineExceeded"), "{late:?}");
    soon("the innermost handler is let go", hall.host.left.notified()).await;
    outer.stop().await.expect("it stops");
}

#[tokio::test]
async fn calls_are_counted_with_their_ends() {
    let hall = Hall::open(Server::Ours).await;
    let client = client(&hall.registry);
    let mut greeter = GreeterClient::new(client.channel("hall"));
    greeter.hello(hello("Ada")).await.expect("a reply");
    greeter.hello(hello("full")).await.expect_err("full");
    let edges = client.metrics().snapshot();
    let (edge, stats) = edges.first().expect("an edge");
    assert_eq!((&*edge.callee, &*edge.endpoint), ("hall", "/hall.Greeter/Hello"));
    assert_eq!((stats.calls(), stats.errors(), stats.in_flight()), (2, 1, 0));
    assert_eq!(stats.with_code(Some(micro::Code::FailedPrecondition)), 1);
}

#[derive(Clone)]
struct Stamp;

impl Interceptor for Stamp {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if request.metadata().contains_key("banned") {
            return Err(Status::permission_denied("banned"));
        }
        request.metadata_mut().insert("tenant", "stamped".parse().expect("text"));
        Ok(request)
    }
}

#[tokio::test]
async fn interceptors_of_tonic_work_on_both_sides() {
    use micro_tests::hall::greeter_server::GreeterServer;

    let hall = Hall::open(Server::Tonic).await;
    let channel = client(&hall.registry).channel("hall");
    let mut greeter = GreeterClient::with_interceptor(channel, Stamp);
    assert_eq!(
        greeter.hello(hello("tenant")).await.expect("sent").into_inner().greeting,
        "stamped"
    );
    let mut banned = Request::new(hello("tenant"));
    banned.metadata_mut().insert("banned", "yes".parse().expect("text"));
    assert_eq!(greeter.hello(banned).await.expect_err("banned").code(), Code::PermissionDenied);

    let registry = memory();
    let host = crate::greeter::Host::called("one");
    let served = service(&registry)
        .tonic(GreeterServer::with_interceptor(host, Stamp))
        .start()
        .await
        .expect("the service starts");
    let mut greeter = GreeterClient::new(client(&registry).channel("hall"));
    assert_eq!(
        greeter.hello(hello("tenant")).await.expect("sent").into_inner().greeting,
        "stamped"
    );
    let mut banned = Request::new(hello("tenant"));
    banned.metadata_mut().insert("banned", "yes".parse().expect("text"));
    let status = greeter.hello(banned).await.expect_err("banned");
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "banned"));
    served.stop().await.expect("it stops");
}

#[tokio::test]
async fn layers_of_the_client_see_calls_and_attempts_of_its_channels() {
    use micro::client::layers::{CallWay, Request as Call};
    use micro::server::Body;

    for server in [Server::Described, Server::Tonic] {
        let hall = Hall::node(server, &memory(), "one").await;
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = seen.clone();
        let client = micro::Client::builder()
            .registry(hall.registry.clone())
            .layer_fn(move |mut call: Call, next: CallWay| {
                counted.fetch_add(1, Ordering::Relaxed);
                call.metadata_mut().insert("tenant", "layered").expect("a header");
                async move {
                    if matches!(&call.body, Body::Message(message) if message.ends_with(b"nobody"))
                    {
                        return Err(micro::Error::permission_denied("stopped by a layer"));
                    }
                    next.run(call).await
                }
            })
            .build()
            .expect("a client");
        let mut greeter = GreeterClient::new(client.channel("hall").idempotent(true))
            .send_compressed(Gzip)
            .accept_compressed(Gzip);
        let reply = greeter.hello(hello("tenant")).await.expect("a reply");
        assert_eq!(reply.metadata().get("served-by").expect("a header"), "one");
        assert_eq!(reply.into_inner().greeting, "layered");
        let stopped = greeter.hello(hello("nobody")).await.expect_err("stopped");
        assert_eq!(stopped.code(), Code::PermissionDenied);
        assert_eq!(stopped.message(), "stopped by a layer");
        let full = greeter.hello(hello("full")).await.expect_err("full");
        assert_eq!(full.details(), crate::greeter::details());
        hall.host.calls.store(0, Ordering::Relaxed);
        greeter.hello(hello("busy")).await.expect_err("busy");
        assert_eq!(hall.host.calls.load(Ordering::Relaxed), 3, "one message is tried again");

        let counted = greeter.count(CountRequest { to: 3, fail: true }).await.expect("a stream");
        let mut counted = counted.into_inner();
        for value in 1..=3 {
            assert_eq!(counted.message().await.expect("a number").expect("one").value, value);
        }
        assert_eq!(counted.message().await.expect_err("full").code(), Code::FailedPrecondition);
        let (numbers, receiver) = tokio::sync::mpsc::channel(1);
        let sum = tokio::spawn({
            let mut greeter = greeter.clone();
            let numbers = tokio_stream::wrappers::ReceiverStream::new(receiver);
            async move { greeter.sum(numbers).await }
        });
        for value in 1..=3 {
            numbers.send(Number { value }).await.expect("taken");
        }
        drop(numbers);
        let sum = soon("the sum", sum).await.expect("no panic").expect("a sum");
        assert_eq!(sum.into_inner().value, 6);
        assert_eq!(seen.load(Ordering::Relaxed), 6);
    }
}
