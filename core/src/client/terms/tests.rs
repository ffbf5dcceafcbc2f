use super::*;
use crate::selector::{P2c, Random};

/// The terms of a unary call.
fn unary(client: CallOptions, own: CallOptions) -> Terms {
    Terms::new(&client, own, true)
}

fn nothing() -> CallOptions {
    CallOptions::new()
}

#[test]
fn what_is_not_said_is_as_documented() {
    let terms = unary(nothing(), nothing());
    assert_eq!(terms.timeout.beside(false), Some(Duration::from_secs(5)));
    assert_eq!((terms.retries, terms.backoff), (2, Backoff::Jittered));
    assert!(matches!(terms.retry, Retry::Safe), "{:?}", terms.retry);
    assert!(!terms.wait_for_ready && terms.idempotent.is_none());
    assert!(terms.compression.is_none() && terms.codec.is_none() && terms.forward.is_none());
}

#[test]
fn a_call_keeps_what_its_client_has_and_it_does_not_say() {
    let client = nothing()
        .timeout(Duration::from_secs(1))
        .content_type("application/grpc+json")
        .go_micro_retries()
        .wait_for_ready(true)
        .compression(Compression::Gzip)
        .idempotent(true)
        .key("client");
    let kept = unary(client.clone(), nothing());
    assert_eq!(kept.timeout.beside(false), Some(Duration::from_secs(1)));
    assert_eq!((kept.retries, kept.backoff), (1, Backoff::GoMicro));
    assert!(matches!(kept.retry, Retry::GoMicro), "{:?}", kept.retry);
    assert_eq!((kept.codec, kept.compression), (Some(Codec::Json), Some(Compression::Gzip)));
    assert_eq!((kept.wait_for_ready, kept.idempotent), (true, Some(true)));
    assert_eq!(kept.key.as_deref(), Some(&b"client"[..]));
    let own = nothing()
        .no_timeout()
        .content_type("application/grpc+proto")
        .retries(7)
        .retry(Retry::Never)
        .backoff(Backoff::None)
        .wait_for_ready(false)
        .no_compression()
        .idempotent(false)
        .key("own");
    let said = unary(client, own);
    assert_eq!((said.timeout.beside(false), said.retries, said.backoff), (None, 7, Backoff::None));
    assert!(matches!(said.retry, Retry::Never), "{:?}", said.retry);
    assert_eq!((said.codec, said.compression), (Some(Codec::Proto), None));
    assert_eq!((said.wait_for_ready, said.idempotent), (false, Some(false)));
    assert_eq!(said.key.as_deref(), Some(&b"own"[..]));
}

#[test]
fn the_default_timeout_counts_only_where_no_deadline_is_inherited() {
    let second = Duration::from_secs(1);
    assert_eq!(unary(nothing(), nothing()).timeout.beside(false), Some(Duration::from_secs(5)));
    assert_eq!(unary(nothing(), nothing()).timeout.beside(true), None);
    assert_eq!(unary(nothing().timeout(second), nothing()).timeout.beside(true), Some(second));
    assert_eq!(unary(nothing(), nothing().timeout(second)).timeout.beside(true), Some(second));
}

#[test]
fn streams_have_no_timeout_but_their_own() {
    let client = nothing().timeout(Duration::from_secs(1));
    assert_eq!(Terms::new(&client, nothing(), false).timeout.beside(false), None);
    let own = nothing().timeout(Duration::from_secs(2));
    assert_eq!(Terms::new(&client, own, false).timeout.beside(false), Some(Duration::from_secs(2)));
}

#[test]
fn addresses_and_filters_of_a_call_add_to_those_of_its_client() {
    let client = nothing().address("a:1").filter(Filter::version("2"));
    let own = nothing().address("b:1").filter(Filter::label("zone", "a"));
    let terms = unary(client.clone(), own.clone());
    assert_eq!(terms.addresses, ["a:1", "b:1"]);
    assert_eq!(terms.filters, [Filter::version("2"), Filter::label("zone", "a")]);
    assert_eq!(unary(client.clone(), nothing()).addresses, ["a:1"]);
    assert_eq!(unary(nothing(), own.clone()).addresses, ["b:1"]);
    let laid = client.options(own);
    assert_eq!((laid.addresses.len(), laid.filters.len()), (2, 2));
}

#[test]
fn a_key_is_heeded_unless_a_strategy_is_chosen() {
    let usual = P2c::new();
    let name = |client, own| unary(client, own).strategy(&usual).name();
    assert_eq!(name(nothing(), nothing()), "p2c");
    assert_eq!(name(nothing(), nothing().key("k")), "hash");
    assert_eq!(name(nothing().key("k"), nothing()), "hash");
    let random = || nothing().strategy(Arc::new(Random::new()));
    assert_eq!(name(random(), nothing().key("k")), "random");
    assert_eq!(name(nothing().key("k"), random()), "random");
}

#[test]
fn options_that_are_laid_on_top_say_as_much_as_when_each_is_set() {
    let own = nothing().timeout(Duration::from_secs(1)).metadata("tenant", "blue").retries(1);
    let on_top = nothing()
        .no_timeout()
        .metadata("tenant", "red")
        .go_micro_retries()
        .compression(Compression::Zstd)
        .detached();
    let each = own
        .clone()
        .no_timeout()
        .metadata("tenant", "red")
        .go_micro_retries()
        .compression(Compression::Zstd)
        .detached();
    assert_eq!(format!("{:?}", own.clone().options(on_top)), format!("{each:?}"));
    assert_eq!(format!("{:?}", own.clone().options(nothing())), format!("{own:?}"));
}

#[test]
fn the_first_mistake_is_kept() {
    let wrong = nothing().content_type("text/html").retries(101);
    let first = wrong.wrong.clone().unwrap();
    assert!(first.detail().contains("text/html"), "{first}");
    let laid = nothing().retries(101).options(wrong).wrong.unwrap();
    assert!(laid.detail().contains("retries"), "{laid}");
}
