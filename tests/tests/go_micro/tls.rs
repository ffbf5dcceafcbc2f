//! Line 38: TLS between both, with either as the caller.

use micro::{Client, ClientTls, Code, ServerTls};
use micro_tests::greeter::{HelloReply, HelloRequest};
use micro_tests::{Need, go, isolated, ours};
use serde_json::json;
use tempfile::TempDir;

/// A certificate for loopback and its key, in a folder of their own.
struct Pair {
    certificate: String,
    key: String,
    folder: TempDir,
}

impl Pair {
    fn new() -> Self {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tls.crt"), &certificate).unwrap();
        std::fs::write(folder.path().join("tls.key"), &key).unwrap();
        Self { certificate, key, folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn p3_38_go_client_with_auth_tls_calls_our_server() {
    isolated(&[Need::Go], || async {
        let pair = Pair::new();
        let tls = ServerTls::new(pair.certificate.as_bytes(), pair.key.as_bytes()).unwrap();
        let _ours = ours::serve_with("greeter", |builder| builder.tls(tls)).await;
        let client = go::client_with(&["--authority", &pair.path("tls.crt")], &[]).await;
        let request = json!({ "name": "Ann" });
        let outcome = go::call(&client, "greeter", "Greeter.Hello", request.clone()).await;
        assert_eq!(outcome["response"]["greeting"], "Hello Ann", "{outcome}");

        let plain = go::client().await;
        let outcome = go::call(&plain, "greeter", "Greeter.Hello", request).await;
        assert!(outcome["error"].is_object(), "a client without TLS is refused: {outcome}");
    });
}

#[test]
fn p3_38_our_client_calls_a_go_server_that_offers_no_protocol() {
    isolated(&[Need::Go], || async {
        let pair = Pair::new();
        let (certificate, key) = (pair.path("tls.crt"), pair.path("tls.key"));
        let flags = ["--certificate", certificate.as_str(), "--key", key.as_str()];
        let _theirs = go::serve_with("greeter", &flags).await;
        let hello = async |tls: ClientTls| {
            let client = Client::builder().registry(ours::registry()).tls(tls).build().unwrap();
            let request = HelloRequest { name: "Ann".into(), ..HelloRequest::default() };
            client.call::<_, HelloReply>("greeter", "Greeter.Hello", request).await
        };
        let trusting = ClientTls::trusting(pair.certificate.as_bytes()).unwrap();
        assert_eq!(hello(trusting).await.unwrap().greeting, "Hello Ann");

        let other = Pair::new();
        let stranger = ClientTls::trusting(other.certificate.as_bytes()).unwrap();
        let error = hello(stranger).await.expect_err("its certificate is a stranger's");
        assert_eq!(error.code(), Code::Unavailable, "{error}");
    });
}
