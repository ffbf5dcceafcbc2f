//! HTTP/2 by h2spec: every case against our server, plain and over TLS.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expected by failing"
)]

use micro::server::{Endpoint, Server, ServerBuilder};
use micro::{Context, Error, Raw, ServerTls};
use micro_tests::h2spec::{self, End};
use micro_tests::suite::Report;
use micro_tests::{Need, isolated};

/// Runs the suite against a server with an echo and `set` on top, and keeps what it says under `tested`.
async fn conforms(tested: &str, tls: bool, set: impl FnOnce(ServerBuilder) -> ServerBuilder) {
    let echo =
        Endpoint::unary(
            "Echo.Call",
            |_: Context, request: Raw| async move { Ok::<_, Error>(request) },
        );
    let builder = Server::builder("echo").address("127.0.0.1:0").handle(echo);
    let server = set(builder).start().await.expect("the server starts");
    let mut report = Report {
        suite: "h2spec".into(),
        version: h2spec::version(),
        tested: tested.into(),
        ..Report::default()
    };
    let mut failed = Vec::new();
    for case in h2spec::run(server.address(), tls).await {
        match case.end {
            End::Passed => report.passed += 1,
            // Whatever the suite cannot test would have to be looked at.
            End::Skipped => failed.push(format!("{}: skipped", case.name)),
            End::Failed(reason) => failed.push(format!("{}: {reason}", case.name)),
        }
    }
    report.failed = failed.len();
    report.record();
    assert!(failed.is_empty(), "{} passed, but:\n{}", report.passed, failed.join("\n"));
    assert!(report.passed > 140, "only {} cases ran", report.passed);
    assert_eq!(server.in_flight(), 0);
}

#[test]
fn server_conforms() {
    isolated(&[Need::H2spec], || conforms("server", false, |builder| builder));
}

#[test]
fn server_conforms_over_tls() {
    isolated(&[Need::H2spec], || async {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        let tls = ServerTls::new(certificate.as_bytes(), key.as_bytes()).unwrap();
        conforms("server, TLS", true, |builder| builder.tls(tls)).await;
    });
}
