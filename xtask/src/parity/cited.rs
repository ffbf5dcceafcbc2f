//! Tests by their files and names, and whether the sources have them.

use syn::{Attribute, Item, ItemFn, Meta};

use super::table::Table;

/// Promises that every registry or every broker keeps are written once, in a folder of this name whose `mod.rs` lists them, and each
/// implementation plays them in a module `contract_suite`. The list of those in the file at `path`.
pub(super) fn contract_of(path: &str) -> Option<String> {
    let (folder, _) = path.rsplit_once('/')?;
    folder.ends_with("/contract").then(|| format!("{folder}/mod.rs"))
}

/// The file and the name in `path/of/the/file::name`.
pub(super) fn parts(test: &str) -> Option<(&str, &str)> {
    test.rsplit_once("::")
}

/// What names no test, a line each.
pub(super) fn breaches(table: &Table, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let found = |test: &str| -> Result<(), String> {
        let (path, name) = parts(test).ok_or("write `path/of/the/file::name`")?;
        let source = read(path).ok_or_else(|| format!("there is no file {path}"))?;
        if let Some(list) = contract_of(path) {
            let is_there = read(&list).is_some_and(|list| has_word(&list, name));
            return is_there.then_some(()).ok_or_else(|| format!("{path} has no test {name}"));
        }
        let is_there = match path.rsplit_once('.').map(|(_, kind)| kind) {
            Some("rs") => path_in_file(&source, name).is_some(),
            Some("py") => name.starts_with("test_") && source.contains(&format!("def {name}(")),
            Some("c") => source.contains(&format!("TEST({name})")),
            Some("toml") => source.lines().any(|line| line == format!("name = \"{name}\"")),
            _ => false,
        };
        if is_there { Ok(()) } else { Err(format!("{path} has no test {name}")) }
    };
    table
        .cited()
        .filter_map(|(row, test)| Some(format!("{}: {}", row.id, found(test).err()?)))
        .collect()
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

/// Where in a Rust file a test is that is not ignored: `module::name`, or the name alone.
pub(super) fn path_in_file(source: &str, name: &str) -> Option<String> {
    find(&syn::parse_file(source).ok()?.items, name)
}

fn find(items: &[Item], name: &str) -> Option<String> {
    items.iter().find_map(|item| match item {
        Item::Fn(function) if function.sig.ident == name && is_test(function) => {
            Some(name.to_owned())
        }
        Item::Mod(module) => {
            let (_, inside) = module.content.as_ref()?;
            Some(format!("{}::{}", module.ident, find(inside, name)?))
        }
        // Properties: functions that only their macro can read.
        Item::Macro(item) => {
            let text = item.mac.tokens.to_string();
            text.contains(&format!("# [test] fn {name} ")).then(|| name.to_owned())
        }
        _ => None,
    })
}

/// `#[test]` or `#[tokio::test]`, and no `#[ignore]`.
fn is_test(function: &ItemFn) -> bool {
    let has = |word: &str| function.attrs.iter().any(|attribute| ends_with(attribute, word));
    has("test") && !has("ignore")
}

fn ends_with(attribute: &Attribute, word: &str) -> bool {
    let path = match &attribute.meta {
        Meta::Path(path) => path,
        Meta::List(list) => &list.path,
        Meta::NameValue(pair) => &pair.path,
    };
    path.segments.last().is_some_and(|segment| segment.ident == word)
}
