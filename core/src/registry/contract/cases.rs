//! The cases, one function a promise.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{Subject, unique};
use crate::error::Code;
use crate::registry::{Action, Change, Endpoint, Node, Service, Watcher};

impl Subject {
    async fn watch(&self, name: &str) -> Events {
        let watcher = self.reader.watch(Some(name)).await.expect("a watch starts");
        Events { watcher, name: name.to_owned(), patience: self.patience }
    }

    async fn register(&self, service: &Service) {
        self.writer.register(service, None).await.expect("registration succeeds");
    }

    async fn code_of_lookup(&self, name: &str) -> Option<Code> {
        self.reader.get(name).await.err().map(|error| error.code())
    }
}

/// A watch that checks what every event must hold.
struct Events {
    watcher: Watcher,
    name: String,
    patience: Duration,
}

impl Events {
    async fn next(&mut self) -> Change {
        let change = timeout(self.patience, self.watcher.next()).await;
        let change = change.expect("an event arrives in time").expect("the watch goes on");
        assert_eq!(change.service.name, self.name, "a filtered watch reports its service only");
        change
    }

    /// Reads events until `ids` were all affected, each by `action` and none besides.
    async fn expect(&mut self, action: Action, version: &str, ids: &[&str]) -> Vec<Change> {
        let mut missing: BTreeSet<&str> = ids.iter().copied().collect();
        let mut changes = Vec::new();
        while !missing.is_empty() {
            let change = self.next().await;
            assert_eq!((change.action, change.service.version.as_str()), (action, version));
            for node in &change.service.nodes {
                assert!(missing.remove(node.id.as_str()), "{action} of {} is unexpected", node.id);
            }
            changes.push(change);
        }
        changes
    }
}

fn node(id: &str) -> Node {
    let metadata = [("protocol".to_owned(), "grpc".to_owned())].into();
    Node { id: id.into(), address: "127.0.0.1:4100".into(), metadata }
}

fn service(name: &str, version: &str, ids: &[&str]) -> Service {
    let endpoint = Endpoint {
        name: "Greeter.Hello".into(),
        metadata: [("idempotent".to_owned(), "true".to_owned())].into(),
        ..Endpoint::default()
    };
    Service {
        endpoints: vec![endpoint],
        nodes: ids.iter().map(|id| node(id)).collect(),
        ..Service::new(name, version)
    }
}

fn sorted(mut services: Vec<Service>) -> Vec<Service> {
    services.sort_by(|a, b| a.version.cmp(&b.version));
    for service in &mut services {
        service.nodes.sort_by(|a, b| a.id.cmp(&b.id));
    }
    services
}

fn ids(services: &[Service]) -> BTreeSet<&str> {
    services.iter().flat_map(|service| &service.nodes).map(|node| node.id.as_str()).collect()
}

pub(super) async fn lookup_returns_one_record_per_version(subject: Subject) {
    let name = unique("greeter");
    let mut old = service(&name, "1.0", &["a", "b"]);
    if subject.carries_service_metadata {
        old.metadata.insert("team".into(), "x <&> \u{e9}".into());
    }
    let new = service(&name, "2.0", &["c"]);
    subject.register(&old).await;
    subject.register(&new).await;
    assert_eq!(sorted(subject.reader.get(&name).await.expect("found")), [old, new]);
}

pub(super) async fn unknown_service_is_not_found(subject: Subject) {
    assert_eq!(subject.code_of_lookup(&unique("nobody")).await, Some(Code::NotFound));
}

pub(super) async fn record_without_nodes_is_refused(subject: Subject) {
    let name = unique("greeter");
    let refused = subject.writer.register(&service(&name, "1", &[]), None).await;
    assert_eq!(refused.expect_err("no nodes").code(), Code::InvalidArgument);
}

pub(super) async fn deregistration_removes_only_the_given_node(subject: Subject) {
    let name = unique("greeter");
    subject.register(&service(&name, "1", &["a", "b"])).await;
    subject.register(&service(&name, "2", &["c"])).await;
    let unknown = service(&name, "1", &["nobody"]);
    subject.writer.deregister(&unknown).await.expect("an unknown node is no error");
    subject.writer.deregister(&service(&name, "1", &["a"])).await.expect("deregisters");
    let found = sorted(subject.reader.get(&name).await.expect("found"));
    assert_eq!(found, [service(&name, "1", &["b"]), service(&name, "2", &["c"])]);
}

pub(super) async fn last_node_takes_its_version_and_service_along(subject: Subject) {
    let name = unique("greeter");
    subject.register(&service(&name, "1", &["a"])).await;
    subject.register(&service(&name, "2", &["b"])).await;
    subject.writer.deregister(&service(&name, "1", &["a"])).await.expect("deregisters");
    let found = subject.reader.get(&name).await.expect("found");
    assert_eq!(found, [service(&name, "2", &["b"])]);
    subject.writer.deregister(&service(&name, "2", &["b"])).await.expect("deregisters");
    assert_eq!(subject.code_of_lookup(&name).await, Some(Code::NotFound));
    let listed = subject.reader.list().await.expect("lists");
    assert!(listed.iter().all(|service| service.name != name));
}

pub(super) async fn node_that_is_not_refreshed_expires_with_an_event(subject: Subject) {
    let name = unique("greeter");
    let mut events = subject.watch(&name).await;
    let (brief, lasting) = (service(&name, "1", &["brief"]), service(&name, "1", &["lasting"]));
    subject.writer.register(&brief, Some(subject.ttl)).await.expect("registers");
    subject.register(&lasting).await;
    events.expect(Action::Create, "1", &["brief", "lasting"]).await;
    events.patience += subject.ttl * 2;
    events.expect(Action::Delete, "1", &["brief"]).await;
    assert_eq!(subject.reader.get(&name).await.expect("found"), [lasting]);
}

pub(super) async fn refreshed_node_lives_on(subject: Subject) {
    let name = unique("greeter");
    let greeter = service(&name, "1", &["a"]);
    for _ in 0..4 {
        subject.writer.register(&greeter, Some(subject.ttl)).await.expect("registers");
        tokio::time::sleep(subject.ttl / 2).await;
        let found = subject.reader.get(&name).await.expect("still found");
        assert_eq!(found, std::slice::from_ref(&greeter));
    }
}

pub(super) async fn refresh_without_change_is_no_event(subject: Subject) {
    let name = unique("greeter");
    let mut events = subject.watch(&name).await;
    subject.register(&service(&name, "1", &["a"])).await;
    events.expect(Action::Create, "1", &["a"]).await;
    subject.register(&service(&name, "1", &["a"])).await;
    subject.register(&service(&name, "1", &["b"])).await;
    events.expect(Action::Create, "1", &["b"]).await;
}

pub(super) async fn changed_address_and_metadata_are_an_update(subject: Subject) {
    let name = unique("greeter");
    let mut events = subject.watch(&name).await;
    let mut greeter = service(&name, "1", &["a", "b"]);
    subject.register(&greeter).await;
    events.expect(Action::Create, "1", &["a", "b"]).await;

    greeter.nodes[0].address = "127.0.0.1:4200".into();
    subject.register(&greeter).await;
    let changes = events.expect(Action::Update, "1", &["a"]).await;
    assert_eq!(changes[0].service.nodes[0].address, "127.0.0.1:4200");

    greeter.nodes[1].metadata.insert("zone".into(), "west".into());
    subject.register(&greeter).await;
    let changes = events.expect(Action::Update, "1", &["b"]).await;
    assert_eq!(changes[0].service.nodes[0].metadata["zone"], "west");
    assert_eq!(sorted(subject.reader.get(&name).await.expect("found")), [greeter]);
}

pub(super) async fn changed_endpoints_are_an_update(subject: Subject) {
    let name = unique("greeter");
    let mut events = subject.watch(&name).await;
    let mut greeter = service(&name, "1", &["a"]);
    subject.register(&greeter).await;
    events.expect(Action::Create, "1", &["a"]).await;
    greeter.endpoints.push(Endpoint { name: "Greeter.Bye".into(), ..Endpoint::default() });
    subject.register(&greeter).await;
    let changes = events.expect(Action::Update, "1", &["a"]).await;
    assert_eq!(changes[0].service.endpoints, greeter.endpoints);
    assert_eq!(subject.reader.get(&name).await.expect("found"), [greeter]);
}

pub(super) async fn list_names_every_service(subject: Subject) {
    let (first, second) = (unique("aa"), unique("bb"));
    subject.register(&service(&second, "1", &["c"])).await;
    subject.register(&service(&first, "2", &["b"])).await;
    subject.register(&service(&first, "1", &["a"])).await;
    let listed = subject.reader.list().await.expect("lists");
    let ours: Vec<(&str, &str)> = listed
        .iter()
        .filter(|service| service.name == first || service.name == second)
        .map(|service| (service.name.as_str(), service.version.as_str()))
        .collect();
    if subject.lists_versions {
        assert_eq!(ours, [(first.as_str(), "1"), (&first, "2"), (&second, "1")]);
    } else {
        let names: BTreeSet<&str> = ours.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, [first.as_str(), &second].into());
    }
}

pub(super) async fn watch_reports_only_affected_nodes(subject: Subject) {
    let name = unique("greeter");
    let mut events = subject.watch(&name).await;
    subject.register(&service(&name, "1", &["a", "b"])).await;
    let changes = events.expect(Action::Create, "1", &["a", "b"]).await;
    assert_eq!(changes[0].service.nodes[0].address, "127.0.0.1:4100");
    assert_eq!(changes[0].service.endpoints[0].name, "Greeter.Hello");
    subject.register(&service(&name, "1", &["a", "b", "c"])).await;
    events.expect(Action::Create, "1", &["c"]).await;
    subject.writer.deregister(&service(&name, "1", &["b"])).await.expect("deregisters");
    events.expect(Action::Delete, "1", &["b"]).await;
}

pub(super) async fn watch_of_one_service_hears_nothing_of_others(subject: Subject) {
    let (name, other) = (unique("greeter"), unique("other"));
    let mut events = subject.watch(&name).await;
    let mut all = subject.reader.watch(None).await.expect("a watch starts");
    subject.register(&service(&other, "1", &["x"])).await;
    subject.register(&service(&name, "1", &["a"])).await;
    events.expect(Action::Create, "1", &["a"]).await;
    let mut missing = BTreeSet::from([name, other]);
    while !missing.is_empty() {
        let change =
            timeout(subject.patience, all.next()).await.expect("in time").expect("goes on");
        missing.remove(&change.service.name);
    }
}

pub(super) async fn dropped_watcher_leaves_others_alone(subject: Subject) {
    let name = unique("greeter");
    let dropped = subject.watch(&name).await;
    let mut events = subject.watch(&name).await;
    drop(dropped);
    subject.register(&service(&name, "1", &["a"])).await;
    events.expect(Action::Create, "1", &["a"]).await;
}

pub(super) async fn nothing_is_lost_between_watch_and_lookup(subject: Subject) {
    const NODES: usize = 24;
    let name = unique("greeter");
    let all: BTreeSet<String> = (0..NODES).map(|index| format!("n{index:02}")).collect();
    let writer = tokio::spawn({
        let (registry, name, all) = (Arc::clone(&subject.writer), name.clone(), all.clone());
        async move {
            for id in &all {
                registry.register(&service(&name, "1", &[id]), None).await.expect("registers");
                tokio::task::yield_now().await;
            }
        }
    });
    let mut first = subject.watch(&name).await;
    first.next().await;
    let mut events = subject.watch(&name).await;
    let found = subject.reader.get(&name).await.expect("found");
    let mut known: BTreeSet<String> = ids(&found).into_iter().map(str::to_owned).collect();
    while known.len() < NODES {
        known.extend(events.next().await.service.nodes.into_iter().map(|node| node.id));
    }
    assert_eq!(known, all);
    writer.await.expect("the writer ends");
}

pub(super) async fn concurrent_registrations_are_all_kept(subject: Subject) {
    let name = unique("greeter");
    let all: Vec<String> = (0..16).map(|index| format!("n{index:02}")).collect();
    let writers = all.iter().map(|id| {
        let (registry, record) = (Arc::clone(&subject.writer), service(&name, "1", &[id]));
        tokio::spawn(async move { registry.register(&record, None).await })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("the writer ends").expect("registers");
    }
    let found = subject.reader.get(&name).await.expect("found");
    assert_eq!(found.len(), 1);
    assert_eq!(ids(&found), all.iter().map(String::as_str).collect());
}
