//! Each network is told the address by which the node is reached from it.

use micro_tests::host::{self, Host, cable, ip};
use micro_tests::isolated;

use crate::{NEIGHBOUR, REPLY};

/// A bridge like that of containers, with a container that is up.
const BRIDGE: &str = "link add br0 type bridge
    addr add 172.17.0.1/16 dev br0
    link add out0 type veth peer name in0
    link set out0 master br0
    link set out0 up
    link set in0 up
    link set br0 up";

/// A call by name, as a caller on `host` makes it.
fn is_called_from(host: &Host, variables: &[(&str, &str)]) {
    let caller = host.start(NEIGHBOUR, &["call", "greeter"], variables);
    caller.line_with(REPLY);
}

#[test]
fn a_node_behind_a_bridge_is_reached_by_the_cable() {
    isolated(&[], || async {
        let other = Host::new();
        ip(BRIDGE);
        other.ip(BRIDGE);
        ip("link add br1 type bridge
            addr add 10.0.0.1/8 dev br1
            link add out1 type veth peer name in1
            link set out1 master br1
            link set out1 up
            link set in1 up
            link set br1 up");
        cable("eth0", &other, "eth0");
        ip("addr add 192.168.1.10/24 dev eth0
            route add default via 192.168.1.20");
        other.ip("addr add 192.168.1.20/24 dev eth0");
        for registry in ["auto", "mdns://", "mdns://eth0", "mdns://192.168.1.10"] {
            let service =
                host::start(NEIGHBOUR, &["serve", "greeter"], &[("MICRO_REGISTRY", registry)]);
            assert!(service.line().contains("192.168.1.10:"), "the default route's address");
            is_called_from(&other, &[]);
        }
    });
}

#[test]
fn every_network_is_told_the_address_it_can_reach() {
    isolated(&[], || async {
        let hosts: Vec<Host> = (0..3).map(|_| Host::new()).collect();
        for (number, host) in hosts.iter().enumerate() {
            cable(&format!("eth{number}"), host, "eth0");
        }
        // Private, public, and a line whose ends share no network.
        ip("addr add 192.168.1.10/24 dev eth0
            addr add 203.0.113.10/24 dev eth1
            addr add 10.8.0.1 peer 10.8.0.2/32 dev eth2");
        hosts[0].ip("addr add 192.168.1.20/24 dev eth0");
        hosts[1].ip("addr add 203.0.113.20/24 dev eth0");
        hosts[2].ip("addr add 10.8.0.2 peer 10.8.0.1/32 dev eth0");
        let service = host::start(NEIGHBOUR, &["serve", "greeter"], &[]);
        service.line();
        for (host, told) in hosts.iter().zip(["192.168.1.10:", "203.0.113.10:", "10.8.0.1:"]) {
            is_called_from(host, &[]);
            host.start(NEIGHBOUR, &["find", "greeter"], &[]).line_with(told);
        }
    });
}

#[test]
fn a_node_with_ipv6_alone_is_found_and_reached() {
    isolated(&[], || async {
        let other = Host::new();
        cable("eth0", &other, "eth0");
        ip("addr add fd00::10/64 dev eth0 nodad");
        other.ip("addr add fd00::20/64 dev eth0 nodad");
        for address in [":0", ":8080", "[::]:0"] {
            let variables = [("MICRO_SERVER_ADDRESS", address)];
            let service = host::start(NEIGHBOUR, &["serve", "greeter"], &variables);
            assert!(service.line().contains("[fd00::10]:"), "{address}");
            is_called_from(&other, &[]);
        }
    });
}

#[test]
fn a_node_with_link_local_addresses_alone_is_found_and_reached() {
    isolated(&[], || async {
        let other = Host::new();
        cable("eth0", &other, "eth0");
        let service = host::start(NEIGHBOUR, &["serve", "greeter"], &[]);
        service.line();
        is_called_from(&other, &[]);
    });
}

#[test]
fn callers_of_either_family_reach_a_node_that_has_both() {
    isolated(&[], || async {
        let (four, six) = (Host::new(), Host::new());
        cable("eth0", &four, "eth0");
        cable("eth1", &six, "eth0");
        ip("addr add 192.168.1.10/24 dev eth0
            addr add 192.168.2.10/24 dev eth1
            addr add fd02::10/64 dev eth1 nodad");
        four.ip("addr add 192.168.1.20/24 dev eth0");
        six.ip("addr add fd02::20/64 dev eth0 nodad");
        let service = host::start(NEIGHBOUR, &["serve", "greeter"], &[]);
        service.line();
        is_called_from(&four, &[]);
        is_called_from(&six, &[]);
    });
}

#[test]
fn the_last_of_many_interfaces_is_used_like_the_first() {
    isolated(&[], || async {
        let other = Host::new();
        for number in 0..15 {
            ip(&format!(
                "link add a{number} type veth peer name b{number}
                addr add 10.{number}.0.1/24 dev a{number}
                addr add 10.{number}.1.1/24 dev b{number}
                link set a{number} up
                link set b{number} up"
            ));
        }
        cable("eth0", &other, "eth0");
        ip("addr add 192.168.1.10/24 dev eth0");
        other.ip("addr add 192.168.1.20/24 dev eth0");
        for address in ["192.168.1.10:0", ":0"] {
            let variables = [("MICRO_SERVER_ADDRESS", address)];
            let service = host::start(NEIGHBOUR, &["serve", "greeter"], &variables);
            service.line();
            is_called_from(&other, &[]);
        }
    });
}
