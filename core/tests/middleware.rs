//! What stands around the calls of a server: layers, for all endpoints or some; validators; what catches the rest.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt as _, stream};
use micro::codec::{Valid, Validate};
use micro::middleware::{FromFn, from_fn};
use micro::server::{Body, BoxFuture, Endpoint, Handler, Path, Request, Response, Server};
use micro::{Client, Code, Context, Error, Json, Messages, Raw, Result, Shape, Streaming};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

mod support;
use support::{call, client, echo, memory, service};

type Log = Arc<Mutex<Vec<String>>>;

fn take(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock().expect("the log"))
}

/// A function as a layer takes it.
type Function = Box<dyn Fn(Request, Handler) -> BoxFuture<Result<Response>> + Send + Sync>;

/// A layer that writes down when it is entered and left.
fn logged(log: &Log, name: &'static str) -> FromFn<Function> {
    let log = log.clone();
    let add = move |line: String| log.lock().expect("the log").push(line);
    from_fn(Box::new(move |request, next| {
        let add = add.clone();
        Box::pin(async move {
            add(name.to_owned());
            let answer = next.run(request).await;
            add(format!("/{name}"));
            answer
        })
    }))
}

#[tokio::test]
async fn the_first_layer_is_outermost_and_those_of_an_endpoint_are_innermost() -> Result<()> {
    let (registry, log) = (memory(), Log::default());
    let handled = log.clone();
    let running = service(&registry, "echo")
        .layer_for(["Echo.Call"], logged(&log, "for 1"))
        .layer(logged(&log, "all 1"))
        .layer_for(["Echo.Call", "Echo.Other"], logged(&log, "for 2"))
        .layer(logged(&log, "all 2"))
        .handle(echo().layer(logged(&log, "own 1")).layer(logged(&log, "own 2")))
        .endpoint("Echo.Plain", move |_: Context, request: Raw| {
            handled.lock().expect("the log").push("handler".to_owned());
            async move { Ok(request) }
        })
        .server_stream("Echo.Other", |_: Context, request: Raw| async move {
            Ok(stream::iter([Ok(request)]))
        })
        .start()
        .await?;
    let client = client(&registry);
    call(&client, "echo").await?;
    assert_eq!(
        take(&log),
        [
            "all 1", "all 2", "for 1", "for 2", "own 1", "own 2", "/own 2", "/own 1", "/for 2",
            "/for 1", "/all 2", "/all 1"
        ]
    );
    client.call::<_, Raw>("echo", "Echo.Plain", Raw::default()).await?;
    assert_eq!(take(&log), ["all 1", "all 2", "handler", "/all 2", "/all 1"]);
    let other: Streaming<Raw> = client.server_stream("echo", "Echo.Other", Raw::default()).await?;
    assert_eq!(other.count().await, 1);
    assert_eq!(take(&log), ["all 1", "all 2", "for 2", "/for 2", "/all 2", "/all 1"]);
    running.stop().await
}

#[tokio::test]
async fn a_layer_for_an_endpoint_that_is_not_there_keeps_the_service_from_starting() {
    let wrong = service(&memory(), "echo")
        .handle(echo())
        .layer_for(["Echo.Cal"], logged(&Log::default(), "never"))
        .start()
        .await
        .expect_err("there is no Echo.Cal");
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert!(
        wrong.detail().contains("`Echo.Cal`") && wrong.detail().contains("Echo.Call"),
        "{wrong}"
    );
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Order {
    pieces: u32,
}

impl Validate for Order {
    fn validate(&self) -> Result<()> {
        match self.pieces {
            0 => Err(Error::not_found("pieces: order at least one")),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_request_that_is_not_valid_ends_in_400_and_its_handler_does_not_run() -> Result<()> {
    let (registry, handled) = (memory(), Arc::new(AtomicUsize::new(0)));
    let (one, many) = (handled.clone(), handled.clone());
    let running = service(&registry, "shop")
        .endpoint("Shop.Buy", move |_: Context, Valid(Json(order)): Valid<Json<Order>>| {
            one.fetch_add(1, SeqCst);
            async move { Ok(Json(order.pieces)) }
        })
        .client_stream("Shop.Fill", move |_: Context, mut orders: Streaming<Valid<Json<Order>>>| {
            let many = many.clone();
            async move {
                while orders.message().await?.is_some() {
                    many.fetch_add(1, SeqCst);
                }
                Ok(Json(0))
            }
        })
        .start()
        .await?;
    let client = client(&registry);
    let buy = |pieces| client.call::<_, Json<u32>>("shop", "Shop.Buy", Json(Order { pieces }));
    let error = buy(0).await.expect_err("nothing is ordered");
    assert_eq!((error.code(), error.http_code()), (Code::InvalidArgument, 400));
    assert_eq!((error.id(), error.detail()), ("go.micro.validator", "pieces: order at least one"));
    assert_eq!(handled.load(SeqCst), 0, "the handler did not run");
    assert_eq!(buy(3).await?.0, 3);
    assert_eq!(handled.swap(0, SeqCst), 1);
    let orders = stream::iter([1, 2, 0, 3].map(|pieces| Json(Order { pieces })));
    let filled = client.client_stream::<_, _, Json<u32>>("shop", "Shop.Fill", orders).await;
    assert_eq!(filled.map(|_| ()).expect_err("the third is empty").http_code(), 400);
    assert_eq!(handled.load(SeqCst), 2);
    running.stop().await
}

#[tokio::test]
async fn handlers_and_layers_reach_the_client_of_their_own_service() -> Result<()> {
    let registry = memory();
    let names = service(&registry, "names")
        .endpoint("Names.Long", |context: Context, Json(name): Json<String>| async move {
            let caller = context.caller().unwrap_or("a stranger").to_owned();
            Ok(Json(format!("{name} Lovelace, for {caller}")))
        })
        .start()
        .await?;
    let seen = Log::default();
    let nodes = seen.clone();
    let greeter = service(&registry, "greeter")
        .layer_fn(move |request, next| {
            let handle = request.context.service_handle().cloned();
            let nodes = nodes.clone();
            async move {
                let handle = handle?;
                nodes.lock().expect("the log").push(format!(
                    "{} {}",
                    handle.name(),
                    handle.node().id
                ));
                next.run(request).await
            }
        })
        .endpoint("Greeter.Hello", |context: Context, name: Json<String>| async move {
            context.client()?.call::<_, Json<String>>("names", "Names.Long", name).await
        })
        .start()
        .await?;
    let hello = client(&registry).call("greeter", "Greeter.Hello", Json("Ada".to_owned()));
    let Json(name): Json<String> = hello.await?;
    assert_eq!(name, "Ada Lovelace, for greeter");
    assert_eq!(take(&seen), [format!("greeter {}", greeter.node().id)]);
    assert_eq!(greeter.handle().record(), greeter.record());
    greeter.stop().await?;
    names.stop().await
}

#[tokio::test]
async fn a_server_without_a_service_says_that_it_has_no_client() -> Result<()> {
    let endpoint = Endpoint::unary("Echo.Call", |context: Context, request: Raw| async move {
        context.client().map(|_| request)
    });
    let server = Server::builder("echo").address("127.0.0.1:0").handle(endpoint).start().await?;
    let client =
        Client::builder().registry(memory()).address(server.address().to_string()).build()?;
    let error = call(&client, "echo").await.expect_err("there is none");
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.detail().contains("Service::builder"), "{error}");
    server.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_layer_that_authenticates_keeps_no_probe_from_its_answer() -> Result<()> {
    let registry = memory();
    let refuses = |_: Request, _: Handler| async { Err(Error::unauthenticated("who is there?")) };
    let start = |every: bool| {
        service(&registry, "echo")
            .layer_fn(refuses)
            .server(move |server| server.layer_standard_endpoints(every))
            .handle(echo())
            // A type of the program's own by go-micro's name is no probe.
            .endpoint("Debug.Secrets", |_: Context, request: Raw| async move { Ok(request) })
            .start()
    };
    for every in [false, true] {
        let running = start(every).await?;
        let client = client(&registry);
        for endpoint in ["Echo.Call", "Debug.Secrets"] {
            let error = client.call::<_, Raw>("echo", endpoint, Raw::from("hi")).await;
            assert_eq!(error.expect_err(endpoint).code(), Code::Unauthenticated, "{endpoint}");
        }
        for (path, json) in [
            ("/grpc.health.v1.Health/Check", json!({})),
            ("Debug.Health", json!({})),
            ("Debug.Stats", json!({})),
        ] {
            let answer = client.call::<_, Json<Value>>("echo", path, Json(json)).await;
            let code = answer.err().map(|error| error.code());
            assert_eq!(code, every.then_some(Code::Unauthenticated), "{path}");
        }
        let listed = client.bidi_stream::<_, _, Json<Value>>(
            "echo",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            stream::iter([Json(json!({"listServices": ""}))]),
        );
        let listed: Vec<Result<Json<Value>>> = listed.await?.collect().await;
        assert_eq!(listed[0].is_ok(), !every, "{listed:?}");
        running.stop().await?;
    }
    Ok(())
}

/// A server that answers whatever is called with what was called, in as many messages as came.
async fn catches(log: &Log) -> Result<Server> {
    Server::builder("edge")
        .address("127.0.0.1:0")
        .layer(logged(log, "layer"))
        .handle(echo())
        .fallback(|request: Request| async move {
            let Some(path) = request.context.extension::<Path>() else {
                return Err(Error::internal("no path"));
            };
            assert_eq!(request.shape, Shape::BidiStream);
            let endpoint = request.context.endpoint().to_owned();
            let messages = request.body.into_messages().wrap(move |messages| {
                messages.map(move |message| {
                    let message = message?;
                    let text = format!("{} {endpoint} ", path.as_str());
                    Ok([text.as_bytes(), &message[..]].concat().into())
                })
            });
            Ok(Response { body: Body::Stream(messages) })
        })
        .start()
        .await
}

#[tokio::test]
async fn a_fallback_answers_what_no_endpoint_does_behind_the_layers() -> Result<()> {
    let log = Log::default();
    let server = catches(&log).await?;
    let client =
        Client::builder().registry(memory()).address(server.address().to_string()).build()?;
    assert_eq!(call(&client, "edge").await?, Raw::from("hi"));
    assert_eq!(take(&log), ["layer", "/layer"]);
    let unknown = client.call::<_, Raw>("edge", "shop.v1.Cart.Add", Raw::from("hi")).await?;
    assert_eq!(unknown, Raw::from("/shop.v1.Cart/Add Cart.Add hi"));
    assert_eq!(take(&log), ["layer", "/layer"]);
    let two = stream::iter([Raw::from("a"), Raw::from("b")]);
    let each: Streaming<Raw> = client.bidi_stream("edge", "Cart.Each", two).await?;
    let each: Vec<Result<Raw>> = each.collect().await;
    let text = |message: &str| Ok(Raw::from(format!("/edge.Cart/Each Cart.Each {message}")));
    assert_eq!(each, [text("a"), text("b")]);
    // What is no path of an endpoint is none of a fallback either, and probes are answered by what every server has.
    let wrong = client.call::<_, Raw>("edge", "/a/b/c", Raw::default()).await;
    assert_eq!(wrong.expect_err("malformed").code(), Code::InvalidArgument);
    let health = client.call::<_, Raw>("", "/grpc.health.v1.Health/Nope", Raw::default()).await;
    assert_eq!(health.expect_err("not of the fallback").code(), Code::Unimplemented);
    // However many paths strangers call, they are counted as one.
    let edges = server.metrics().snapshot();
    let fallback: Vec<_> = edges.iter().filter(|(edge, _)| &*edge.endpoint == "*").collect();
    assert_eq!((fallback.len(), fallback[0].1.calls()), (1, 2));
    assert!(edges.iter().all(|(edge, _)| !edge.endpoint.starts_with("Cart.")), "{edges:?}");
    server.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_fallback_answers_json_over_http() -> Result<()> {
    let server = catches(&Log::default()).await?;
    let mut stream = TcpStream::connect(server.address()).await?;
    let request = "POST /shop.Cart/Add HTTP/1.1\r\nhost: edge\r\ncontent-type: application/json\r\n\
                   content-length: 2\r\nconnection: close\r\n\r\n{}";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("/shop.Cart/Add Cart.Add {}"), "{answer}");
    server.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_layer_makes_an_answer_of_its_own_and_keeps_the_rest_of_a_stream() -> Result<()> {
    let registry = memory();
    let running = service(&registry, "echo")
        .layer_fn(|request, next| async move {
            if request.context.metadata().get("cached").is_some() {
                return Ok(Response { body: Body::Message("cached".into()) });
            }
            let answer = next.run(request).await?;
            let marked = |messages: Messages| {
                messages.map(|message| message.map(|m| [&m[..], b"!"].concat().into()))
            };
            Ok(Response { body: Body::Stream(answer.body.into_messages().wrap(marked)) })
        })
        .handle(echo())
        .start()
        .await?;
    let client = client(&registry);
    assert_eq!(call(&client, "echo").await?, Raw::from("hi!"));
    let cached = client.call::<_, Raw>("echo", "Echo.Call", Raw::from("hi"));
    assert_eq!(cached.metadata("cached", "1").await?, Raw::from("cached"));
    running.stop().await
}
