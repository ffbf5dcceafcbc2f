//! Nodes that tell each network an address of its own.

use super::*;

const ETH: Socket = Socket::Link(2, false);
const BRIDGE: Socket = Socket::Link(3, false);

/// The addresses that a watcher was told of, with what happened.
async fn addresses(watcher: &mut Watcher) -> Vec<(Action, String)> {
    let mut changes = Vec::new();
    while let Ok(change) = tokio::time::timeout(Duration::ZERO, watcher.next()).await {
        let change = change.expect("the watch goes on");
        changes.push((change.action, change.service.nodes[0].address.clone()));
    }
    changes
}

#[tokio::test(start_paused = true)]
async fn node_heard_by_two_interfaces_keeps_the_address_it_was_found_by() {
    let mut table = table();
    let mut watcher = table.watched(None);
    let eth = announcement(&greeter("1", "greeter-1", "192.168.1.10:80"));
    let bridge = announcement(&greeter("1", "greeter-1", "172.17.0.1:80"));
    for round in 0..20 {
        // Which of them comes first is chance.
        for packet in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            table.hears([&eth, &bridge][packet], [ETH, BRIDGE][packet]);
            // Answers come in by one socket, whatever interface they were sent by.
            table.hears([&eth, &bridge][packet], ANSWERS);
        }
        tokio::time::advance(Duration::from_secs(30)).await;
    }
    assert_eq!(addresses(&mut watcher).await, [(Action::Create, "192.168.1.10:80".into())]);
    table.check();
}

#[tokio::test(start_paused = true)]
async fn other_address_takes_over_when_the_first_is_not_told_any_more() {
    let mut table = table();
    let mut watcher = table.watched(None);
    table.hears(&announcement(&greeter("1", "greeter-1", "192.168.1.10:80")), ETH);
    let bridge = announcement(&greeter("1", "greeter-1", "172.17.0.1:80"));
    // As announcements follow each other.
    for pause in [1, 2, 1] {
        table.hears(&bridge, BRIDGE);
        tokio::time::advance(Duration::from_secs(pause)).await;
    }
    let expected = [(Action::Create, "192.168.1.10:80"), (Action::Update, "172.17.0.1:80")];
    let expected = expected.map(|(action, address)| (action, address.to_owned()));
    assert_eq!(addresses(&mut watcher).await, expected);
}

#[tokio::test(start_paused = true)]
async fn another_address_on_the_same_interface_is_believed_at_once() {
    let mut table = table();
    let mut watcher = table.watched(None);
    table.hears(&announcement(&greeter("1", "greeter-1", "192.168.1.10:80")), ETH);
    table.hears(&announcement(&greeter("1", "greeter-1", "192.168.1.77:80")), ETH);
    let expected = [(Action::Create, "192.168.1.10:80"), (Action::Update, "192.168.1.77:80")];
    let expected = expected.map(|(action, address)| (action, address.to_owned()));
    assert_eq!(addresses(&mut watcher).await, expected);
}

#[tokio::test(start_paused = true)]
async fn other_address_answers_for_a_node_that_refuses_at_the_first() {
    let mut table = table();
    let mut watcher = table.watched(None);
    table.hears(&announcement(&greeter("1", "greeter-1", "192.168.1.10:80")), ETH);
    table.suspect("greeter", "greeter-1", Instant::now()).expect("a question");
    table.hears(&announcement(&greeter("1", "greeter-1", "172.17.0.1:80")), ANSWERS);
    let expected = [(Action::Create, "192.168.1.10:80"), (Action::Update, "172.17.0.1:80")];
    let expected = expected.map(|(action, address)| (action, address.to_owned()));
    assert_eq!(addresses(&mut watcher).await, expected);
}

#[tokio::test(start_paused = true)]
async fn goodbye_to_an_address_on_another_interface_ends_nothing() {
    let mut table = table();
    let mut watcher = table.watched(None);
    let goodbye = |address: &str| {
        let mut records = records(&announcement(&greeter("1", "greeter-1", address)));
        records.iter_mut().for_each(|record| record.ttl = 0);
        records
    };
    table.hears(&announcement(&greeter("1", "greeter-1", "192.168.1.10:80")), ETH);
    let heard = |socket| Heard { socket, from: [10, 0, 0, 1].into(), at: Instant::now() };
    table.hear(&goodbye("172.17.0.1:80"), &heard(BRIDGE));
    assert_eq!(changes(&mut watcher).await, [(Action::Create, "greeter-1".into())]);
    table.hear(&goodbye("192.168.1.10:80"), &heard(ETH));
    assert_eq!(changes(&mut watcher).await, [(Action::Delete, "greeter-1".into())]);
}

#[tokio::test(start_paused = true)]
async fn change_of_a_node_does_not_change_the_address_it_is_reached_by() {
    let mut table = table();
    let mut watcher = table.watched(None);
    table.hears(&announcement(&greeter("1", "greeter-1", "192.168.1.10:80")), ETH);
    let mut changed = greeter("1", "greeter-1", "172.17.0.1:80");
    changed.nodes[0].metadata.insert("lane".into(), "blue".into());
    table.hears(&announcement(&changed), BRIDGE);
    let expected = [(Action::Create, "192.168.1.10:80"), (Action::Update, "192.168.1.10:80")];
    let expected = expected.map(|(action, address)| (action, address.to_owned()));
    assert_eq!(addresses(&mut watcher).await, expected);
    assert_eq!(table.all()[0].nodes[0].metadata["lane"], "blue");
}

#[tokio::test(start_paused = true)]
async fn link_local_address_gets_the_zone_of_its_sender() {
    let mut table = table();
    let mut watcher = table.watched(None);
    let packet = announcement(&greeter("1", "greeter-1", "[fe80::7]:80"));
    for socket in [Socket::Link(4, true), Socket::AnswersIn(4)] {
        table.hears(&packet, socket);
    }
    assert_eq!(addresses(&mut watcher).await, [(Action::Create, "[fe80::7%4]:80".into())]);
}

#[tokio::test(start_paused = true)]
async fn long_name_is_read_with_its_full_id() {
    let mut table = table();
    let mut watcher = table.watched(None);
    let name = "customer-notification-service";
    let id = format!("{name}-6d9c0ab1-7f0e-4f5b-9d39-0a7e7c1f2b11");
    let node = Node { id: id.clone(), address: "10.0.0.1:80".into(), ..Node::default() };
    let service = Service { nodes: vec![node], ..Service::new(name, "1") };
    table.hears(&announcement(&service), V4);
    assert_eq!(changes(&mut watcher).await, [(Action::Create, id.clone())]);
    assert!(table.suspect(name, &id, Instant::now()).is_some(), "it is known by its full id");
}
