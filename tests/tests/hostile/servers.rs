//! Hostile servers against our client.

use std::time::Duration;

use micro::server::{Endpoint, Server};
use micro::{Context, Error, Raw};
use micro_tests::hostile::{self, Victim};
use micro_tests::{Need, isolated};
use serde_json::json;

use super::{VICTIM, counted};

/// What a call against a hostile server is given, and what it may take beyond.
const CALL_LIMIT: Duration = Duration::from_secs(2);
const LATE: Duration = Duration::from_millis(1_500);
const HONEST_LIMIT: Duration = Duration::from_secs(5);
/// Two calls of three attempts, and five connections that each may find going away.
const MAX_CONNECTS: u64 = 2 * (3 + 5);
const MIB: u64 = 1024 * 1024;

/// Calls a server that behaves in this way, and honest ones meanwhile; returns the code the call ended with.
async fn called(way: &str, growth: u64) -> String {
    let echo =
        Endpoint::unary(
            "Echo.Call",
            |_: Context, request: Raw| async move { Ok::<_, Error>(request) },
        );
    let honest = Server::builder("echo").address("127.0.0.1:0").handle(echo);
    let honest = honest.start().await.expect("the server starts");
    let honest = honest.address().to_string();
    let victim = Victim::start(VICTIM).await;
    let hostile = hostile::server().await;
    for _ in 0..20 {
        let outcome = victim.call(&honest, HONEST_LIMIT, 100).await;
        assert!(outcome["code"].is_null(), "an honest call: {outcome}");
    }
    let address = hostile.ask("behave", json!({ "way": way })).await;
    let address = address["address"].as_str().expect("an address");
    let before = victim.held().await;
    let memory = victim.mark_memory();
    let calls = async {
        let code = call(&victim, address, 100).await;
        // Larger than the window a stream begins with, on the same connection if that lasted.
        call(&victim, address, 200_000).await;
        code
    };
    let mut calls = std::pin::pin!(calls);
    let code = loop {
        tokio::select! {
            code = calls.as_mut() => break code,
            outcome = victim.call(&honest, HONEST_LIMIT, 100) => {
                assert!(outcome["code"].is_null(), "an honest call: {outcome}");
            }
        }
    };
    let grown = victim.growth(memory);
    println!("{way}: {code}, {} KiB", grown / 1024);
    assert!(grown <= growth * MIB, "{way}: {} KiB more memory", grown / 1024);
    let ended = hostile.ask("end", json!({ "way": way })).await;
    assert_eq!(ended["trouble"], json!([]), "the server did as it was told");
    let accepted = ended["accepted"].as_u64().expect("a number");
    assert!(accepted <= MAX_CONNECTS, "{accepted} connections for two calls");
    victim.settles(before).await;
    code
}

async fn call(victim: &Victim, address: &str, size: usize) -> String {
    let outcome = victim.call(address, CALL_LIMIT, size).await;
    let took = Duration::from_millis(outcome["milliseconds"].as_u64().expect("a number"));
    assert!(took <= CALL_LIMIT + LATE, "{took:?}: {outcome}");
    let code = outcome["code"].as_str().unwrap_or("Ok").to_owned();
    let detail = outcome["detail"].as_str().expect("no call succeeds");
    assert!(!detail.contains(":  ("), "a failed call says why: {detail}");
    println!("{size} bytes: {outcome}");
    code
}

macro_rules! ways {
    ($($name:ident($growth:literal) => $code:pat),* $(,)?) => {
        $(#[test]
        fn $name() {
            counted("client", || isolated(&[Need::Hostile], || async {
                let code = called(stringify!($name), $growth).await;
                assert!(matches!(code.as_str(), $code), "{code}");
            }));
        })*
    };
}

ways! {
    mute(16) => "DeadlineExceeded",
    never_answers(16) => "DeadlineExceeded",
    settings_flood(16) => "DeadlineExceeded",
    ping_flood(16) => "DeadlineExceeded",
    noise(16) => "Unavailable",
    header_bomb(16) => "ResourceExhausted",
    continuation_flood(16) => "ResourceExhausted",
    informational_flood(16) => "DeadlineExceeded",
    endless_trailers(16) => "ResourceExhausted",
    endless_replies(16) => "Unimplemented",
    empty_data_flood(16) => "ResourceExhausted",
    claim(16) => "ResourceExhausted",
    gzip_bomb(32) => "ResourceExhausted",
    goaway_storm(16) => "Unavailable",
    goaway_after_request(16) => "Unavailable",
    odd_reset(16) => "Internal",
    data_for_no_stream(16) => "Unavailable",
    data_before_head(16) => "Unavailable",
    unasked_stream(16) => "Unavailable",
    push(16) => "Unavailable",
    giant_frame(16) => "Unavailable",
    window_overflow(16) => "Unavailable",
    broken_hpack(16) => "Unavailable",
    web_page(16) => "Unknown",
    no_status(16) => "Internal",
    nonsense_status(16) => "Unknown",
    crawling_reply(16) => "DeadlineExceeded",
}
