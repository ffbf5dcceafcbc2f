//! The promises of `docs/promises.md`, each of which names the tests that prove it.
//!
//! A promise is a heading, `## 1. What holds`. Under it stands what it comes to, one thing a bullet, each with the tests that show
//! it: `` `path/of/the/file::name_of_the_test` ``. What is not built yet says *planned* instead. Anything else is refused: a
//! promise without a bullet, a bullet without a test, a test that is not there.

use std::path::Path;

use crate::Outcome;

const PAGE: &str = "docs/promises.md";
/// What a bullet without a test has to say.
const PLANNED: &str = "*planned*";

/// A promise, with the bullets under it.
#[derive(Debug, PartialEq, Eq)]
struct Promise {
    heading: String,
    bullets: Vec<String>,
}

pub(crate) fn run(root: &Path) -> Outcome {
    let page = std::fs::read_to_string(root.join(PAGE))?;
    let promises = promises(&page);
    let breaches = breaches(&promises, |path| std::fs::read_to_string(root.join(path)).ok());
    if !breaches.is_empty() {
        return Err(format!("{PAGE}:\n  {}", breaches.join("\n  ")).into());
    }
    let bullets = || promises.iter().flat_map(|promise| &promise.bullets);
    println!(
        "{} promises: {} tests named, {} things planned",
        promises.len(),
        bullets().map(|bullet| tests(bullet).len()).sum::<usize>(),
        bullets().filter(|bullet| tests(bullet).is_empty()).count()
    );
    Ok(())
}

fn promises(page: &str) -> Vec<Promise> {
    let mut promises: Vec<Promise> = Vec::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            promises.push(Promise { heading: heading.to_owned(), bullets: Vec::new() });
        }
        // What stands before the first promise is about all of them.
        let Some(promise) = promises.last_mut() else { continue };
        if let Some(bullet) = line.strip_prefix("- ") {
            promise.bullets.push(bullet.to_owned());
        } else if let (true, Some(bullet)) = (line.starts_with("  "), promise.bullets.last_mut()) {
            bullet.push(' ');
            bullet.push_str(line.trim());
        }
    }
    promises
}

/// The tests that a bullet names, as file and name.
fn tests(bullet: &str) -> Vec<(&str, &str)> {
    // What stands between two backticks is every second part.
    bullet.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")).collect()
}

fn breaches(promises: &[Promise], read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut breaches = Vec::new();
    if promises.is_empty() {
        breaches.push("there is no promise: write `## 1. What holds`".to_owned());
    }
    for (number, promise) in (1..).zip(promises) {
        let heading = &promise.heading;
        if !heading.starts_with(&format!("{number}. ")) {
            breaches.push(format!("`{heading}` is the promise of number {number}"));
        }
        if promise.bullets.is_empty() {
            breaches.push(format!("`{heading}` has no test"));
        }
        for bullet in &promise.bullets {
            let tests = tests(bullet);
            if tests.is_empty() && !bullet.contains(PLANNED) {
                breaches.push(format!("`{heading}`: no test, and not {PLANNED}: {bullet}"));
            }
            for (path, name) in tests {
                match read(path) {
                    None => breaches.push(format!("`{heading}`: there is no file {path}")),
                    Some(source) if !is_test(path, &source, name) => {
                        breaches.push(format!("`{heading}`: {path} has no test {name}"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    breaches
}

/// Whether the file has that test.
fn is_test(path: &str, source: &str, name: &str) -> bool {
    match path.rsplit_once('.').map(|(_, kind)| kind) {
        Some("c") => source.contains(&format!("TEST({name})")),
        Some("py") => source.contains(&format!("def {name}(")),
        // A scenario that every language plays.
        Some("toml") => source.lines().any(|line| line == format!("name = \"{name}\"")),
        Some("rs") => is_rust_test(source, name),
        _ => false,
    }
}

/// A function under an attribute of tests, or a model by its name.
fn is_rust_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_attributed = |at: usize| {
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with(['#', '/']));
        above.into_iter().any(|line| line.starts_with("#[") && line.contains("test"))
    };
    lines.iter().enumerate().any(|(at, line)| {
        line.starts_with(&format!("(\"{name}\","))
            || (line.contains(&format!("fn {name}(")) && is_attributed(at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "
        /// Doc.
        #[tokio::test]
        async fn a_call_ends() {}
        fn helps() {}
    ";

    fn found(page: &str) -> Vec<String> {
        breaches(&promises(page), |path| (path == "a/b.rs").then(|| SOURCE.to_owned()))
    }

    #[test]
    fn a_promise_with_its_test_is_kept() {
        let page = "# Promises\n\n- about all\n\n## 1. Calls end.\n\n- each of them\n  `a/b.rs::a_call_ends`\n- soon: *planned*\n";
        assert_eq!(found(page), Vec::<String>::new());
        assert_eq!(
            promises(page)[0].bullets,
            ["each of them `a/b.rs::a_call_ends`", "soon: *planned*"]
        );
    }

    #[test]
    fn whatever_is_not_proven_is_refused() {
        for (page, why) in [
            ("", "there is no promise"),
            ("## 1. Calls end.\n", "has no test"),
            ("## 2. Calls end.\n- `a/b.rs::a_call_ends`\n", "number 1"),
            ("## 1. Calls end.\n- each of them\n", "no test, and not *planned*"),
            ("## 1. Calls end.\n- `a/b.rs::a_call_begins`\n", "has no test a_call_begins"),
            ("## 1. Calls end.\n- `a/b.rs::helps`\n", "has no test helps"),
            ("## 1. Calls end.\n- `a/c.rs::a_call_ends`\n", "there is no file a/c.rs"),
        ] {
            let found = found(page);
            assert!(found.len() == 1 && found[0].contains(why), "{page}: {found:?}");
        }
    }

    #[test]
    fn tests_of_other_languages_are_found() {
        assert!(is_test("a.c", "TEST(it_ends) {", "it_ends"));
        assert!(is_test("a.py", "async def test_it_ends(fleet):", "test_it_ends"));
        assert!(is_test("a.toml", "[[scenario]]\nname = \"it-ends\"\n", "it-ends"));
        assert!(is_test("a.rs", "(\"it_ends\", it_ends),", "it_ends"));
        assert!(!is_test("a.toml", "name = \"it-ends-not\"", "it-ends"));
        assert!(!is_test("a.txt", "it_ends", "it_ends"));
    }
}
