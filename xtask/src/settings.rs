//! The table of settings in the documentation, which is written from that of the core.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use micro::settings::{self, Setting};

use crate::Outcome;

const PAGE: &str = "docs/configuration.md";
const BEGIN: &str = "<!-- Written by `cargo xtask settings` from here … -->\n";
const END: &str = "<!-- … to here. -->\n";

/// Options of `cargo xtask settings`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Compare with the page instead of writing it.
    #[arg(long)]
    check: bool,
}

/// Writes the table into the page, or compares it.
pub(crate) fn run(root: &Path, options: &Options) -> Outcome {
    let path = root.join(PAGE);
    let page = fs::read_to_string(&path)?;
    let written = with_table(&page)?;
    if written == page {
        return Ok(());
    }
    if options.check {
        return Err(format!("{PAGE} is not what the table says: run `cargo xtask settings`").into());
    }
    fs::write(path, written)?;
    Ok(())
}

/// The page with the table of now between its marks.
fn with_table(page: &str) -> Outcome<String> {
    let parts = page
        .split_once(BEGIN)
        .and_then(|(before, rest)| rest.split_once(END).map(|(_, after)| (before, after)));
    let (before, after) = parts.ok_or_else(|| format!("{PAGE} has not the lines\n{BEGIN}{END}"))?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", table()))
}

fn table() -> String {
    let mut text = String::from(
        "| key | flag, and go-micro's | variable, and go-micro's | value | unless set | |\n|---|---|---|---|---|---|\n",
    );
    for setting in settings::all() {
        let key = match setting.key() {
            // Where the document stands is no part of it.
            key @ "settings" => format!("`{key}`, in the program"),
            key => format!("`{key}`"),
        };
        let flags = names(setting.flag(), setting.go_micro_flag());
        let variables = names(setting.variable(), setting.go_micro_variable());
        let Values { takes, default, help } = Values::of(setting);
        let _ = writeln!(text, "| {key} | {flags} | {variables} | {takes} | {default} | {help} |");
    }
    text
}

struct Values {
    takes: String,
    default: String,
    help: String,
}

impl Values {
    fn of(setting: &Setting) -> Self {
        let cell = |text: &str| text.replace('|', "\\|");
        Self {
            takes: cell(&setting.takes()),
            default: cell(setting.default()),
            help: cell(&setting.help().replace('<', "&lt;").replace('*', "`*`")),
        }
    }
}

/// Ours, and go-micro's where it is another one.
fn names(ours: Option<String>, theirs: Option<String>) -> String {
    let code = |name: &String| format!("`{name}`");
    match (ours, theirs) {
        (None, _) => "–".to_owned(),
        // Dashes and underscores are alike.
        (Some(ours), Some(theirs)) if ours.replace('-', "_") != theirs.replace('-', "_") => {
            format!("{}, {}", code(&ours), code(&theirs))
        }
        (Some(ours), _) => code(&ours),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_between_its_marks_and_nothing_else_changes() {
        let page = format!("before\n{BEGIN}old\n{END}after\n");
        let written = with_table(&page).unwrap();
        assert!(
            written.starts_with(&format!("before\n{BEGIN}| key |")) && written.ends_with("after\n")
        );
        assert!(!written.contains("old"));
        let row = "| `address` | `--address`, `--server_address` | `MICRO_SERVER_ADDRESS` | `host:port` | :0 |";
        assert!(written.contains(row), "{written}");
        assert_eq!(with_table(&written).unwrap(), written);
        assert!(with_table("no marks").is_err());
    }
}
