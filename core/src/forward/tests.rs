//! What goes on, by kind and by rule.

use http::header::HeaderValue;

use super::*;

fn headers(names: &[&str]) -> HeaderMap {
    let value = HeaderValue::from_static("1");
    names
        .iter()
        .map(|name| (HeaderName::from_bytes(name.as_bytes()).expect("a name"), value.clone()))
        .collect()
}

fn gone_on(inbound: &HeaderMap, rule: Option<&Forward>, found: bool) -> Vec<String> {
    let mut target = HeaderMap::new();
    forward(inbound, &mut target, rule, found);
    let mut names: Vec<_> = target.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn what_belongs_to_a_hop_or_a_browser_stays() {
    let inbound = headers(&[
        "accept",
        "accept-encoding",
        "accept-language",
        "access-control-request-method",
        "cache-control",
        "ce-type",
        "connect-protocol-version",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "grpc-encoding",
        "grpc-timeout",
        "host",
        "http2-settings",
        "if-none-match",
        "keep-alive",
        "max-forwards",
        "micro-dead-reason",
        "micro-retry-queue",
        "micro-from-service",
        "origin",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "referer",
        "sec-fetch-mode",
        "sec-websocket-key",
        "te",
        "timeout",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
        "x-content-type",
        "x-forwarded-for",
        "x-real-ip",
    ]);
    let wide = Forward::new().only("*x").only("a*").credentials(Credentials::Anywhere);
    assert!(wide.checked().is_err(), "`*` stands at the end alone");
    for rule in [None, Some(Forward::new().credentials(Credentials::Anywhere))] {
        assert_eq!(gone_on(&inbound, rule.as_ref(), true), [""; 0]);
    }
}

#[test]
fn what_connection_names_stays_whatever_it_is() {
    let mut inbound = headers(&["x-hop", "x-other", "tenant", "last"]);
    inbound.append("connection", HeaderValue::from_static("close, X-Hop ,x-other"));
    inbound.append("connection", HeaderValue::from_static("LAST"));
    assert_eq!(gone_on(&inbound, None, true), ["tenant"]);
}

#[test]
fn metadata_goes_anywhere_and_credentials_to_nodes_of_the_registry() {
    let inbound = headers(&["authorization", "x-api-key", "tenant", "micro-namespace"]);
    let all = ["authorization", "micro-namespace", "tenant", "x-api-key"];
    assert_eq!(gone_on(&inbound, None, true), all);
    assert_eq!(gone_on(&inbound, None, false), ["micro-namespace", "tenant"]);
    let anywhere = Forward::new().credentials(Credentials::Anywhere);
    assert_eq!(gone_on(&inbound, Some(&anywhere), false), all);
    let nowhere = Forward::new().credentials(Credentials::Nowhere);
    assert_eq!(gone_on(&inbound, Some(&nowhere), true), ["micro-namespace", "tenant"]);
    assert_eq!(gone_on(&inbound, Some(&Forward::nothing()), true), [""; 0]);
}

#[test]
fn a_rule_names_what_goes_what_stays_and_what_is_a_credential() {
    let inbound = headers(&["authorization", "x-session", "x-shop-a", "x-shop-b", "tenant"]);
    let rule = Forward::new().only("X-Shop-*").except("x-shop-b").credential("X-Session");
    assert_eq!(gone_on(&inbound, Some(&rule), true), ["authorization", "x-session", "x-shop-a"]);
    assert_eq!(gone_on(&inbound, Some(&rule), false), ["x-shop-a"]);
    let kept = Forward::new().except("authorization").except("x-*");
    assert_eq!(gone_on(&inbound, Some(&kept), true), ["tenant"]);
}

#[test]
fn names_that_cannot_go_on_are_refused() {
    for rule in [
        Forward::new().only("cookie"),
        Forward::new().credential("proxy-authorization"),
        Forward::new().except("not a name"),
        Forward::new().only(""),
        (0..=MAX_NAMES).fold(Forward::new(), |rule, n| rule.except(&format!("x-{n}"))),
    ] {
        assert!(rule.checked().is_err());
    }
}

#[test]
fn what_a_call_has_already_is_kept() {
    let mut target = headers(&["tenant"]);
    let mut inbound = HeaderMap::new();
    inbound.insert("tenant", HeaderValue::from_static("theirs"));
    forward(&inbound, &mut target, None, true);
    assert_eq!(target.get("tenant"), Some(&HeaderValue::from_static("1")));
}
