//! Settings out of documents, at work.
#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use micro::settings::{CallSettings, ClientSettings, ServiceSettings};
use micro::{Code, Context, Json, Metadata, Raw, Result, Service};

mod support;

/// A service without sockets that answers with its node, and with the tenants it was told.
async fn greeter(fleet: &str, node: &str) -> Result<Service> {
    let document = serde_json::json!({
        "id": node,
        "version": node,
        "registry": format!("memory://{fleet}"),
        "network": format!("memory://{fleet}"),
        "propagation": 0,
    });
    let node = node.to_owned();
    ServiceSettings::from_json(&document.to_string())?
        .builder("greeter")?
        .endpoint("Greeter.Node", move |_: Context, _: Raw| {
            let node = node.clone();
            async move { Ok(Json(node)) }
        })
        .endpoint("Greeter.Tenants", |cx: Context, _: Raw| async move {
            Ok(Json(cx.metadata().get_all("tenant").map(str::to_owned).collect::<Vec<_>>()))
        })
        .server_stream("Greeter.EachTenant", |cx: Context, _: Raw| async move {
            let tenants: Vec<_> = cx.metadata().get_all("tenant").map(str::to_owned).collect();
            Ok(futures_util::stream::iter(tenants).map(|tenant| Ok(Json(tenant))))
        })
        .start()
        .await
}

fn client(fleet: &str) -> Result<micro::Client> {
    let document = serde_json::json!({
        "registry": format!("memory://{fleet}"),
        "network": format!("memory://{fleet}"),
        "content_type": "application/grpc+json",
    });
    ClientSettings::from_json(&document.to_string())?.builder()?.build()
}

#[tokio::test]
async fn a_fleet_out_of_documents_needs_no_socket() -> Result<()> {
    let nodes = [greeter("documents", "a").await?, greeter("documents", "b").await?];
    let client = client("documents")?;
    let only = CallSettings::from_json(r#"{"filters": [{"version": "b"}]}"#)?;
    let in_turn = CallSettings::from_json(r#"{"strategy": "round_robin"}"#)?;
    let mut met = BTreeSet::new();
    for _ in 0..4 {
        let Json(node): Json<String> =
            client.call("greeter", "Greeter.Node", Raw::default()).settings(&only).await?;
        assert_eq!(node, "b");
    }
    for _ in 0..2 {
        let Json(node): Json<String> =
            client.call("greeter", "Greeter.Node", Raw::default()).settings(&in_turn).await?;
        met.insert(node);
    }
    assert_eq!(met.len(), 2, "two calls in turn meet two nodes");
    let late = CallSettings::from_json(r#"{"timeout": 0}"#)?;
    let error = client
        .call::<_, Raw>("greeter", "Greeter.Node", Raw::default())
        .settings(&late)
        .await
        .expect_err("no time");
    assert_eq!(error.code(), Code::DeadlineExceeded);
    for node in nodes {
        node.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn whole_sets_of_metadata_go_with_calls_and_streams() -> Result<()> {
    let service = greeter("metadata", "a").await?;
    let client = client("metadata")?;
    let mut tenants = Metadata::new();
    tenants.append("tenant", "red")?;
    tenants.append("tenant", "green")?;
    let Json(told): Json<Vec<String>> = client
        .call("greeter", "Greeter.Tenants", Raw::default())
        .metadata("tenant", "blue")
        .metadata_all(tenants.clone())
        .await?;
    assert_eq!(told, ["blue", "red", "green"]);
    let told = client
        .server_stream("greeter", "Greeter.EachTenant", Raw::default())
        .metadata_all(tenants)
        .await?;
    let told: Vec<Result<Json<String>>> = told.collect().await;
    let told: Vec<_> = told.into_iter().collect::<Result<_>>()?;
    assert_eq!(told, ["red", "green"].map(|tenant| Json(tenant.to_owned())));
    service.stop().await
}

#[tokio::test]
async fn a_service_and_a_client_keep_records_where_they_are_told() -> Result<()> {
    let (registry, network) = ("memory://keepers", "memory://keepers");
    let document = serde_json::json!({"registry": registry, "network": network, "store": "memory://ignored", "propagation": 0});
    let service = ServiceSettings::from_json(&document.to_string())?
        .builder("keeper")?
        .environment(false)
        .args(["--store=memory://kept"])?
        .endpoint("Keeper.Keep", |cx: Context, Json(order): Json<String>| async move {
            cx.client()?.table("orders")?.write("7", Json(order)).await.map(Json)
        })
        .start()
        .await?;
    let document =
        serde_json::json!({"registry": registry, "network": network, "store": "memory://kept"});
    let client =
        ClientSettings::from_json(&document.to_string())?.builder()?.environment(false).build()?;
    let Json(version): Json<u64> =
        client.call("keeper", "Keeper.Keep", Json("two teas".to_owned())).await?;
    let order = client.table("orders")?.read::<Json<String>>("7").await?;
    assert_eq!((order.value.0.as_str(), order.version), ("two teas", version));
    let wrong = ClientSettings::from_json(r#"{"store": "memry://"}"#)?.builder()?.build();
    let wrong = wrong.expect_err("there is no such store");
    assert!(wrong.detail().contains("client settings: store: "), "{wrong}");
    assert!(wrong.detail().contains("memory"), "{wrong}");
    service.stop().await
}
