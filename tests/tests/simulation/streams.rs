//! Streams on a network that breaks under them.

use futures_util::{StreamExt as _, stream};
use micro::server::Endpoint;
use micro::{Code, Context, Raw, Streaming};
use tokio::time::sleep;

use super::seeds::scenario;
use super::trace::{Event, Trace};
use super::world::{SERVICE, Shape, TICK, World, ms, number};

const MESSAGES: u32 = 40;
const TIMEOUT: u64 = 1_500;

/// A node that counts to [`MESSAGES`], and returns what it is told.
fn node(world: &mut World, name: &'static str) {
    world.node_with(name, |service| {
        let count = |_: Context, _: Raw| async {
            Ok(stream::iter(0..MESSAGES).then(|i| async move {
                sleep(ms(fastrand::u64(0..20))).await;
                Ok(Raw::from(i.to_string()))
            }))
        };
        service
            .handle(Endpoint::server_stream("Stream.Count", count))
            .bidi_stream("Stream.Echo", |_: Context, told: Streaming<Raw>| async move { Ok(told) })
    });
}

/// Reads a stream to its end: the messages are those sent, in order, from the first; then it ends,
/// or breaks. How it went.
async fn read(mut messages: Streaming<Raw>) -> (u32, Option<Code>) {
    for expected in 0.. {
        match messages.next().await {
            Some(Ok(message)) => assert_eq!(number(&message), expected, "in order, each once"),
            Some(Err(error)) => {
                assert!(messages.next().await.is_none(), "nothing follows an error");
                return (expected, Some(error.code()));
            }
            None => return (expected, None),
        }
    }
    unreachable!("a stream ends")
}

fn notes(trace: &Trace) -> Vec<&str> {
    let notes = trace.iter().filter_map(|(_, event)| match event {
        Event::Note(note) => Some(note.as_str()),
        _ => None,
    });
    notes.collect()
}

#[test]
fn a_stream_arrives_in_order_and_whole_or_ends_in_an_error_in_time() {
    scenario("streams", |seed| {
        let mut world = World::new(&Shape::of(seed));
        node(&mut world, "node-1");
        node(&mut world, "node-2");
        world.at(ms(2_500), |sim| sim.partition("caller", "node-1"));
        world.at(ms(4_500), |sim| sim.repair("caller", "node-1"));
        world.at(ms(5_500), |sim| sim.crash("node-2"));
        world.at(ms(6_000), |sim| sim.bounce("node-2"));
        world.client("caller", |client, log| async move {
            while turmoil::sim_elapsed().unwrap() < ms(9_000) {
                let begun = turmoil::sim_elapsed().unwrap();
                let outcome = if fastrand::bool() {
                    let call = client.server_stream(SERVICE, "Stream.Count", Raw::default());
                    call.timeout(ms(TIMEOUT)).await
                } else {
                    let told = stream::iter(0..MESSAGES).map(|i| Raw::from(i.to_string()));
                    let call = client.bidi_stream(SERVICE, "Stream.Echo", told);
                    call.timeout(ms(TIMEOUT)).await
                };
                let (read, failed) = match outcome {
                    Ok(messages) => read(messages).await,
                    Err(error) => (0, Some(error.code())),
                };
                let took = turmoil::sim_elapsed().unwrap() - begun;
                assert!(took <= ms(TIMEOUT) + TICK * 2, "late: {took:?} after {begun:?}");
                match failed {
                    None => assert_eq!(read, MESSAGES, "an end without an error is the end"),
                    Some(code) => assert!(
                        matches!(code, Code::Unavailable | Code::DeadlineExceeded),
                        "{code:?} after {begun:?}"
                    ),
                }
                let how = failed.map_or("whole".to_owned(), |code| format!("{code:?}"));
                log.write(Event::Note(format!("{} {how}", begun.as_millis())));
                sleep(ms(20)).await;
            }
            Ok(())
        });
        let trace = world.run();
        let notes = notes(&trace);
        let began = |note: &&&str| note.split(' ').next().unwrap().parse::<u64>().unwrap();
        let calm = notes.iter().filter(|note| (200..1_500).contains(&began(note)));
        let (whole, broken): (Vec<&&str>, Vec<&&str>) =
            calm.partition(|note| note.ends_with("whole"));
        assert!(whole.len() >= 2 && broken.is_empty(), "{notes:?}");
        let last = notes.iter().filter(|note| began(note) > 7_500);
        assert!(last.clone().any(|note| note.ends_with("whole")), "{notes:?}");
    });
}
