//! The command in a fleet that speaks TLS.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]
#![allow(dead_code, reason = "each test file uses its own part of the fleet")]

mod fleet;

use fleet::Fleet;
use micro::ServerTls;

#[tokio::test]
async fn the_command_trusts_what_it_is_given_and_says_what_is_missing() {
    let made = rcgen::generate_simple_self_signed(["greeter.internal".to_owned()]).expect("made");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("text").to_owned()
    };
    let (ca, cert, key_file) =
        (at("ca.pem", &certificate), at("cert.pem", &certificate), at("key.pem", &key));
    let fleet = Fleet::new();
    // Its own certificate is the one it lets in.
    let tls = ServerTls::mutual(&certificate, &key, &certificate).expect("a certificate");
    let _greeter = fleet.greeter_with("1", |builder| builder.tls(tls)).await;
    let call = ["call", "greeter", "Greeter.Echo", r#""hi""#];
    let own = ["--ca", &ca, "--cert", &cert, "--key", &key_file];
    let called =
        fleet.micro(call.into_iter().chain(own).chain(["--server-name", "greeter.internal"])).await;
    assert_eq!((called.code, called.stdout.as_str()), (0, "\"hi\"\n"), "{}", called.stderr);
    let health = ["health", "greeter", "--server-name", "greeter.internal"];
    let healthy = fleet.micro(health.into_iter().chain(own)).await;
    assert_eq!(healthy.code, 0, "{}", healthy.stderr);
    // The node has told the registry its name.
    let nameless = fleet.micro(call.into_iter().chain(own)).await;
    assert_eq!(nameless.code, 0, "{}", nameless.stderr);
    let other =
        fleet.micro(call.into_iter().chain(own).chain(["--server-name", "other.internal"])).await;
    assert_eq!(other.code, 1);
    assert!(other.stderr.contains("greeter.internal"), "{}", other.stderr);
    let half = fleet.micro(call.into_iter().chain(["--cert", &cert])).await;
    assert_eq!(half.code, 2);
    assert!(half.stderr.contains("--key"), "{}", half.stderr);
    let gone = fleet.micro(call.into_iter().chain(["--ca", "/no/such/file"])).await;
    assert_eq!(gone.code, 2);
    assert!(gone.stderr.contains("/no/such/file"), "{}", gone.stderr);
}
