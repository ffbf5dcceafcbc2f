//! Users, their tokens, and TLS.

use std::fs;
use std::process::Command;
use std::time::Duration;

use micro::Code;
use micro::store::{Place, Store};
use micro_etcd::Etcd;
use micro_tests::servers::Server;
use micro_tests::{Need, isolated};
use tokio::time::sleep;

use super::{next, store, version, watching, write};

/// Asks etcd's gateway, as another client would.
fn ask(server: &Server, path: &str, body: &str) {
    let url = format!("http://{}/v3/{path}", server.address());
    let told = Command::new("curl").args(["-s", "-f", "-d", body, &url]).output().unwrap();
    assert!(told.status.success(), "{url}: {}", String::from_utf8_lossy(&told.stderr));
}

#[test]
fn a_user_is_let_in_by_password_and_gets_a_new_token_when_the_old_is_over() {
    isolated(&[Need::Etcd], || async {
        let server = Server::etcd(&["--auth-token-ttl", "2"]).await;
        let early = Etcd::new("etcd", &format!("me:any@{}", server.address())).unwrap();
        version(&early, write("a", "before")).await;
        for user in ["root", "me"] {
            let body = format!(r#"{{"name": "{user}", "password": "p@ss:word"}}"#);
            ask(&server, "auth/user/add", &body);
        }
        for (path, body) in [
            ("auth/role/add", r#"{"name": "root"}"#),
            ("auth/user/grant", r#"{"user": "root", "role": "root"}"#),
            ("auth/role/add", r#"{"name": "shop"}"#),
            // From `/shop/` to `/shop0`.
            (
                "auth/role/grant",
                r#"{"name": "shop", "perm": {"permType": 2, "key": "L3Nob3Av", "range_end": "L3Nob3Aw"}}"#,
            ),
            ("auth/user/grant", r#"{"user": "me", "role": "shop"}"#),
            ("auth/enable", "{}"),
        ] {
            ask(&server, path, body);
        }
        let connect = |rest: String| Etcd::new("etcd", &rest).unwrap();
        for who in ["", "me:wrong@"] {
            let store = connect(format!("{who}{}?prefix=/shop", server.address()));
            let error = store.read(&Place::default(), "a").await.unwrap_err();
            assert_eq!(error.code(), Code::Unauthenticated, "{error}");
            assert!(error.detail().contains("before the host"), "{error}");
            assert!(!error.to_string().contains("wrong@"), "{error}");
        }
        let ours = connect(format!("me:p%40ss%3Aword@{}?prefix=/shop", server.address()));
        let first = version(&ours, write("a", "1").expires_in(Duration::from_secs(3600))).await;
        let mut watch = ours.watch(watching(Some(first - 1))).await.unwrap();
        assert_eq!(next(&mut watch).await.unwrap().version, first);
        sleep(Duration::from_secs(4)).await;
        version(&ours, write("a", "2").expires_in(Duration::from_secs(3600))).await;
        assert!(ours.read(&Place::default(), "a").await.unwrap().is_some());
        let elsewhere = connect(format!("me:p%40ss%3Aword@{}", server.address()));
        let error = elsewhere.read(&Place::default(), "a").await.unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied, "{error}");
        assert!(error.detail().contains("/micro/store/"), "{error}");
    });
}

#[test]
fn servers_are_reached_by_tls_and_trusted_by_their_authority_alone() {
    isolated(&[Need::Etcd], || async {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        for who in ["server", "client"] {
            let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()]);
            let made = made.unwrap();
            fs::write(file(&format!("{who}.pem")), made.cert.pem()).unwrap();
            fs::write(file(&format!("{who}.key")), made.signing_key.serialize_pem()).unwrap();
        }
        let (cert, key) = (file("server.pem"), file("server.key"));
        let (client, client_key) = (file("client.pem"), file("client.key"));
        let tls = ["--cert-file", &cert, "--key-file", &key];
        let server = Server::etcd_by_tls(&tls).await;
        let connect = |scheme, rest: String| Etcd::new(scheme, &rest).unwrap();
        let trusting = connect("etcds", format!("{}?ca={cert}", server.address()));
        let first = version(&trusting, write("a", "1")).await;
        let mut watch = trusting.watch(watching(Some(first - 1))).await.unwrap();
        assert_eq!(next(&mut watch).await.unwrap().version, first);
        let strangers =
            [("etcds", format!("{}?ca={client}", server.address())), ("etcd", server.address())];
        for (scheme, rest) in strangers {
            let error = connect(scheme, rest).read(&Place::default(), "a").await.unwrap_err();
            assert_eq!(error.code(), Code::Unavailable, "{error}");
        }
        // One that asks for a certificate.
        let mutual = [&tls[..], &["--client-cert-auth", "--trusted-ca-file", &client]].concat();
        let server = Server::etcd_by_tls(&mutual).await;
        let shown =
            format!("{}?ca={cert}&certificate={client}&private_key={client_key}", server.address());
        version(&connect("etcds", shown), write("a", "1")).await;
        let stranger = connect("etcds", format!("{}?ca={cert}", server.address()));
        let error = stranger.read(&Place::default(), "a").await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
    });
}

#[test]
fn any_server_of_a_cluster_that_is_there_will_do() {
    isolated(&[Need::Etcd], || async {
        let server = Server::etcd(&[]).await;
        let gone = Etcd::new("etcd", &format!("127.0.0.1:9,{},[::1]:9", server.address())).unwrap();
        for nth in 0..6 {
            version(&gone, write("a", nth.to_string())).await;
            assert!(gone.read(&Place::default(), "a").await.unwrap().is_some());
        }
        let record = store(&server).read(&Place::default(), "a").await.unwrap().unwrap();
        assert_eq!(record.value, "5");
    });
}
