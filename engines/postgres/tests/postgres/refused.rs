//! What is wrong is told to the one who can change it.

use std::fs;

use micro::store::{Change, Place, Store};
use micro::{Code, Error};
use micro_postgres::Postgres;
use micro_tests::postgres::Server;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

async fn refused(rest: &str) -> Error {
    let store = Postgres::new("postgres", rest).unwrap();
    let read = store.read(&Place::default(), "a").await.expect_err("it cannot be read");
    let write = Change::write(Place::default(), "a", "1");
    let written = store.apply(write.into()).await.expect_err("it cannot be written");
    assert_eq!(read.code(), written.code(), "{read}\n{written}");
    assert!(!read.to_string().contains("hunter2"), "{read}");
    written
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_permission_or_schema_is_told_with_what_to_change() {
    let name = "a_wrong_password_permission_or_schema_is_told_with_what_to_change";
    let password = |folder: &std::path::Path| {
        let hba = folder.join("hba");
        let lines = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(&hba, lines).unwrap();
        vec![format!("hba_file={}", hba.display())]
    };
    let Some(server) = Server::listening(name, password).await else { return };
    server.psql("CREATE USER me PASSWORD 'hunter2'");
    server.psql("CREATE DATABASE empty");
    let place = format!("127.0.0.1:{}", server.port());
    for (rest, code, hint) in [
        (
            format!("me:wrong-hunter2@{place}/postgres"),
            Code::Unauthenticated,
            "put user and password",
        ),
        (format!("me@{place}/postgres"), Code::Unauthenticated, "asks for a password"),
        (format!("me:hunter2@{place}/none"), Code::FailedPrecondition, "create the database"),
        (
            format!("me:hunter2@{place}/postgres"),
            Code::PermissionDenied,
            "grant the user SELECT, INSERT, UPDATE and DELETE on `micro_records`",
        ),
        (
            format!("me:hunter2@{place}/postgres?tables=shop.micro"),
            Code::FailedPrecondition,
            "create the schema, or name another by `tables=schema.micro`",
        ),
    ] {
        let error = refused(&rest).await;
        assert_eq!(error.code(), code, "{error}");
        assert!(error.detail().contains(hint), "{rest}: {error}");
        assert!(error.detail().contains(&place), "{error}");
    }
    // With what the advice says, it works.
    server.psql("CREATE SCHEMA shop AUTHORIZATION me");
    let rest = format!("me:hunter2@{place}/postgres?tables=shop.micro");
    let store = Postgres::new("postgres", &rest).unwrap();
    store.apply(Change::write(Place::default(), "a", "1").into()).await.unwrap();
    server.psql("UPDATE shop.micro_state SET layout = 2");
    let newer = refused(&rest).await;
    assert_eq!(newer.code(), Code::FailedPrecondition);
    assert!(
        newer.detail().contains("have layout 2, and this program knows 1: use a newer"),
        "{newer}"
    );
    // One that is at it already does not go on, either.
    let write = || Change::write(Place::default(), "a", "2");
    let newer = store.apply(write().into()).await.unwrap_err();
    assert_eq!(newer.code(), Code::FailedPrecondition, "{newer}");
    assert_eq!(server.psql("SELECT encode(value, 'escape') FROM shop.micro_records"), "1");
    server.psql("UPDATE shop.micro_state SET layout = 1");
    store.apply(write().into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_verified_or_refused() {
    let name = "a_server_is_verified_or_refused";
    let folder = tempfile::tempdir().unwrap();
    let authority = |file: &str| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.path().join(file), issuer.pem()).unwrap();
        issuer
    };
    let (right, _) = (authority("ca.pem"), authority("other.pem"));
    let by_tls = |folder: &std::path::Path| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        let certificate = params.signed_by(&key, &right).unwrap();
        fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
        fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(folder.join("server.key"), mode).unwrap();
        let hba = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n";
        fs::write(folder.join("hba"), hba).unwrap();
        let path = |file: &str| folder.join(file).display().to_string();
        vec![
            "ssl=on".into(),
            format!("ssl_cert_file={}", path("server.pem")),
            format!("ssl_key_file={}", path("server.key")),
            format!("hba_file={}", path("hba")),
        ]
    };
    let Some(server) = Server::listening(name, by_tls).await else { return };
    let port = server.port();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let rest = format!("shop@localhost:{port}/postgres?ca={}", file("ca.pem"));
    let store = Postgres::new("postgres", &rest).unwrap();
    store.apply(Change::write(Place::default(), "a", "1").into()).await.unwrap();
    assert_eq!(
        server.psql("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'micro'"),
        "t"
    );
    for (rest, code, hint) in [
        (
            format!("localhost:{port}/postgres?ca={}", file("other.pem")),
            Code::Unavailable,
            "name the authority",
        ),
        // By another name than its certificate has.
        (
            format!("127.0.0.1:{port}/postgres?ca={}", file("ca.pem")),
            Code::Unavailable,
            "certificate",
        ),
        (
            format!("localhost:{port}/postgres?ca={}", file("none.pem")),
            Code::InvalidArgument,
            "none.pem",
        ),
        (
            format!("localhost:{port}/postgres?sslmode=disable"),
            Code::Unauthenticated,
            "pg_hba.conf",
        ),
    ] {
        let error = refused(&format!("shop@{rest}")).await;
        assert_eq!(error.code(), code, "{error}");
        assert!(error.detail().contains(hint), "{rest}: {error}");
    }
    // One that has no TLS.
    let Some(plain) = Server::listening(name, |_| Vec::new()).await else { return };
    let rest = format!("shop@localhost:{}/postgres?ca={}", plain.port(), file("ca.pem"));
    let error = refused(&rest).await;
    assert!(error.detail().contains("TLS"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_nothing_lasts_longer_than_a_transaction() {
    let name = "behind_a_pooler_nothing_lasts_longer_than_a_transaction";
    let log = |_: &std::path::Path| vec!["log_statement=all".into()];
    let Some(server) = Server::listening(name, log).await else { return };
    let said = |from: usize| {
        let log = fs::read_to_string(server.folder().join("log")).unwrap();
        (log[from..].to_owned(), log.len())
    };
    let used = async |options: &str| {
        let store = crate::store(&server, options);
        let watch =
            micro::store::Watch { place: Place::default(), prefix: String::new(), after: None };
        let mut changes = store.watch(watch).await.unwrap();
        store.apply(Change::write(Place::default(), "a", "1").into()).await.unwrap();
        changes.next().await.unwrap();
        store.apply(Change::delete(Place::default(), "a").into()).await.unwrap();
        store.read(&Place::default(), "a").await.unwrap();
    };
    used("").await;
    let (log, end) = said(0);
    assert!(log.contains("execute s") && log.contains("LISTEN micro_changes"), "{log}");
    used("?pooler=true").await;
    let (log, _) = said(end);
    assert!(log.contains("execute <unnamed>"), "{log}");
    assert!(!log.contains("execute s") && !log.contains("LISTEN "), "{log}");
    assert!(
        !log.lines().any(|line| line.contains("SET ")
            && !line.contains("SET LOCAL")
            && line.contains("statement: SET")),
        "{log}"
    );
}
