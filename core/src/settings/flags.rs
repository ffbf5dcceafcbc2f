//! The command line of a program: the flags of every setting, `--help` and `--version`.

use super::foreign::Foreign;
use super::given::{Given, Source};
use super::table::{self, Form, Setting};
use crate::error::{Error, Result};
use crate::spelling::{nearest, quoted};

/// Most arguments of a command line.
const MAX_ARGUMENTS: usize = 10_000;

/// Reads flags: `--name=value` or `--name value`, `-` and `_` alike, one dash or two, go-micro's names among them. What follows
/// `--` is left to the program.
///
/// # Errors
/// `INVALID_ARGUMENT` for a flag that is unknown, misses its value or is for what is not here; `CANCELLED`, with the text to
/// print, for `--help` and `--version`.
pub(super) fn read(
    arguments: impl IntoIterator<Item = String>,
    name: &str,
    version: &str,
) -> Result<Vec<Given>> {
    let mut arguments = arguments.into_iter().take(MAX_ARGUMENTS).peekable();
    let mut given = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            break;
        }
        let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
            return Err(wrong(format!(
                "{} is no flag: write --name=value, and what is for the program itself after --",
                quoted(&argument)
            )));
        };
        let (written, value) = match flag.split_once('=') {
            Some((written, value)) => (written, Some(value.to_owned())),
            None => (flag, None),
        };
        match written {
            "help" | "h" => return Err(Error::cancelled(help(name))),
            "version" | "v" if value.is_none() && arguments.peek().is_none() => {
                return Err(Error::cancelled(format!("{name} {version}")));
            }
            _ => {}
        }
        let shown = format!("--{written}");
        let Some(setting) = find(written) else {
            let Some(foreign) = Foreign::find(written) else { return Err(unknown(written)) };
            let value = value.or_else(|| arguments.next()).unwrap_or_default();
            match foreign.refuses(&value) {
                Some(why) => return Err(wrong(format!("{shown}: {why}"))),
                None => continue,
            }
        };
        let value = match value {
            Some(value) => value,
            None if matches!(setting.form(), Form::Truth) => "true".to_owned(),
            None => match arguments.next_if(|next| !next.starts_with("--")) {
                Some(value) => value,
                None => {
                    return Err(wrong(format!(
                        "{shown} needs a value: write {shown}={}",
                        setting.placeholder()
                    )));
                }
            },
        };
        given.extend(Given::read(setting, &value, &Source::Flag(shown))?);
    }
    Ok(given)
}

fn wrong(why: String) -> Error {
    Error::invalid_argument(why)
}

/// The setting with this flag, or with this one of go-micro.
fn find(written: &str) -> Option<&'static Setting> {
    let wanted = format!("--{}", written.replace('_', "-"));
    let is = |flag: Option<String>| flag.is_some_and(|flag| flag.replace('_', "-") == wanted);
    table::all().find(|setting| is(setting.flag()) || is(setting.go_micro_flag()))
}

fn unknown(written: &str) -> Error {
    let flags: Vec<String> = table::all()
        .flat_map(|setting| [setting.flag(), setting.go_micro_flag()])
        .flatten()
        .map(|flag| flag.trim_start_matches('-').to_owned())
        .chain(["help".to_owned(), "version".to_owned()])
        .collect();
    let hint = match nearest(written, flags.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean --{meant}?"),
        None => {
            "--help shows those there are; write what is for the program itself after --".to_owned()
        }
    };
    wrong(format!("unknown flag {}: {hint}", quoted(&format!("--{written}"))))
}

/// What `--help` prints.
fn help(name: &str) -> String {
    let mut text = format!(
        "Usage: {name} [FLAGS]\n\nA flag comes before its variable, that before the document of --settings, and that before what \
         the program says.\n"
    );
    let mut client = false;
    text.push_str("\nThe service:\n");
    for setting in table::all() {
        let (Some(flag), Some(variable)) = (setting.flag(), setting.variable()) else { continue };
        if !client && setting.key().starts_with("client.") {
            client = true;
            text.push_str("\nIts client:\n");
        }
        let left = match setting.placeholder() {
            "" => flag,
            placeholder => format!("{flag} {placeholder}"),
        };
        let (help, default) = (setting.help(), setting.default());
        text.push_str(&format!("  {left}\n        {help} [{variable}, unless set: {default}]\n"));
    }
    text.push_str(
        "\n  --help\n        Shows this.\n  --version\n        Shows the name and the version.\n",
    );
    text
}
