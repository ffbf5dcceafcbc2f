use super::super::packet::kind;
use super::super::txt::{self, Payload};
use super::prepared::seconds;
use super::*;
use crate::error::Code;
use crate::registry::Node;
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
    ask_at(zone, name, kind, &Reach::default())
}

fn ask_at(zone: &Zone, name: &str, kind: u16, reach: &Reach) -> Vec<Vec<Record>> {
    let packets = zone.answer(7, &[Question::new(name.into(), kind)], reach);
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
        Some(Packet::Query { id, questions }) => zone.answer(id, &questions, &Reach::default()),
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
    let told = own.entry.address.on(&Reach::default());
    assert_eq!(own.entry.announcement("probehost.", TTL, &told), bytes(vectors::ANNOUNCEMENT));
    let packet = |goodbye: Announcement| goodbye.packet(&Reach::default()).expect("a packet");
    assert_eq!(zone.goodbyes().map(packet).collect::<Vec<_>>(), [vectors::goodbye()]);
    assert_eq!(packet(zone.remove(&instance).expect("known")), vectors::goodbye());
}

#[test]
fn unicast_bit_is_echoed_together_with_the_id() {
    let mut query = bytes(vectors::QUERY);
    query[29] = 0x80;
    let Some(Packet::Query { id, questions }) = Packet::decode(&query) else { panic!("query") };
    let answer = captured_zone().answer(id, &questions, &Reach::default()).remove(0);
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

fn reach(v4: Option<&str>, v6: Option<&str>) -> Reach {
    Reach {
        v4: v4.map(|ip| ip.parse().expect("an address")),
        v6: v6.map(|ip| ip.parse().expect("an address")),
    }
}

fn addresses(records: &[Record]) -> Vec<String> {
    let address = |record: &Record| match &record.data {
        Data::Address(ip) => Some(ip.to_string()),
        _ => None,
    };
    records.iter().filter_map(address).collect()
}

#[test]
fn node_that_listens_everywhere_tells_each_interface_its_own_address() {
    let table: [(&str, Reach, &[&str], &str); 7] = [
        ("[::]:80", reach(Some("192.168.1.10"), None), &["192.168.1.10"], "PSAT"),
        (
            "[::]:80",
            reach(Some("172.17.0.1"), Some("fd00::1")),
            &["172.17.0.1", "fd00::1"],
            "PSAAT",
        ),
        ("[::]:80", reach(Some("10.0.0.1"), Some("fe80::1")), &["10.0.0.1"], "PSAT"),
        ("[::]:80", reach(None, Some("fe80::1")), &["fe80::1"], "PSAT"),
        ("0.0.0.0:80", reach(Some("10.0.0.1"), Some("fd00::1")), &["10.0.0.1"], "PSAT"),
        ("0.0.0.0:80", reach(None, Some("fd00::1")), &[], ""),
        ("10.9.0.1:80", reach(None, Some("fd00::1")), &["10.9.0.1"], "PSAT"),
    ];
    for (address, reach, expected, records) in table {
        let mut service = greeter();
        service.nodes[0].address = address.into();
        let mut zone = zone_of(&[service]);
        let answers = ask_at(&zone, "greeter.micro.", kind::PTR, &reach);
        let told = answers.first().map(|answer| (addresses(answer), kinds(answer)));
        let (told, all) = told.unwrap_or_default();
        assert_eq!(
            (told, all.as_str()),
            (expected.iter().map(|ip| (*ip).into()).collect(), records)
        );
        let instance = format!("{}.greeter.micro.", vectors::ID);
        let goodbye = zone.remove(&instance).expect("known").packet(&reach);
        assert_eq!(goodbye.is_some(), !expected.is_empty(), "{address}");
        if let Some(Packet::Response(records)) = goodbye.and_then(|packet| Packet::decode(&packet))
        {
            assert_eq!(addresses(&records), expected, "{address}");
        }
    }
}

#[test]
fn interface_with_another_address_is_told_what_is_over_and_what_begins() {
    let mut service = greeter();
    service.nodes[0].address = "0.0.0.0:80".into();
    let zone = zone_of(&[service]);
    let said = |before: Option<Reach>, now: Reach| -> Vec<(u32, String)> {
        let packets = zone.moved(before, now);
        let records = packets.iter().map(|packet| match Packet::decode(packet) {
            Some(Packet::Response(records)) => records,
            other => panic!("{other:?}"),
        });
        records.map(|records| (records[0].ttl, addresses(&records).concat())).collect()
    };
    let (old, new) = (reach(Some("10.0.0.1"), None), reach(Some("10.0.0.7"), None));
    assert_eq!(said(Some(old), new), [(0, "10.0.0.1".into()), (TTL, "10.0.0.7".into())]);
    assert_eq!(said(None, new), [(TTL, "10.0.0.7".into())], "an interface that has just come");
    assert_eq!(said(Some(old), Reach::default()), [(0, "10.0.0.1".into())], "it has none now");
    assert_eq!(said(Some(Reach::default()), new), [(TTL, "10.0.0.7".into())]);
    assert_eq!(said(Some(new), new), [(TTL, "10.0.0.7".into())], "nothing is withdrawn");
}

#[test]
fn question_that_is_repeated_in_a_packet_is_answered_once() {
    let zone = zone_of(&[greeter()]);
    let once =
        zone.answer(7, &[Question::new("greeter.micro.".into(), kind::PTR)], &Reach::default());
    let instance = format!("{}.greeter.micro.", vectors::ID);
    let mut questions = Vec::new();
    for number in 0..16 {
        let (name, kind) = match number % 4 {
            0 => ("greeter.micro.", kind::PTR),
            1 => ("greeter.micro.", kind::ANY),
            2 => (instance.as_str(), kind::ANY),
            _ => (instance.as_str(), kind::TXT),
        };
        let unicast = if number % 8 < 4 { 0 } else { UNICAST_BIT };
        let question = Question::new(name.into(), kind);
        questions.push(Question { class: question.class | unicast, ..question });
    }
    let all = zone.answer(7, &questions, &Reach::default());
    let Some(Packet::Response(records)) = Packet::decode(&all[0]) else { panic!("no response") };
    assert_eq!((all.len(), kinds(&records).as_str()), (1, "PSAT"));
    assert!(all[0].len() < once[0].len() + 200, "{} and {} bytes", all[0].len(), once[0].len());
    let same = vec![Question::new("greeter.micro.".into(), kind::PTR); 16];
    assert_eq!(zone.answer(7, &same, &Reach::default()), once, "byte for byte");
}

#[test]
fn answer_to_one_packet_is_bounded_in_bytes() {
    let mut service = greeter();
    let noise: String = (0..2_500).map(|_| fastrand::alphanumeric()).collect();
    service.nodes[0].metadata.insert("noise".into(), noise);
    let mut zone = zone_of(&[]);
    for number in 0..NODE_LIMIT {
        let mut prepared = prepare(&service).expect("fits");
        prepared.entry.instance = format!("{number}.greeter.micro.");
        zone.register(prepared, None, Instant::now());
        if number > 400 {
            break;
        }
    }
    let question = Question::new("greeter.micro.".into(), kind::PTR);
    let answers = zone.answer(7, &[question], &Reach::default());
    let bytes: usize = answers.iter().map(Vec::len).sum();
    assert!(
        answers.len() > 100 && bytes <= ANSWER_BYTES,
        "{} packets, {bytes} bytes",
        answers.len()
    );
    assert!(bytes + PACKET_LIMIT > ANSWER_BYTES, "no earlier than the limit: {bytes}");
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
