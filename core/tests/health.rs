//! What a client finds out about the nodes of a service.
#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]

use std::collections::BTreeMap;

use micro::registry::{Node, Registry as _};
use micro::server::{Endpoint, Handler, Request, Server};
use micro::{Code, Context, Error, Json, Reason, Result};
use tower_service::Service as _;

mod support;

#[tokio::test]
async fn every_node_is_asked_for_itself() -> Result<()> {
    let registry = support::memory();
    let start = |version| {
        support::service(&registry, "echo").version(version).handle(support::echo()).start()
    };
    let (well, draining, gone) = (start("1").await?, start("2").await?, start("3").await?);
    draining.server().unready();
    // It stops serving and stays registered, as a node does that crashes.
    gone.server().stop().await;
    let found = support::client(&registry).health("echo").await?;
    let by_version: BTreeMap<_, _> = found
        .iter()
        .map(|health| (health.version.as_str(), health.answer.as_ref().map_err(|e| e.code())))
        .collect();
    assert_eq!(
        by_version,
        [("1", Ok(&true)), ("2", Ok(&false)), ("3", Err(Code::Unavailable))].into()
    );
    let serving: Vec<_> = found.iter().filter(|health| health.is_serving()).collect();
    assert_eq!(serving.len(), 1);
    assert_eq!(serving[0].node.id, well.node().id);
    well.stop().await?;
    draining.stop().await
}

#[tokio::test]
async fn a_service_without_a_node_is_unavailable() {
    let error = support::client(&support::memory()).health("nobody").await.expect_err("unknown");
    assert_eq!((error.code(), error.reason()), (Code::Unavailable, Some(Reason::NoNodes)));
}

#[tokio::test]
async fn a_node_that_knows_no_grpc_health_is_asked_the_way_of_go_micro() -> Result<()> {
    let registry = support::memory();
    let without = tower_layer::layer_fn(|inner: Handler| {
        tower::service_fn(move |request: Request| {
            let mut inner = inner.clone();
            async move {
                if request.context.endpoint() == "Health.Check" {
                    return Err(Error::unimplemented("unknown service Health"));
                }
                inner.call(request).await
            }
        })
    });
    let service = support::service(&registry, "echo")
        .layer(without)
        .server(|server| server.layer_standard_endpoints(true))
        .start()
        .await?;
    let client = support::client(&registry);
    let found = client.health("echo").await?;
    assert!(found.len() == 1 && found[0].is_serving(), "{found:?}");
    let asked = service.server().metrics().snapshot();
    assert!(asked.iter().any(|(edge, _)| &*edge.endpoint == "Debug.Health"), "{asked:?}");
    service.stop().await
}

#[tokio::test]
async fn a_node_that_keeps_no_book_on_the_service_speaks_for_itself() -> Result<()> {
    let registry = support::memory();
    // A server of another name: it has never heard of `alias`.
    let hello =
        Endpoint::unary("Echo.Call", |_: Context, request: Json<u8>| async move { Ok(request) });
    let server = Server::builder("echo").address("127.0.0.1:0").handle(hello).start().await?;
    let address = server.address().to_string();
    let node = Node { id: "alias-1".into(), address, ..Node::default() };
    let record = micro::registry::Service {
        nodes: vec![node],
        ..micro::registry::Service::new("alias", "1")
    };
    registry.register(&record, None).await?;
    let found = support::client(&registry).health("alias").await?;
    assert!(found.len() == 1 && found[0].is_serving(), "{found:?}");
    server.stop().await;
    Ok(())
}
