//! A service that is configured, and follows its configuration.

use std::sync::Arc;

use micro::config::{Config, Memory};
use micro::registry;
use micro::{Client, Code, Context, Json, Service};
use serde_json::json;

async fn hello(context: Context, Json(name): Json<String>) -> micro::Result<Json<String>> {
    let greeting = context.config()?.get("greeting").string()?;
    Ok(Json(format!("{greeting}, {name}!")))
}

#[tokio::test]
async fn handlers_read_the_configuration_that_their_service_was_given_as_it_changes() {
    let source = Memory::new(json!({"greeting": "Hello"})).unwrap();
    let config = Config::builder().source(source.clone()).load().await.unwrap();
    let registry = Arc::new(registry::Memory::new());
    let service = Service::builder("greeter")
        .registry(registry.clone())
        .address("127.0.0.1:0")
        .config(config.clone())
        .endpoint("Greeter.Hello", hello)
        .start()
        .await
        .unwrap();
    let client = Client::builder().registry(registry).config(config.clone()).build().unwrap();
    let call = async || -> String {
        let Json(said) =
            client.call("greeter", "Greeter.Hello", Json("Ada".to_owned())).await.unwrap();
        said
    };
    assert_eq!(call().await, "Hello, Ada!");
    let mut watch = client.config().unwrap().watch("greeting");
    source.update(json!({"greeting": "Good morning"})).unwrap();
    watch.next().await.unwrap();
    assert_eq!(call().await, "Good morning, Ada!");
    let of_service = service.config().unwrap().get("greeting").string().unwrap();
    assert_eq!(of_service, "Good morning");
    assert!(service.handle().config().is_some());
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_service_without_a_configuration_says_so() {
    let registry = Arc::new(registry::Memory::new());
    let service = Service::builder("greeter")
        .registry(registry.clone())
        .address("127.0.0.1:0")
        .endpoint("Greeter.Hello", hello)
        .start()
        .await
        .unwrap();
    let client = Client::builder().registry(registry).build().unwrap();
    let called: micro::Result<Json<String>> =
        client.call("greeter", "Greeter.Hello", Json("Ada".to_owned())).await;
    let error = called.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.detail().contains("give it one by `config` of its builder"), "{error}");
    assert!(service.config().is_none() && client.config().is_none());
    service.stop().await.unwrap();
}
