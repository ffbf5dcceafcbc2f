mod addresses;
mod limits;

use proptest::prelude::*;

use super::super::heard::Heard;
use super::*;
use crate::error::Code;
use crate::interface::Reach;
use crate::registry::mdns::packet::{Packet, Record};
use crate::registry::mdns::txt::{INFLATED_LIMIT, Payload};
use crate::registry::mdns::vectors::{self, bytes};
use crate::registry::mdns::zone::{Prepared, TTL, Zone};
use crate::registry::{Node, Watcher};

const V4: Socket = Socket::Group(false);
const V6: Socket = Socket::Group(true);
const ANSWERS: Socket = Socket::Answers(false);

fn table() -> Table {
    Table::new(Arc::new(Names::new("micro").expect("domain")))
}

fn records(packet: &[u8]) -> Vec<Record> {
    match Packet::decode(packet) {
        Some(Packet::Response(records)) => records,
        other => panic!("{other:?}"),
    }
}

fn greeter(version: &str, id: &str, address: &str) -> Service {
    let node = Node { id: id.into(), address: address.into(), ..Node::default() };
    Service { nodes: vec![node], ..Service::new("greeter", version) }
}

/// Announcement of the one node of `service`.
fn announcement(service: &Service) -> Vec<u8> {
    let names = Arc::new(Names::new("micro").expect("domain"));
    let mut zone = Zone::new(names.clone(), "host.".into());
    let node = Prepared::new(&names, "host.", service, &service.nodes[0], None).expect("fits");
    let announcement = zone.register(node, None, Instant::now()).announcement;
    let anywhere = Reach { v4: Some([0, 0, 0, 0].into()), v6: None };
    announcement.packet(&anywhere).expect("an address")
}

impl Table {
    /// True when no lookup waits.
    pub(in super::super) fn is_idle(&self) -> bool {
        self.interest.is_idle()
    }

    fn hears(&mut self, packet: &[u8], socket: Socket) {
        self.hears_from([10, 0, 0, 1], packet, socket);
    }

    fn hears_from(&mut self, from: [u8; 4], packet: &[u8], socket: Socket) {
        let heard = Heard { socket, from: from.into(), at: Instant::now() };
        self.hear(&records(packet), &heard);
        self.check();
    }

    fn watched(&mut self, service: Option<&str>) -> Watcher {
        let (sender, watcher) = Watcher::channel(service);
        assert!(self.watch(sender));
        watcher
    }

    fn all(&mut self) -> Vec<Service> {
        let lookup = self.begin(greeters(), Instant::now()).expect("room");
        for unread in self.unread(&greeters()) {
            let payload = Payload::decode(&unread.text, &mut INFLATED_LIMIT.clone());
            self.fill(&unread, payload.expect("a description"));
        }
        self.end(&lookup);
        self.found("greeter")
    }

    /// Lets time pass until the caretaker would look next; gives what it would ask.
    async fn pass(&mut self) -> Option<Vec<Question>> {
        let (_, next) = self.due(Instant::now());
        tokio::time::sleep_until(next?).await;
        Some(self.due(Instant::now()).0.into_iter().map(|asks| asks.question).collect())
    }
}

fn greeters() -> Subject {
    Subject::Service("greeter".into())
}

/// Changes queued so far, as action and node id.
async fn changes(watcher: &mut Watcher) -> Vec<(Action, String)> {
    let mut changes = Vec::new();
    while let Ok(change) = tokio::time::timeout(Duration::ZERO, watcher.next()).await {
        let change = change.expect("the watch goes on");
        let ids = change.service.nodes.iter().map(|node| node.id.clone());
        changes.push((change.action, ids.collect::<Vec<_>>().join(",")));
    }
    changes
}

#[tokio::test(start_paused = true)]
async fn answer_of_a_go_node_becomes_its_record() {
    let mut table = table();
    table.hears(&bytes(vectors::ANSWER), ANSWERS);
    let found = table.all();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].name.as_str(), found[0].version.as_str()), ("greeter", "latest"));
    assert_eq!(found[0].endpoints[0].name, "Greeter.Hello");
    assert_eq!(found[0].nodes[0].id, vectors::ID);
    assert_eq!(found[0].nodes[0].address, "10.9.0.1:41001");
    assert_eq!(found[0].nodes[0].metadata["protocol"], "grpc");
}

#[tokio::test(start_paused = true)]
async fn announcement_creates_once_and_goodbye_deletes_once() {
    let mut table = table();
    let mut watcher = table.watched(None);
    for socket in [V4, V6, V4, ANSWERS] {
        table.hears(&bytes(vectors::ANNOUNCEMENT), socket);
    }
    assert_eq!(changes(&mut watcher).await, [(Action::Create, vectors::ID.into())]);
    for socket in [V4, V6, V4] {
        table.hears(&vectors::goodbye(), socket);
    }
    assert_eq!(changes(&mut watcher).await, [(Action::Delete, vectors::ID.into())]);
    assert!(table.all().is_empty());
}

#[tokio::test(start_paused = true)]
async fn goodbye_of_a_node_never_heard_reaches_watchers_once() {
    let mut table = table();
    let mut watcher = table.watched(None);
    table.hears(&vectors::goodbye(), V4);
    table.hears(&vectors::goodbye(), V6);
    assert_eq!(changes(&mut watcher).await, [(Action::Delete, vectors::ID.into())]);
}

#[tokio::test(start_paused = true)]
async fn changed_address_or_endpoints_update() {
    let mut table = table();
    let mut watcher = table.watched(Some("greeter"));
    table.hears(&announcement(&greeter("1", "a", "10.0.0.1:1")), V4);
    table.hears(&announcement(&greeter("1", "a", "10.0.0.2:1")), V4);
    let mut more = greeter("1", "a", "10.0.0.2:1");
    more.endpoints.push(crate::registry::Endpoint { name: "A.B".into(), ..Default::default() });
    table.hears(&announcement(&more), V4);
    let actions: Vec<_> =
        changes(&mut watcher).await.into_iter().map(|(action, _)| action).collect();
    assert_eq!(actions, [Action::Create, Action::Update, Action::Update]);
    assert_eq!(table.all(), [more]);
}

#[tokio::test(start_paused = true)]
async fn node_that_returns_with_another_version_leaves_the_old_one() {
    let mut table = table();
    let mut watcher = table.watched(None);
    table.hears(&announcement(&greeter("1", "a", "10.0.0.1:1")), V4);
    table.hears(&announcement(&greeter("2", "a", "10.0.0.1:1")), V4);
    let mut seen = Vec::new();
    while let Ok(Ok(change)) = tokio::time::timeout(Duration::ZERO, watcher.next()).await {
        seen.push((change.action, change.service.version));
    }
    let expected = [(Action::Create, "1"), (Action::Delete, "1"), (Action::Create, "2")];
    assert_eq!(seen, expected.map(|(action, version)| (action, version.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn lookup_groups_nodes_by_version_and_sorts_them() {
    let mut table = table();
    for (version, id) in [("2", "c"), ("1", "b"), ("1", "a")] {
        table.hears(&announcement(&greeter(version, id, "10.0.0.1:1")), V4);
    }
    let ids = |service: &Service| {
        service.nodes.iter().map(|node| node.id.clone()).collect::<Vec<_>>().join("")
    };
    let found: Vec<_> =
        table.all().iter().map(|service| (service.version.clone(), ids(service))).collect();
    assert_eq!(found, [("1".to_owned(), "ab".to_owned()), ("2".to_owned(), "c".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn copy_of_an_announcement_that_its_goodbye_overtook_is_ignored() {
    let mut table = table();
    let mut watcher = table.watched(None);
    table.hears(&bytes(vectors::ANNOUNCEMENT), V4);
    table.hears(&vectors::goodbye(), V4);
    table.hears(&bytes(vectors::ANNOUNCEMENT), V6);
    table.hears(&bytes(vectors::ANSWER), ANSWERS);
    assert_eq!(changes(&mut watcher).await.len(), 2, "create and delete");
    table.hears(&bytes(vectors::ANNOUNCEMENT), V4);
    assert_eq!(changes(&mut watcher).await, [(Action::Create, vectors::ID.into())]);
}

#[tokio::test(start_paused = true)]
async fn node_that_answers_a_question_asked_after_its_goodbye_lives() {
    let mut table = table();
    table.hears(&bytes(vectors::ANNOUNCEMENT), V4);
    table.hears(&vectors::goodbye(), V4);
    tokio::time::advance(Duration::from_millis(1)).await;
    let subject = Subject::Service("greeter".into());
    let _lookup = table.begin(subject, Instant::now()).expect("room");
    table.hears(&bytes(vectors::ANSWER), ANSWERS);
    assert_eq!(table.all().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn watched_go_node_is_asked_before_it_expires_and_dies_when_silent() {
    let start = Instant::now();
    let mut table = table();
    let mut watcher = table.watched(Some("greeter"));
    table.hears(&bytes(vectors::ANNOUNCEMENT), V4);
    let mut asked = Vec::new();
    while let Some(questions) = table.pass().await {
        let names =
            questions.into_iter().map(|question| (start.elapsed().as_secs(), question.name));
        asked.extend(names);
    }
    assert_eq!(asked, [96, 108, 114].map(|at| (at, "greeter.micro.".to_owned())));
    assert_eq!(start.elapsed().as_secs(), u64::from(TTL));
    let ends = [(Action::Create, vectors::ID.into()), (Action::Delete, vectors::ID.into())];
    assert_eq!(changes(&mut watcher).await, ends);
}

#[tokio::test(start_paused = true)]
async fn watched_node_that_answers_lives_on() {
    let mut table = table();
    let mut watcher = table.watched(Some("greeter"));
    table.hears(&bytes(vectors::ANNOUNCEMENT), V4);
    for _ in 0..10 {
        assert_eq!(table.pass().await.expect("asked").len(), 1);
        table.hears(&bytes(vectors::ANSWER), ANSWERS);
    }
    assert_eq!(changes(&mut watcher).await, [(Action::Create, vectors::ID.into())]);
}

#[tokio::test(start_paused = true)]
async fn node_without_a_watcher_expires_unasked() {
    let mut table = table();
    let other = table.watched(Some("other"));
    table.hears(&bytes(vectors::ANNOUNCEMENT), V4);
    assert_eq!(table.pass().await, Some(Vec::new()));
    assert!(
        table.nodes.is_empty()
            && table.services.is_empty()
            && table.room.all == room::Use::default()
    );
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn suspected_node_that_stays_silent_dies_within_300_ms() {
    let start = Instant::now();
    let mut table = table();
    let mut watcher = table.watched(None);
    table.hears(&bytes(vectors::ANNOUNCEMENT), V4);
    let question = table.suspect("greeter", vectors::ID, start).expect("worth a question");
    assert_eq!(question, Question::new(format!("{}.greeter.micro.", vectors::ID), kind::ANY));
    assert_eq!(table.pass().await, Some(vec![question]));
    assert_eq!(table.pass().await, Some(Vec::new()));
    assert_eq!(start.elapsed(), Duration::from_millis(300));
    assert_eq!(changes(&mut watcher).await[1], (Action::Delete, vectors::ID.into()));
}

#[tokio::test(start_paused = true)]
async fn suspected_node_that_answers_lives_and_is_not_asked_again_at_once() {
    let start = Instant::now();
    let mut table = table();
    table.hears(&bytes(vectors::ANNOUNCEMENT), V4);
    assert!(table.suspect("greeter", vectors::ID, start).is_some());
    assert!(table.suspect("greeter", vectors::ID, start).is_none(), "asked already");
    table.hears(&bytes(vectors::ANNOUNCEMENT), ANSWERS);
    tokio::time::advance(Duration::from_millis(999)).await;
    assert_eq!(table.due(Instant::now()).0, []);
    assert!(table.suspect("greeter", vectors::ID, Instant::now()).is_none(), "too soon");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(table.suspect("greeter", vectors::ID, Instant::now()).is_some());
    assert!(table.suspect("greeter", "unknown", Instant::now()).is_none());
}

#[tokio::test(start_paused = true)]
async fn node_silent_in_a_lookup_is_known_until_its_time_is_over() {
    let mut table = table();
    table.hears(&announcement(&greeter("1", "silent", "10.0.0.1:1")), V4);
    tokio::time::advance(Duration::from_secs(1)).await;
    let started = Instant::now();
    table.hears(&announcement(&greeter("1", "alive", "10.0.0.1:2")), ANSWERS);
    let nodes = |found: &[Service]| found.iter().map(|service| service.nodes.len()).sum::<usize>();
    assert_eq!(nodes(&table.all()), 2, "its answer may be late, or kept out by a firewall");
    assert!(table.misses(&greeters(), started), "so it is waited for");
    tokio::time::advance(Duration::from_secs(u64::from(TTL) - 1)).await;
    table.due(Instant::now());
    assert_eq!(nodes(&table.all()), 1);
}

#[tokio::test(start_paused = true)]
async fn node_of_ours_is_known_at_once_and_its_packets_change_nothing() {
    let mut table = table();
    let mut watcher = table.watched(None);
    let ours = greeter("1", "a", "10.0.0.1:1");
    let instance = "a.greeter.micro.";
    table.add_own(instance, ours.clone(), Instant::now());
    table.hears(&announcement(&greeter("1", "a", "10.6.6.6:1")), V4);
    tokio::time::advance(Duration::from_secs(1000)).await;
    assert_eq!(table.due(Instant::now()), (Vec::new(), None));
    assert_eq!(table.found("greeter"), std::slice::from_ref(&ours));
    table.remove_own(instance, Instant::now());
    table.hears(&announcement(&ours), V4);
    table.hears(&announcement(&ours), ANSWERS);
    let ends = [(Action::Create, "a".to_owned()), (Action::Delete, "a".to_owned())];
    assert_eq!(changes(&mut watcher).await, ends);
}

#[tokio::test(start_paused = true)]
async fn list_tells_names_heard_and_versions_known() {
    let mut table = table();
    let lookup = table.begin(Subject::List, Instant::now()).expect("room");
    table.hears(&bytes(vectors::LIST_ANSWER), ANSWERS);
    let list = table.list(["own"].into_iter(), Instant::now());
    assert_eq!(list, [Service::new("greeter", ""), Service::new("own", "")]);
    table.hears(&bytes(vectors::ANSWER), ANSWERS);
    table.all();
    let list = table.list([].into_iter(), Instant::now());
    assert_eq!(list, [Service::new("greeter", "latest")]);
    table.end(&lookup);
    table.hears(&vectors::goodbye(), V4);
    assert_eq!(table.list([].into_iter(), Instant::now()), [], "its last node said goodbye");
}

#[tokio::test(start_paused = true)]
async fn answer_in_the_standard_form_is_understood() {
    // No question, PTR answered and the rest additional.
    let mut packet = bytes(vectors::ANNOUNCEMENT);
    packet[2] = 0x84;
    packet[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 3]);
    let name = b"\x07greeter\x05micro\x00";
    let pointer =
        [&name[..], &[0, 12, 0, 1, 0, 0, 0, 120, 0, 60, 44], vectors::ID.as_bytes(), name];
    packet.splice(12..12, pointer.concat());
    let mut table = table();
    table.hears(&packet, ANSWERS);
    assert_eq!(table.all()[0].nodes[0].id, vectors::ID);
    let withdrawn = [&packet[..12], &name[..], &[0, 12, 0, 1, 0, 0, 0, 0, 0, 60, 44]].concat();
    let mut withdrawn = [&withdrawn[..], vectors::ID.as_bytes(), &name[..]].concat();
    withdrawn[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
    table.hears(&withdrawn, V4);
    assert!(table.all().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nodes_that_cannot_be_called_are_not_seen() {
    let mut table = table();
    for address in ["0.0.0.0:1", "224.0.0.251:1"] {
        table.hears(&announcement(&greeter("1", "a", address)), V4);
    }
    let mut portless = bytes(vectors::ANNOUNCEMENT);
    let port = portless.windows(2).position(|pair| pair == [0xa0, 0x29]).expect("the port");
    portless[port..port + 2].fill(0);
    table.hears(&portless, V4);
    assert!(table.nodes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn foreign_domain_is_not_seen() {
    let mut table = Table::new(Arc::new(Names::new("other").expect("domain")));
    table.hears(&bytes(vectors::ANNOUNCEMENT), V4);
    assert!(table.nodes.is_empty());
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let captured = [vectors::ANSWER, vectors::LIST_ANSWER, vectors::ANNOUNCEMENT];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12);
    (prop::sample::select(captured.map(bytes).to_vec()), edits, any::<prop::sample::Index>())
        .prop_map(|(mut packet, edits, end)| {
            for (at, byte) in edits {
                let at = at.index(packet.len());
                packet[at] = byte;
            }
            packet.truncate(packet.len() - end.index(packet.len()) / 8);
            packet
        })
}

proptest! {
    #[test]
    fn mutated_packets_never_panic_and_leave_the_books_right(
        packets in prop::collection::vec((mutated(), any::<bool>()), 1..20)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let _entered = runtime.as_ref().expect("runtime").enter();
        let mut table = table();
        for (packet, v6) in packets {
            if let Some(Packet::Response(records)) = Packet::decode(&packet) {
                let (socket, from) = (Socket::Group(v6), [10, 0, 0, u8::from(v6)].into());
                table.hear(&records, &Heard { socket, from, at: Instant::now() });
            }
            let _ = table.due(Instant::now());
            table.check();
        }
    }
}
