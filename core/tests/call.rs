//! Services and clients in one process, over real sockets on loopback.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use micro::registry::Memory;
use micro::server::Endpoint;
use micro::{Client, Code, Context, Error, Json, Raw, Reason, Result, Service, Streaming};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn memory() -> Arc<Memory> {
    Arc::new(Memory::new())
}

fn client(registry: &Arc<Memory>) -> Client {
    Client::builder().registry(registry.clone()).build().expect("a client")
}

async fn greeter(registry: &Arc<Memory>) -> Service {
    Service::builder("greeter")
        .address("127.0.0.1:0")
        .registry(registry.clone())
        .endpoint("Greeter.Hello", |_: Context, Json(name): Json<String>| async move {
            if name.is_empty() {
                return Err(Error::invalid_argument("name is empty").with_id("greeter"));
            }
            Ok(Json(format!("Hello, {name}!")))
        })
        .endpoint("Greeter.Wait", |cx: Context, _: Raw| async move {
            cx.cancelled().await;
            Ok(Raw::default())
        })
        .endpoint("Greeter.Panic", |_: Context, _: Raw| async move {
            if true {
                panic!("on purpose");
            }
            Ok(Raw::default())
        })
        .server_stream("Greeter.Count", |_: Context, Json(to): Json<u32>| async move {
            Ok(stream::iter((1..=to).map(|n| Ok(Json(n)))))
        })
        .client_stream("Greeter.Sum", |_: Context, mut numbers: Streaming<Json<u32>>| async move {
            let mut sum = 0;
            while let Some(Json(number)) = numbers.message().await? {
                sum += number;
            }
            Ok(Json(sum))
        })
        .bidi_stream("Greeter.Double", |_: Context, numbers: Streaming<Json<u32>>| async move {
            Ok(numbers.map(|number| Ok(Json(number?.0 * 2))))
        })
        .start()
        .await
        .expect("the service starts")
}

#[tokio::test]
async fn a_service_is_called_by_name() -> Result<()> {
    let registry = memory();
    let service = greeter(&registry).await;
    let Json(reply): Json<String> =
        client(&registry).call("greeter", "Greeter.Hello", Json("Ada".to_owned())).await?;
    assert_eq!(reply, "Hello, Ada!");
    service.stop().await
}

#[tokio::test]
async fn an_error_keeps_its_fields_and_says_where_it_came_from() -> Result<()> {
    let registry = memory();
    let service = greeter(&registry).await;
    let call = client(&registry).call("greeter", "Greeter.Hello", Json(String::new()));
    let error = Result::<Json<String>>::expect_err(call.await, "an empty name");
    assert_eq!(
        (error.code(), error.id(), error.detail()),
        (Code::InvalidArgument, "greeter", "name is empty")
    );
    let origin = error.origin().expect("a client error has an origin");
    assert_eq!((origin.endpoint.as_str(), origin.attempts), ("Greeter.Hello", 1));
    assert!(origin.node.contains(&service.node().address));
    service.stop().await
}

#[tokio::test]
async fn streams_go_every_way() -> Result<()> {
    let registry = memory();
    let service = greeter(&registry).await;
    let client = client(&registry);
    let counted: Streaming<Json<u32>> =
        client.server_stream("greeter", "Greeter.Count", Json(3u32)).await?;
    assert_eq!(counted.map(|n| n.map(|n| n.0)).collect::<Vec<_>>().await, [Ok(1), Ok(2), Ok(3)]);
    let numbers = stream::iter([Json(1u32), Json(2), Json(3)]);
    let Json(sum): Json<u32> = client.client_stream("greeter", "Greeter.Sum", numbers).await?;
    assert_eq!(sum, 6);
    let (outgoing, mut doubled) =
        client.open::<Json<u32>, Json<u32>>("greeter", "Greeter.Double").await?;
    for number in [1, 2, 3] {
        outgoing.send(Json(number)).await?;
        assert_eq!(doubled.message().await?, Some(Json(number * 2)));
    }
    outgoing.close();
    assert_eq!(doubled.message().await?, None);
    service.stop().await
}

#[tokio::test]
async fn a_stream_is_sent_before_anything_is_received() -> Result<()> {
    let registry = memory();
    let got = Arc::new(tokio::sync::Notify::new());
    let all = got.clone();
    let endpoint = Endpoint::bidi_stream(
        "Echo.Take",
        move |_: Context, mut requests: Streaming<Json<u32>>| {
            let got = got.clone();
            async move {
                while requests.message().await?.is_some() {}
                got.notify_one();
                Ok(tokio_stream::empty::<Result<Json<u32>>>())
            }
        },
    );
    let _running = Service::builder("echo")
        .address("127.0.0.1:0")
        .registry(registry.clone())
        .handle(endpoint)
        .start()
        .await?;
    let (outgoing, mut replies) =
        client(&registry).open::<Json<u32>, Json<u32>>("echo", "Echo.Take").await?;
    let sent = async {
        // More than are queued on the way.
        for number in 0..1_000 {
            outgoing.send(Json(number)).await?;
        }
        outgoing.close();
        all.notified().await;
        Ok::<_, Error>(())
    };
    tokio::time::timeout(Duration::from_secs(20), sent).await.expect("the handler has them")?;
    assert!(replies.message().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_deadline_ends_both_sides() -> Result<()> {
    let registry = memory();
    let service = greeter(&registry).await;
    let call = client(&registry).call("greeter", "Greeter.Wait", Raw::default());
    let error = Result::<Raw>::expect_err(
        call.timeout(Duration::from_millis(50)).await,
        "the handler never answers",
    );
    assert_eq!((error.code(), error.http_code()), (Code::DeadlineExceeded, 408));
    service.stop().await
}

#[tokio::test]
async fn a_panic_fails_its_own_call_only() -> Result<()> {
    let registry = memory();
    let service = greeter(&registry).await;
    let client = client(&registry);
    let error = Result::<Raw>::expect_err(
        client.call("greeter", "Greeter.Panic", Raw::default()).await,
        "the handler panics",
    );
    assert_eq!((error.code(), error.id()), (Code::Internal, "go.micro.server"));
    assert!(error.detail().starts_with("panic recovered: "), "{error}");
    assert!(!error.detail().contains("on purpose"), "{error}");
    let _: Json<String> = client.call("greeter", "Greeter.Hello", Json("Ada".to_owned())).await?;
    service.stop().await
}

#[tokio::test]
async fn a_service_without_a_node_is_unavailable_and_says_why() {
    let call = client(&memory()).call("nobody", "Nobody.Here", Raw::default());
    let error = Result::<Raw>::expect_err(call.await, "no node is there");
    assert_eq!((error.code(), error.reason()), (Code::Unavailable, Some(Reason::NoNodes)));
    assert_eq!((error.id(), error.http_code()), ("go.micro.client", 500));
    assert!(error.detail().starts_with("service nobody: not found"), "{error}");
}

#[tokio::test]
async fn two_endpoints_of_one_name_are_refused_at_the_start() {
    let echo = || Endpoint::unary("Echo.Call", |_: Context, r: Raw| async move { Ok(r) });
    let started =
        Service::builder("echo").registry(memory()).handle(echo()).handle(echo()).start().await;
    assert_eq!(started.expect_err("twice").code(), Code::AlreadyExists);
}

#[tokio::test]
async fn a_dropped_receiving_half_ends_the_handler_and_the_sending_half() -> Result<()> {
    let registry = memory();
    let (ended, mut end) = tokio::sync::mpsc::channel(1);
    let service = Service::builder("echo")
        .address("127.0.0.1:0")
        .registry(registry.clone())
        .bidi_stream("Echo.Chat", move |cx: Context, numbers: Streaming<Json<u32>>| {
            let ended = ended.clone();
            tokio::spawn(async move {
                cx.cancelled().await;
                let _ = ended.send(()).await;
            });
            async move { Ok(numbers) }
        })
        .start()
        .await?;
    let (outgoing, mut incoming) =
        client(&registry).open::<Json<u32>, Json<u32>>("echo", "Echo.Chat").await?;
    outgoing.send(Json(1)).await?;
    incoming.message().await?;
    drop(incoming);
    assert_eq!(end.recv().await, Some(()));
    while let Ok(()) = outgoing.send(Json(2)).await {}
    service.stop().await
}

#[tokio::test]
async fn a_handler_knows_the_address_of_its_peer() -> Result<()> {
    let peer = |context: Context, _: Raw| async move {
        Ok(Raw::from(context.peer().map(|peer| peer.to_string()).unwrap_or_default()))
    };
    let service = Service::builder("echo")
        .address("127.0.0.1:0")
        .registry(memory())
        .handle(Endpoint::unary("Echo.Peer", peer))
        .handle_signals(false)
        .start()
        .await?;
    let mut stream = TcpStream::connect(service.address()).await?;
    let own = stream.local_addr()?.to_string();
    let head = "POST /Echo/Peer HTTP/1.1\r\nhost: echo\r\nconnection: close\r\n";
    let rest = "content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(format!("{head}{rest}").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    assert!(answer.ends_with(&format!("\r\n\r\n{own}")), "{own}: {answer}");
    service.stop().await
}
