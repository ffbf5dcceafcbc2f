//! Hostile clients against our server.

use std::time::{Duration, Instant};

use micro::{Raw, Result};
use micro_tests::hostile::{self, Victim};
use micro_tests::{Need, isolated, ours};
use serde_json::{Value, json};

use super::{VICTIM, counted};

/// An honest call may take so long while the attack lasts.
const HONEST_LIMIT: Duration = Duration::from_secs(2);
const MIB: u64 = 1024 * 1024;

/// Attacks the server, calls it honestly meanwhile, and returns how the attack ended.
async fn attacked(name: &str, growth: u64) -> Value {
    let victim = Victim::start(VICTIM).await;
    let attacker = hostile::client().await;
    let honest = ours::client();
    let call = || async {
        let begun = Instant::now();
        let called: Result<Raw> = honest
            .call("echo", "Echo.Call", Raw::from("hello"))
            .address(victim.address())
            .timeout(HONEST_LIMIT)
            .retries(0)
            .await;
        assert_eq!(called.expect("an honest call succeeds").0, "hello");
        begun.elapsed()
    };
    // What is made once, such as the honest connection, is not counted.
    for _ in 0..20 {
        call().await;
    }
    let before = victim.held().await;
    let memory = victim.mark_memory();
    let fields = json!({ "name": name, "address": victim.address(), "timeoutMs": 40_000 });
    let mut attack = std::pin::pin!(attacker.post("attack", fields));
    let (mut calls, mut slowest) = (0, Duration::ZERO);
    let outcome = loop {
        tokio::select! {
            outcome = attack.as_mut() => break outcome,
            took = call() => {
                calls += 1;
                slowest = slowest.max(took);
            }
        }
    };
    let grown = victim.growth(memory);
    println!("{name}: {outcome}, {} KiB, {calls} honest calls, {slowest:?}", grown / 1024);
    assert!(grown <= growth * MIB, "{name}: {} KiB more memory", grown / 1024);
    call().await;
    victim.settles(before).await;
    outcome
}

macro_rules! attacks {
    ($($name:ident($growth:literal) $ended:expr;)*) => {
        $(#[test]
        fn $name() {
            counted("server", || isolated(&[Need::Hostile], || async {
                let outcome = attacked(stringify!($name), $growth).await;
                let ended: fn(&Value) -> bool = $ended;
                assert!(ended(&outcome), "{outcome}");
            }));
        })*
    };
}

/// Every connection was closed by the server.
fn stopped(outcome: &Value) -> bool {
    outcome["stopped"] == outcome["connections"]
}

/// Every connection was closed with this code.
fn refused(outcome: &Value, code: u32) -> bool {
    stopped(outcome) && outcome["goaways"] == json!([code])
}

/// The server had no reason to close.
fn endured(outcome: &Value) -> bool {
    outcome["stopped"] == 0
}

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const ENHANCE_YOUR_CALM: u32 = 11;

attacks! {
    rapid_reset(16) |o| refused(o, ENHANCE_YOUR_CALM);
    provoked_resets(16) |o| refused(o, ENHANCE_YOUR_CALM);
    continuation_flood(16) stopped;
    empty_continuation_flood(16) stopped;
    settings_flood(16) endured;
    settings_flood_unread(16) |_| true;
    ping_flood(16) endured;
    ping_flood_unread(16) |_| true;
    window_overflow(16) |o| refused(o, FLOW_CONTROL_ERROR);
    stream_window_overflow(16) |o| endured(o) && o["resets"] == json!([FLOW_CONTROL_ERROR]);
    hpack_bomb(16) |_| true;
    many_headers(16) |_| true;
    table_churn(16) |_| true;
    empty_data_flood(16) |_| true;
    scraps(16) |_| true;
    priority_flood(16) endured;
    unknown_frames(16) endured;
    padding(16) endured;
    bad_padding(16) |o| refused(o, PROTOCOL_ERROR);
    // A connection ends at more frames than the library keeps unread, and not each comes to that: see "Floods of scraps" in
    // `docs/wire.md`.
    tiny_messages(16) |o| endured(o) || o["goaways"] == json!([ENHANCE_YOUR_CALM]);
    claims(32) endured;
    abandoned_streams(16) endured;
    zero_window(48) |_| true;
    trickle(48) |_| true;
    trickled_streams(48) |_| true;
    endless_trailers(16) |o| endured(o) && o["resets"] == json!([PROTOCOL_ERROR]);
    slow_headers(16) stopped;
    deaf_callers(16) stopped;
    packed_calls(64) |_| true;
    packed_streams(64) |_| true;
    unfinished_messages(96) |_| true;
    many_heads(128) |_| true;
    large_heads(96) |_| true;
    made_up_callers(48) |_| true;
    unfinished_bodies(16) stopped;
    silent(16) stopped;
    slow_preface(16) stopped;
    no_settings(16) stopped;
}
