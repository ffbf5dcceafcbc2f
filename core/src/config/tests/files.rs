use std::fs;
use std::path::Path as FilePath;

use serde_json::json;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

async fn of(path: &FilePath) -> Config {
    Config::builder().source(File::new(path)).load().await.unwrap()
}

async fn next_int(watch: &mut Watch) -> i64 {
    in_time(watch.next()).await.unwrap().int().unwrap()
}

#[tokio::test]
async fn a_file_that_is_written_in_place_is_read_again() {
    let folder = folder();
    let path = folder.path().join("shop.json");
    fs::write(&path, r#"{"a": 1}"#).unwrap();
    let config = of(&path).await;
    let mut watch = config.watch("a");
    for n in 2..5 {
        fs::write(&path, format!("{{\"a\": {n}}}")).unwrap();
        assert_eq!(next_int(&mut watch).await, n);
    }
}

#[tokio::test]
async fn a_file_that_an_editor_replaces_is_read_again() {
    let folder = folder();
    let path = folder.path().join("shop.json");
    fs::write(&path, r#"{"a": 1}"#).unwrap();
    let config = of(&path).await;
    let mut watch = config.watch("a");
    for n in 2..5 {
        // The old one is put aside, the new one takes its place.
        fs::rename(&path, folder.path().join("shop.json~")).unwrap();
        let new = folder.path().join(".shop.json.swp");
        fs::write(&new, format!("{{\"a\": {n}}}")).unwrap();
        fs::rename(&new, &path).unwrap();
        assert_eq!(next_int(&mut watch).await, n);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_kubernetes_swaps_is_read_again() {
    use std::os::unix::fs::symlink;

    let folder = folder();
    let version = |n: i64| {
        let name = format!("..2026_{n}");
        let data = folder.path().join(&name);
        fs::create_dir(&data).unwrap();
        fs::write(data.join("shop.json"), format!("{{\"a\": {n}}}")).unwrap();
        fs::write(data.join("password"), format!("hunter{n}\n")).unwrap();
        let new = folder.path().join("..data_tmp");
        symlink(&name, &new).unwrap();
        fs::rename(&new, folder.path().join("..data")).unwrap();
        let _ = fs::remove_dir_all(folder.path().join(format!("..2026_{}", n - 1)));
    };
    version(1);
    for name in ["shop.json", "password"] {
        symlink(format!("..data/{name}"), folder.path().join(name)).unwrap();
    }
    let file = of(&folder.path().join("shop.json")).await;
    let whole = of(folder.path()).await;
    assert_eq!(json(&whole), json!({"a": 1, "password": "hunter1"}));
    let (mut one, mut all) = (file.watch("a"), whole.watch("a"));
    for n in 2..5 {
        version(n);
        assert_eq!(next_int(&mut one).await, n);
        assert_eq!(next_int(&mut all).await, n);
        assert_eq!(whole.get("password").string().unwrap(), format!("hunter{n}"));
    }
}

#[tokio::test]
async fn files_of_a_folder_are_merged_by_name() {
    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("10-base.json", r#"{"a": 1, "b": 1}"#);
    write("20-local.json", r#"{"b": 2}"#);
    write(".hidden.json", r#"{"b": 3}"#);
    write("30-old.json~", r#"{"b": 4}"#);
    write("notes.txt", "not read");
    write("token", "abc\n");
    fs::create_dir(folder.path().join("more")).unwrap();
    let config = of(folder.path()).await;
    assert_eq!(json(&config), json!({"a": 1, "b": 2, "token": "abc"}));
    let origin = config.why("b").origin().unwrap().to_string();
    assert!(origin.ends_with("20-local.json:1"), "{origin}");
    let mut watch = config.watch("c");
    write("40-more.json", r#"{"c": 5}"#);
    assert_eq!(next_int(&mut watch).await, 5);
    fs::remove_file(folder.path().join("40-more.json")).unwrap();
    assert!(!in_time(watch.next()).await.unwrap().is_set());
}

#[tokio::test]
async fn a_half_written_file_leaves_the_last_good_values() {
    let folder = folder();
    let path = folder.path().join("shop.json");
    fs::write(&path, "{\n\"a\": 1\n}").unwrap();
    let config = of(&path).await;
    let (mut events, mut watch) = (config.events(), config.watch("a"));
    fs::write(&path, "{\n\"a\": 2,\n").unwrap();
    let event = in_time(events.next()).await.unwrap();
    let Event::Failed { error, .. } = event else { panic!("{event:?}") };
    assert!(error.detail().contains(&format!("{}:", path.display())), "{error}");
    assert_eq!(config.get("a").int().unwrap(), 1);
    fs::write(&path, "{\n\"a\": 2,\n\"b\": 3\n}").unwrap();
    assert_eq!(next_int(&mut watch).await, 2);
}

#[tokio::test]
async fn a_file_that_goes_leaves_the_last_good_values() {
    let folder = folder();
    let path = folder.path().join("shop.json");
    fs::write(&path, r#"{"a": 1}"#).unwrap();
    let config = of(&path).await;
    let (mut events, mut watch) = (config.events(), config.watch("a"));
    fs::remove_file(&path).unwrap();
    let event = in_time(events.next()).await.unwrap();
    let Event::Failed { error, .. } = event else { panic!("{event:?}") };
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.detail().contains("shop.json"), "{error}");
    assert_eq!(config.get("a").int().unwrap(), 1);
    fs::write(&path, r#"{"a": 2}"#).unwrap();
    assert_eq!(next_int(&mut watch).await, 2);
}

#[tokio::test]
async fn an_optional_file_is_taken_over_when_it_comes() {
    let folder = folder();
    let path = folder.path().join("later").join("shop.json");
    let url = format!("file://{}", path.display());
    let config = Config::builder().optional(url.as_str()).load().await.unwrap();
    let mut watch = config.watch("a");
    assert!(!config.get("a").is_set());
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, r#"{"a": 1}"#).unwrap();
    assert_eq!(next_int(&mut watch).await, 1);
}

#[tokio::test]
async fn a_hundred_megabytes_are_refused_and_the_setting_is_named() {
    let folder = folder();
    let path = folder.path().join("shop.json");
    fs::write(&path, r#"{"a": 1}"#).unwrap();
    let config = of(&path).await;
    let mut events = config.events();
    let large = folder.path().join("large");
    fs::File::create(&large).unwrap().set_len(100 << 20).unwrap();
    fs::rename(&large, &path).unwrap();
    let event = in_time(events.next()).await.unwrap();
    let Event::Failed { error, .. } = event else { panic!("{event:?}") };
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.detail().contains("raise `max_bytes`"), "{error}");
    assert_eq!(config.get("a").int().unwrap(), 1);
    let error = Config::builder().optional(File::new(&path)).load().await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn the_format_is_that_of_the_extension_or_what_is_said() {
    let folder = folder();
    let path = folder.path().join("shop.conf");
    fs::write(&path, r#"{"a": 1}"#).unwrap();
    let error = Config::builder().source(File::new(&path)).load().await.unwrap_err();
    assert!(error.detail().contains("rename it, or say its format"), "{error}");
    let source = File::new(&path).format(Format::Json);
    let config = Config::builder().source(source).load().await.unwrap();
    assert_eq!(config.get("a").int().unwrap(), 1);
}

#[cfg(feature = "config-yaml")]
#[tokio::test]
async fn files_of_every_format_are_one_configuration() {
    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("1.json", r#"{"json": 1}"#);
    write("2.yml", "yaml: 2\nhost: ${HOST:-here}\n");
    #[cfg(feature = "config-toml")]
    write("3.toml", "toml = 3\n");
    #[cfg(feature = "config-xml")]
    write("4.xml", "<c><xml>4</xml></c>");
    #[cfg(feature = "config-hcl")]
    write("5.hcl", "hcl = 5\n");
    let config = of(folder.path()).await;
    assert_eq!(config.get("host").string().unwrap(), "here");
    for (name, n) in [("json", 1), ("yaml", 2), ("toml", 3), ("xml", 4), ("hcl", 5)] {
        let is_read = match name {
            "toml" => cfg!(feature = "config-toml"),
            "xml" => cfg!(feature = "config-xml"),
            "hcl" => cfg!(feature = "config-hcl"),
            _ => true,
        };
        assert_eq!(config.get(name).int().ok(), is_read.then_some(n), "{name}");
    }
}
