//! The compact form of headers: what goes to nodes that the registry shows to be this framework's, and what to all others.
#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]

use std::sync::Arc;
use std::time::Duration;

use micro::registry::{Labels, Memory, Node, Registry as _};
use micro::server::Endpoint;
use micro::{Client, Code, Compression, Context, Json, Reason, Result, Service, Streaming};

mod support;

/// What arrived of one call.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Arrived {
    headers: Vec<(String, String)>,
    trace: String,
    parent: Option<String>,
    caller: Option<String>,
}

impl Arrived {
    fn of(cx: &Context) -> Self {
        let headers = cx.metadata().iter().map(|(name, value)| (name.into(), value.to_owned()));
        Self {
            headers: headers.collect(),
            trace: cx.trace().trace_id(),
            parent: cx.trace().parent_id().map(str::to_owned),
            caller: cx.caller().map(str::to_owned),
        }
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A service that tells what arrived, also of a stream, and of calls that it makes itself: to `next`, or to an address.
async fn telling(registry: &Arc<Memory>, name: &str) -> Result<Service> {
    let inner = Client::builder().name(name).registry(registry.clone()).build()?;
    support::service(registry, name)
        .handle(Endpoint::unary("Tell.Call", |cx: Context, _: Json<()>| async move {
            cx.set_compression(Compression::Zstd);
            Ok(Json(Arrived::of(&cx)))
        }))
        .handle(Endpoint::server_stream("Tell.Many", |cx: Context, _: Json<()>| async move {
            Ok(futures_util::stream::iter([Ok(Json(Arrived::of(&cx)))]))
        }))
        .handle(Endpoint::unary("Tell.Next", move |cx: Context, next: Json<String>| {
            let inner = inner.clone();
            async move {
                let Json(there): Json<Arrived> = inner.call(&next.0, "Tell.Call", Json(())).await?;
                Ok(Json((Arrived::of(&cx), there)))
            }
        }))
        .start()
        .await
}

/// A registry that knows the node of `service` as one of go-micro, or of an older release, would be known.
async fn older(service: &Service) -> Result<Arc<Memory>> {
    let registry = support::memory();
    let node = service.node();
    let labels: Labels = node.metadata.into_iter().filter(|(key, _)| key != "micro").collect();
    let record = micro::registry::Service {
        nodes: vec![Node { metadata: labels, ..node }],
        ..micro::registry::Service::new(service.name(), "latest")
    };
    registry.register(&record, None).await?;
    Ok(registry)
}

async fn tell(client: &Client, service: &str) -> Result<Arrived> {
    let Json(arrived) = client.call(service, "Tell.Call", Json(())).await?;
    Ok(arrived)
}

fn caller(registry: &Arc<Memory>) -> micro::client::ClientBuilder {
    Client::builder().name("caller").registry(registry.clone())
}

/// What a node of ours is sent.
const COMPACT: [&str; 6] =
    ["content-type", "grpc-timeout", "micro-from-service", "micro-target", "micro-trace", "te"];

/// What a node is sent that may be go-micro's.
const FULL: [&str; 13] = [
    "content-type",
    "grpc-accept-encoding",
    "grpc-timeout",
    "micro-from-service",
    "micro-namespace",
    "micro-span-id",
    "micro-target",
    "micro-target-at",
    "micro-trace-id",
    "te",
    "timeout",
    "user-agent",
    "x-content-type",
];

fn without<'a>(names: &[&'a str], left_out: &[&str]) -> Vec<&'a str> {
    names.iter().copied().filter(|name| !left_out.contains(name)).collect()
}

#[tokio::test]
async fn a_node_of_ours_is_sent_what_is_used_and_all_others_what_go_micro_needs() -> Result<()> {
    let registry = support::memory();
    let service = telling(&registry, "telling").await?;
    assert_eq!(service.node().metadata["micro"], "1");
    let client = caller(&registry).build()?;
    let arrived = tell(&client, "telling").await?;
    assert_eq!((arrived.names(), arrived.caller.as_deref()), (COMPACT.to_vec(), Some("caller")));
    let anonymous = tell(&support::client(&registry), "telling").await?;
    assert_eq!(anonymous.names(), without(&COMPACT, &["micro-from-service"]));

    let old = caller(&older(&service).await?).build()?;
    let arrived = tell(&old, "telling").await?;
    assert_eq!((arrived.names(), arrived.caller.as_deref()), (FULL.to_vec(), Some("caller")));
    // The registry was not asked.
    let address = service.node().address;
    let fixed = client.call("telling", "Tell.Call", Json(())).address(&address);
    let Json(fixed): Json<Arrived> = fixed.await?;
    assert_eq!(fixed.names(), without(&FULL, &["micro-target", "micro-target-at"]));
    service.stop().await
}

#[tokio::test]
async fn streams_and_calls_without_a_deadline_are_told_alike() -> Result<()> {
    let registry = support::memory();
    let service = telling(&registry, "telling").await?;
    for (registry, names, unary) in [
        (registry.clone(), &COMPACT[..], &[][..]),
        (older(&service).await?, &FULL[..], &["micro-namespace"][..]),
    ] {
        let client = caller(&registry).build()?;
        let mut many: Streaming<Json<Arrived>> =
            client.server_stream("telling", "Tell.Many", Json(())).await?;
        let Json(arrived) = many.message().await?.expect("one message");
        let of_unary = [unary, &["grpc-timeout", "timeout"]].concat();
        assert_eq!(arrived.names(), without(names, &of_unary));
        let call = client.call("telling", "Tell.Call", Json(())).no_timeout();
        let Json(arrived): Json<Arrived> = call.await?;
        assert_eq!(arrived.names(), without(names, &["grpc-timeout", "timeout"]));
    }
    service.stop().await
}

#[tokio::test]
async fn what_the_call_is_given_goes_in_either_form() -> Result<()> {
    let registry = support::memory();
    let service = telling(&registry, "telling").await?;
    for registry in [registry.clone(), older(&service).await?] {
        let client = caller(&registry).namespace("shop").metadata("tenant", "blue").build()?;
        let call = client
            .call("telling", "Tell.Call", Json(()))
            .compression(Compression::Gzip)
            .timeout(Duration::from_secs(2))
            .send()
            .await?;
        assert!(call.compressed, "the caller reads zstd, said or not");
        let Json(arrived): Json<Arrived> = call.message;
        for (name, value) in [
            ("micro-namespace", "shop"),
            ("tenant", "blue"),
            ("content-type", "application/grpc+json"),
            ("grpc-encoding", "gzip"),
        ] {
            assert_eq!(arrived.header(name), Some(value), "{name}");
        }
        let timeout = arrived.header("grpc-timeout").expect("there is a deadline");
        assert!(timeout.starts_with('1') && timeout.ends_with('u'), "less than 2 s: {timeout}");
    }
    service.stop().await
}

#[tokio::test]
async fn a_trace_under_go_micros_names_goes_to_a_node_of_ours_under_these() -> Result<()> {
    let registry = support::memory();
    let service = telling(&registry, "telling").await?;
    let client = caller(&registry).build()?;
    let call = client.call("telling", "Tell.Call", Json(())).metadata("micro-trace-id", "mine");
    let Json(arrived): Json<Arrived> = call.await?;
    assert_eq!((arrived.trace.as_str(), arrived.names()), ("mine", FULL.to_vec()));
    for name in ["micro-trace", "Micro-Trace"] {
        assert!(micro::Metadata::new().insert(name, "a-b").is_err(), "{name} belongs to a hop");
    }
    service.stop().await
}

/// A trace goes from one end to the other, whatever form each hop has.
#[tokio::test]
async fn a_trace_goes_on_through_a_mixed_fleet() -> Result<()> {
    let registry = support::memory();
    let last = telling(&registry, "last").await?;
    let mixed = older(&last).await?;
    for (known, inner) in [(&registry, &registry), (&registry, &mixed), (&mixed, &registry)] {
        let relay = telling(inner, "relay").await?;
        let outer = support::memory();
        let record = micro::registry::Service {
            nodes: vec![relay.node()],
            ..micro::registry::Service::new("relay", "latest")
        };
        outer.register(&record, None).await?;
        let outer = if Arc::ptr_eq(known, &mixed) { older(&relay).await? } else { outer };
        let call = caller(&outer).build()?;
        let call = call.call("relay", "Tell.Next", Json("last".to_owned()));
        let Json((here, there)): Json<(Arrived, Arrived)> = call.await?;
        assert_eq!(here.trace, there.trace);
        assert_eq!(there.caller.as_deref(), Some("relay"));
        assert!(here.parent.is_some() && there.parent.is_some() && here.parent != there.parent);
        let full = |arrived: &Arrived| arrived.header("micro-trace-id").is_some();
        assert_eq!(
            (full(&here), full(&there)),
            (Arc::ptr_eq(known, &mixed), Arc::ptr_eq(inner, &mixed))
        );
        relay.stop().await?;
    }
    last.stop().await
}

#[tokio::test]
async fn another_service_at_the_address_of_a_node_of_ours_runs_no_call() -> Result<()> {
    let registry = support::memory();
    let service = telling(&registry, "production").await?;
    let record = micro::registry::Service {
        nodes: vec![Node { id: "staging-1".into(), ..service.node() }],
        ..micro::registry::Service::new("staging", "latest")
    };
    registry.register(&record, None).await?;
    let client = caller(&registry).build()?;
    for endpoint in ["Tell.Call", "/foreign.package.Tell/Call"] {
        let refused: Result<Json<Arrived>> = client.call("staging", endpoint, Json(())).await;
        let error = refused.expect_err("it is another service");
        let seen = (error.code(), error.reason());
        assert_eq!(seen, (Code::Unavailable, Some(Reason::OtherService)), "{error}");
    }
    service.stop().await
}
