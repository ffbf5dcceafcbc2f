//! Where the greeter is served, by us and by tonic, and how it is called.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use micro::registry::{Memory, Node, Registry as _, Service as Record};
use micro::service::ServiceBuilder;
use micro::{Client, Service};
use micro_tests::hall::DESCRIPTORS;
use micro_tests::hall::greeter_client::GreeterClient;
use micro_tests::hall::greeter_server::GreeterServer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::transport::server::TcpIncoming;
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceExt as _};

use crate::greeter::Host;

/// Longest wait for what is to happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A channel of either kind.
pub(crate) type Way = BoxCloneService<http::Request<Body>, http::Response<Body>, Status>;

pub(crate) fn memory() -> Arc<Memory> {
    Arc::new(Memory::new())
}

pub(crate) fn client(registry: &Arc<Memory>) -> Client {
    Client::builder().registry(registry.clone()).build().expect("a client")
}

/// A service on loopback in that registry, with no wait for propagation.
pub(crate) fn service(registry: &Arc<Memory>) -> ServiceBuilder {
    Service::builder("hall")
        .address("127.0.0.1:0")
        .registry(registry.clone())
        .propagation(Duration::ZERO)
        .handle_signals(false)
}

/// What tonic generates, with compression as its users switch it on.
pub(crate) fn generated(host: Host) -> GreeterServer<Host> {
    GreeterServer::new(host).accept_compressed(Gzip).send_compressed(Gzip)
}

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// Our server, which is told no more than the service.
    Ours,
    /// Our server with the descriptors.
    Described,
    /// tonic's own.
    Tonic,
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    Ours,
    Tonic,
}

/// Every pair but that of tonic's own two.
pub(crate) const PAIRS: [(Server, Channel); 5] = [
    (Server::Ours, Channel::Tonic),
    (Server::Described, Channel::Tonic),
    (Server::Tonic, Channel::Ours),
    (Server::Ours, Channel::Ours),
    (Server::Described, Channel::Ours),
];

/// A greeter that is served until this is dropped.
pub(crate) struct Hall {
    pub(crate) registry: Arc<Memory>,
    pub(crate) host: Host,
    pub(crate) address: SocketAddr,
    pub(crate) service: Option<Service>,
    tonic: Option<JoinHandle<()>>,
}

impl Drop for Hall {
    fn drop(&mut self) {
        if let Some(tonic) = &self.tonic {
            tonic.abort();
        }
    }
}

impl Hall {
    pub(crate) async fn open(server: Server) -> Self {
        Self::node(server, &memory(), "one").await
    }

    /// A node of its name in `registry`.
    pub(crate) async fn node(server: Server, registry: &Arc<Memory>, name: &str) -> Self {
        let host = Host::called(name);
        let registry = registry.clone();
        let builder = service(&registry).id(name).metadata("node", name);
        let builder = match server {
            Server::Tonic => {
                let (address, tonic) = tonic_server(host.clone()).await;
                let mut record = Record::new("hall", "latest");
                record.nodes.push(Node {
                    id: format!("hall-{name}"),
                    address: address.to_string(),
                    metadata: [("protocol".to_owned(), "grpc".to_owned())].into(),
                });
                registry.register(&record, None).await.expect("registered");
                return Self { registry, host, address, service: None, tonic: Some(tonic) };
            }
            Server::Ours => builder.tonic(generated(host.clone())),
            Server::Described => builder.descriptors(DESCRIPTORS).tonic(generated(host.clone())),
        };
        let service = builder.start().await.expect("the service starts");
        let address = service.address();
        Self { registry, host, address, service: Some(service), tonic: None }
    }

    /// A generated client.
    pub(crate) async fn client(&self, channel: Channel) -> GreeterClient<Way> {
        GreeterClient::new(self.way(channel).await)
    }

    pub(crate) async fn way(&self, channel: Channel) -> Way {
        match channel {
            Channel::Ours => boxed(client(&self.registry).channel("hall")),
            Channel::Tonic => {
                let address = format!("http://{}", self.address);
                let endpoint = tonic::transport::Endpoint::new(address).expect("an address");
                boxed(endpoint.connect().await.expect("a connection"))
            }
        }
    }
}

/// The same type for either channel.
fn boxed<S, B>(channel: S) -> Way
where
    S: tower::Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: tonic::codegen::Body<Data = prost::bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let channel = channel.map_response(|response: http::Response<B>| response.map(Body::new));
    BoxCloneService::new(channel.map_err(|error| Status::from_error(error.into())))
}

async fn tonic_server(host: Host) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = tonic::transport::Server::builder()
        .add_service(generated(host))
        .serve_with_incoming(TcpIncoming::from(listener));
    (address, tokio::spawn(async move { serving.await.expect("it serves") }))
}

/// What has to happen soon.
pub(crate) async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    timeout(PATIENCE, happens).await.unwrap_or_else(|_| panic!("{what}: not in {PATIENCE:?}"))
}
