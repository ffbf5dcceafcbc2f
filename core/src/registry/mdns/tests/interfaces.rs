//! Where multicast works and where it does not.

use super::*;

/// Loopback of most systems carries no IPv6 multicast, so the test runs itself again in a network
/// namespace of its own, on a pair of virtual interfaces.
#[test]
fn ipv6_alone_suffices() {
    const INSIDE: &str = "MDNS_TEST_INSIDE_NAMESPACE";
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        return runtime.block_on(find_over_ipv6());
    }
    let script = "set -e; ip link set lo up; ip link add v0 type veth peer name v1
        ip link set v0 up; ip link set v1 up; ip addr add fd01::1/64 dev v0 nodad
        exec \"$0\" --exact registry::mdns::tests::interfaces::ipv6_alone_suffices";
    let namespace = std::process::Command::new("unshare")
        .args(["-rn", "sh", "-c", script])
        .arg(std::env::current_exe().expect("this test"))
        .env(INSIDE, "1")
        .output();
    match namespace {
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains("running 1 test") => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
        other => println!("not tested, no network namespace can be made here: {other:?}"),
    }
}

async fn find_over_ipv6() {
    let options = options_on("fd01::1", 5353);
    Mdns::probe(&options).await.expect("IPv6 multicast");
    let open = || Mdns::new(options.clone()).expect("IPv6 multicast");
    let (ours, theirs) = (open(), open());
    let mut watcher = theirs.watch(None).await.expect("watching");
    let mut greeter = service("greeter", "1", &[1]);
    greeter.nodes[0].address = "[fd01::1]:41001".into();
    ours.register(&greeter, None).await.expect("registered");
    next_is(&mut watcher, Action::Create, &greeter).await;
    assert_eq!(theirs.get("greeter").await.expect("found"), std::slice::from_ref(&greeter));
    drop(ours);
    next_is(&mut watcher, Action::Delete, &greeter).await;
}

#[tokio::test]
async fn probe_hears_itself_on_loopback() {
    Mdns::probe(&options("127.0.0.1")).await.expect("loopback multicast");
}

#[tokio::test]
async fn probe_and_registry_say_who_is_in_the_way() {
    let options = options("127.0.0.1");
    let _greedy = std::net::UdpSocket::bind(("0.0.0.0", options.port)).expect("the port");
    let reasons =
        [Mdns::probe(&options).await.expect_err("taken"), Mdns::new(options).expect_err("taken")];
    for error in reasons {
        assert_eq!(error.code(), Code::Unavailable);
        assert!(error.detail().contains("another process holds the port"), "{error}");
    }
}

#[test]
fn registry_outside_a_runtime_is_refused() {
    let error = Mdns::new(Options::default()).expect_err("no runtime");
    assert_eq!(error.code(), Code::FailedPrecondition);
}
