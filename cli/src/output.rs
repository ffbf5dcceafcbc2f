//! The only place that prints: results to stdout, messages to stderr, colours to terminals.
//!
//! Names, labels and replies come from the network. Control characters in them are written as
//! escapes, so that no service can steer the terminal of the user who looks at it.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Stdout, Write as _};

use serde::Serialize;
use serde_json::json;

use crate::failure::Failure;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: JSON, one value to a line.
    Json,
}

/// What a text says of itself by its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Heading,
    Good,
    Bad,
}

impl Tone {
    fn paint(self, text: &str, colour: bool) -> Cow<'_, str> {
        let code = match self {
            Self::Heading => "1",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Plain => return text.into(),
        };
        if colour { format!("\x1b[{code}m{text}\x1b[0m").into() } else { text.into() }
    }
}

/// Where a command puts what it has to say.
pub(crate) struct Output {
    format: Format,
    stdout: Stdout,
    colour: bool,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        let stdout = io::stdout();
        Self { format, colour: allows_colour(&stdout), stdout }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Prints a line of the result.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.toned(Tone::Plain, text)
    }

    /// Prints a line of the result in a tone.
    pub(crate) fn toned(&mut self, tone: Tone, text: &str) -> io::Result<()> {
        writeln!(self.stdout, "{}", tone.paint(&printable(text), self.colour))
    }

    /// Prints a result for programs.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        self.line(&text)
    }

    /// Prints rows under headings, each column as wide as its widest cell.
    pub(crate) fn table<const N: usize>(
        &mut self,
        headings: [&str; N],
        rows: impl IntoIterator<Item = [(String, Tone); N]>,
    ) -> io::Result<()> {
        let headings = headings.map(|heading| (heading.to_owned(), Tone::Heading));
        let clean = |row: [(String, Tone); N]| {
            row.map(|(text, tone)| (printable(&text).replace('\n', " "), tone))
        };
        let rows: Vec<_> = std::iter::once(headings).chain(rows).map(clean).collect();
        let mut widths = [0; N];
        for row in &rows {
            for (width, (text, _)) in widths.iter_mut().zip(row) {
                *width = text.chars().count().max(*width);
            }
        }
        for row in &rows {
            let end = row.iter().rposition(|(text, _)| !text.is_empty()).map_or(0, |last| last + 1);
            let mut line = String::new();
            for (index, (text, tone)) in row[..end].iter().enumerate() {
                line.push_str(&tone.paint(text, self.colour));
                if index + 1 < end {
                    let gap = widths[index] - text.chars().count() + 2;
                    line.push_str(&" ".repeat(gap));
                }
            }
            writeln!(self.stdout, "{line}")?;
        }
        Ok(())
    }

    /// Tells the user something that is no result.
    pub(crate) fn message(&mut self, text: &str) {
        // Without a reader of messages there is nowhere to tell of it.
        let _ = writeln!(io::stderr(), "{}", printable(text));
    }

    /// Asks the user something; the answer is typed on the same line.
    pub(crate) fn prompt(&mut self, text: &str) {
        let mut stderr = io::stderr();
        let _ = write!(stderr, "{}", printable(text)).and_then(|()| stderr.flush());
    }

    /// Tells the user why the command failed: in words, or for programs as an object in one line, `{"error": {…}}`.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        if failure.is_silent() {
            return;
        }
        if self.format == Format::Json {
            let _ = writeln!(io::stderr(), "{}", json!({ "error": failure.json() }));
        } else {
            let colour = allows_colour(&io::stderr());
            let text = failure.to_string();
            let label = Tone::Bad.paint("error:", colour);
            let _ = writeln!(io::stderr(), "{label} {}", printable(&text));
        }
    }
}

/// Whether a stream is a terminal that shows colours, and its user wants them
/// (<https://no-color.org>).
pub(crate) fn allows_colour(stream: &impl IsTerminal) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    stream.is_terminal() && !set("NO_COLOR") && !dumb
}

/// `text` with control characters escaped the way JSON does it; lines stay lines.
fn printable(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n';
    if !text.contains(steers) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if steers(character) {
            out.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            out.push(character);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_steers_the_terminal() {
        assert_eq!(printable("a\x1b[2J\u{9b}b\nc"), "a\\u001b[2J\\u009bb\nc");
        assert!(matches!(printable("plain – text"), Cow::Borrowed(_)));
    }

    #[test]
    fn colour_is_only_for_those_who_see_it() {
        assert_eq!(Tone::Good.paint("ok", false), "ok");
        assert_eq!(Tone::Good.paint("ok", true), "\x1b[32mok\x1b[0m");
        assert_eq!(Tone::Plain.paint("ok", true), "ok");
    }
}
