//! A test in a network of its own.
//!
//! mDNS is one shared medium per network: two tests at once would discover each other, and the developer's own services.
//! A port or a name per test cannot separate them, because the port is fixed and go-micro's name space is flat. So a test runs
//! itself again inside `unshare -n`, where only loopback exists and multicast is routed to it.

use std::env;
use std::future::Future;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::toolchain::{Missing, Need, skip};

/// How long a test may take inside its namespace.
pub const TEST_LIMIT: Duration = Duration::from_secs(60);

/// Set inside the namespace, to the name of the test.
const INSIDE: &str = "MICRO_TEST_NAMESPACE";

/// All that go-micro needs: its sockets join the groups on every interface, and the route decides where packets go.
const SET_UP: &str =
    "ip link set lo up multicast on && ip route add 224.0.0.0/4 dev lo && exec \"$@\"";

/// Runs the calling `#[test]` in a network namespace, with the peers it needs.
///
/// The closure must be written in the body of the test, whose name is taken from the closure's type.
///
/// # Panics
///
/// When the test fails inside, with its output; or takes longer than [`TEST_LIMIT`].
pub fn isolated<T, F>(needs: &[Need], test: T)
where
    T: FnOnce() -> F,
    F: Future<Output = ()>,
{
    isolated_for(TEST_LIMIT, needs, test);
}

/// Like [`isolated`], for a test that runs a whole suite and may take up to `limit`. What it prints is printed in the end.
///
/// # Panics
///
/// As [`isolated`].
pub fn isolated_for<T, F>(limit: Duration, needs: &[Need], test: T)
where
    T: FnOnce() -> F,
    F: Future<Output = ()>,
{
    let name = test_name::<T>();
    if env::var(INSIDE).as_deref() == Ok(name) {
        inside(name, limit, test);
    } else {
        outside(name, limit, needs);
    }
}

/// Whether this process is the one that runs a test in its namespace.
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// `binary::module::test::{{closure}}` without its ends is what libtest calls the test.
fn test_name<T>() -> &'static str {
    let path = std::any::type_name::<T>();
    let path = path.split("::{{closure}}").next().unwrap_or(path);
    path.split_once("::").expect("a test lives in a crate").1
}

fn inside<F: Future<Output = ()>>(name: &str, limit: Duration, test: impl FnOnce() -> F) {
    // The other end of stdin is held by the outer test: when that is killed, nothing may stay behind.
    thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        #[allow(
            clippy::disallowed_methods,
            reason = "no other thread is left to see this test end"
        )]
        std::process::exit(1);
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(limit, test()).await });
    runtime.shutdown_timeout(Duration::from_secs(1));
    assert!(ended.is_ok(), "{name} did not end within {limit:?}");
}

fn outside(name: &str, limit: Duration, needs: &[Need]) {
    let unshare = match unshare() {
        Ok(unshare) => unshare,
        Err(missing) => return skip(name, &missing),
    };
    let mut command = Command::new("unshare");
    command.args([unshare, "--", "sh", "-c", SET_UP, "sh"]);
    command.arg(env::current_exe().unwrap());
    command.args(["--exact", name, "--include-ignored", "--nocapture", "--test-threads=1"]);
    command.env(INSIDE, name).env("RUST_BACKTRACE", "0");
    for need in needs {
        match need.prepare() {
            Ok(path) => command.env(need.variable(), path),
            Err(missing) => return skip(name, &missing),
        };
    }
    let (passed, output) = run_limited(command, limit + Duration::from_secs(15));
    assert!(passed, "{name} failed in its namespace:\n{output}");
    // A renamed test would match nothing and pass.
    assert!(output.contains("1 passed"), "{name} did not run in its namespace:\n{output}");
    if limit > TEST_LIMIT {
        eprintln!("{output}");
    }
}

/// Whether the command succeeded, and all it printed.
fn run_limited(mut command: Command, limit: Duration) -> (bool, String) {
    // One pipe for both streams keeps their order.
    let (mut reader, writer) = std::io::pipe().unwrap();
    command.stdin(Stdio::piped()).stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    let (ended, end) = mpsc::channel();
    let read = thread::spawn(move || {
        let mut output = Vec::new();
        let _ = reader.read_to_end(&mut output);
        let _ = ended.send(());
        String::from_utf8_lossy(&output).into_owned()
    });
    let in_time = end.recv_timeout(limit).is_ok();
    if !in_time {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    (in_time && status.success(), read.join().unwrap())
}

/// How this machine lets us make a network namespace; asked once.
fn unshare() -> Result<&'static str, Missing> {
    static WAY: OnceLock<Option<&str>> = OnceLock::new();
    let works = |way: &&str| {
        let mut command = Command::new("unshare");
        command.args([*way, "--", "sh", "-c", SET_UP, "sh", "true"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    WAY.get_or_init(|| ["-n", "-Urn"].into_iter().find(works)).ok_or_else(|| {
        Missing(
            "no network namespaces: `unshare` and `ip` are needed, and root or user namespaces"
                .into(),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn only_loopback_is_there_and_every_port_is_free() {
        isolated(&[], || async {
            let interfaces = std::fs::read_to_string("/proc/net/dev").unwrap();
            let names: Vec<_> =
                interfaces.lines().skip(2).filter_map(|line| line.split_once(':')).collect();
            assert_eq!(names.len(), 1, "{interfaces}");
            TcpListener::bind((Ipv4Addr::LOCALHOST, 22)).await.unwrap();
        });
    }

    #[test]
    fn multicast_reaches_its_own_network() {
        isolated(&[], || async {
            let group = Ipv4Addr::new(224, 0, 0, 251);
            let listener = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5353)).await.unwrap();
            listener.join_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap();
            let sender = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
            sender.send_to(b"hello", (group, 5353)).await.unwrap();
            let mut packet = [0; 16];
            let (length, _) = listener.recv_from(&mut packet).await.unwrap();
            assert_eq!(&packet[..length], b"hello");
        });
    }

    #[test]
    fn a_failure_inside_is_a_failure_outside_with_its_reason() {
        let failing = || isolated(&[], || async { panic!("the reason") });
        let failure = std::panic::catch_unwind(failing).expect_err("it panics on either side");
        if env::var_os(INSIDE).is_some() {
            std::panic::resume_unwind(failure);
        }
        let message = failure.downcast::<String>().unwrap();
        assert!(message.contains("the reason"), "{message}");
    }
}
