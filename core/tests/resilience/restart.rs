//! Connections and nodes that are replaced under load.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use micro::{Client, Code, Context, Error, Raw, Result, Streaming};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::support::{client, memory, service};

/// A service that answers with the port of its caller, which tells connections apart.
fn ports(registry: &Arc<micro::registry::Memory>) -> micro::service::ServiceBuilder {
    service(registry, "fleet").endpoint("Echo.Call", |cx: Context, _: Raw| async move {
        Ok(Raw::from(cx.peer().map_or(0, |peer| peer.port()).to_string()))
    })
}

/// Makes `calls` calls, which may not be repeated, from each of eight tasks; every one must succeed.
async fn under_load(
    client: &Client,
    calls: usize,
    meanwhile: impl Future<Output = Result<()>>,
) -> Result<HashSet<Raw>> {
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let client = client.clone();
        callers.spawn(async move {
            let mut answers = HashSet::new();
            for _ in 0..calls {
                let call = client.call::<_, Raw>("fleet", "Echo.Call", Raw::default());
                answers.insert(call.idempotent(false).await?);
            }
            Ok::<_, Error>(answers)
        });
    }
    meanwhile.await?;
    let mut answers = HashSet::new();
    while let Some(outcome) = callers.join_next().await {
        answers.extend(outcome.expect("the caller runs")?);
    }
    Ok(answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_grow_old_are_replaced_without_a_failed_call() -> Result<()> {
    let registry = memory();
    let running = ports(&registry)
        .server(|server| server.max_connection_age(Duration::from_millis(10)))
        .start()
        .await?;
    let connections = under_load(&client(&registry), 400, async { Ok(()) }).await?;
    assert!(connections.len() > 2, "{} connections served it all", connections.len());
    running.stop().await
}

#[tokio::test]
async fn streams_are_opened_elsewhere_when_their_connection_goes_away() -> Result<()> {
    let registry = memory();
    let running = service(&registry, "fleet")
        .server(|server| server.max_connection_age(Duration::from_millis(10)))
        .bidi_stream("Echo.Ports", |cx: Context, requests: Streaming<Raw>| async move {
            let port = Raw::from(cx.peer().map_or(0, |peer| peer.port()).to_string());
            Ok(requests.map(move |request| request.map(|_| port.clone())))
        })
        .start()
        .await?;
    let client = client(&registry);
    // Held open, so that a connection that goes away stays there for them, and takes no others.
    let (mut ports, mut held) = (HashSet::new(), Vec::new());
    let opened = async {
        while ports.len() < 4 {
            let requests = stream::iter([Raw::from("hi")]).chain(stream::pending());
            let mut replies: Streaming<Raw> =
                client.bidi_stream("fleet", "Echo.Ports", requests).retries(0).await?;
            match replies.next().await.expect("a reply or an error") {
                Ok(port) => {
                    ports.insert(port);
                    held.push(replies);
                }
                // It had begun when its connection went away, and its requests may be gone.
                Err(error) => assert_eq!(error.code(), Code::Unavailable, "{error}"),
            }
            held.drain(..held.len().saturating_sub(16));
        }
        Ok::<_, Error>(())
    };
    timeout(Duration::from_secs(30), opened).await.expect("connections are replaced")?;
    drop(held);
    running.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_no_call() -> Result<()> {
    let registry = memory();
    let mut fleet = VecDeque::new();
    for _ in 0..3 {
        fleet.push_back(ports(&registry).start().await?);
    }
    let restarts = async {
        for _ in 0..3 {
            fleet.push_back(ports(&registry).start().await?);
            if let Some(old) = fleet.pop_front() {
                old.stop().await?;
            }
        }
        Ok(())
    };
    under_load(&client(&registry), 1_000, restarts).await?;
    Ok(())
}
