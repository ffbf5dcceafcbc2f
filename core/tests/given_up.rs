//! Calls whose callers have given up, and calls that are too large to be sent: neither harms those beside them.
#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream;
use micro::network::{Io, Listener, Memory, Network};
use micro::server::Endpoint;
use micro::{Client, Code, Context, Error, Metadata, Raw, Result, Service, Streaming, registry};
use support::{echo, held};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

/// Time a byte takes from one end to the other.
const DELAY: Duration = Duration::from_millis(10);

/// A network whose bytes take their time, and that counts connections.
#[derive(Debug, Default)]
struct Slow {
    inner: Memory,
    connections: AtomicUsize,
}

#[async_trait::async_trait]
impl Network for Slow {
    async fn connect(&self, address: &str) -> io::Result<Io> {
        self.connections.fetch_add(1, SeqCst);
        let (far_read, far_write) = tokio::io::split(self.inner.connect(address).await?);
        let (near, caller) = tokio::io::duplex(1 << 20);
        let (near_read, near_write): (ReadHalf<DuplexStream>, WriteHalf<_>) =
            tokio::io::split(near);
        tokio::spawn(delay(near_read, far_write));
        tokio::spawn(delay(far_read, near_write));
        Ok(Io::new(caller))
    }

    async fn bind(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        self.inner.bind(address).await
    }
}

async fn delay(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin + Send + 'static,
) {
    let (sender, mut under_way) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((due, bytes)) = under_way.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut buffer).await
        && length > 0
    {
        let _ = sender.send((Instant::now() + DELAY, buffer[..length].to_vec()));
    }
}

/// Answers after 10 ms, so that with the way there and back a caller has it after 30.
fn slow() -> Endpoint {
    Endpoint::unary("Slow.Call", |_: Context, request: Raw| async move {
        sleep(Duration::from_millis(10)).await;
        Ok(request)
    })
}

async fn pair(endpoints: Vec<Endpoint>) -> Result<(Arc<Slow>, Service, Client)> {
    let registry = Arc::new(registry::Memory::new());
    let network = Arc::new(Slow::default());
    let builder = Service::builder("echo")
        .registry(registry.clone())
        .network(network.clone())
        .handle_signals(false);
    let running =
        endpoints.into_iter().fold(builder, |builder, e| builder.handle(e)).start().await?;
    let client = Client::builder().registry(registry).network(network.clone()).build()?;
    Ok((network, running, client))
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_given_up_leave_their_connection_to_others() -> Result<()> {
    const ROUNDS: usize = 150;
    const WIDTH: usize = 90;
    let (network, running, client) = pair(vec![slow()]).await?;
    let ask = |timeout| {
        let call = client.call::<_, Raw>("echo", "Slow.Call", Raw::from("hi"));
        call.timeout(Duration::from_millis(timeout)).retries(0).send()
    };
    for round in 0..ROUNDS {
        // The answer is on its way when the caller gives up: it comes late.
        let hasty = join_all((0..WIDTH).map(|_| ask(25)));
        let (hasty, patient) = tokio::join!(hasty, ask(1_000));
        patient.unwrap_or_else(|error| panic!("round {round}: {error}"));
        for outcome in hasty {
            assert_eq!(outcome.expect_err("25 ms are not enough").code(), Code::DeadlineExceeded);
        }
    }
    let connections = network.connections.load(SeqCst);
    assert_eq!(connections, 1, "{} calls were given up", ROUNDS * WIDTH);
    running.stop().await
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_very_many_given_up_calls_is_replaced_without_a_failure() -> Result<()> {
    let flood = |_: Context, _: Raw| async move {
        Ok(stream::iter((0..1_000).map(|number| Ok(Raw::from(number.to_string())))))
    };
    let (network, running, client) =
        pair(vec![slow(), Endpoint::server_stream("Slow.Flood", flood)]).await?;
    for _ in 0..150 {
        let held = client.call::<_, Raw>("echo", "Slow.Call", Raw::from("hi")).retries(0).send();
        let given_up = async {
            let mut replies: Streaming<Raw> =
                client.server_stream("echo", "Slow.Flood", Raw::default()).await?;
            replies.message().await
        };
        let (held, given_up) = tokio::join!(held, given_up);
        held?;
        given_up?;
    }
    let connections = network.connections.load(SeqCst);
    assert!((2..10).contains(&connections), "{connections} connections");
    running.stop().await
}

/// Makes `attempt` while 50 calls are held on the only connection; all of them end well.
async fn beside_others<T>(
    endpoints: Vec<Endpoint>,
    attempt: impl AsyncFnOnce(Client) -> T,
) -> Result<T> {
    let (held, let_go) = held();
    let (network, running, client) = pair([vec![held], endpoints].concat()).await?;
    let others: Vec<_> = (0..50)
        .map(|_| {
            let call = client.call::<_, Raw>("echo", "Echo.Call", Raw::from("hi"));
            tokio::spawn(call.no_timeout().retries(0).send())
        })
        .collect();
    while running.server().in_flight() < 50 {
        sleep(Duration::from_millis(1)).await;
    }
    let outcome = attempt(client).await;
    for _ in 0..50 {
        let_go.release.notify_one();
        sleep(Duration::from_millis(1)).await;
    }
    for other in others {
        other.await.expect("the caller runs")?;
    }
    assert_eq!(network.connections.load(SeqCst), 1);
    running.stop().await?;
    Ok(outcome)
}

fn refused_for_size(error: &Error, what: &str) {
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    for part in [what, "90", "65536"] {
        assert!(error.detail().contains(part), "{part}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_that_the_node_does_not_take_is_refused_before_it_is_sent() -> Result<()> {
    let large = "x".repeat(90_000);
    for stream in [false, true] {
        let large = large.clone();
        let error = beside_others(vec![], async move |client: Client| {
            if stream {
                let call = client.bidi_stream("echo", "Echo.Call", stream::empty::<Raw>());
                let opened: Result<Streaming<Raw>> = call.metadata("large", &large).await;
                opened.expect_err("90 kB are too many")
            } else {
                let call = client.call::<_, Raw>("echo", "Echo.Call", Raw::default());
                call.metadata("large", &large)
                    .idempotent(true)
                    .await
                    .expect_err("90 kB are too many")
            }
        })
        .await?;
        refused_for_size(&error, "the headers of the call");
        assert_eq!(error.origin().map(|origin| origin.attempts), Some(1), "trying again is no use");
    }
    // On a new connection, too, and in many small ones.
    let (_network, running, client) = pair(vec![echo()]).await?;
    let many = (0..1_800).fold(Metadata::new(), |mut metadata, number| {
        metadata.append(&format!("name-{number}"), "value").expect("a header");
        metadata
    });
    let call = client.call::<_, Raw>("echo", "Echo.Call", Raw::default()).metadata_all(many);
    let error = call.await.expect_err("1800 headers count 85 kB");
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    let fits = "x".repeat(60_000);
    client.call::<_, Raw>("echo", "Echo.Call", Raw::default()).metadata("large", &fits).await?;
    running.stop().await
}

#[tokio::test(start_paused = true)]
async fn metadata_that_the_caller_does_not_take_fails_its_own_call_alone() -> Result<()> {
    let large = || Raw::from("x".repeat(90_000));
    let answer = |part: &'static str, fails: bool| {
        move |cx: Context, request: Raw| async move {
            let text = String::from_utf8_lossy(&request.0).into_owned();
            match part {
                "headers" => cx.set_header("large", &text)?,
                _ => cx.set_trailer("large", &text)?,
            }
            if fails { Err(Error::not_found("user 7")) } else { Ok(Raw::default()) }
        }
    };
    for part in ["headers", "trailers"] {
        let failed = beside_others(
            vec![
                Endpoint::unary("Large.Call", answer(part, false)),
                Endpoint::unary("Large.Fail", answer(part, true)),
                Endpoint::server_stream(
                    "Large.Stream",
                    move |cx: Context, request: Raw| async move {
                        answer(part, false)(cx, request).await?;
                        Ok(stream::iter([Ok(Raw::default())]))
                    },
                ),
            ],
            async move |client: Client| {
                let call = client.call::<_, Raw>("echo", "Large.Call", large()).await;
                let fail = client.call::<_, Raw>("echo", "Large.Fail", large()).await;
                let streamed = async {
                    let mut replies: Streaming<Raw> =
                        client.server_stream("echo", "Large.Stream", large()).await?;
                    while replies.message().await?.is_some() {}
                    Ok::<_, Error>(())
                };
                (call.expect_err("too large"), fail.expect_err("not found"), streamed.await)
            },
        )
        .await?;
        let (call, fail, streamed) = failed;
        refused_for_size(&call, part);
        refused_for_size(&streamed.expect_err("too large"), part);
        assert_eq!(
            (fail.code(), fail.detail()),
            (Code::NotFound, "user 7"),
            "its own error counts"
        );
    }
    Ok(())
}
