//! How calls to a node share connections, and how old these become.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use micro::client::ClientBuilder;
use micro::server::Endpoint;
use micro::{Client, Raw, Result, Service, Streaming, registry};

use super::Pipes;
use super::support::{call, echo};

/// A service that echoes and has streams without an end, and a client with other settings.
async fn pair(
    set: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<(Arc<Pipes>, Service, Client)> {
    let (network, registry) = (Arc::new(Pipes::default()), Arc::new(registry::Memory::new()));
    let endless = |_: micro::Context, _: Raw| async {
        Ok(stream::iter([Ok(Raw::default())]).chain(stream::pending()))
    };
    let service = Service::builder("echo")
        .registry(registry.clone())
        .network(network.clone())
        .handle_signals(false)
        .propagation(Duration::ZERO)
        .grace(Duration::ZERO)
        .handle(echo())
        .handle(Endpoint::server_stream("Echo.Watch", endless))
        .start()
        .await?;
    let builder = Client::builder().registry(registry).network(network.clone());
    Ok((network, service, set(builder).build()?))
}

/// A stream that has begun, and stays for as long as it is kept.
async fn watch(client: &Client) -> Result<Streaming<Raw>> {
    let mut watch: Streaming<Raw> =
        client.server_stream("echo", "Echo.Watch", Raw::default()).await?;
    watch.message().await?;
    Ok(watch)
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_made_for_every_so_many_calls() -> Result<()> {
    for (most, calls, expected) in [(100, 20, 1), (100, 21, 2), (100, 95, 5), (3, 95, 3)] {
        let (network, service, client) =
            pair(|b| b.calls_per_connection(20).max_connections_per_node(most)).await?;
        for _ in 0..calls {
            call(&client, "echo").await?;
        }
        assert_eq!(network.callers.open.load(SeqCst), 1, "one after the other");
        let kept = join_all((0..calls).map(|_| watch(&client))).await;
        assert!(kept.iter().all(Result::is_ok));
        assert_eq!(network.callers.open.load(SeqCst), expected, "{calls} at once, {most} at most");
        drop(kept);
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_takes_no_more_calls_and_is_closed_once_it_has_none() -> Result<()> {
    let (network, service, client) =
        pair(|builder| builder.max_connection_age(Duration::from_secs(60))).await?;
    let open = || network.callers.open.load(SeqCst);
    let kept = watch(&client).await?;
    tokio::time::sleep(Duration::from_secs(59)).await;
    call(&client, "echo").await?;
    assert_eq!(open(), 1, "it is not old yet");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(open(), 1, "a stream is open on it");
    call(&client, "echo").await?;
    assert_eq!(open(), 2, "a new call has a new one");
    drop(kept);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(open(), 1, "the old one is closed");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(open(), 0, "an idle one is closed too");
    call(&client, "echo").await?;
    service.stop().await
}
