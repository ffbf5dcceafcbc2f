use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::advance;

use super::*;
use crate::client::CallOptions;
use crate::testing::Fleet;
use crate::{Context, Error, Json, Result, Service};

/// A service that counts the calls of `Shop.Price`, and a fleet around it.
async fn shop() -> (Fleet, Arc<AtomicUsize>) {
    let calls = Arc::<AtomicUsize>::default();
    let counted = calls.clone();
    let price = move |cx: Context, Json(title): Json<String>| {
        let call = counted.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            cx.set_header("shelf", "7")?;
            match title.as_str() {
                "sold" => Err(Error::not_found("it is sold")),
                _ => Ok(Json((title, call))),
            }
        }
    };
    let fleet = Fleet::new();
    fleet.start(Service::builder("shop").endpoint("Shop.Price", price)).await.expect("started");
    (fleet, calls)
}

fn minute() -> CallOptions {
    CallOptions::new().cached(Duration::from_secs(60))
}

async fn price(client: &Client, title: &str, options: CallOptions) -> Result<(String, usize)> {
    let call = client.call("shop", "Shop.Price", Json(title.to_owned())).options(options);
    let Json(answer): Json<(String, usize)> = call.await?;
    Ok(answer)
}

#[tokio::test(start_paused = true)]
async fn an_equal_call_is_answered_without_a_node_until_its_time_is_over() {
    let (fleet, calls) = shop().await;
    let client = fleet.client();
    for _ in 0..3 {
        assert_eq!(price(&client, "Emma", minute()).await, Ok(("Emma".into(), 1)));
    }
    let reply =
        client.call::<_, Json<(String, usize)>>("shop", "Shop.Price", Json("Emma".to_owned()));
    let reply = reply.options(minute()).send().await.expect("it is kept");
    assert_eq!(reply.headers.get("shelf"), Some("7"), "what came around it is kept too");
    assert_eq!(
        price(&client, "Persuasion", minute()).await.map(|it| it.1),
        Ok(2),
        "another message"
    );
    assert_eq!(
        price(&client, "Emma", CallOptions::new()).await.map(|it| it.1),
        Ok(3),
        "not asked for"
    );
    advance(Duration::from_secs(61)).await;
    assert_eq!(price(&client, "Emma", minute()).await.map(|it| it.1), Ok(4));
    assert_eq!(calls.load(Ordering::SeqCst), 4);
    fleet.stop().await.expect("stopped");
}

#[tokio::test]
async fn another_caller_gets_an_answer_of_its_own() {
    let (fleet, _) = shop().await;
    let client = fleet.client();
    let of = |token: &str| minute().metadata("authorization", token);
    assert_eq!(price(&client, "Emma", of("Bearer ada")).await.map(|it| it.1), Ok(1));
    assert_eq!(price(&client, "Emma", of("Bearer bob")).await.map(|it| it.1), Ok(2));
    assert_eq!(price(&client, "Emma", of("Bearer ada")).await.map(|it| it.1), Ok(1));
    // Ids of traces are no identity.
    let traced = |id: &str| of("Bearer ada").metadata("traceparent", id);
    assert_eq!(price(&client, "Emma", traced("a")).await.map(|it| it.1), Ok(1));
    let named = fleet.client_with(Client::builder()).options(minute()).build().expect("a client");
    assert_eq!(price(&named, "Emma", CallOptions::new()).await.map(|it| it.1), Ok(3));
    assert_eq!(price(&named, "Emma", CallOptions::new()).await.map(|it| it.1), Ok(3));
    let never = CallOptions::new().cached(Duration::ZERO);
    assert_eq!(price(&named, "Emma", never).await.map(|it| it.1), Ok(4));
    fleet.stop().await.expect("stopped");
}

/// The credentials of the call being served are those of its caller.
#[tokio::test]
async fn what_is_inherited_tells_callers_apart() {
    let (fleet, _) = shop().await;
    let inner = fleet.client();
    let front = move |_: Context, Json(title): Json<String>| {
        let inner = inner.clone();
        async move { price(&inner, &title, minute()).await.map(Json) }
    };
    fleet.start(Service::builder("front").endpoint("Front.Price", front)).await.expect("started");
    let outer = fleet.client();
    let mut answers = Vec::new();
    for token in ["ada", "bob", "ada"] {
        let call = outer.call("front", "Front.Price", Json("Emma".to_owned()));
        let call = call.metadata("authorization", token);
        let Json((_, number)): Json<(String, usize)> = call.await.expect("answered");
        answers.push(number);
    }
    assert_eq!(answers, [1, 2, 1]);
    fleet.stop().await.expect("stopped");
}

#[tokio::test]
async fn failures_are_not_kept() {
    let (fleet, calls) = shop().await;
    let client = fleet.client();
    for _ in 0..2 {
        assert!(price(&client, "sold", minute()).await.is_err());
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert!(client.cached().is_empty());
    fleet.stop().await.expect("stopped");
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_listed_until_it_is_over() {
    let (fleet, _) = shop().await;
    let client = fleet.client();
    price(&client, "Emma", minute()).await.expect("answered");
    price(&client, "Persuasion", minute().cached(Duration::from_secs(90))).await.expect("answered");
    let listed = client.cached();
    assert_eq!(listed.len(), 2);
    for reply in &listed {
        assert_eq!((&*reply.service, &*reply.endpoint), ("shop", "Shop.Price"));
        let hex = reply.key.bytes().all(|digit| digit.is_ascii_hexdigit());
        assert!(reply.key.len() == 16 && hex, "{}", reply.key);
        let (title, _): (String, usize) = serde_json::from_slice(&reply.message).expect("JSON");
        assert!(reply.expires_in <= Duration::from_secs(if title == "Emma" { 60 } else { 90 }));
    }
    assert_ne!(listed[0].key, listed[1].key);
    advance(Duration::from_secs(61)).await;
    assert_eq!(client.cached().len(), 1);
    fleet.stop().await.expect("stopped");
}

#[tokio::test]
async fn the_least_used_goes_when_there_is_no_room() {
    let (fleet, _) = shop().await;
    let client = fleet.client_with(Client::builder().max_cached(16 * 1024)).build().expect("made");
    let title = |number: usize| format!("{number:0>300}");
    for number in 0..20 {
        price(&client, &title(number), minute()).await.expect("answered");
        // It is used again and again, and stays.
        assert_eq!(price(&client, &title(0), minute()).await.map(|it| it.1), Ok(1));
    }
    let kept = client.cached().len();
    assert!((8..20).contains(&kept), "{kept} of a kilobyte each");
    let again = price(&client, &title(1), minute()).await.map(|it| it.1);
    assert_eq!(again, Ok(21), "it made room");
    let huge = "x".repeat(2_000);
    for call in [22, 23] {
        assert_eq!(price(&client, &huge, minute()).await.map(|it| it.1), Ok(call), "too large");
    }
    fleet.stop().await.expect("stopped");
}
