//! Networks that come, change and go while a service runs.

use std::time::{Duration, Instant};

use micro_tests::host::{self, Host, cable, ip};
use micro_tests::{isolated, isolated_for};

use crate::{NEIGHBOUR, REPLY};

#[test]
fn a_new_lease_is_announced_and_the_old_address_withdrawn() {
    isolated(&[], || async {
        let other = Host::new();
        cable("eth0", &other, "eth0");
        ip("addr add 192.168.1.10/24 dev eth0");
        other.ip("addr add 192.168.1.20/24 dev eth0");
        let service = host::start(NEIGHBOUR, &["serve", "greeter"], &[]);
        assert!(service.line().contains("192.168.1.10:"));
        let watcher = other.start(NEIGHBOUR, &["watch", "greeter"], &[]);
        watcher.line_with("watching");
        let caller = other.start(NEIGHBOUR, &["call", "greeter"], &[]);
        caller.line_with(REPLY);
        watcher.line_with("create 192.168.1.10:");
        let changed = Instant::now();
        ip("addr del 192.168.1.10/24 dev eth0
            addr add 192.168.1.77/24 dev eth0");
        watcher.line_with("192.168.1.77:");
        assert!(changed.elapsed().as_secs() < 5, "{:?}", changed.elapsed());
        service.line_with("192.168.1.77:");
        other.start(NEIGHBOUR, &["call", "greeter"], &[]).line_with(REPLY);
    });
}

#[test]
fn a_service_that_starts_before_its_network_is_found_when_that_comes() {
    isolated(&[], || async {
        let other = Host::new();
        let watcher = other.start(NEIGHBOUR, &["watch", "greeter"], &[]);
        watcher.line_with("watching");
        let service = host::start(NEIGHBOUR, &["serve", "greeter"], &[]);
        assert!(service.line().contains("127.0.0.1:"), "there is only loopback");
        cable("eth0", &other, "eth0");
        ip("addr add 192.168.1.10/24 dev eth0");
        other.ip("addr add 192.168.1.20/24 dev eth0");
        service.line_with("192.168.1.10:");
        watcher.line_with("192.168.1.10:");
        other.start(NEIGHBOUR, &["call", "greeter"], &[]).line_with(REPLY);
    });
}

#[test]
fn an_interface_that_is_named_before_it_has_an_address_is_waited_for() {
    isolated(&[], || async {
        let other = Host::new();
        cable("eth0", &other, "eth0");
        ip("addr flush dev eth0");
        let variables = [("MICRO_REGISTRY", "mdns://eth0")];
        let service = host::start(NEIGHBOUR, &["serve", "greeter"], &variables);
        service.line();
        other.ip("addr add 192.168.1.20/24 dev eth0");
        ip("addr add 192.168.1.10/24 dev eth0");
        other.start(NEIGHBOUR, &["call", "greeter"], &[]).line_with(REPLY);
    });
}

#[test]
fn auto_moves_to_mdns_when_multicast_begins_to_work_and_back_when_it_ends() {
    isolated_for(Duration::from_secs(120), &[], || async {
        // Without loopback nothing of mDNS works.
        ip("link set lo down");
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = folder.path().to_str().expect("a path");
        let variables = [("XDG_RUNTIME_DIR", runtime)];
        let service = host::start(NEIGHBOUR, &["serve", "greeter"], &variables);
        service.line_with("local ");
        let watcher = host::start(NEIGHBOUR, &["watch", "greeter"], &variables);
        watcher.line_with("watching");
        ip("link set lo up multicast on");
        service.line_with("mdns ");
        host::start(NEIGHBOUR, &["call", "greeter"], &variables).line_with(REPLY);
        ip("link set lo down");
        service.line_with("local ");
        host::start(NEIGHBOUR, &["find", "greeter"], &variables).line_with(":");
    });
}
