//! Endpoints by their full names, as gRPC has them, beside go-micro's short ones.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod support;

use micro::server::{Endpoint, Server};
use micro::{Client, Code, Context, Raw, Result};
use support::{client, memory, service};

fn told(name: &'static str) -> Endpoint {
    Endpoint::unary(name, move |context: Context, _: Raw| async move {
        Ok(Raw::from(format!("{name} as {}", context.endpoint())))
    })
}

async fn call(client: &Client, endpoint: &str) -> Result<String> {
    let call = client.call::<_, Raw>("shop", endpoint, Raw::default());
    let Raw(reply) = call.await?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

#[tokio::test]
async fn a_package_is_called_by_its_full_name_and_in_short_while_it_is_alone() -> Result<()> {
    let registry = memory();
    let running = service(&registry, "shop").handle(told("shop.v1.Cart.Add")).start().await?;
    let client = client(&registry);
    for endpoint in ["Cart.Add", "shop.v1.Cart.Add", "/shop.v1.Cart/Add"] {
        assert_eq!(call(&client, endpoint).await?, "shop.v1.Cart.Add as Cart.Add", "{endpoint}");
    }
    running.stop().await
}

#[tokio::test]
async fn two_versions_of_a_package_are_served_side_by_side() -> Result<()> {
    let registry = memory();
    let running = service(&registry, "shop")
        .handle(told("shop.v1.Cart.Add"))
        .handle(told("shop.v2.Cart.Add"))
        .start()
        .await?;
    let client = client(&registry);
    for name in ["shop.v1.Cart.Add", "shop.v2.Cart.Add"] {
        assert_eq!(call(&client, name).await?, format!("{name} as {name}"));
    }
    let short = call(&client, "Cart.Add").await.expect_err("which one?");
    assert_eq!(short.code(), Code::Unimplemented);
    assert!(short.detail().contains("/shop.v2.Cart/Add"), "{short}");
    running.stop().await
}

#[tokio::test]
async fn health_is_known_by_full_names() -> Result<()> {
    let server = Server::builder("shop")
        .address("127.0.0.1:0")
        .handle(told("shop.v1.Cart.Add"))
        .handle(told("Till.Open"))
        .start()
        .await?;
    for name in ["", "shop", "shop.v1.Cart", "shop.Till"] {
        assert_eq!(server.health().is_serving(name), Some(true), "{name}");
    }
    assert_eq!(server.health().is_serving("shop.v2.Cart"), None);
    server.unready();
    assert_eq!(server.health().is_serving("shop.v1.Cart"), Some(false));
    server.stop().await;
    Ok(())
}
