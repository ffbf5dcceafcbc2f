//! A durable broker that a service serves to other machines.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::registry::{self, Registry};
use crate::service::Service;

fn service(registry: &Arc<dyn Registry>, served: &Durable) -> crate::service::ServiceBuilder {
    let service = Service::builder("shop-data")
        .address("127.0.0.1:0")
        .registry(registry.clone())
        .propagation(Duration::ZERO);
    served.endpoints().into_iter().fold(service, |service, endpoint| service.handle(endpoint))
}

fn named(registry: &Arc<dyn Registry>) -> Durable {
    let broker = Durable::connect("durable://shop-data").unwrap();
    broker.meet(registry);
    broker
}

/// Between two processes that reach it by its name.
mod by_name {
    use super::*;

    crate::broker_contract!(|| {
        let folder = tempfile::tempdir().unwrap();
        let registry: Arc<dyn Registry> = Arc::new(registry::Memory::new());
        let served = Durable::new(folder.path());
        let starting = service(&registry, &served);
        // Whoever publishes or subscribes meanwhile waits for it.
        let serving = tokio::spawn(async move {
            let _service = starting.start().await.unwrap();
            std::future::pending::<()>().await;
        });
        let serving = AbortOnDropHandle::new(serving);
        Subject::new(named(&registry), named(&registry)).keeping((folder, serving))
    });
}

#[tokio::test]
async fn a_broker_with_a_name_is_found_again_where_it_has_moved() {
    let (_folder, first, second) = pair();
    let registry: Arc<dyn Registry> = Arc::new(registry::Memory::new());
    let (publisher, consumer) = (named(&registry), named(&registry));
    let one = service(&registry, &first).start().await.unwrap();
    publish(&publisher, "orders", "1").await;
    let mut taken = consumer.subscribe(queue("orders", "billing")).await.unwrap();
    assert_eq!(take(&mut taken).await, "1");
    let topic = publisher.admin().topic("orders").await.unwrap();
    assert_eq!((topic.messages, topic.queues[0].consumers), (1, 1));
    one.stop().await.unwrap();
    first.close().await.unwrap();
    assert_eq!(taken.next().await.unwrap_err().code(), Code::Unavailable);
    // Published while it is nowhere: that waits until it is somewhere.
    let publishing = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.publish(Message::new("orders", "2")).await }
    });
    let two = service(&registry, &second).start().await.unwrap();
    timeout(SOON, publishing).await.unwrap().unwrap().unwrap();
    let mut taken = consumer.subscribe(queue("orders", "billing")).await.unwrap();
    assert_eq!(take(&mut taken).await, "2");
    two.stop().await.unwrap();
}

#[tokio::test]
async fn a_broker_with_a_name_says_what_it_misses() {
    let nowhere = Durable::connect("durable://shop-data").unwrap();
    let error = nowhere.publish(Message::new("orders", "1")).await.unwrap_err();
    assert!(error.detail().contains("let it meet one"), "{error}");
    let registry: Arc<dyn Registry> = Arc::new(registry::Memory::new());
    let error = named(&registry).publish(Message::new("orders", "1")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.detail().contains("shop-data"), "{error}");
    assert_eq!(named(&registry).own().await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_folder_is_owned_by_one_and_another_is_told_by_which() {
    let (_folder, first, second) = pair();
    first.own().await.unwrap();
    first.own().await.unwrap();
    let refused = second.own().await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let says = format!("is already open by process {} since 20", std::process::id());
    assert!(refused.detail().contains(&says), "{refused}");
}
