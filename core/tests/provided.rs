//! A registry of the program's own, chosen by URL as those of this crate are.
#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]

mod support;

use std::process::Command;
use std::sync::Arc;

use micro::registry::{self, Memory, Registry};
use micro::settings::{ClientSettings, ServiceSettings};
use micro::{Client, Code, Raw, Result, Service};
use support::echo;

/// Set for the child of a test that needs an environment of its own.
const CHILD: &str = "MICRO_TEST_CHILD";

#[tokio::test]
async fn a_service_and_a_client_meet_in_a_registry_that_the_program_provides() -> Result<()> {
    let ours = Arc::new(Memory::new());
    let shared = Arc::clone(&ours);
    registry::provide("fleet", move |rest| {
        assert_eq!(rest, "10.0.0.1:2379/shop", "what follows the scheme is the opener's");
        Ok(shared.clone())
    })?;
    let settings = ServiceSettings::from_json(
        r#"{"registry": "fleet://10.0.0.1:2379/shop", "address": "127.0.0.1:0"}"#,
    )?;
    let service = settings.builder("echo")?.handle(echo()).start().await?;
    assert_eq!(ours.get("echo").await?.len(), 1, "it is registered there");
    let settings = ClientSettings::from_json(r#"{"registry": "fleet://10.0.0.1:2379/shop"}"#)?;
    let client = settings.builder()?.build()?;
    let reply: Raw = client.call("echo", "Echo.Call", Raw("over".into())).await?;
    assert_eq!(reply.0, "over");
    service.stop().await
}

#[test]
fn the_environment_chooses_a_registry_that_the_program_provides() {
    let program = std::env::current_exe().expect("this test");
    let child = Command::new(program)
        .args(["--exact", "child_takes_its_registry_from_the_environment", "--nocapture"])
        .envs([(CHILD, "yes"), ("MICRO_REGISTRY", "plain://shop")])
        .output()
        .expect("the child runs");
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("registered at shop"), "{child:?}");
}

#[tokio::test]
async fn child_takes_its_registry_from_the_environment() -> Result<()> {
    if std::env::var_os(CHILD).is_none() {
        return Ok(());
    }
    let open = |name: &str| -> Result<Arc<dyn Registry>> { Ok(Arc::new(Memory::named(name))) };
    registry::provide("plain", open)?;
    let service = Service::builder("echo").address("127.0.0.1:0").handle(echo()).start().await?;
    let reply: Raw =
        Client::builder().build()?.call("echo", "Echo.Call", Raw("over".into())).await?;
    assert_eq!(reply.0, "over");
    Memory::named("shop").get("echo").await?;
    service.stop().await?;
    println!("registered at shop");
    Ok(())
}

#[test]
fn a_taken_scheme_stays_with_its_owner() -> Result<()> {
    let open = |_: &str| -> Result<Arc<dyn Registry>> { Ok(Arc::new(Memory::new())) };
    for taken in ["auto", "local", "mdns", "memory"] {
        let error = registry::provide(taken, open).expect_err("it is ours");
        assert_eq!(error.code(), Code::AlreadyExists);
        assert!(error.detail().contains(taken), "{error}");
    }
    let provided = registry::provide("mine", open)?;
    assert_eq!(registry::provide("mine", open).expect_err("taken").code(), Code::AlreadyExists);
    provided.withdraw();
    registry::provide("mine", open)?;
    assert_eq!(
        registry::provide("M ine", open).expect_err("no scheme").code(),
        Code::InvalidArgument
    );
    let error = registry::connect("mime://x").expect_err("unknown");
    assert!(error.detail().contains("did you mean mine://?"), "{error}");
    Ok(())
}
