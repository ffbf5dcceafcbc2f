//! Certificates and authorities that change while services run.

use std::path::Path;

use micro::settings::{ClientSettings, ServiceSettings};
use micro::{ClientTls, Error, Pem, Result, ServerTls};
use serde_json::json;

use super::support::{call, echo, memory, service};
use super::{Authority, Pair, nothing, with};

fn put(folder: &Path, pair: &Pair) {
    std::fs::write(folder.join("tls.crt"), &pair.certificate).expect("written");
    std::fs::write(folder.join("tls.key"), &pair.key).expect("written");
}

#[tokio::test]
async fn renewed_certificates_are_shown_to_the_next_connection_and_no_call_is_dropped() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let (old, new) = (Authority::new(), Authority::new());
    put(folder.path(), &old.sign(&["127.0.0.1"], nothing));
    let file = |name: &str| Pem::file(folder.path().join(name));
    let registry = memory();
    let tls = ServerTls::new(file("tls.crt"), file("tls.key"))?;
    let running = service(&registry, "echo").tls(tls).handle(echo()).start().await?;
    let trusting = |authority: &Authority| {
        Ok::<_, Error>(with(&registry, ClientTls::trusting(&authority.certificate)?))
    };
    let before = trusting(&old)?;
    call(&before, "echo").await?;
    put(folder.path(), &new.sign(&["127.0.0.1"], nothing));
    call(&trusting(&new)?, "echo").await?;
    call(&before, "echo").await?;
    assert!(call(&trusting(&old)?, "echo").await.is_err(), "the old one is shown no more");
    // What cannot be used leaves what is in force.
    std::fs::write(folder.path().join("tls.crt"), "half a certifi")?;
    call(&trusting(&new)?, "echo").await?;
    std::fs::remove_file(folder.path().join("tls.key"))?;
    call(&trusting(&new)?, "echo").await?;
    put(folder.path(), &old.sign(&["127.0.0.1"], nothing));
    call(&trusting(&old)?, "echo").await?;
    running.stop().await
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_is_swapped_by_a_link_is_noticed() -> Result<()> {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir()?;
    let (old, new) = (Authority::new(), Authority::new());
    let at = |name: &str| folder.path().join(name);
    for (name, authority) in [("1", &old), ("2", &new)] {
        std::fs::create_dir(at(name))?;
        put(&at(name), &authority.sign(&["127.0.0.1"], nothing));
    }
    symlink("1", at("..data"))?;
    symlink("..data/tls.crt", at("tls.crt"))?;
    symlink("..data/tls.key", at("tls.key"))?;
    let settings = json!({
        "address": "127.0.0.1:0",
        "tls": { "certificate": { "file": at("tls.crt") }, "private_key": { "file": at("tls.key") } },
    });
    let registry = memory();
    let running = ServiceSettings::from_json(&settings.to_string())?
        .builder("echo")?
        .registry(registry.clone())
        .handle_signals(false)
        .handle(echo())
        .start()
        .await?;
    call(&with(&registry, ClientTls::trusting(&old.certificate)?), "echo").await?;
    symlink("2", at("..next"))?;
    std::fs::rename(at("..next"), at("..data"))?;
    call(&with(&registry, ClientTls::trusting(&new.certificate)?), "echo").await?;
    running.stop().await
}

#[tokio::test]
async fn a_client_follows_its_authorities_and_its_own_certificate() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (old, new) = (Authority::new(), Authority::new());
    let bundle = folder.path().join("ca.crt");
    std::fs::write(&bundle, &old.certificate)?;
    put(folder.path(), &old.sign(&["client"], nothing));
    let settings = json!({ "tls": {
        "authority": { "file": bundle },
        "certificate": { "file": folder.path().join("tls.crt") },
        "private_key": { "file": folder.path().join("tls.key") },
        "server_name": "echo.internal",
        "policy": "required",
    }, "retries": 0 });
    let registry = memory();
    let client = ClientSettings::from_json(&settings.to_string())?
        .builder()?
        .registry(registry.clone())
        .build()?;
    for (authority, other) in [(&old, &new), (&new, &old)] {
        let pair = authority.sign(&["echo.internal"], nothing);
        let tls = ServerTls::mutual(&pair.certificate, &pair.key, &authority.certificate)?;
        let running = service(&registry, "echo").tls(tls).handle(echo()).start().await?;
        client.cache().resolve("echo").await?;
        call(&client, "echo").await?;
        running.stop().await?;
        std::fs::write(&bundle, &other.certificate)?;
        put(folder.path(), &other.sign(&["client"], nothing));
    }
    Ok(())
}
