//! Lines 1 to 6, 15 and 24: mDNS.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use micro::registry::Action;
use micro_tests::greeter::{HelloReply, HelloRequest};
use micro_tests::ours::{self, PATIENCE};
use micro_tests::peer::Peer;
use micro_tests::{Need, go, isolated};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Group and port of mDNS.
const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);
/// go-micro's question for `greeter.micro.`, captured, with an id that tests set.
const QUERY: [u8; 31] = *b"\0\0\0\0\0\x01\0\0\0\0\0\0\x07greeter\x05micro\0\0\x0c\0\x01";

async fn hello(client: &micro::Client, service: &str) -> micro::Result<HelloReply> {
    let request = HelloRequest { name: "Ann".into(), ..HelloRequest::default() };
    client.call(service, "Greeter.Hello", request).await
}

async fn go_hello(client: &Peer, service: &str) -> Value {
    go::call(client, service, "Greeter.Hello", json!({ "name": "Ann" })).await
}

/// The one version of a service as go-micro finds it, past its cache.
async fn found(peer: &Peer, service: &str) -> Value {
    let mut answer = go::once_found(peer, "get", json!({ "service": service })).await;
    assert_eq!(answer["services"].as_array().map(Vec::len), Some(1), "{answer}");
    answer["services"][0].take()
}

/// Waits for go-micro to see a change of a node.
async fn seen(peer: &Peer, watcher: &str, action: &str, node: &str) {
    let wait = async {
        loop {
            let change = peer.ask("watchNext", json!({ "watcher": watcher })).await;
            if change["action"] == action && change["service"]["nodes"][0]["id"] == node {
                return;
            }
        }
    };
    let seen = timeout(PATIENCE, wait).await;
    assert!(seen.is_ok(), "no {action} of {node}");
}

#[test]
fn p0_01_go_client_finds_and_calls_our_server_by_name() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let client = go::client().await;
        let outcome = go_hello(&client, "greeter").await;
        assert_eq!(outcome["response"]["greeting"], "Hello Ann", "{outcome}");
        assert_eq!(outcome["response"]["served_by"], ours.service.node().id);
        assert_eq!(outcome["nodes"], json!([ours.address()]));
    });
}

#[test]
fn p0_01_our_client_finds_and_calls_a_go_server_by_name() {
    isolated(&[Need::Go], || async {
        let greeter = go::serve("greeter").await;
        let reply = hello(&ours::client(), "greeter").await.unwrap();
        assert_eq!(reply.greeting, "Hello Ann");
        assert_eq!(reply.served_by, greeter.fact("node"));
    });
}

#[test]
fn p0_01_a_question_is_answered_by_unicast_in_one_packet_in_gos_order() {
    isolated(&[], || async {
        let _ours = ours::serve("greeter").await;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut fastest = Duration::MAX;
        let mut answer = None;
        for _ in 0..5 {
            let asked = Instant::now();
            socket.send_to(&QUERY, GROUP).await.unwrap();
            answer = Some(receive(&socket).await);
            fastest = fastest.min(asked.elapsed());
        }
        // mDNS responders usually wait 20 to 120 ms; a Go client stops listening after 100 ms.
        assert!(fastest < Duration::from_millis(20), "answered after {fastest:?}");
        let (packet, from) = answer.unwrap();
        assert_eq!(from.port(), GROUP.1);
        assert_eq!(packet[2..4], [0x84, 0], "a response with authority");
        assert_eq!(packet[12..31], QUERY[12..31], "the question comes back");
        assert_eq!(answer_types(&packet), [12, 33, 1, 16], "PTR, SRV, A, TXT");
    });
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut packet = vec![0; 9000];
    let received = timeout(PATIENCE, socket.recv_from(&mut packet)).await;
    let (length, from) = received.expect("a packet in time").unwrap();
    packet.truncate(length);
    (packet, from)
}

/// Types of the answer records of a packet with one question, [`QUERY`]'s.
fn answer_types(packet: &[u8]) -> Vec<u16> {
    let number = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let mut at = QUERY.len();
    let mut types = Vec::new();
    for _ in 0..number(6) {
        while packet[at] != 0 && packet[at] & 0xc0 == 0 {
            at += 1 + usize::from(packet[at]);
        }
        at += if packet[at] == 0 { 1 } else { 2 };
        types.push(number(at));
        at += 10 + usize::from(number(at + 8));
    }
    assert_eq!(at, packet.len(), "nothing follows the answers");
    types
}

#[test]
fn p0_02_go_reads_every_field_of_our_record() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve_with("greeter", |builder| {
            builder.version("1.2.3").metadata("region", "eu")
        })
        .await;
        let client = go::client().await;
        let read = found(&client, "greeter").await;
        let told = serde_json::to_value(&*ours.service.record()).unwrap();
        assert_eq!(read["version"], "1.2.3");
        assert_eq!(read["nodes"], told["nodes"]);
        assert_eq!(read["nodes"][0]["metadata"]["region"], "eu");
        let endpoints = |record: &Value| -> Vec<Value> {
            let fields = |endpoint: &Value| {
                json!([endpoint["name"], endpoint["request"], endpoint["response"]])
            };
            record["endpoints"].as_array().unwrap().iter().map(fields).collect()
        };
        assert_eq!(endpoints(&read).len(), 8);
        assert_eq!(endpoints(&read), endpoints(&told));
        let streams = |record: &Value| -> Vec<Value> {
            let endpoints = record["endpoints"].as_array().unwrap().iter();
            endpoints.map(|endpoint| endpoint["metadata"]["stream"].clone()).collect()
        };
        assert_eq!(streams(&read), streams(&told));
        assert!(streams(&read).contains(&json!("true")), "{read}");
    });
}

#[test]
fn p0_02_we_read_every_field_of_a_go_record() {
    isolated(&[Need::Go], || async {
        let greeter = go::serve_with("greeter", &["--version", "1.2.3"]).await;
        let told = found(&greeter, "greeter").await;
        let [read] = ours::registry().get("greeter").await.unwrap().try_into().unwrap();
        assert_eq!(read.version, "1.2.3");
        let go_s: micro::registry::Service = serde_json::from_value(told).unwrap();
        assert_eq!(read, go_s);
        assert_eq!(read.nodes[0].id, greeter.fact("node"));
        let chat = read.endpoints.iter().find(|endpoint| endpoint.name == "Greeter.Chat").unwrap();
        assert!(chat.is_stream());
        // The whole record is longer than one string of a TXT can be.
        assert!(serde_json::to_string(&read).unwrap().len() > 510);
    });
}

#[test]
fn p0_03_our_client_finds_a_go_node_with_a_single_query() {
    isolated(&[Need::Go], || async {
        let id = "greeter-6d9c0ab1-7f0e-4f5b-9d39-0a7e7c1f2b11";
        let peer = go::client().await;
        let node = json!({ "id": id, "address": "10.9.0.1:41001", "metadata": {} });
        let record = json!({ "name": "greeter", "version": "latest", "nodes": [node] });
        peer.ask("register", json!({ "record": record })).await;

        let registry = ours::registry();
        registry.ready().await.unwrap();
        let queries = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let wire = listen();
        let [service] = registry.get("greeter").await.unwrap().try_into().unwrap();
        assert_eq!((service.nodes.len(), service.nodes[0].id.as_str()), (1, id));
        assert_eq!(service.nodes[0].address, "10.9.0.1:41001");

        // Our own question comes last, so that everything before it has been seen.
        let mut mark = QUERY;
        mark[0] = 0xff;
        queries.send_to(&mark, GROUP).await.unwrap();
        let mut asked = 0;
        loop {
            let (packet, from) = receive(&wire).await;
            if from == queries.local_addr().unwrap() {
                break;
            }
            asked += usize::from(packet[2] & 0x80 == 0 && packet.ends_with(&QUERY[12..]));
        }
        assert_eq!(asked, 1);
    });
}

/// Hears all that is said to the IPv4 group.
fn listen() -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&SocketAddr::from(([0, 0, 0, 0], GROUP.1)).into()).unwrap();
    socket.join_multicast_v4(&GROUP.0, &Ipv4Addr::LOCALHOST).unwrap();
    UdpSocket::from_std(socket.into()).unwrap()
}

#[test]
fn p0_04_go_client_calls_our_server_with_a_dotted_name() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("go.micro.srv.greeter").await;
        let client = go::client().await;
        let outcome = go_hello(&client, "go.micro.srv.greeter").await;
        assert_eq!(outcome["response"]["served_by"], ours.service.node().id, "{outcome}");
    });
}

#[test]
fn p0_04_our_client_calls_a_go_server_with_a_dotted_name() {
    isolated(&[Need::Go], || async {
        let greeter = go::serve("go.micro.srv.greeter").await;
        let reply = hello(&ours::client(), "go.micro.srv.greeter").await.unwrap();
        assert_eq!(reply.served_by, greeter.fact("node"));
    });
}

#[test]
fn p0_04_go_client_calls_our_server_with_a_name_too_long_for_a_label() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("customer-notification-service").await;
        let client = go::client().await;
        let outcome = go_hello(&client, "customer-notification-service").await;
        assert_eq!(outcome["response"]["served_by"], ours.service.node().id, "{outcome}");
        let reply = hello(&ours::client(), "customer-notification-service").await.unwrap();
        assert_eq!(reply.served_by, ours.service.node().id);
    });
}

#[test]
fn p0_05_go_client_hears_of_our_node_and_of_its_goodbye() {
    isolated(&[Need::Go], || async {
        let theirs = go::serve("greeter").await;
        let client = go::client().await;
        client.ask("watch", json!({ "watcher": "w", "service": "greeter" })).await;
        let outcome = go_hello(&client, "greeter").await;
        assert_eq!(outcome["nodes"], json!([theirs.fact("address")]), "now it is cached");

        let ours = ours::serve("greeter").await;
        let (node, address) = (ours.service.node().id.clone(), ours.address().to_owned());
        seen(&client, "w", "create", &node).await;
        // The choice is random, so sooner or later it is ours.
        let used =
            async { while go_hello(&client, "greeter").await["response"]["served_by"] != node {} };
        assert!(timeout(PATIENCE, used).await.is_ok(), "our node is never chosen");

        ours.stop().await;
        seen(&client, "w", "delete", &node).await;
        // A chance of one in a thousand millions that it is still among the two.
        let left = async {
            let mut row = 0;
            while row < 30 {
                let outcome = go_hello(&client, "greeter").await;
                let tried = outcome["nodes"].as_array().unwrap().contains(&json!(address));
                row = if tried { 0 } else { row + 1 };
            }
        };
        assert!(timeout(PATIENCE, left).await.is_ok(), "our node is still chosen");
    });
}

#[test]
fn p0_05_our_client_hears_of_a_go_node_and_of_its_goodbye() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("greeter").await;
        let client = ours::client();
        let node = &ours.service.node().id;
        assert_eq!(hello(&client, "greeter").await.unwrap().served_by, *node, "now it is cached");
        let mut watcher = client.registry().watch(Some("greeter")).await.unwrap();
        let mut changed = async |action, id: &str| {
            let wait = async {
                loop {
                    let change = watcher.next().await.unwrap();
                    if change.action == action && change.service.nodes.iter().any(|n| n.id == id) {
                        return;
                    }
                }
            };
            assert!(timeout(PATIENCE, wait).await.is_ok(), "no {action:?} of {id}");
        };

        let theirs = go::serve("greeter").await;
        let their_node = theirs.fact("node").to_owned();
        changed(Action::Create, &their_node).await;
        let used =
            async { while hello(&client, "greeter").await.unwrap().served_by != their_node {} };
        assert!(timeout(PATIENCE, used).await.is_ok(), "their node is never chosen");

        theirs.ask("stop", Value::Null).await;
        changed(Action::Delete, &their_node).await;
        for _ in 0..30 {
            assert_eq!(hello(&client, "greeter").await.unwrap().served_by, *node);
        }
        theirs.end().await;
    });
}

#[test]
fn p0_06_our_responder_answers_no_responses() {
    isolated(&[], || async {
        let _ours = ours::serve("greeter").await;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        // With the unicast bit the answer carries the id of its question.
        let mut packet = QUERY;
        packet[29] = 0x80;
        packet[..3].copy_from_slice(&[0, 1, 0x84]);
        socket.send_to(&packet, GROUP).await.unwrap();
        packet[..3].copy_from_slice(&[0, 2, 0]);
        socket.send_to(&packet, GROUP).await.unwrap();
        let (answer, _) = receive(&socket).await;
        assert_eq!(answer[..2], [0, 2], "the first answer is to the question");
    });
}

#[test]
fn p0_06_our_responder_shares_its_port_with_go_processes_before_and_after_it() {
    isolated(&[Need::Go], || async {
        let _before = go::serve("before").await;
        let _ours = ours::serve("greeter").await;
        let after = go::serve("after").await;
        let client = ours::client();
        for service in ["before", "greeter", "after"] {
            assert_eq!(hello(&client, service).await.unwrap().greeting, "Hello Ann", "{service}");
            let outcome = go_hello(&after, service).await;
            assert_eq!(outcome["response"]["greeting"], "Hello Ann", "{service}: {outcome}");
        }
    });
}

#[test]
fn p0_15_go_reads_the_metadata_and_literal_address_of_our_node() {
    isolated(&[Need::Go], || async {
        let _ours = ours::serve("greeter").await;
        let client = go::client().await;
        let service = found(&client, "greeter").await;
        let node = &service["nodes"][0];
        assert_eq!(node["metadata"]["protocol"], "grpc");
        assert_eq!(node["metadata"]["server"], "grpc");
        assert_eq!(node["metadata"]["transport"], "grpc");
        assert_eq!(node["metadata"]["registry"], "mdns");
        assert!(node["metadata"]["broker"].is_string(), "{node}");
        let address: SocketAddr = node["address"].as_str().unwrap().parse().unwrap();
        assert!(!address.ip().is_unspecified() && address.port() != 0, "{address}");
    });
}

#[test]
fn p1_24_go_lists_our_service_until_it_stops() {
    isolated(&[Need::Go], || async {
        let ours = ours::serve("go.micro.srv.greeter").await;
        let client = go::client().await;
        let listed = go::once_found(&client, "list", Value::Null).await;
        assert_eq!(listed["names"], json!(["go.micro.srv.greeter"]));
        ours.stop().await;
        let listed = client.ask("list", Value::Null).await;
        assert_eq!(listed["names"], json!([]), "nothing is left of it");
    });
}

#[test]
fn p1_24_we_list_go_services_until_they_say_goodbye() {
    isolated(&[Need::Go], || async {
        let greeter = go::serve("go.micro.srv.greeter").await;
        let registry = ours::registry();
        let names = async || -> Vec<String> {
            registry.list().await.unwrap().into_iter().map(|service| service.name).collect()
        };
        assert_eq!(names().await, ["go.micro.srv.greeter"]);
        greeter.end().await;
        assert!(names().await.is_empty(), "nothing is left of it");
    });
}
