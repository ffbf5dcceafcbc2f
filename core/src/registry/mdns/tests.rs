//! The registry over real sockets: loopback multicast on a private port, no rights needed.

mod interfaces;
mod lookups;

use std::net::{Ipv4Addr, SocketAddr};

use super::heard::{Heard, Socket};
use super::packet::Packet;
use super::vectors::{self, bytes};
use super::*;
use crate::error::Code;
use crate::registry::contract::Subject;
use crate::registry::{Action, Change};

crate::registry_contract!(|| {
    let (writer, reader) = pair();
    let mut subject = Subject::new(writer, reader);
    // TXT records hold the node's metadata only, and the list of services their names only.
    subject.carries_service_metadata = false;
    subject.lists_versions = false;
    subject
});

/// Longest wait for something that should happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A port that no other test uses, with a wait long enough for a busy machine.
fn options(interface: &str) -> Options {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("its number").port();
    options_on(interface, port)
}

fn options_on(interface: &str, port: u16) -> Options {
    let interfaces = vec![interface.to_owned()];
    Options { port, interfaces, timeout: Duration::from_millis(500), ..Options::default() }
}

/// Two registry objects that share nothing but the network, as two processes would.
fn pair() -> (Mdns, Mdns) {
    let options = options("127.0.0.1");
    let open = || Mdns::new(options.clone()).expect("loopback multicast");
    (open(), open())
}

fn service(name: &str, version: &str, ports: &[u16]) -> Service {
    let node = |port: &u16| Node {
        id: format!("{name}-{port}"),
        address: format!("127.0.0.1:{port}"),
        metadata: [("protocol".to_owned(), "grpc".to_owned())].into(),
    };
    Service { nodes: ports.iter().map(node).collect(), ..Service::new(name, version) }
}

async fn next(watcher: &mut Watcher) -> Change {
    timeout(PATIENCE, watcher.next()).await.expect("a change in time").expect("the watch goes on")
}

async fn next_is(watcher: &mut Watcher, action: Action, service: &Service) {
    assert_eq!(next(watcher).await, Change { action, service: service.clone() });
}

/// A plain socket on loopback, as another program would use it.
async fn stranger() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket2::SockRef::from(&socket).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).expect("loopback");
    socket
}

async fn send(from: &UdpSocket, packet: &[u8], to: &Mdns) {
    let port = to.shared.links.port().expect("a port");
    from.send_to(packet, (Ipv4Addr::new(224, 0, 0, 251), port)).await.expect("sent");
}

#[tokio::test]
async fn two_processes_find_each_other() {
    let (ours, theirs) = pair();
    let greeter = service("greeter", "latest", &[41001]);
    let dotted = service("go.micro.srv.two", "1.0", &[41002]);
    ours.register(&greeter, None).await.expect("registered");
    theirs.register(&dotted, None).await.expect("registered");
    assert_eq!(theirs.get("greeter").await.expect("found"), [greeter]);
    assert_eq!(ours.get("go.micro.srv.two").await.expect("found"), [dotted]);
}

/// Hears what is asked of the group of `registry`, as another host would.
fn listener(registry: &Mdns) -> (Links, UdpSocket) {
    let options = options_on("127.0.0.1", registry.shared.links.port().expect("a port"));
    let links = Links::open(&options, options.port).expect("loopback multicast");
    let group = links.all().first().expect("a link").reader().expect("its socket");
    (links, UdpSocket::from_std(group).expect("a socket"))
}

/// Where the next question that arrives comes from.
async fn question(group: &UdpSocket) -> SocketAddr {
    let mut packet = [0; 2000];
    loop {
        let receive = timeout(PATIENCE, group.recv_from(&mut packet));
        let (length, from) = receive.await.expect("in time").expect("a packet");
        if let Some(Packet::Query { .. }) = Packet::decode(&packet[..length]) {
            return from;
        }
    }
}

fn brief(timeout: Duration) -> Options {
    Options { timeout, ..options("127.0.0.1") }
}

/// Vouches while it is told to, and notes that it was asked.
#[derive(Debug, Default)]
struct Vouching {
    ends: std::sync::atomic::AtomicBool,
    asked: Notify,
}

impl Witness for Vouching {
    fn vouches(&self, address: &str) -> bool {
        assert_eq!(address, "10.9.0.1:41001");
        self.asked.notify_one();
        !self.ends.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[tokio::test]
async fn node_that_falls_silent_stays_while_a_client_is_connected_to_it() {
    let (ours, _theirs) = pair();
    let witness = Arc::new(Vouching::default());
    let weak: Weak<Vouching> = Arc::downgrade(&witness);
    ours.witness(weak);
    let mut watcher = ours.watch(None).await.expect("watching");
    let stranger = stranger().await;
    let mut brief = bytes(vectors::ANNOUNCEMENT);
    vectors::TTL_BYTES.iter().for_each(|at| brief[*at] = 1);
    send(&stranger, &brief, &ours).await;
    let created = next(&mut watcher).await;
    for _ in 0..2 {
        timeout(PATIENCE, witness.asked.notified()).await.expect("the witness is asked");
    }
    let found = ours.get("greeter").await.expect("it is known");
    assert_eq!(found, std::slice::from_ref(&created.service));
    witness.ends.store(true, std::sync::atomic::Ordering::SeqCst);
    next_is(&mut watcher, Action::Delete, &created.service).await;
}

#[tokio::test]
async fn node_heard_by_an_interface_that_is_gone_is_not_taken_for_dead() {
    let (ours, _theirs) = pair();
    let mut watcher = ours.watch(None).await.expect("watching");
    let stranger = stranger().await;
    let mut brief = bytes(vectors::ANNOUNCEMENT);
    vectors::TTL_BYTES.iter().for_each(|at| brief[*at] = 1);
    // Two nodes with one second to live: one told by an interface that is not there any more.
    let Some(Packet::Response(records)) = Packet::decode(&brief) else { panic!("no response") };
    let socket = Socket::Link(u32::MAX, false);
    let heard = Heard { socket, from: Ipv4Addr::LOCALHOST.into(), at: Instant::now() };
    ours.shared.with(|state| state.table.hear(&records, &heard));
    let kept = next(&mut watcher).await;
    assert_eq!(kept.action, Action::Create);
    send(&stranger, &another(&brief), &ours).await;
    let silent = next(&mut watcher).await;
    assert_eq!(silent.action, Action::Create);
    next_is(&mut watcher, Action::Delete, &silent.service).await;
    assert_eq!(ours.get("greeter").await.expect("it is known"), [kept.service]);
}

/// The packet of another node, with an id and a port of its own.
fn another(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let mut replace = |old: &[u8], new: &[u8]| {
        for at in 0..packet.len() - old.len() {
            if packet[at..].starts_with(old) {
                packet[at..at + new.len()].copy_from_slice(new);
            }
        }
    };
    replace(vectors::ID.as_bytes(), b"greeter-7");
    replace(&41001_u16.to_be_bytes(), &41002_u16.to_be_bytes());
    packet
}

#[tokio::test]
async fn versions_and_nodes_of_one_process_are_told_apart() {
    let (ours, theirs) = pair();
    let (one, two) = (service("greeter", "1", &[1, 2]), service("greeter", "2", &[3]));
    ours.register(&one, None).await.expect("registered");
    ours.register(&two, None).await.expect("registered");
    assert_eq!(theirs.get("greeter").await.expect("found"), [one, two]);
}

#[tokio::test]
async fn deregistered_node_leaves_and_the_others_stay() {
    let (ours, theirs) = pair();
    ours.register(&service("greeter", "1", &[1, 2]), None).await.expect("registered");
    theirs.get("greeter").await.expect("found");
    let mut watcher = theirs.watch(Some("greeter")).await.expect("watching");
    let leaving = service("greeter", "1", &[1]);
    ours.deregister(&leaving).await.expect("deregistered");
    next_is(&mut watcher, Action::Delete, &leaving).await;
    assert_eq!(theirs.get("greeter").await.expect("found"), [service("greeter", "1", &[2])]);
    ours.deregister(&service("greeter", "1", &[77])).await.expect("an unknown node is no error");
    ours.deregister(&service("greeter", "1", &[2])).await.expect("deregistered");
    assert_eq!(ours.get("greeter").await.expect_err("gone").code(), Code::NotFound);
    assert_eq!(theirs.get("greeter").await.expect_err("gone").code(), Code::NotFound);
}

#[tokio::test]
async fn watcher_elsewhere_hears_create_update_and_the_goodbye_of_a_dropped_registry() {
    let (ours, theirs) = pair();
    let mut watcher = theirs.watch(None).await.expect("watching");
    let greeter = service("greeter", "1", &[1]);
    ours.register(&greeter, None).await.expect("registered");
    next_is(&mut watcher, Action::Create, &greeter).await;
    ours.register(&greeter, None).await.expect("refreshed");
    let mut changed = greeter.clone();
    changed.nodes[0].metadata.insert("lane".into(), "blue".into());
    ours.register(&changed, None).await.expect("registered");
    next_is(&mut watcher, Action::Update, &changed).await;
    drop(ours);
    next_is(&mut watcher, Action::Delete, &changed).await;
}

#[tokio::test]
async fn watcher_of_the_same_process_hears_before_the_call_returns() {
    let (ours, _theirs) = pair();
    let greeter = service("greeter", "1", &[1]);
    let mut watcher = ours.watch(Some("greeter")).await.expect("watching");
    ours.register(&greeter, None).await.expect("registered");
    ours.deregister(&greeter).await.expect("deregistered");
    for action in [Action::Create, Action::Delete] {
        let change = timeout(Duration::ZERO, watcher.next()).await.expect("queued already");
        assert_eq!(change.expect("the watch goes on").action, action);
    }
}

#[tokio::test]
async fn node_that_is_not_refreshed_leaves_on_both_sides() {
    let (ours, theirs) = pair();
    let (mut here, mut there) =
        (ours.watch(None).await.expect("watching"), theirs.watch(None).await.expect("watching"));
    let greeter = service("greeter", "1", &[1]);
    ours.register(&greeter, Some(Duration::from_millis(300))).await.expect("registered");
    for watcher in [&mut here, &mut there] {
        next_is(watcher, Action::Create, &greeter).await;
        next_is(watcher, Action::Delete, &greeter).await;
    }
}

#[tokio::test]
async fn service_metadata_does_not_travel_nor_pretend_to() {
    let (ours, theirs) = pair();
    let mut greeter = service("greeter", "1", &[1]);
    greeter.metadata.insert("owner".into(), "me".into());
    ours.register(&greeter, None).await.expect("registered");
    greeter.metadata.clear();
    assert_eq!(ours.get("greeter").await.expect("found"), [greeter.clone()]);
    assert_eq!(theirs.get("greeter").await.expect("found"), [greeter]);
}

#[tokio::test]
async fn record_that_mdns_cannot_carry_leaves_nothing_behind() {
    let (ours, _theirs) = pair();
    let mut greeter = service("greeter", "1", &[1, 2]);
    greeter.nodes[1].address = "localhost:2".into();
    let error = ours.register(&greeter, None).await.expect_err("a host name");
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(ours.get("greeter").await.expect_err("nothing").code(), Code::NotFound);
}

#[tokio::test]
async fn stranger_is_answered_by_unicast_from_the_port_of_the_group() {
    let (ours, _theirs) = pair();
    ours.register(&service("greeter", "1", &[1]), None).await.expect("registered");
    let stranger = stranger().await;
    // A response that carries the question must not be answered, or two responders would loop.
    let mut loops = bytes(vectors::QUERY);
    loops[2] = 0x84;
    send(&stranger, &loops, &ours).await;
    let mut query = bytes(vectors::QUERY);
    query[29] = 0x80;
    send(&stranger, &query, &ours).await;
    let mut answer = [0; 2000];
    let receive = timeout(PATIENCE, stranger.recv_from(&mut answer));
    let (length, from) = receive.await.expect("in time").expect("an answer");
    assert_eq!(from.port(), ours.shared.links.port().expect("a port"));
    assert_eq!(answer[..8], [0x12, 0x34, 0x84, 0, 0, 1, 0, 4], "the id of the true query");
    assert_eq!(answer[12..31], query[12..31]);
    let Some(Packet::Response(records)) = Packet::decode(&answer[..length]) else {
        panic!("no response")
    };
    assert_eq!(records.len(), 4);
}

#[tokio::test]
async fn crashed_go_node_that_a_caller_suspects_is_deleted() {
    let (ours, _theirs) = pair();
    let mut watcher = ours.watch(None).await.expect("watching");
    let stranger = stranger().await;
    send(&stranger, &bytes(vectors::ANNOUNCEMENT), &ours).await;
    let created = next(&mut watcher).await.service;
    assert_eq!(created.nodes[0].id, vectors::ID);
    ours.suspect("greeter", &created.nodes[0]);
    next_is(&mut watcher, Action::Delete, &created).await;
}

#[tokio::test]
async fn living_node_survives_suspicion() {
    let (ours, theirs) = pair();
    let greeter = service("greeter", "1", &[1]);
    ours.register(&greeter, None).await.expect("registered");
    theirs.get("greeter").await.expect("found");
    let mut watcher = theirs.watch(None).await.expect("watching");
    theirs.suspect("greeter", &greeter.nodes[0]);
    // Proof that its time passed: a suspected stranger is deleted in the meantime.
    let stranger = stranger().await;
    let mut other = bytes(vectors::ANNOUNCEMENT);
    other[vectors::TTL_BYTES[0]] = 1;
    send(&stranger, &other, &theirs).await;
    assert_eq!(next(&mut watcher).await.action, Action::Create);
    let deleted = next(&mut watcher).await;
    assert_eq!(
        (deleted.action, deleted.service.nodes[0].id.as_str()),
        (Action::Delete, vectors::ID)
    );
    assert_eq!(theirs.get("greeter").await.expect("found"), [greeter]);
}

#[tokio::test]
async fn dropped_registry_ends_its_watches() {
    let (ours, _theirs) = pair();
    let mut watcher = ours.watch(None).await.expect("watching");
    drop(ours);
    let end = timeout(PATIENCE, watcher.next()).await.expect("in time");
    assert_eq!(end.expect_err("over").code(), Code::Aborted);
}

#[tokio::test]
async fn noise_from_the_network_harms_no_registry() {
    let (ours, theirs) = pair();
    let stranger = stranger().await;
    for number in 0..300_usize {
        let mut packet = bytes(vectors::ANSWER);
        packet[number] ^= 0x5a;
        send(&stranger, &packet[..number + 1], &ours).await;
        send(&stranger, &packet, &ours).await;
    }
    let greeter = service("hello", "1", &[1]);
    ours.register(&greeter, None).await.expect("registered");
    assert_eq!(theirs.get("hello").await.expect("found"), [greeter]);
}
