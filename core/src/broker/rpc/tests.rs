use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::broker::connect;
use crate::broker::contract::Subject;
use crate::error::Code;
use crate::service::{Service, ServiceBuilder};

fn service(registry: &Arc<dyn Registry>, broker: &Arc<dyn Broker>) -> ServiceBuilder {
    let service = Service::builder(SERVICE)
        .address("127.0.0.1:0")
        .registry(registry.clone())
        .broker(broker.clone())
        .grace(Duration::ZERO)
        .propagation(Duration::ZERO);
    endpoints(broker.clone())
        .into_iter()
        .fold(service, |service, endpoint| service.handle(endpoint))
}

fn client(registry: &Arc<dyn Registry>) -> Arc<dyn Broker> {
    let broker = connect("service://").unwrap();
    broker.meet(registry);
    broker
}

fn registry() -> Arc<dyn Registry> {
    Arc::new(registry::Memory::new())
}

fn contract(broker: Arc<dyn Broker>) -> Subject {
    let registry = registry();
    let (publisher, subscriber) = (client(&registry), client(&registry));
    let starting = service(&registry, &broker);
    let serving = tokio::spawn(async move {
        let _service = starting.start().await.unwrap();
        std::future::pending::<()>().await;
    });
    let mut subject = Subject::new(Memory::new(), Memory::new());
    (subject.publisher, subject.subscriber) = (publisher, subscriber);
    subject.repeats_headers = false;
    subject.keeping(AbortOnDropHandle::new(serving))
}

crate::broker_contract!(|| contract(Arc::new(Memory::new())));

/// A broker that counts what is settled.
#[derive(Debug)]
struct Counting(Memory, Arc<AtomicUsize>);

#[async_trait]
impl Broker for Counting {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }

    async fn publish(&self, message: Message) -> Result<()> {
        self.0.publish(message).await?;
        self.1.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Box<dyn Deliveries>> {
        self.0.subscribe(subscription).await
    }
}

#[tokio::test]
async fn a_message_is_acknowledged_once_it_is_on_its_way() {
    let (registry, handled) = (registry(), Arc::new(AtomicUsize::new(0)));
    let broker: Arc<dyn Broker> = Arc::new(Counting(Memory::new(), handled.clone()));
    let serving = service(&registry, &broker).start().await.unwrap();
    let rpc = client(&registry);
    let mut taken = rpc.subscribe(Subscription::new("orders")).await.unwrap();
    // A broker in memory has its publisher wait for those who take the message.
    for number in 1..=3 {
        rpc.publish(Message::new("orders", number.to_string())).await.unwrap();
        assert_eq!(handled.load(Ordering::Relaxed), number);
    }
    for number in 1..=3 {
        let delivery = taken.next().await.unwrap().unwrap();
        assert_eq!(delivery.delivered.message.body, number.to_string());
    }
    serving.stop().await.unwrap();
    assert_eq!(taken.next().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn what_the_broker_behind_it_refuses_is_refused_with_its_words() {
    let registry = registry();
    let error = client(&registry).publish(Message::new("orders", "")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    // One whose own subscribers are to be found in a registry that it was not given.
    let broker: Arc<dyn Broker> = Arc::new(crate::broker::Http::new());
    let serving = Service::builder(SERVICE).address("127.0.0.1:0").registry(registry.clone());
    let serving = serving.broker(Arc::new(Memory::new())).propagation(Duration::ZERO);
    let serving = endpoints(broker).into_iter().fold(serving, |all, one| all.handle(one));
    let serving = serving.start().await.unwrap();
    // One that has not looked for the service before it was there.
    let rpc = client(&registry);
    for failed in [
        rpc.publish(Message::new("orders", "")).await.unwrap_err(),
        rpc.subscribe(Subscription::new("orders")).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(failed.code(), Code::FailedPrecondition, "{failed}");
        assert!(failed.detail().contains("the http broker has no registry"), "{failed}");
    }
    serving.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_too_large_to_be_told_is_a_dead_letter_and_harms_no_other() {
    let (folder, registry) = (tempfile::tempdir().unwrap(), registry());
    let broker: Arc<dyn Broker> = Arc::new(crate::broker::Durable::new(folder.path()));
    let serving = service(&registry, &broker).start().await.unwrap();
    let rpc = client(&registry);
    let mut subscription = Subscription::new("orders");
    subscription.queue = Some("billing".into());
    let mut taken = rpc.subscribe(subscription).await.unwrap();
    let mut dead = broker.subscribe(Subscription::new("orders.dead")).await.unwrap();
    broker.publish(Message::new("orders", vec![0; MESSAGE])).await.unwrap();
    broker.publish(Message::new("orders", "small")).await.unwrap();
    assert_eq!(taken.next().await.unwrap().unwrap().delivered.message.body, "small");
    let letter = dead.next().await.unwrap().unwrap().delivered.message;
    let reason = letter.headers.get("micro-dead-reason").unwrap();
    assert!(reason.contains("4194304 at most"), "{reason}");
    serving.stop().await.unwrap();
}

const MESSAGE: usize = wire::MESSAGE_BYTES;

#[tokio::test]
async fn one_at_an_address_needs_no_registry_and_one_with_a_name_says_so_without() {
    let broker: Arc<dyn Broker> = Arc::new(Memory::new());
    let serving = service(&registry(), &broker).start().await.unwrap();
    let rpc = connect(&format!("service://{}", serving.node().address)).unwrap();
    let mut taken = rpc.subscribe(Subscription::new("orders")).await.unwrap();
    rpc.publish(Message::new("orders", "7")).await.unwrap();
    assert_eq!(taken.next().await.unwrap().unwrap().delivered.message.body, "7");
    serving.stop().await.unwrap();
    let lonely = connect("service://messages").unwrap();
    let error = lonely.publish(Message::new("orders", "7")).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.detail().starts_with("service://messages is found in a registry"), "{error}");
    for wrong in ["service://a/b", "service://a b", "service://u@h"] {
        assert_eq!(connect(wrong).unwrap_err().code(), Code::InvalidArgument, "{wrong}");
    }
}
