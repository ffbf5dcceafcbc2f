use super::*;
use crate::error::Code;
use crate::registry::mdns::packet::{Data, Packet, Record};
use crate::registry::mdns::vectors::{self, bytes};

/// The service of the captured packets.
fn greeter() -> Service {
    let text = txt::tests::CAPTURED.as_bytes();
    let payload = Payload::decode(text, &mut 10_000).expect("payload");
    let (id, address) = (vectors::ID.into(), "10.9.0.1:41001".into());
    Service {
        name: payload.service,
        version: payload.version,
        endpoints: payload.endpoints,
        nodes: vec![Node { id, address, metadata: payload.metadata }],
        ..Service::default()
    }
}

fn prepare(service: &Service) -> Result<Prepared> {
    let names = Names::new("micro").expect("domain");
    Prepared::new(&names, "probehost.", service, &service.nodes[0], None)
}

fn zone_of(services: &[Service]) -> Zone {
    let names = Arc::new(Names::new("micro").expect("domain"));
    let mut zone = Zone::new(names, "probehost.".into());
    for service in services {
        zone.register(prepare(service).expect("fits"), None, Instant::now());
    }
    zone
}

/// A zone with the very payload that was captured, as zlib has many ways to say the same.
fn captured_zone() -> Zone {
    let mut zone = zone_of(&[]);
    let mut prepared = prepare(&greeter()).expect("fits");
    prepared.entry.text = txt::strings(txt::tests::CAPTURED.as_bytes());
    zone.register(prepared, None, Instant::now());
    zone
}

fn ask(zone: &Zone, name: &str, kind: u16) -> Vec<Vec<Record>> {
    let packets = zone.answer(7, &[Question::new(name.into(), kind)]);
    let records = packets.iter().map(|packet| match Packet::decode(packet) {
        Some(Packet::Response(records)) => records,
        other => panic!("{other:?}"),
    });
    records.collect()
}

fn kinds(records: &[Record]) -> String {
    let letter = |record: &Record| match record.data {
        Data::Pointer(_) => 'P',
        Data::Server { .. } => 'S',
        Data::Address(_) => 'A',
        Data::Text(_) => 'T',
    };
    records.iter().map(letter).collect()
}

fn answer_to(zone: &Zone, packet: &str) -> Vec<Vec<u8>> {
    match Packet::decode(&bytes(packet)) {
        Some(Packet::Query { id, questions }) => zone.answer(id, &questions),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lookup_is_answered_byte_for_byte_as_go_does() {
    assert_eq!(answer_to(&captured_zone(), vectors::QUERY), [bytes(vectors::ANSWER)]);
}

#[test]
fn list_is_answered_byte_for_byte_as_go_does() {
    assert_eq!(answer_to(&captured_zone(), vectors::LIST_QUERY), [bytes(vectors::LIST_ANSWER)]);
}

#[test]
fn announcement_and_goodbye_are_byte_for_byte_those_of_go() {
    let mut zone = captured_zone();
    let instance = format!("{}.greeter.micro.", vectors::ID);
    let own = &zone.nodes[&instance];
    assert_eq!(own.entry.announcement("probehost.", TTL), bytes(vectors::ANNOUNCEMENT));
    assert_eq!(zone.goodbyes().collect::<Vec<_>>(), [vectors::goodbye()]);
    assert_eq!(zone.remove(&instance).expect("known"), vectors::goodbye());
}

#[test]
fn unicast_bit_is_echoed_together_with_the_id() {
    let mut query = bytes(vectors::QUERY);
    query[29] = 0x80;
    let Some(Packet::Query { id, questions }) = Packet::decode(&query) else { panic!("query") };
    let answer = captured_zone().answer(id, &questions).remove(0);
    assert_eq!(answer[..2], [0x12, 0x34]);
    assert_eq!(answer[12..31], query[12..31]);
}

#[test]
fn every_question_of_the_table_gets_its_records_in_order() {
    let zone = zone_of(&[greeter()]);
    let instance = format!("{}.greeter.micro.", vectors::ID);
    let instance = instance.as_str();
    let enumeration = "_services._dns-sd._udp.micro.";
    let table: [(&str, u16, &[&str]); 18] = [
        ("greeter.micro.", kind::PTR, &["PSAT"]),
        ("greeter.micro.", kind::ANY, &["PSAT"]),
        ("greeter.micro.", kind::SRV, &[]),
        (instance, kind::ANY, &["SAT"]),
        (instance, kind::SRV, &["SA"]),
        (instance, kind::TXT, &["T"]),
        (instance, kind::A, &["A"]),
        (instance, kind::AAAA, &[]),
        (instance, kind::PTR, &[]),
        ("probehost.", kind::A, &["A", "A"]),
        ("probehost.", kind::AAAA, &[]),
        (enumeration, kind::PTR, &["P", "P"]),
        (enumeration, kind::ANY, &["P", "P"]),
        ("_services.micro.", kind::PTR, &["PSAT"]),
        ("_services.micro.", kind::ANY, &["PSAT"]),
        ("Greeter.micro.", kind::PTR, &[]),
        ("greeter.local.", kind::PTR, &[]),
        ("micro.", kind::PTR, &[]),
    ];
    for (name, kind, expected) in table {
        let answers: Vec<_> = ask(&zone, name, kind).iter().map(|records| kinds(records)).collect();
        assert_eq!(answers, expected, "{name} {kind}");
    }
}

#[test]
fn each_node_answers_in_a_packet_of_its_own() {
    let mut two = greeter();
    two.nodes[0].id = "greeter-2".into();
    two.nodes[0].address = "[fd00::2]:2".into();
    let zone = zone_of(&[greeter(), two]);
    let answers = ask(&zone, "greeter.micro.", kind::PTR);
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[1][2].data, Data::Address("fd00::2".parse().expect("an address")));
    assert_eq!(ask(&zone, "_services.micro.", kind::PTR).len(), 1);
}

#[test]
fn service_leaves_the_list_with_its_last_node() {
    let mut two = greeter();
    two.nodes[0].id = "greeter-2".into();
    let mut zone = zone_of(&[greeter(), two]);
    zone.remove("greeter-2.greeter.micro.").expect("known");
    assert_eq!(ask(&zone, "_services.micro.", kind::PTR).len(), 1);
    zone.remove(&format!("{}.greeter.micro.", vectors::ID)).expect("known");
    assert!(ask(&zone, "_services.micro.", kind::PTR).is_empty());
    assert!(zone.answers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn announcements_follow_after_one_and_three_seconds() {
    let mut zone = zone_of(&[greeter()]);
    let start = Instant::now();
    let mut sent = Vec::new();
    let mut next = zone.due(start).next;
    while let Some(at) = next {
        let due = zone.due(at);
        sent.extend(due.announcements.iter().map(|_| at - start));
        next = due.next;
    }
    assert_eq!(sent, ANNOUNCEMENTS);
}

#[test]
fn unchanged_node_is_not_announced_anew_but_a_changed_one_is() {
    let mut zone = zone_of(&[greeter()]);
    let instance = format!("{}.greeter.micro.", vectors::ID);
    let later = Instant::now() + Duration::from_secs(10);
    zone.due(later);
    zone.due(later);
    zone.register(prepare(&greeter()).expect("fits"), None, later);
    assert_eq!(zone.nodes[&instance].repeated, 2);
    let mut changed = greeter();
    changed.nodes[0].metadata.insert("lane".into(), "blue".into());
    zone.register(prepare(&changed).expect("fits"), None, later);
    assert_eq!(zone.nodes[&instance].repeated, 0);
    assert_eq!(ask(&zone, "greeter.micro.", kind::PTR).len(), 1);
}

#[test]
fn node_that_is_not_refreshed_expires() {
    let mut zone = zone_of(&[]);
    let (now, ttl) = (Instant::now(), Some(Duration::from_secs(90)));
    zone.register(prepare(&greeter()).expect("fits"), ttl, now);
    assert!(zone.due(now + Duration::from_secs(89)).expired.is_empty());
    let expired = zone.due(now + Duration::from_secs(90)).expired;
    assert_eq!(expired, [format!("{}.greeter.micro.", vectors::ID)]);
}

#[test]
fn times_to_live_are_whole_seconds_up_to_those_of_go() {
    assert_eq!(seconds(None), 120);
    assert_eq!(seconds(Some(Duration::from_secs(900))), 120);
    assert_eq!(seconds(Some(Duration::from_millis(89_001))), 90);
    assert_eq!(seconds(Some(Duration::from_millis(1))), 1);
}

#[test]
fn addresses_that_dns_cannot_carry_are_refused() {
    for address in ["", "localhost:80", "10.0.0.1", "10.0.0.1:0", ":80", "[fe80::1%2]:80"] {
        let mut service = greeter();
        service.nodes[0].address = address.into();
        let error = prepare(&service).expect_err(address);
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.detail().contains("advertise one"), "{error}");
    }
}

#[test]
fn description_that_outgrows_a_packet_is_refused() {
    let mut service = greeter();
    let noise: String = (0..20_000).map(|_| fastrand::alphanumeric()).collect();
    service.nodes[0].metadata.insert("noise".into(), noise);
    assert_eq!(prepare(&service).expect_err("too long").code(), Code::InvalidArgument);
}

#[test]
fn nodes_are_bounded() {
    let mut zone = zone_of(&[greeter()]);
    for number in 1..NODE_LIMIT {
        let mut prepared = Prepared { service: greeter(), entry: zone.any_entry() };
        prepared.entry.instance = format!("{number}.greeter.micro.");
        zone.register(prepared, None, Instant::now());
    }
    assert!(zone.make_room(&[prepare(&greeter()).expect("fits")]).is_ok(), "it is known");
    let mut new = greeter();
    new.nodes[0].id = "greeter-new".into();
    let error = zone.make_room(&[prepare(&new).expect("fits")]).expect_err("full");
    assert_eq!(error.code(), Code::ResourceExhausted);
}

impl Zone {
    fn any_entry(&self) -> Entry {
        let own = self.nodes.values().next().expect("a node");
        Entry {
            service: own.entry.service.clone(),
            instance: String::new(),
            text: Vec::new(),
            ..*own.entry
        }
    }
}
