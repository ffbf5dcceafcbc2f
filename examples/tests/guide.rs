//! What the guide shows beside whole programs.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test says what it expected by failing"
)]

use micro::client::Reply;
use micro::server::Endpoint;
use micro::testing::Fleet;
use micro::{Client, ClientTls, Code, Context, Error, Json, Result, ServerTls, Service};

/// The messages of `shop.proto`.
#[allow(missing_docs, unreachable_pub, reason = "generated")]
mod shop {
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

    include!(concat!(env!("OUT_DIR"), "/shop.rs"));
}

use shop::{Book, FindRequest};

fn books() -> Endpoint {
    Endpoint::unary("Books.Find", |_: Context, request: FindRequest| async move {
        match request.title.as_str() {
            "Emma" => Ok(Book { title: request.title, author: "Jane Austen".into(), pages: 474 }),
            title => Err(Error::not_found(format!("there is no {title}"))),
        }
    })
}

#[tokio::test]
async fn books_are_found() -> Result<()> {
    let fleet = Fleet::new();
    fleet.start(Service::builder("shop").handle(books())).await?;
    let request = FindRequest { title: "Emma".into() };
    let found: Book = fleet.client().call("shop", "Books.Find", request).await?;
    assert_eq!(found.author, "Jane Austen");
    fleet.stop().await
}

#[tokio::test]
async fn protobuf_types_speak_json_too() -> Result<()> {
    let fleet = Fleet::new();
    fleet.start(Service::builder("shop").handle(books())).await?;
    let request = Json(serde_json::json!({ "title": "Emma" }));
    let Json(found): Json<serde_json::Value> =
        fleet.client().call("shop", "Books.Find", request).await?;
    assert_eq!(found["pages"], "474");
    let request = FindRequest { title: "Persuasion".into() };
    let missing: Result<Book> = fleet.client().call("shop", "Books.Find", request).await;
    assert_eq!(missing.unwrap_err().code(), Code::NotFound);
    fleet.stop().await
}

#[tokio::test]
async fn metadata_goes_both_ways() -> Result<()> {
    let fleet = Fleet::new();
    let handler = |context: Context, Json(name): Json<String>| async move {
        let tenant = context.metadata().get("tenant").unwrap_or("nobody").to_owned();
        context.set_header("served-by", "a")?;
        context.set_trailer("cost", "3")?;
        Ok(Json(format!("Hello, {name} of {tenant}!")))
    };
    fleet.start(Service::builder("greeter").endpoint("Greeter.Hello", handler)).await?;
    let client = fleet.client();
    let reply: Reply<Json<String>> = client
        .call("greeter", "Greeter.Hello", Json("Ada".to_owned()))
        .metadata("tenant", "blue")
        .send()
        .await?;
    assert_eq!(reply.message.0, "Hello, Ada of blue!");
    assert_eq!(reply.headers.get("served-by"), Some("a"));
    assert_eq!(reply.trailers.get("cost"), Some("3"));
    fleet.stop().await
}

#[tokio::test]
async fn certificates_are_files_or_texts() -> Result<()> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let fleet = Fleet::new();
    let service = Service::builder("shop").handle(books()).tls(ServerTls::new(&certificate, &key)?);
    fleet.start(service).await?;
    let client = Client::builder().tls(ClientTls::trusting(&certificate)?);
    let client = fleet.client_with(client).build()?;
    let request = FindRequest { title: "Emma".into() };
    let found: Book = client.call("shop", "Books.Find", request).await?;
    assert_eq!(found.pages, 474);
    fleet.stop().await
}
