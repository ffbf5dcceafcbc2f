//! Each field does what its builder's method does.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::*;
use crate::client::Client;
use crate::codec::Schema;
use crate::forward::{Credentials, Forward};
use crate::registry;
use crate::resilience::{Backoff, Limiter, Retry};
use crate::selector::{Filter, P2c};
use crate::server::ServerBuilder;
use crate::service::{Probe, Service};
use crate::transport::{ClientTls, Compression, ServerTls, TlsPolicy, network};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Builders are compared by what they print, which is all they hold.
#[track_caller]
fn same<T: std::fmt::Debug>(document: Json, got: T, by_hand: T, untouched: T) {
    let (got, by_hand) = (format!("{got:#?}"), format!("{by_hand:#?}"));
    assert_eq!(got, by_hand, "{document}");
    assert_ne!(got, format!("{untouched:#?}"), "{document} does nothing");
}

#[track_caller]
fn serves(document: Json, by_hand: impl FnOnce(ServiceBuilder) -> ServiceBuilder) {
    let got = service(&document).unwrap();
    let untouched = || Service::builder("greeter");
    same(document, got, by_hand(untouched()), untouched());
}

#[track_caller]
fn limits(document: Json, by_hand: impl FnOnce(ServerBuilder) -> ServerBuilder) {
    serves(document, |builder| builder.server(by_hand));
}

#[track_caller]
fn dials(document: Json, by_hand: impl FnOnce(ClientBuilder) -> ClientBuilder) {
    let got = client(&document).unwrap();
    same(document, got, by_hand(Client::builder()), Client::builder());
}

#[track_caller]
fn terms(document: Json, by_hand: impl FnOnce(CallOptions) -> CallOptions) {
    let by_hand = by_hand(CallOptions::new());
    same(document.clone(), call(&document).unwrap(), by_hand, CallOptions::new());
    // A client takes the same as defaults of its calls.
    assert!(client(&document).is_ok(), "{document}");
}

#[track_caller]
fn offers(document: Json, by_hand: impl FnOnce(Endpoint) -> Endpoint) {
    let got = endpoint(&document).unwrap();
    let shown = |endpoint: &Endpoint| format!("{endpoint:?}{:?}", endpoint.record());
    same(document, shown(&got), shown(&by_hand(echo())), shown(&echo()));
}

#[test]
fn every_field_of_a_service_does_what_its_builder_does() {
    let network: Arc<dyn network::Network> = Arc::new(network::Memory::new());
    serves(json!({"version": "2"}), |b| b.version("2"));
    serves(json!({"id": "a"}), |b| b.id("a"));
    serves(json!({"metadata": {"zone": "b"}}), |b| b.metadata("zone", "b"));
    serves(json!({"address": ":80"}), |b| b.address(":80"));
    serves(json!({"advertise": "a:80"}), |b| b.advertise("a:80"));
    serves(json!({"register_ttl": "9s"}), |b| b.register_ttl(MS(9000)));
    serves(json!({"register_interval": 7}), |b| b.register_interval(MS(7)));
    serves(json!({"register_timeout": "3s"}), |b| b.register_timeout(MS(3000)));
    serves(json!({"propagation": 0}), |b| b.propagation(MS(0)));
    serves(json!({"grace": "1m"}), |b| b.grace(MS(60_000)));
    for endless in [json!("none"), json!("1000000000000.000000000s"), json!(u64::MAX)] {
        serves(json!({"grace": endless}), |b| b.grace(Duration::MAX));
    }
    let url = "memory://every_field";
    let built = format!("{:#?}", service(&json!({"network": url})).unwrap()).replace(url, "…");
    assert_eq!(built, format!("{:#?}", Service::builder("greeter").network(network)));
    serves(json!({"quiet": true}), |b| b.quiet(true));
    let probe = Probe::parse("tcp://127.0.0.1:5432").unwrap();
    serves(json!({"register_check": probe.url()}), |b| b.register_probe(probe));
    serves(json!({"client": {"timeout": "1s"}}), |b| b.client(|c| c.timeout(MS(1000))));
    limits(json!({"max_concurrent_calls": 3}), |b| b.max_concurrent_calls(3));
    limits(json!({"max_connections": 3}), |b| b.max_connections(3));
    limits(json!({"max_concurrent_streams": 3}), |b| b.max_concurrent_streams(3));
    limits(json!({"max_message_size": 3}), |b| b.max_message_size(3));
    limits(json!({"max_header_size": 8192}), |b| b.max_header_size(8192));
    limits(json!({"max_unsent_replies": 70_000}), |b| b.max_unsent_replies(70_000));
    limits(json!({"max_buffered": 70_000}), |b| b.max_buffered(70_000));
    limits(json!({"max_buffered_per_connection": 70_000}), |b| {
        b.max_buffered_per_connection(70_000)
    });
    limits(json!({"compression": "zstd"}), |b| b.compression(Compression::Zstd));
    limits(json!({"allow_origins": ["http://a", "*"]}), |b| {
        b.allow_origin("http://a").allow_origin("*")
    });
    limits(json!({"keepalive": "9s"}), |b| b.keepalive(Some(MS(9000))));
    limits(json!({"keepalive": null}), |b| b.keepalive(None));
    limits(json!({"max_connection_age": "9s"}), |b| b.max_connection_age(MS(9000)));
    limits(json!({"handshake_timeout": "9s"}), |b| b.handshake_timeout(MS(9000)));
    limits(json!({"body_timeout": "9s"}), |b| b.body_timeout(MS(9000)));
    limits(json!({"idle_timeout": "9s"}), |b| b.idle_timeout(MS(9000)));
    limits(json!({"limiter": "off"}), |b| b.limiter(Limiter::off()));
    limits(json!({"limiter": {"patience": "20ms", "at_least": 4}}), |b| {
        b.limiter(Limiter::adaptive().patience(MS(20)).at_least(4))
    });
}

#[test]
fn every_field_of_a_client_does_what_its_builder_does() {
    let network: Arc<dyn network::Network> = Arc::new(network::Memory::new());
    dials(json!({"name": "a"}), |b| b.name("a"));
    dials(json!({"namespace": ""}), |b| b.namespace(""));
    dials(json!({"network": "memory://every_field"}), |b| b.network(network));
    dials(json!({"dial_timeout": "1s"}), |b| b.dial_timeout(MS(1000)));
    dials(json!({"keepalive": "1s"}), |b| b.keepalive(MS(1000)));
    dials(json!({"keepalive_timeout": "1s"}), |b| b.keepalive_timeout(MS(1000)));
    dials(json!({"idle_timeout": "1s"}), |b| b.idle_timeout(MS(1000)));
    dials(json!({"idle_timeout": null}), |b| b.idle_timeout(None));
    dials(json!({"idle_timeout": "none"}), |b| b.idle_timeout(None));
    dials(json!({"max_connections": 3}), |b| b.max_connections(3));
    dials(json!({"calls_per_connection": 3}), |b| b.calls_per_connection(3));
    dials(json!({"max_connections_per_node": 3}), |b| b.max_connections_per_node(3));
    dials(json!({"max_connection_age": "1m"}), |b| b.max_connection_age(MS(60_000)));
    dials(json!({"max_message_size": 3}), |b| b.max_message_size(3));
    dials(json!({"max_buffered": 70_000}), |b| b.max_buffered(70_000));
    dials(json!({"retries": 7, "content_type": "application/json"}), |b| {
        b.retries(7).content_type("application/json")
    });
}

#[test]
fn every_field_of_a_call_does_what_its_builder_does() {
    terms(json!({"timeout": "1s"}), |o| o.timeout(MS(1000)));
    terms(json!({"timeout": null}), CallOptions::no_timeout);
    terms(json!({"timeout": "none"}), CallOptions::no_timeout);
    terms(json!({"wait_for_ready": true}), |o| o.wait_for_ready(true));
    terms(json!({"metadata": {"a": "1", "b": ["2", "3"]}}), |o| {
        o.metadata("a", "1").metadata("b", "2").metadata("b", "3")
    });
    terms(json!({"content_type": "application/json"}), |o| o.content_type("application/json"));
    terms(json!({"addresses": ["a:1", "b:2"]}), |o| o.address("a:1").address("b:2"));
    terms(
        json!({"filters": [{"version": "2"}, {"label": ["zone", "a"]}, {"endpoint": "A.B"}]}),
        |o| {
            let filters =
                [Filter::version("2"), Filter::label("zone", "a"), Filter::endpoint("A.B")];
            filters.into_iter().fold(o, CallOptions::filter)
        },
    );
    terms(json!({"strategy": "p2c"}), |o| o.strategy(Arc::new(P2c::new())));
    terms(json!({"key": "k"}), |o| o.key("k"));
    terms(json!({"key": "k", "strategy": "p2c"}), |o| o.strategy(Arc::new(P2c::new())).key("k"));
    terms(json!({"idempotent": false}), |o| o.idempotent(false));
    terms(json!({"retries": 0}), |o| o.retries(0));
    terms(json!({"retry": "never"}), |o| o.retry(Retry::Never));
    terms(json!({"retry": "go_micro"}), |o| o.retry(Retry::GoMicro));
    terms(json!({"retry": "on_error"}), |o| o.retry(Retry::GoMicro));
    terms(json!({"retry": "always"}), |o| o.retry(Retry::Always));
    terms(json!({"backoff": "none"}), |o| o.backoff(Backoff::None));
    terms(json!({"compression": "gzip"}), |o| o.compression(Compression::Gzip));
    terms(json!({"compression": "none"}), CallOptions::no_compression);
    terms(json!({"forward": "none"}), |o| o.forward(Forward::nothing()));
    terms(json!({"forward": {"only": [], "credentials_to": "anywhere"}}), |o| {
        o.forward(Forward::new().only_nothing().credentials(Credentials::Anywhere))
    });
    terms(json!({"forward": {"only": ["a"], "except": ["b-*"], "credentials": ["C"]}}), |o| {
        o.forward(Forward::new().only("a").except("b-*").credential("c"))
    });
    terms(json!({"detached": true}), CallOptions::detached);
}

#[test]
fn every_field_of_an_endpoint_does_what_its_builder_does() {
    offers(json!({"idempotent": true}), Endpoint::idempotent);
    offers(json!({"read_only": true}), Endpoint::read_only);
    offers(json!({"internal": true}), Endpoint::internal);
    offers(json!({"metadata": {"route": "/a"}}), |e| e.metadata("route", "/a"));
    offers(json!({"request": "Name", "response": "Greeting"}), |e| {
        e.schemas(Schema::named("Name"), Schema::named("Greeting"))
    });
}

#[test]
fn what_a_call_says_comes_before_what_its_client_says() {
    let client = call(&json!({"compression": "gzip", "timeout": "1s", "retries": 7})).unwrap();
    let own = CallSettings::from_json(r#"{"compression": "none", "timeout": null}"#).unwrap();
    let both = client.settings(&own);
    let said = (both.compression, both.timeout, both.retries);
    assert_eq!(said, (Some(None), Some(None), Some(7)));
}

#[test]
fn calls_with_the_same_settings_share_their_strategy() {
    let settings = CallSettings::from_json(r#"{"strategy": "round_robin"}"#).unwrap();
    let [first, second] =
        [(); 2].map(|()| CallOptions::new().settings(&settings).strategy.unwrap());
    assert!(Arc::ptr_eq(&first, &second));
}

#[tokio::test]
async fn a_registry_is_opened_when_it_is_used() {
    let url = format!("memory://{}", uuid::Uuid::new_v4());
    let document = json!({"registry": url, "address": "127.0.0.1:0", "environment": false});
    let running = service(&document).unwrap().start().await.unwrap();
    assert!(registry::connect(&url).unwrap().get("greeter").await.is_ok());
    let document = json!({"registry": url, "environment": false});
    let client = client(&document).unwrap().build().unwrap();
    assert!(client.registry().get("greeter").await.is_ok());
    running.stop().await.unwrap();
}

#[test]
fn an_endpoint_may_be_given_trees_of_fields() {
    let nest = |values: serde_json::Value| json!({"name": "n", "type": "N", "values": values});
    let deep = nest(json!([nest(json!([nest(json!([nest(json!([]))]))]))]));
    let known = endpoint(&json!({"request": deep, "response": {"type": "[]Line"}})).unwrap();
    // Three levels, as go-micro.
    let told = known.record().request.unwrap();
    assert_eq!(told.values[0].values[0].name, "n");
    assert_eq!(told.values[0].values[0].values, []);
    assert_eq!(known.record().response.unwrap().kind, "[]Line");
    let many: Vec<_> = (0..100).map(|_| json!({"name": "x"})).collect();
    let known = endpoint(&json!({"request": nest(many.into())})).unwrap();
    assert_eq!(known.record().request.unwrap().values.len(), 64);
    let error = endpoint(&json!({"request": {"values": 7}})).unwrap_err();
    assert!(error.detail().starts_with("endpoint settings: request: "), "{error}");
}

#[test]
fn descriptors_tell_the_registry_what_the_messages_look_like() {
    use base64::Engine as _;
    let set = base64::engine::general_purpose::STANDARD
        .encode(include_bytes!("../../proto/descriptors.bin"));
    let named = |request: &str| {
        endpoint(&json!({"descriptors": set, "request": request, "response": "StatsResponse"}))
    };
    let known = named("grpc.health.v1.HealthCheckRequest").unwrap();
    assert_eq!(known.record().request.unwrap().values[0].name, "service");
    assert!(known.response().descriptor().is_some());
    let error = named("grpc.health.v1.HealthCheckRequst").unwrap_err();
    let meant = "did you mean `grpc.health.v1.HealthCheckRequest`?";
    assert!(error.detail().contains(meant), "{error}");
    for wrong in [json!({"descriptors": set}), json!({"descriptors": "?", "request": "A"})] {
        let error = endpoint(&wrong).unwrap_err();
        assert!(error.detail().starts_with("endpoint settings: descriptors: "), "{error}");
    }
}

#[test]
fn nothing_sets_nothing() {
    for nothing in ["", "  \n", "{}", "null", r#"{"version": null, "client": null, "tls": null}"#] {
        let got = ServiceSettings::from_json(nothing).unwrap().builder("greeter").unwrap();
        assert_eq!(format!("{got:?}"), format!("{:?}", Service::builder("greeter")), "{nothing}");
    }
}

#[test]
fn certificates_are_texts_or_files() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    std::fs::write(&file, &key).unwrap();
    let tls = ServerTls::new(certificate.as_bytes(), key.as_bytes()).unwrap();
    serves(json!({"tls": {"certificate": certificate, "private_key": {"file": file}}}), |b| {
        b.tls(tls)
    });
    let mutual = json!({"authority": certificate, "certificate": certificate, "private_key": key});
    for trusting in [json!({"authority": certificate}), mutual] {
        let tls = ClientTls::trusting(certificate.as_bytes()).unwrap();
        dials(json!({"tls": trusting}), |b| b.tls(tls));
    }
    let named = json!({"authority": certificate, "server_name": "a.example", "policy": "prefer"});
    dials(json!({"tls": named}), |b| {
        let tls = ClientTls::trusting(certificate.as_bytes()).unwrap();
        b.tls(tls.server_name("a.example").unwrap().policy(TlsPolicy::Prefer))
    });
    let shown = format!(
        "{:?}",
        ServiceSettings::from_json(
            &json!({"tls": {"certificate": certificate, "private_key": key}}).to_string(),
        )
    );
    assert!(!shown.contains("BEGIN"), "a key is printed: {shown}");
    std::fs::remove_file(&file).unwrap();
    let gone = json!({"tls": {"certificate": certificate, "private_key": {"file": file}}});
    let error = service(&gone).unwrap_err();
    assert!(
        error.detail().starts_with("service settings: tls.private_key: cannot read "),
        "{error}"
    );
}

#[test]
fn metadata_of_settings_adds_to_what_the_call_has() {
    let settings = CallSettings::from_json(r#"{"metadata": {"tenant": "red"}}"#).unwrap();
    let options = CallOptions::new().metadata("tenant", "blue").settings(&settings);
    assert_eq!(options.metadata.get_all("tenant").collect::<Vec<_>>(), ["blue", "red"]);
}
