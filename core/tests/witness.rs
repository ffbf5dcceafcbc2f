//! A client tells its registry which nodes it is connected to, so that a registry that hears nothing
//! of them for a while does not take the living for dead; and which it has lost, so that the dead go.
#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use micro::registry::{Memory, Node, Registry, Service, Watcher, Witness};
use micro::server::{Endpoint, Server};
use micro::{Client, Context, Error, Raw, Result};
use tokio::time::timeout;

/// A registry that keeps the witness it is given.
#[derive(Debug, Default)]
struct Asking {
    nodes: Memory,
    witness: Mutex<Option<Weak<dyn Witness>>>,
    suspected: Mutex<Vec<String>>,
}

impl Asking {
    fn vouched(&self, address: &str) -> bool {
        let witness = self.witness.lock().expect("no panic").clone();
        witness.and_then(|witness| witness.upgrade()).is_some_and(|w| w.vouches(address))
    }
}

#[async_trait]
impl Registry for Asking {
    async fn register(&self, service: &Service, ttl: Option<Duration>) -> Result<()> {
        self.nodes.register(service, ttl).await
    }

    async fn deregister(&self, service: &Service) -> Result<()> {
        self.nodes.deregister(service).await
    }

    async fn get(&self, name: &str) -> Result<Vec<Service>> {
        self.nodes.get(name).await
    }

    async fn list(&self) -> Result<Vec<Service>> {
        self.nodes.list().await
    }

    async fn watch(&self, service: Option<&str>) -> Result<Watcher> {
        self.nodes.watch(service).await
    }

    fn name(&self) -> &'static str {
        "asking"
    }

    fn suspect(&self, _service: &str, node: &Node) {
        self.suspected.lock().expect("no panic").push(node.id.clone());
    }

    fn witness(&self, witness: Weak<dyn Witness>) {
        *self.witness.lock().expect("no panic") = Some(witness);
    }
}

#[tokio::test]
async fn client_vouches_for_a_node_while_it_is_connected_to_it() {
    let echo =
        Endpoint::unary(
            "Echo.Call",
            |_: Context, request: Raw| async move { Ok::<_, Error>(request) },
        );
    let server = Server::builder("echo").address("127.0.0.1:0").handle(echo);
    let server = server.start().await.expect("the server starts");
    let address = server.address().to_string();
    let registry = Arc::new(Asking::default());
    let node = Node { id: "echo-1".into(), address: address.clone(), ..Node::default() };
    let echo = Service { nodes: vec![node], ..Service::new("echo", "latest") };
    registry.register(&echo, None).await.expect("registered");
    let client = Client::builder().registry(registry.clone()).build().expect("a client");
    assert!(!registry.vouched(&address), "it was not called yet");

    let called: Result<Raw> = client.call("echo", "Echo.Call", Raw::from("hello")).await;
    assert_eq!(called.expect("it answers").0, "hello");
    assert!(registry.vouched(&address));
    assert!(!registry.vouched("127.0.0.1:1"));

    server.stop().await;
    let closed = async {
        while registry.vouched(&address) {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), closed).await.expect("its end is noticed");
    drop(client);
    assert!(!registry.vouched(&address), "a client that is gone knows nothing");
}

#[tokio::test]
async fn registry_is_told_of_a_node_whose_connection_breaks_under_a_call() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    let dies = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        // Goes without a word once it has a call.
        let call = connection.accept().await.expect("a call").expect("a whole one");
        drop((call, connection));
    });
    let registry = Arc::new(Asking::default());
    let node = Node { id: "echo-1".into(), address, ..Node::default() };
    let service = Service { nodes: vec![node], ..Service::new("echo", "latest") };
    registry.register(&service, None).await.expect("registered");
    let client = Client::builder().registry(registry.clone()).retries(0).build().expect("a client");
    let called = client.call::<Raw, Raw>("echo", "Echo.Call", Raw::default()).await;
    let error = called.expect_err("the node is gone");
    assert_eq!(error.code(), micro::Code::Unavailable, "{error}");
    dies.await.expect("no panic");
    assert_eq!(*registry.suspected.lock().expect("no panic"), ["echo-1"]);
}
