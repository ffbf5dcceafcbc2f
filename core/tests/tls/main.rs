//! TLS between real services: who is believed, what is told when it fails, and certificates that change.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod renewal;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;

use micro::registry::Memory;
use micro::{Client, ClientTls, Code, Error, Raw, Result, ServerTls, Service, TlsPolicy};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use support::{call, echo, memory, service};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A certificate and its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

/// What signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let certificate = params.self_signed(&key).expect("an authority").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn sign(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("parameters");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

/// What every tutorial makes: signed by itself, and marked as an authority's or not.
fn self_signed(
    names: &[&str],
    authority: bool,
    change: impl FnOnce(&mut CertificateParams),
) -> Pair {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("parameters");
    if authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    Pair { certificate, key: key.serialize_pem() }
}

fn nothing(_: &mut CertificateParams) {}

async fn serving(registry: &Arc<Memory>, pair: &Pair) -> Result<Service> {
    let tls = ServerTls::new(&pair.certificate, &pair.key)?;
    service(registry, "echo").tls(tls).handle(echo()).start().await
}

fn with(registry: &Arc<Memory>, tls: ClientTls) -> Client {
    Client::builder().registry(registry.clone()).tls(tls).retries(0).build().expect("a client")
}

/// The failure of a call with `tls` to a server that shows `pair`.
async fn refused(pair: &Pair, tls: ClientTls) -> Error {
    let registry = memory();
    let running = serving(&registry, pair).await.expect("it starts");
    let error = call(&with(&registry, tls), "echo").await.expect_err("not verified");
    running.stop().await.expect("it stops");
    assert_eq!(error.code(), Code::Unavailable);
    error
}

#[track_caller]
fn tells(error: &Error, words: &[&str]) {
    for word in words {
        assert!(error.detail().contains(word), "no {word:?} in {error}");
    }
    // Names of enums are no explanation.
    for name in ["UnknownIssuer", "NotValidFor", "CaUsedAs", "InvalidContentType", "invalid peer"] {
        assert!(!error.detail().contains(name), "{error}");
    }
}

#[tokio::test]
async fn one_setting_has_a_service_serve_and_speak_tls() -> Result<()> {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let registry = memory();
    let start = |name, by: &Authority| {
        let pair = by.sign(&["127.0.0.1"], nothing);
        service(&registry, name)
            .mutual_tls(&authority.certificate, &pair.certificate, &pair.key)
            .map(|builder| builder.handle(echo()).start())
    };
    let (echo, asking) = (start("echo", &authority)?.await?, start("asking", &authority)?.await?);
    assert!(echo.node().speaks_tls());
    assert_eq!(call(asking.client(), "echo").await?, Raw::from("hi"));
    // Its certificate is asked for, and looked at.
    let plain = with(&registry, ClientTls::trusting(&authority.certificate)?);
    assert_eq!(call(&plain, "echo").await.expect_err("shows none").code(), Code::Unavailable);
    let other = start("other", &stranger)?.await?;
    let error = call(other.client(), "echo").await.expect_err("a stranger's");
    assert_eq!(error.code(), Code::Unavailable);
    let none = service(&registry, "none").mutual_tls("no PEM", "none", "none");
    assert_eq!(none.expect_err("no PEM").code(), Code::InvalidArgument);
    for service in [echo, asking, other] {
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_name_is_verified_where_nodes_are_addresses() -> Result<()> {
    let authority = Authority::new();
    let pair = authority.sign(&["greeter.internal"], nothing);
    let registry = memory();
    let running = serving(&registry, &pair).await?;
    let address = running.node().address.clone();
    let trusting = || ClientTls::trusting(&authority.certificate);
    let at = async |tls: ClientTls| -> Result<Raw> {
        let client = with(&memory(), tls);
        client.call("echo", "Echo.Call", Raw::default()).address(&address).await
    };
    at(trusting()?.server_name("greeter.internal")?).await?;
    tells(
        &at(trusting()?).await.expect_err("an address"),
        &["greeter.internal", "127.0.0.1", "server_name"],
    );
    let other = trusting()?.server_name("other.internal")?;
    tells(&at(other.clone()).await.expect_err("another name"), &["other.internal"]);
    // Also where the registry says another.
    assert!(call(&with(&registry, other), "echo").await.is_err());
    assert!(trusting()?.server_name("no name!").is_err());
    running.stop().await
}

#[tokio::test]
async fn a_node_says_the_name_it_has_a_certificate_for() -> Result<()> {
    let authority = Authority::new();
    let registry = memory();
    let client = with(&registry, ClientTls::trusting(&authority.certificate)?);
    for (names, told) in [
        (&["greeter.internal", "other.internal"][..], Some("greeter.internal")),
        (&["*.shop.internal"], Some("node.shop.internal")),
        (&["greeter.internal", "127.0.0.1"], None),
    ] {
        let running = serving(&registry, &authority.sign(names, nothing)).await?;
        assert_eq!(running.node().metadata.get("tls_name").map(String::as_str), told, "{names:?}");
        call(&client, "echo").await?;
        for health in client.health("echo").await? {
            assert!(health.is_serving(), "{health:?}");
        }
        running.stop().await?;
    }
    // What a node says of its name is no more believed than what it shows.
    let stranger = Authority::new().sign(&["greeter.internal"], nothing);
    let running = serving(&registry, &stranger).await?;
    assert!(call(&client, "echo").await.is_err());
    running.stop().await
}

#[tokio::test]
async fn the_name_a_node_says_counts_for_little_where_strangers_have_certificates() -> Result<()> {
    let authority = Authority::new();
    let registry = memory();
    let running = serving(&registry, &authority.sign(&["greeter.internal"], nothing)).await?;
    // As one that trusts the authorities of the system: nothing says that the authority is the fleet's own.
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.certificate.as_bytes());
    roots.add(certificate.expect("a certificate")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = ClientTls::from_config(config);
    let error = call(&with(&registry, tls.clone()), "echo").await.expect_err("a stranger's name");
    tells(&error, &["greeter.internal", "127.0.0.1"]);
    call(&with(&registry, tls.server_name("greeter.internal")?), "echo").await?;
    running.stop().await
}

#[tokio::test]
async fn a_self_signed_certificate_may_be_trusted_by_itself() -> Result<()> {
    for authority in [true, false] {
        let pair = self_signed(&["localhost", "127.0.0.1"], authority, nothing);
        let registry = memory();
        let running = serving(&registry, &pair).await?;
        call(&with(&registry, ClientTls::trusting(&pair.certificate)?), "echo").await?;
        running.stop().await?;
        // Its name and its dates count all the same.
        let elsewhere = self_signed(&["localhost"], authority, nothing);
        let tls = ClientTls::trusting(&elsewhere.certificate)?.server_name("other.example")?;
        tells(&refused(&elsewhere, tls).await, &["localhost", "server_name"]);
        let late = self_signed(&["127.0.0.1"], authority, |params| {
            params.not_after = date_time_ymd(2020, 2, 29);
        });
        let tls = ClientTls::trusting(&late.certificate)?;
        tells(&refused(&late, tls).await, &["expired on 2020-02-29"]);
        // Another one of the same name is not it.
        let tls = ClientTls::trusting(&pair.certificate)?;
        let impostor = self_signed(&["localhost", "127.0.0.1"], authority, nothing);
        refused(&impostor, tls).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_leaf_may_be_trusted_without_its_authority() -> Result<()> {
    let pair = Authority::new().sign(&["127.0.0.1"], nothing);
    let registry = memory();
    let running = serving(&registry, &pair).await?;
    call(&with(&registry, ClientTls::trusting(&pair.certificate)?), "echo").await?;
    running.stop().await
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told() -> Result<()> {
    let authority = Authority::new();
    let trusting = || ClientTls::trusting(&authority.certificate);
    let expired =
        authority.sign(&["127.0.0.1"], |params| params.not_after = date_time_ymd(2021, 3, 1));
    tells(&refused(&expired, trusting()?).await, &["expired on 2021-03-01", "renew"]);
    let early =
        authority.sign(&["127.0.0.1"], |params| params.not_before = date_time_ymd(2100, 1, 1));
    tells(&refused(&early, trusting()?).await, &["not valid before 2100-01-01", "clock"]);
    let nameless = authority.sign(&[], nothing);
    tells(&refused(&nameless, trusting()?).await, &["subjectAltName"]);
    let for_clients = authority.sign(&["127.0.0.1"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    tells(&refused(&for_clients, trusting()?).await, &["serverAuth"]);
    let stranger = Authority::new().sign(&["127.0.0.1"], nothing);
    let own = self_signed(&["127.0.0.1"], false, nothing);
    let tls = ClientTls::trusting(&own.certificate)?;
    tells(&refused(&stranger, tls).await, &["signed by no trusted authority", "authority"]);
    tells(&refused(&stranger, trusting()?).await, &["another key", "authority"]);
    Ok(())
}

#[tokio::test]
async fn a_client_without_the_certificate_it_needs_is_told_so() -> Result<()> {
    let authority = Authority::new();
    let pair = authority.sign(&["127.0.0.1"], nothing);
    let registry = memory();
    let tls = ServerTls::mutual(&pair.certificate, &pair.key, &authority.certificate)?;
    let running = service(&registry, "echo").tls(tls).handle(echo()).start().await?;
    let anonymous = with(&registry, ClientTls::trusting(&authority.certificate)?);
    let error = call(&anonymous, "echo").await.expect_err("no certificate");
    assert_eq!(error.code(), Code::Unavailable);
    tells(&error, &["certificate", "private_key"]);
    let stranger = self_signed(&["client"], false, nothing);
    let tls = ClientTls::mutual(&authority.certificate, &stranger.certificate, &stranger.key)?;
    let error = call(&with(&registry, tls), "echo").await.expect_err("a stranger");
    assert_eq!(error.code(), Code::Unavailable);
    tells(&error, &["client's certificate"]);
    let late = authority.sign(&["client"], |params| params.not_after = date_time_ymd(2020, 1, 1));
    let tls = ClientTls::mutual(&authority.certificate, &late.certificate, &late.key)?;
    let error = call(&with(&registry, tls), "echo").await.expect_err("expired");
    tells(&error, &["this client's certificate has expired"]);
    running.stop().await
}

#[tokio::test]
async fn a_servers_authority_may_be_the_clients_own_certificate() -> Result<()> {
    let authority = Authority::new();
    let pair = authority.sign(&["127.0.0.1"], nothing);
    for marked in [true, false] {
        let own = self_signed(&["client"], marked, nothing);
        let registry = memory();
        let tls = ServerTls::mutual(&pair.certificate, &pair.key, &own.certificate)?;
        let running = service(&registry, "echo").tls(tls).handle(echo()).start().await?;
        let tls = ClientTls::mutual(&authority.certificate, &own.certificate, &own.key)?;
        call(&with(&registry, tls), "echo").await?;
        running.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_plain_client_at_a_tls_port_is_told_so() -> Result<()> {
    let pair = self_signed(&["127.0.0.1"], false, nothing);
    let registry = memory();
    let running = serving(&registry, &pair).await?;
    let address = running.node().address.clone();
    let plain = Client::builder().registry(memory()).retries(0).build()?;
    let called = plain.call::<_, Raw>("echo", "Echo.Call", Raw::default()).address(&address);
    let error = called.await.expect_err("plain text");
    assert_eq!(error.code(), Code::Unavailable);
    tells(&error, &["speaks TLS", "`tls` of the client"]);
    let mut browser = TcpStream::connect(&address).await?;
    browser.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    let mut answer = String::new();
    browser.read_to_string(&mut answer).await?;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("speaks TLS"), "{answer}");
    running.stop().await
}

#[tokio::test]
async fn a_tls_client_at_a_plain_port_is_told_so() -> Result<()> {
    let registry = memory();
    let running = service(&registry, "echo").handle(echo()).start().await?;
    let pair = self_signed(&["127.0.0.1"], false, nothing);
    let client = with(&registry, ClientTls::trusting(&pair.certificate)?);
    let error = call(&client, "echo").await.expect_err("TLS");
    assert_eq!(error.code(), Code::Unavailable);
    tells(&error, &["plain text"]);
    running.stop().await
}

/// A peer that answers the first bytes of every connection with `answer` and closes it.
async fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 1024]).await;
            let _ = socket.write_all(answer).await;
            let _ = socket.shutdown().await;
            let _ = socket.read(&mut [0; 1024]).await;
        }
    });
    address
}

#[tokio::test]
async fn what_other_servers_say_to_a_plain_client_is_understood() -> Result<()> {
    let plain = Client::builder().registry(memory()).retries(0).build()?;
    for (answer, words) in [
        (&[0x15, 3, 3, 0, 2, 2, 70][..], "speaks TLS"),
        (
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            "speaks TLS",
        ),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "HTTP/1.1 and no HTTP/2"),
    ] {
        let address = answering(answer).await;
        let call = plain.call::<_, Raw>("echo", "Echo.Call", Raw::default()).address(address);
        let error = call.await.expect_err("no HTTP/2");
        assert_eq!(error.code(), Code::Unavailable);
        tells(&error, &[words]);
    }
    Ok(())
}

#[tokio::test]
async fn one_client_calls_plain_and_tls_nodes_while_a_fleet_moves() -> Result<()> {
    let pair = self_signed(&["127.0.0.1"], false, nothing);
    let registry = memory();
    let secure = serving(&registry, &pair).await?;
    assert_eq!(secure.node().metadata.get("tls").map(String::as_str), Some("true"));
    let plain = service(&registry, "plain").handle(echo()).start().await?;
    assert!(!plain.node().metadata.contains_key("tls"));
    let trusting = || ClientTls::trusting(&pair.certificate);
    let moving = with(&registry, trusting()?.policy(TlsPolicy::Prefer));
    call(&moving, "echo").await?;
    call(&moving, "plain").await?;
    for health in moving.health("echo").await? {
        assert!(health.is_serving(), "{health:?}");
    }
    // Nothing is called in plain text unless that was asked for, and nothing that says TLS ever.
    let strict = with(&registry, trusting()?);
    call(&strict, "echo").await?;
    assert!(call(&strict, "plain").await.is_err());
    let without = Client::builder().registry(registry.clone()).retries(0).build()?;
    let error = call(&without, "echo").await.expect_err("no authority vouches for it");
    assert!(error.detail().contains("TLS") || error.detail().contains("authorities"), "{error}");
    secure.stop().await?;
    plain.stop().await
}
