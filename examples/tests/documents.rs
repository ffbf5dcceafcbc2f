//! Documents cannot lie: every Rust program they show is an example that the other tests run.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

use std::fs;
use std::path::{Path, PathBuf};

const EXAMPLES: [&str; 6] = [
    include_str!("../greeter/service.rs"),
    include_str!("../greeter/client.rs"),
    include_str!("../streaming/service.rs"),
    include_str!("../streaming/client.rs"),
    include_str!("../errors/service.rs"),
    include_str!("../errors/client.rs"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// README and every page of `docs`.
fn documents() -> Vec<PathBuf> {
    let pages = fs::read_dir(root().join("docs")).expect("docs");
    let pages = pages.map(|page| page.expect("a page").path());
    let pages = pages.filter(|page| page.extension().is_some_and(|kind| kind == "md"));
    pages.chain(["README.md", "CONTRIBUTING.md"].map(|name| root().join(name))).collect()
}

fn rust_blocks(text: &str) -> impl Iterator<Item = &str> {
    text.split("```rust\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0))
}

#[test]
fn rust_in_documents_is_an_example() {
    for page in documents() {
        let text = fs::read_to_string(&page).expect("a document");
        for block in rust_blocks(&text) {
            let shown = EXAMPLES.iter().any(|example| example.contains(block));
            assert!(shown, "{} shows code that is in no example:\n{block}", page.display());
        }
    }
}

#[test]
fn the_readme_shows_the_greeter_whole() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let shown: Vec<&str> = rust_blocks(&readme).collect();
    assert_eq!(shown[..2], EXAMPLES[..2]);
}

#[test]
fn links_in_documents_lead_somewhere() {
    for page in documents() {
        let text = fs::read_to_string(&page).expect("a document");
        let links = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let file = link.split('#').next().unwrap_or_default();
            let target = page.with_file_name(file);
            assert!(target.exists(), "{} links to {link}", page.display());
        }
    }
}
