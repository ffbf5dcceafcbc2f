//! Documents cannot lie: every program they show in Rust, C or Go is an example that the other tests run.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it expected by failing")]

use std::fs;
use std::path::{Path, PathBuf};

const EXAMPLES: [&str; 21] = [
    include_str!("../greeter/service.rs"),
    include_str!("../greeter/client.rs"),
    include_str!("../streaming/service.rs"),
    include_str!("../streaming/client.rs"),
    include_str!("../errors/service.rs"),
    include_str!("../errors/client.rs"),
    include_str!("../moving-from-tonic/before/service.rs"),
    include_str!("../moving-from-tonic/before/client.rs"),
    include_str!("../moving-from-tonic/after/service.rs"),
    include_str!("../moving-from-tonic/after/client.rs"),
    include_str!("guide.rs"),
    include_str!("../build.rs"),
    include_str!("../middleware/middleware.rs"),
    include_str!("../messages/messages.rs"),
    include_str!("../jobs/jobs.rs"),
    include_str!("../locks/locks.rs"),
    include_str!("../store/store.rs"),
    include_str!("../outbox/outbox.rs"),
    include_str!("../tasks/tasks.rs"),
    include_str!("../settings/service.rs"),
    include_str!("../config/config.rs"),
];

const IN_C: [&str; 7] = [
    include_str!("../greeter/service.c"),
    include_str!("../greeter/client.c"),
    include_str!("../streaming/service.c"),
    include_str!("../streaming/client.c"),
    include_str!("../errors/service.c"),
    include_str!("../errors/client.c"),
    include_str!("../middleware/service.c"),
];

const IN_GO: [&str; 12] = [
    include_str!("../greeter/service.go"),
    include_str!("../greeter/client.go"),
    include_str!("../streaming/service.go"),
    include_str!("../streaming/client.go"),
    include_str!("../errors/service.go"),
    include_str!("../errors/client.go"),
    include_str!("../messages/messages.go"),
    include_str!("../jobs/jobs.go"),
    include_str!("../tasks/tasks.go"),
    include_str!("../../bindings/go/docs_test.go"),
    include_str!("../../bindings/go/microgrpc/microgrpc_test.go"),
    include_str!("../../bindings/go/microhttp/microhttp_test.go"),
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

fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    text.split(&begin).skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect()
}

#[test]
fn code_in_documents_is_in_an_example() {
    for page in documents() {
        let text = fs::read_to_string(&page).expect("a document");
        for (language, examples) in [("rust", &EXAMPLES[..]), ("c", &IN_C), ("go", &IN_GO)] {
            for block in blocks(&text, language) {
                let shown = examples.iter().any(|example| example.contains(block));
                assert!(shown, "{} shows code that is in no example:\n{block}", page.display());
            }
        }
    }
}

#[test]
fn the_page_on_c_shows_the_greeter_whole() {
    let page = fs::read_to_string(root().join("docs/c.md")).expect("the page on C");
    assert_eq!(blocks(&page, "c")[..2], IN_C[..2]);
}

#[test]
fn the_readme_shows_the_greeter_whole() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    assert_eq!(blocks(&readme, "rust")[..2], EXAMPLES[..2]);
}

/// Lines that one text has and the other has not, in order.
fn changed(before: &str, after: &str) -> usize {
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    // Lengths of what the rests from each line on have in common.
    let mut common = vec![vec![0; after.len() + 1]; before.len() + 1];
    for (i, old) in before.iter().enumerate().rev() {
        for (j, new) in after.iter().enumerate().rev() {
            common[i][j] = match old == new {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    before.len() + after.len() - 2 * common[0][0]
}

#[test]
fn a_greeter_moves_from_tonic_by_ten_lines() {
    let [before, after] = [EXAMPLES[6..8].concat(), EXAMPLES[8..10].concat()];
    assert_eq!(changed(&before, &after), 10);
    let page = fs::read_to_string(root().join("docs/moving-from-tonic.md")).expect("the page");
    // What is shown of each program is its end; the beginnings are alike.
    for (example, shown) in EXAMPLES[6..10].iter().zip(blocks(&page, "rust")) {
        assert!(example.contains(shown) && shown.contains("async fn main"), "{shown}");
    }
    for (before, after) in EXAMPLES[6..8].iter().zip(&EXAMPLES[8..10]) {
        let beginning = |text: &'static str| text.split("#[tokio::main]").next();
        assert_eq!(beginning(before), beginning(after));
    }
}

#[test]
fn links_in_documents_lead_somewhere() {
    for page in documents() {
        let text = fs::read_to_string(&page).expect("a document");
        // Code has brackets of its own.
        let text: String = text.split("```").step_by(2).collect();
        let links = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let file = link.split('#').next().unwrap_or_default();
            let target = page.with_file_name(file);
            assert!(target.exists(), "{} links to {link}", page.display());
        }
    }
}

#[test]
fn the_page_on_go_shows_the_greeter_whole() {
    let page = fs::read_to_string(root().join("docs/go.md")).expect("the page on Go");
    assert_eq!(blocks(&page, "go")[..2], IN_GO[..2]);
}
