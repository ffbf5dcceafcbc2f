//! `docs/matrix.md`: what every language has, for people who choose one.

use std::fmt::Write as _;

use super::list::{List, Spelling};
use super::operation::Operation;

/// The page.
pub(super) fn render(list: &List, operations: &[Operation], planned: &[&str]) -> String {
    let mut page = String::from(
        "# What every language has\n\n\
         <!-- Written by `cargo xtask surface` from ffi/bridge; not by hand. -->\n\n\
         Every operation of the bridge under all bindings, what it tells (events of a queue), and how each language spells \
         it. A number says why a language has no name for it: notes are at the end.\n",
    );
    let mut notes: Vec<&str> = Vec::new();
    let mut object = "";
    for operation in operations {
        if operation.object != object {
            object = &operation.object;
            head(&mut page, object, list);
        }
        let events: Vec<String> =
            operation.events.iter().map(|event| format!("`{event}`")).collect();
        let _ = write!(page, "| {} | {} | {} |", operation.does, events.join(" "), operation.since);
        for language in &list.languages {
            let cell = cell(operation, &language.key, planned, &mut notes);
            let _ = write!(page, " {cell} |");
        }
        page.push('\n');
    }
    if !notes.is_empty() {
        page += "\n## Notes\n\n";
    }
    for (number, note) in notes.iter().enumerate() {
        let _ = writeln!(page, "{}. {note}", number + 1);
    }
    page
}

fn head(page: &mut String, object: &str, list: &List) {
    let titles: Vec<&str> = list.languages.iter().map(|language| language.title.as_str()).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(page, "\n## {object}\n\n| what | events | since | {} |", titles.join(" | "));
    let _ = writeln!(page, "|---|---|---|{}", "---|".repeat(titles.len()));
}

/// How a language spells an operation, or the number of the note that says why it does not.
fn cell<'a>(
    operation: &'a Operation,
    language: &str,
    planned: &[&str],
    notes: &mut Vec<&'a str>,
) -> String {
    match operation.spelled.get(language) {
        _ if planned.contains(&language) => "planned".to_owned(),
        Some(Spelling::Missing { none }) => {
            let number = notes.iter().position(|note| note == none).unwrap_or_else(|| {
                notes.push(none);
                notes.len() - 1
            });
            format!("– ({})", number + 1)
        }
        Some(spelling) => {
            let names: Vec<String> =
                spelling.names().iter().map(|name| format!("`{name}`")).collect();
            names.join(", ")
        }
        None => String::new(),
    }
}
