use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::sleep;

use super::*;
use crate::registry::contract::Subject;
use crate::registry::{Action, Change, Memory};

crate::registry_contract!(|| {
    // Over mDNS, as on most machines.
    let free = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("its number").port();
    let interfaces = vec!["127.0.0.1".to_owned()];
    let timeout = Duration::from_millis(500);
    let options = mdns::Options { interfaces, port, timeout, ..Default::default() };
    let open = || Auto::with_options(options.clone());
    let mut subject = Subject::new(open(), open());
    subject.carries_service_metadata = false;
    subject.lists_versions = false;
    subject
});

#[tokio::test]
async fn without_multicast_the_local_registry_is_chosen() {
    // An interface that does not exist stands for a machine where multicast is blocked.
    let options =
        mdns::Options { interfaces: vec!["no-such-interface".into()], ..Default::default() };
    let auto = Auto::with_options(options);
    assert_eq!(auto.name(), "auto");
    auto.ready().await.expect("some registry works");
    assert_eq!(auto.name(), "local");
}

#[tokio::test]
async fn with_multicast_mdns_is_chosen() {
    let options =
        mdns::Options { interfaces: vec!["lo".into()], port: 53_531, ..Default::default() };
    let auto = Auto::with_options(options);
    auto.ready().await.expect("loopback multicast works");
    assert_eq!(auto.name(), "mdns");
}

fn greeter(id: &str, address: &str) -> Service {
    let node = Node { id: id.into(), address: address.into(), ..Node::default() };
    Service { nodes: vec![node], ..Service::new("greeter", "1") }
}

/// An [`Auto`] that has come to use `registry`, and moves only when told to.
async fn using(registry: &Memory) -> Auto {
    let auto = Auto::new();
    let registry: Arc<dyn Registry> = Arc::new(registry.clone());
    let begin = async || {
        let stage = Stage { moves: 0, registry, changes: Arc::new([]), over: true };
        auto.shared.stage.send_replace(Some(stage));
        Ok::<_, Error>(AbortOnDropHandle::new(tokio::spawn(async {})))
    };
    auto.supervisor.get_or_try_init(begin).await.expect("it begins");
    auto
}

#[tokio::test(start_paused = true)]
async fn registrations_and_watches_move_along() {
    let (old, new) = (Memory::new(), Memory::new());
    let auto = using(&old).await;
    let (ours, machine, far) = (
        greeter("ours", "127.0.0.1:1"),
        greeter("machine", "127.0.0.1:2"),
        greeter("far", "10.0.0.9:3"),
    );
    auto.register(&ours, None).await.expect("registered");
    for others in [&machine, &far] {
        old.register(others, None).await.expect("registered");
    }
    let mut watcher = auto.watch(None).await.expect("watched");
    let found = auto.get("greeter").await.expect("found");
    assert_eq!(found[0].nodes.len(), 3);

    let shared = auto.shared.clone();
    let moving = tokio::spawn({
        let new = new.clone();
        async move { shared.move_to(Arc::new(new)).await }
    });
    sleep(PACE.overlap / 2).await;
    assert_eq!(new.get("greeter").await.expect("found")[0].nodes, ours.nodes, "registered there");
    assert!(old.get("greeter").await.is_ok(), "and still here, for programs that move later");
    new.register(&machine, None).await.expect("it moves too");
    let late = greeter("late", "127.0.0.1:4");
    new.register(&late, None).await.expect("registered");
    let next = watcher.next().await.expect("the watch goes on");
    assert_eq!(next, Change { action: Action::Create, service: late }, "known nodes are no news");
    moving.await.expect("it has moved");
    let gone = watcher.next().await.expect("the watch goes on");
    assert_eq!(gone, Change { action: Action::Delete, service: far });
    let left = old.get("greeter").await.expect("found");
    assert!(left[0].nodes.iter().all(|node| node.id != "ours"), "{left:?}");

    auto.deregister(&ours).await.expect("deregistered");
    let gone = watcher.next().await.expect("the watch goes on");
    assert_eq!((gone.action, gone.service.nodes), (Action::Delete, ours.nodes));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_yet_is_found_in_the_registry_that_was_left() {
    let (old, new) = (Memory::new(), Memory::new());
    let auto = using(&old).await;
    old.register(&greeter("slow", "127.0.0.1:1"), None).await.expect("registered");
    auto.ready().await.expect("it works");
    let shared = auto.shared.clone();
    let moving = tokio::spawn(async move { shared.move_to(Arc::new(new)).await });
    sleep(PACE.overlap / 2).await;
    assert_eq!(auto.get("greeter").await.expect("found")[0].nodes[0].id, "slow");
    moving.await.expect("it has moved");
    assert_eq!(auto.get("greeter").await.expect_err("left").code(), Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn any_address_becomes_one_where_only_one_can_be_told() {
    let registry = Memory::new();
    let auto = using(&registry).await;
    auto.register(&greeter("ours", "[::]:80"), None).await.expect("registered");
    let told = registry.get("greeter").await.expect("found")[0].nodes[0].address.clone();
    let told: SocketAddr = told.parse().expect("an address");
    assert!(!told.ip().is_unspecified() && told.port() == 80, "{told}");
}
