//! What senders may make a table keep, and how long what falls silent stays.

use std::net::IpAddr;

use super::*;

/// A sender that tells of nodes at its own address.
fn host(number: usize) -> [u8; 4] {
    let [high, low] = u16::try_from(number).expect("few hosts").to_be_bytes();
    [10, 1, high, low]
}

/// What `from` announces: a node of `service` at its own address, and how much it describes.
fn told(from: [u8; 4], service: &str, id: &str, endpoints: usize) -> Vec<u8> {
    let address = format!("{}:1", IpAddr::from(from));
    let mut service = Service { name: service.into(), ..greeter("1", id, &address) };
    service.endpoints = (0..endpoints)
        .map(|number| crate::registry::Endpoint { name: number.to_string(), ..Default::default() })
        .collect();
    announcement(&service)
}

#[tokio::test(start_paused = true)]
async fn nodes_that_were_not_asked_for_are_kept_unread_until_they_are() {
    let mut table = table();
    table.hears(&told(host(1), "greeter", "a", 100), V4);
    assert!(table.nodes.values().all(|known| known.service.is_none()), "nothing is inflated");
    let weight = table.room.all.bytes;
    assert!(weight < 4096, "{weight} bytes for a text");
    let lookup = table.begin(greeters(), Instant::now()).expect("room");
    assert_eq!(table.found("greeter"), []);
    table.end(&lookup);
    let [found] = &table.all()[..] else { panic!("one version") };
    assert_eq!((found.nodes[0].id.as_str(), found.endpoints.len()), ("a", 100));
    table.check();
}

#[tokio::test(start_paused = true)]
async fn repeated_text_is_not_read_again() {
    let mut table = table();
    let _watcher = table.watched(None);
    let packet = records(&told(host(1), "greeter", "a", 100));
    let heard = Heard { socket: V4, from: host(1).into(), at: Instant::now() };
    assert_eq!(table.observe(&packet, &heard).len(), 1);
    table.hear(&packet, &heard);
    assert_eq!(table.observe(&packet, &heard).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn text_that_is_read_late_does_not_bring_back_what_said_goodbye_meanwhile() {
    let mut table = table();
    let _watcher = table.watched(None);
    let packet = records(&bytes(vectors::ANNOUNCEMENT));
    let early = Heard { socket: V4, from: host(1).into(), at: Instant::now() };
    tokio::time::advance(Duration::from_millis(1)).await;
    let unread = table.observe(&packet, &early);
    table.hears(&vectors::goodbye(), V6);
    for (seen, _) in unread {
        let payload = Payload::decode(seen.text(), &mut INFLATED_LIMIT.clone());
        table.learn(&seen, Reading::Done(payload.expect("a description")), &early);
    }
    assert!(table.nodes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn flood_leaves_room_for_a_service_that_starts_afterwards() {
    let mut table = table();
    let _everything = table.watched(None);
    for number in 0..700 {
        // Heavy ones, from few hosts and from many.
        let from = host(if number % 2 == 0 { number % 6 } else { number });
        let packet = told(from, "noise", &format!("noise-{number}"), 500);
        table.hears_from(from, &packet, V4);
    }
    table.hears_from(host(9999), &told(host(9999), "greeter", "greeter-1", 3), V4);
    assert_eq!(table.all()[0].nodes[0].id, "greeter-1");
    // What was asked for outlives what comes after it.
    for number in 700..1000 {
        let packet = told(host(number), "noise", &format!("noise-{number}"), 500);
        table.hears_from(host(number), &packet, V4);
    }
    assert_eq!(table.all()[0].nodes[0].id, "greeter-1");
}

#[tokio::test(start_paused = true)]
async fn one_host_has_a_share_of_the_nodes_of_a_service() {
    let mut table = table();
    let _watcher = table.watched(Some("greeter"));
    table.hears_from(host(1), &told(host(1), "greeter", "honest", 1), V4);
    for number in 0..1500 {
        // At its own address a host may have many, at those of others some.
        for (at, name) in [(host(2), "own"), (host(number + 10), "forged")] {
            let packet = told(at, "greeter", &format!("{name}-{number}"), 0);
            table.hears_from(host(2), &packet, V4);
        }
    }
    let count = |table: &mut Table, name: &str| {
        let nodes = table.all().into_iter().flat_map(|service| service.nodes);
        nodes.filter(|node| node.id.starts_with(name)).count()
    };
    assert_eq!(count(&mut table, "own"), 1024);
    assert_eq!(count(&mut table, "forged"), 256);
    assert_eq!(count(&mut table, "honest"), 1);
    // Those that are not told of any more make room.
    tokio::time::advance(Duration::from_secs(11)).await;
    table.hears_from(host(2), &told(host(2), "greeter", "fresh", 0), V4);
    assert_eq!((count(&mut table, "fresh"), count(&mut table, "own")), (1, 1023));
}

#[tokio::test(start_paused = true)]
async fn list_of_ten_thousand_services_is_whole() {
    let mut table = table();
    let lookup = table.begin(Subject::List, Instant::now()).expect("room");
    let heard = Heard { socket: ANSWERS, from: host(1).into(), at: Instant::now() };
    for number in 0..10_000 {
        table.hear_listed(&format!("service-{number}._services.micro."), 120, &heard);
    }
    assert_eq!(table.list([].into_iter(), Instant::now()).len(), 10_000);
    assert_eq!(lookup.news(), 10_000);
    table.end(&lookup);
    table.check();
}

#[tokio::test(start_paused = true)]
async fn listed_service_that_stays_silent_is_taken_off_in_the_end() {
    let mut table = table();
    let heard = |at| Heard { socket: ANSWERS, from: host(1).into(), at };
    let lookup = table.begin(Subject::List, Instant::now()).expect("room");
    table.hear_listed("greeter._services.micro.", 120, &heard(Instant::now()));
    table.end(&lookup);
    for left in [1, 1, 0] {
        tokio::time::advance(Duration::from_secs(5)).await;
        let lookup = table.begin(Subject::List, Instant::now()).expect("room");
        assert!(table.misses(&Subject::List, lookup.started));
        table.waited(&lookup, Instant::now());
        table.end(&lookup);
        assert_eq!(table.list([].into_iter(), Instant::now()).len(), left);
    }
}

#[tokio::test(start_paused = true)]
async fn time_to_live_is_believed_for_ten_minutes_at_most() {
    let start = Instant::now();
    let mut table = table();
    let mut packet = bytes(vectors::ANNOUNCEMENT);
    for at in vectors::TTL_BYTES {
        packet[at - 3..=at].fill(0x7f);
    }
    table.hears(&packet, V4);
    while table.pass().await.is_some() {}
    assert_eq!(start.elapsed(), Duration::from_secs(600));
}

#[tokio::test(start_paused = true)]
async fn silent_node_that_a_witness_vouches_for_stays_until_that_ends() {
    let mut table = table();
    let mut watcher = table.watched(None);
    table.hears(&bytes(vectors::ANNOUNCEMENT), V4);
    tokio::time::advance(Duration::from_secs(u64::from(TTL))).await;
    for _ in 0..100 {
        let [node] = &table.dying(Instant::now())[..] else { panic!("it is due") };
        assert_eq!(node.address.to_string(), "10.9.0.1:41001");
        table.vouch(std::slice::from_ref(&node.instance), Instant::now());
        assert_eq!(table.due(Instant::now()).1, Some(Instant::now() + Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(changes(&mut watcher).await.len(), 1, "created, and nothing since");
    table.due(Instant::now());
    assert_eq!(changes(&mut watcher).await, [(Action::Delete, vectors::ID.into())]);
}

#[tokio::test(start_paused = true)]
async fn goodbye_ends_what_a_witness_vouches_for() {
    let mut table = table();
    let mut watcher = table.watched(None);
    table.hears(&bytes(vectors::ANNOUNCEMENT), V4);
    tokio::time::advance(Duration::from_secs(u64::from(TTL))).await;
    let dying = table.dying(Instant::now());
    table.vouch(&[dying[0].instance.clone()], Instant::now());
    table.hears(&vectors::goodbye(), V4);
    assert_eq!(changes(&mut watcher).await[1], (Action::Delete, vectors::ID.into()));
}

#[tokio::test(start_paused = true)]
async fn no_witness_vouches_for_a_node_that_lost_its_address_to_another() {
    let mut table = table();
    let _watcher = table.watched(None);
    table.hears(&announcement(&greeter("1", "dead", "10.0.0.1:1")), V4);
    tokio::time::advance(Duration::from_secs(60)).await;
    table.hears(&announcement(&greeter("1", "heir", "10.0.0.1:1")), V4);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(table.dying(Instant::now()), []);
    table.due(Instant::now());
    assert_eq!(table.all()[0].nodes[0].id, "heir");
}

#[tokio::test(start_paused = true)]
async fn watcher_that_left_or_fell_behind_is_let_go() {
    let mut table = table();
    drop(table.watched(None));
    let mut slow = table.watched(None);
    assert_eq!(table.interest.watchers(), 1);
    for _ in 0..=crate::registry::WATCH_CAPACITY / 2 {
        table.hears(&bytes(vectors::ANNOUNCEMENT), V4);
        table.hears(&vectors::goodbye(), V4);
    }
    assert_eq!(table.interest.watchers(), 0);
    for _ in 0..crate::registry::WATCH_CAPACITY {
        slow.next().await.expect("queued");
    }
    assert_eq!(slow.next().await.expect_err("over").code(), Code::Aborted);
}

#[tokio::test(start_paused = true)]
async fn lookups_watches_and_goodbyes_are_bounded() {
    let mut table = table();
    let begin = |table: &mut Table| table.begin(Subject::List, Instant::now());
    assert!((0..LOOKUP_LIMIT).all(|_| begin(&mut table).is_some()));
    assert!(begin(&mut table).is_none());
    let watchers: Vec<_> = (0..WATCH_LIMIT).map(|_| table.watched(None)).collect();
    assert!(!table.watch(Watcher::channel(None).0));
    drop(watchers);
    for number in 0..2 * GOODBYE_LIMIT {
        table.gone(&number.to_string(), Some(V4), Instant::now());
    }
    assert_eq!(table.goodbyes.len(), GOODBYE_LIMIT);
}
