//! What of an inbound call reaches the services its handler calls.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod support;

use std::collections::BTreeSet;

use micro::settings::CallSettings;
use micro::{Client, Context, Credentials, Forward, Json, Raw, Result, Service};
use support::{memory, service};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// `relay` calls `leaf`, once as the registry found it and once by its address; the leaf answers with the names it saw.
struct Chain {
    relay: Service,
    leaf: Service,
}

async fn chain(rule: Option<Forward>) -> Result<Chain> {
    let registry = memory();
    let leaf = service(&registry, "leaf")
        .endpoint("Leaf.Names", |context: Context, _: Raw| async move {
            let names = context.metadata().iter().map(|(name, _)| name.to_owned());
            Ok(Json(names.collect::<BTreeSet<_>>()))
        })
        .start()
        .await?;
    let mut inner = Client::builder().registry(registry.clone()).name("relay");
    if let Some(rule) = rule {
        inner = inner.forward(rule);
    }
    let (found, fixed) = (inner.build()?, leaf.node().address.clone());
    let given = found.clone();
    let relay = service(&registry, "relay")
        .endpoint("Relay.Found", move |_: Context, request: Raw| {
            let call = found.call::<_, Raw>("leaf", "Leaf.Names", request);
            async move { call.content_type("application/grpc+json").await }
        })
        .endpoint("Relay.Fixed", move |_: Context, request: Raw| {
            let call = given.call::<_, Raw>("leaf", "Leaf.Names", request).address(fixed.clone());
            async move { call.content_type("application/grpc+json").await }
        })
        .start()
        .await?;
    Ok(Chain { relay, leaf })
}

impl Chain {
    /// The names that reach the leaf of a request with `headers`, as a browser or a proxy sends it.
    async fn names(&self, endpoint: &str, headers: &str) -> BTreeSet<String> {
        let mut socket =
            TcpStream::connect(self.relay.node().address.as_str()).await.expect("connected");
        let request = format!(
            "POST /relay.Relay/{endpoint} HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\ncontent-length: 2\r\n{headers}\r\n{{}}"
        );
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        let mut buffer = [0; 4096];
        while !answer.contains(']') {
            let read = socket.read(&mut buffer).await.expect("answered");
            assert_ne!(read, 0, "closed after {answer:?}");
            answer.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        let body = &answer[answer.find('[').expect("a list")..];
        serde_json::from_str(body.trim_end()).expect("names")
    }

    async fn stop(self) -> Result<()> {
        self.relay.stop().await?;
        self.leaf.stop().await
    }
}

const HEADERS: &str = "connection: x-of-hop\r\nx-of-hop: 1\r\nhttp2-settings: AAMAAABk\r\n\
    proxy-authorization: Basic eDp5\r\nrange: bytes=0-1\r\nif-match: \"a\"\r\naccept-language: de\r\n\
    cookie: session=1\r\norigin: https://shop.example\r\nsec-fetch-mode: cors\r\nx-forwarded-for: 10.0.0.1\r\n\
    authorization: Bearer secret\r\nx-api-key: secret\r\ntenant: blue\r\n";

/// Of [`HEADERS`], what is among `names`.
fn of_caller(names: &BTreeSet<String>) -> Vec<&str> {
    let sent = HEADERS.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name);
    let mut found: Vec<_> = sent.filter(|name| names.contains(*name)).collect();
    found.sort_unstable();
    found
}

#[tokio::test]
async fn hops_and_browsers_keep_their_headers_and_credentials_stay_in_the_fleet() -> Result<()> {
    let chain = chain(None).await?;
    let found = chain.names("Found", HEADERS).await;
    assert_eq!(of_caller(&found), ["authorization", "tenant", "x-api-key"]);
    assert!(found.contains("micro-trace"), "{found:?}");
    let fixed = chain.names("Fixed", HEADERS).await;
    assert_eq!(of_caller(&fixed), ["tenant"]);
    assert!(fixed.contains("micro-trace-id") && fixed.contains("grpc-timeout"), "{fixed:?}");
    chain.stop().await
}

#[tokio::test]
async fn a_rule_says_what_goes_where() -> Result<()> {
    let chain = chain(Some(Forward::new().credentials(Credentials::Anywhere))).await?;
    let fixed = chain.names("Fixed", HEADERS).await;
    assert_eq!(of_caller(&fixed), ["authorization", "tenant", "x-api-key"]);
    chain.stop().await?;
    let chain = self::chain(Some(Forward::nothing())).await?;
    let found = chain.names("Found", HEADERS).await;
    assert_eq!(of_caller(&found), [""; 0]);
    assert!(found.contains("micro-trace"), "{found:?}");
    chain.stop().await
}

#[tokio::test]
async fn a_rule_in_a_document_is_the_same_rule() {
    let document = r#"{"forward": {"only": ["tenant"], "credentials": ["x-session"], "credentials_to": "anywhere"}}"#;
    assert!(CallSettings::from_json(document).is_ok());
    let wrong = CallSettings::from_json(r#"{"forward": {"only": ["Cookie"]}}"#);
    let error = wrong.expect_err("cookies never go on");
    assert!(error.detail().contains("call settings: forward: `cookie` belongs"), "{error}");
}
