//! How long lookups wait, and what they find.

use super::*;

#[tokio::test]
async fn unknown_service_is_not_found() {
    let (ours, _theirs) = pair();
    for name in ["nobody", "", "a..b", &"a".repeat(300)] {
        assert_eq!(ours.get(name).await.expect_err("nobody").code(), Code::NotFound);
    }
}

#[tokio::test]
async fn node_that_answers_late_is_found_by_the_first_lookup() {
    let ours = Mdns::new(brief(Duration::from_millis(100))).expect("loopback multicast");
    let (_links, group) = listener(&ours);
    let late = tokio::spawn(async move {
        let from = question(&group).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        group.send_to(&bytes(vectors::ANSWER), from).await.expect("sent");
    });
    let found = ours.get("greeter").await.expect("found");
    assert_eq!(found[0].nodes[0].id, vectors::ID);
    late.await.expect("it answered");
}

#[tokio::test]
async fn answer_that_comes_after_a_lookup_ended_is_found_by_the_next() {
    let ours = Mdns::new(brief(Duration::from_millis(10))).expect("loopback multicast");
    let (_links, group) = listener(&ours);
    let lookup = tokio::spawn(async move {
        let error = ours.get("greeter").await.expect_err("no answer in time");
        assert_eq!(error.code(), Code::NotFound);
        ours
    });
    let from = question(&group).await;
    let ours = lookup.await.expect("it ended");
    group.send_to(&bytes(vectors::ANSWER), from).await.expect("sent");
    // No host answers this one, so it ends by its own time, with what was heard before.
    let heard = async {
        while ours.get("greeter").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, heard).await.expect("a late answer counts");
    let found = ours.get("greeter").await.expect("and counts on");
    assert_eq!(found[0].nodes[0].id, vectors::ID);
}

#[tokio::test]
async fn announcement_alone_makes_a_node_known() {
    let ours = Mdns::new(brief(Duration::from_millis(100))).expect("loopback multicast");
    // No host answers questions, as behind a firewall that only lets port 5353 in.
    let stranger = stranger().await;
    send(&stranger, &bytes(vectors::ANNOUNCEMENT), &ours).await;
    for _ in 0..3 {
        let found = ours.get("greeter").await.expect("found");
        assert_eq!(found[0].nodes[0].id, vectors::ID);
    }
    assert_eq!(ours.list().await.expect("listed"), [Service::new("greeter", "latest")]);
}

#[tokio::test]
async fn first_lookup_waits_longer_once_and_asks_from_the_port_of_the_group_too() {
    let wait = Duration::from_millis(20);
    let ours = Arc::new(Mdns::new(brief(wait)).expect("loopback multicast"));
    let (_links, group) = listener(&ours);
    let lookup = tokio::spawn({
        let ours = ours.clone();
        async move {
            let started = Instant::now();
            ours.get("greeter").await.expect_err("there is no node");
            started.elapsed()
        }
    });
    let port = ours.shared.links.port().expect("a port");
    while question(&group).await.port() != port {}
    let first = lookup.await.expect("it ended");
    assert!(first >= wait * 10, "{first:?}");
    let mut later = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        ours.get("greeter").await.expect_err("there is no node");
        later = later.min(started.elapsed());
    }
    assert!(later < wait * 10, "{later:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_of_a_thousand_services_of_one_host_is_whole_each_time() {
    let (ours, theirs) = pair();
    for number in 0..1000 {
        let service = service(&format!("service-{number}"), "1", &[4000]);
        ours.register(&service, None).await.expect("registered");
    }
    for _ in 0..3 {
        assert_eq!(theirs.list().await.expect("listed").len(), 1000);
    }
}

#[tokio::test]
async fn lookup_returns_when_the_answers_are_in() {
    let options = Options { timeout: PATIENCE, ..options("lo") };
    let ours = Mdns::new(options).expect("loopback multicast");
    ours.register(&service("greeter", "1", &[1]), None).await.expect("registered");
    let started = Instant::now();
    ours.get("greeter").await.expect("found");
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
}

#[tokio::test]
async fn list_tells_the_services_of_every_process() {
    let (ours, theirs) = pair();
    ours.register(&service("greeter", "1", &[1, 2]), None).await.expect("registered");
    theirs.register(&service("a.b", "7", &[3]), None).await.expect("registered");
    ours.get("a.b").await.expect("found");
    let expected = [Service::new("a.b", "7"), Service::new("greeter", "1")];
    assert_eq!(ours.list().await.expect("listed"), expected);
}

#[tokio::test]
async fn hundred_lookups_at_once_all_find() {
    let (ours, theirs) = pair();
    let greeter = service("greeter", "1", &[1]);
    ours.register(&greeter, None).await.expect("registered");
    let lookups = (0..100).map(|_| theirs.get("greeter"));
    for found in futures_util::future::join_all(lookups).await {
        assert_eq!(found.expect("found"), std::slice::from_ref(&greeter));
    }
    assert!(theirs.shared.with(|state| state.table.is_idle()));
}

#[tokio::test]
async fn cancelled_lookup_leaves_nothing_behind() {
    let (ours, _theirs) = pair();
    let cancelled = timeout(Duration::from_millis(1), ours.get("nobody")).await;
    assert!(cancelled.is_err(), "a lookup takes longer");
    assert!(ours.shared.with(|state| state.table.is_idle()));
}
