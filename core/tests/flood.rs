//! Floods of mDNS packets from a program that means harm: what they cost in memory, in processor
//! time and in the time of others' lookups is bounded, and live nodes stay visible.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test says what it expects by failing, and what it saw by printing"
)]

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use micro::directory::Cache;
use micro::registry::{Node, Registry, Service, connect};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// One flood at a time: they are measured by what this process takes.
static ALONE: Mutex<()> = Mutex::new(());
const MIB: u64 = 1 << 20;
/// Longest that a lookup may take while a flood lasts.
const LOOKUP_LIMIT: Duration = Duration::from_secs(2);

/// Announcements that a stranger makes up.
struct Stranger {
    socket: UdpSocket,
    port: u16,
}

impl Stranger {
    fn new() -> Self {
        let free = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("its number").port();
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket2::SockRef::from(&socket)
            .set_multicast_if_v4(&Ipv4Addr::LOCALHOST)
            .expect("loopback");
        Self { socket, port }
    }

    /// A registry that hears this stranger.
    fn victim(&self) -> Arc<dyn Registry> {
        connect(&format!("mdns://127.0.0.1?port={}", self.port)).expect("loopback multicast")
    }

    fn send(&self, packet: &[u8]) {
        let group = (Ipv4Addr::new(224, 0, 0, 251), self.port);
        self.socket.send_to(packet, group).expect("sent");
    }
}

/// The text of a node with the description `json`.
fn text(json: &str) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(json.as_bytes()).expect("zlib");
    let packed = zlib.finish().expect("zlib");
    packed.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').flat_map(|label| {
        let length = u8::try_from(label.len()).expect("a short label");
        [&[length], label.as_bytes()].concat()
    });
    labels.chain([0]).collect()
}

/// The announcement of a node that lives for 68 years.
fn announcement(instance: &str, address: [u8; 4], text: &[u8]) -> Vec<u8> {
    let record = |owner: &str, kind: u8, data: &[u8]| {
        let length = u16::try_from(data.len()).expect("a short record").to_be_bytes();
        [&name(owner)[..], &[0, kind, 0, 1, 0x7f, 0xff, 0xff, 0xff], &length, data].concat()
    };
    let strings: Vec<u8> = text
        .chunks(255)
        .flat_map(|chunk| [&[u8::try_from(chunk.len()).expect("short")], chunk].concat())
        .collect();
    let server = [&[0, 10, 0, 1, 0, 80][..], &name("host")].concat();
    [
        &[0, 0, 0x80, 0, 0, 0, 0, 3, 0, 0, 0, 0][..],
        &record(instance, 33, &server),
        &record("host", 1, &address),
        &record(instance, 16, &strings),
    ]
    .concat()
}

/// Descriptions of `service` that are small on the wire: one that is refused for its size, one that
/// inflates to a quarter of a megabyte, and one that takes as much memory as one may.
fn descriptions(service: &str) -> [Vec<u8>; 3] {
    let json = |endpoints: String| {
        text(&format!(r#"{{"Service":"{service}","Version":"1","Endpoints":[{endpoints}]}}"#))
    };
    let many = |endpoint: &str, count: usize| vec![endpoint; count].join(",");
    let padded = format!(r#"{{"name":"{}"}}"#, "a".repeat(240));
    [
        json(many(r#"{"name":"a"}"#, 20_000)),
        json(many(&padded, 1000)),
        json(many(r#"{"name":"a"}"#, 1000)),
    ]
}

fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).map_or(0, |kib: u64| kib * 1024)
}

/// Processor time of this process.
fn worked() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("a stat");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// What a flood cost.
struct Cost {
    /// Most bytes more than before.
    grown: u64,
    /// Part of one processor.
    share: f64,
}

/// Has the victims endure `attack`, and says what that cost.
async fn endured<F: Future<Output = ()>>(what: &str, attack: F) -> Cost {
    // The peak starts anew.
    fs::write("/proc/self/clear_refs", "5").expect("our own process");
    let (before, worked_before, began) = (status("VmRSS:"), worked(), Instant::now());
    attack.await;
    let grown = status("VmHWM:").saturating_sub(before);
    let share = (worked() - worked_before).as_secs_f64() / began.elapsed().as_secs_f64();
    println!("{what}: peak {} KiB more, {:.0} % of a processor", grown / 1024, share * 100.0);
    Cost { grown, share }
}

fn run<F: Future<Output = ()>>(test: F) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(test);
}

async fn start(registry: &Arc<dyn Registry>, name: &str) -> Service {
    let node = Node {
        id: format!("{name}-1"),
        address: "127.0.0.1:4000".into(),
        metadata: [("protocol".to_owned(), "grpc".to_owned())].into(),
    };
    let service = Service { nodes: vec![node], ..Service::new(name, "latest") };
    registry.register(&service, Some(Duration::from_secs(60))).await.expect("registered");
    service
}

/// Sends `count` packets, a hundred a second.
async fn pour(stranger: &Stranger, count: usize, packet: impl Fn(usize) -> Vec<u8>) {
    let mut pace = interval(Duration::from_millis(10));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..count {
        pace.tick().await;
        stranger.send(&packet(number));
    }
}

#[test]
fn a_hundred_inflating_packets_a_second_cost_a_caller_little() {
    run(async {
        let stranger = Stranger::new();
        let (server, caller) = (stranger.victim(), stranger.victim());
        let greeter = start(&server, "greeter").await;
        let cache = Cache::new(caller.clone());
        cache.resolve("greeter").await.expect("found");
        let texts = descriptions("noise");
        let packet = |number: usize| {
            let instance = format!("noise-{number}.noise.micro");
            announcement(&instance, [10, 0, 0, 1], &texts[number % texts.len()])
        };
        assert!((0..3).all(|number| packet(number).len() < 2500), "small on the wire");
        let mut slowest = Duration::ZERO;
        let attack = async {
            let mut flood = std::pin::pin!(pour(&stranger, 600, packet));
            loop {
                let began = Instant::now();
                tokio::select! {
                    () = flood.as_mut() => break,
                    found = caller.get("greeter") => {
                        assert_eq!(found.expect("it is alive"), std::slice::from_ref(&greeter));
                        slowest = slowest.max(began.elapsed());
                    }
                }
            }
        };
        let cost = endured("inflating", attack).await;
        println!("slowest lookup: {slowest:?}");
        assert!(cost.grown < 64 * MIB, "{} KiB", cost.grown / 1024);
        assert!(slowest < LOOKUP_LIMIT, "{slowest:?}");
    });
}

#[test]
fn servers_that_are_not_watched_inflate_nothing() {
    run(async {
        let stranger = Stranger::new();
        let server = stranger.victim();
        start(&server, "greeter").await;
        let texts = descriptions("noise");
        let cost = endured(
            "unwatched",
            pour(&stranger, 500, |number| {
                let instance = format!("noise-{number}.noise.micro");
                announcement(&instance, [10, 0, 0, 1], &texts[number % texts.len()])
            }),
        );
        let cost = cost.await;
        assert!(cost.grown < 16 * MIB, "{} KiB", cost.grown / 1024);
        assert!(cost.share < 0.4, "{:.2} of a processor, unoptimized", cost.share);
    });
}

#[test]
fn service_that_starts_after_a_flood_of_long_lives_is_found() {
    run(async {
        let stranger = Stranger::new();
        let (server, caller) = (stranger.victim(), stranger.victim());
        let cache = Cache::new(caller.clone());
        cache.resolve("greeter").await.expect_err("there is no node yet");
        // As heavy as the memory of the table allows, for a service asked for and for others.
        let texts = [descriptions("noise"), descriptions("greeter")];
        let attack = pour(&stranger, 600, |number| {
            let service = ["noise", "greeter"][number % 2];
            let instance = format!("{service}-{number}.{service}.micro");
            let address = [10, 0, (number / 256) as u8, (number % 256) as u8];
            announcement(&instance, address, &texts[number % 2][2])
        });
        let cost = endured("long lives", attack).await;
        assert!(cost.grown < 96 * MIB, "{} KiB", cost.grown / 1024);
        let late = start(&server, "late").await;
        assert_eq!(caller.get("late").await.expect("it is found"), [late]);
        let greeter = start(&server, "greeter").await;
        let found = async {
            loop {
                let snapshot = cache.resolve("greeter").await.expect("forged or not");
                if snapshot.nodes().iter().any(|node| node.id() == greeter.nodes[0].id) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), found).await.expect("the true node is among them");
    });
}

#[test]
fn one_sender_cannot_make_a_service_of_thousands_of_nodes() {
    run(async {
        let stranger = Stranger::new();
        let (server, caller) = (stranger.victim(), stranger.victim());
        let greeter = start(&server, "greeter").await;
        let cache = Cache::new(caller.clone());
        cache.resolve("greeter").await.expect("found");
        let small = text(r#"{"Service":"greeter","Version":"latest"}"#);
        let attack = async {
            for number in 0..4000_usize {
                let address = [10, 0, (number / 256) as u8, (number % 256) as u8];
                let instance = format!("forged-{number}.greeter.micro");
                stranger.send(&announcement(&instance, address, &small));
                if number % 50 == 0 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        let cost = endured("forged nodes", attack).await;
        assert!(cost.grown < 32 * MIB, "{} KiB", cost.grown / 1024);
        let found = caller.get("greeter").await.expect("found");
        let nodes: Vec<&Node> = found.iter().flat_map(|service| &service.nodes).collect();
        println!("{} nodes believed", nodes.len());
        assert!(nodes.len() > 1, "the flood arrived");
        assert!(nodes.len() <= 1 + 256, "{} nodes", nodes.len());
        assert!(nodes.contains(&&greeter.nodes[0]), "the true one is among them");
    });
}
