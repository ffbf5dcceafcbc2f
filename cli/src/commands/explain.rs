//! `micro explain config`: which setting of a service comes from where.

use std::path::PathBuf;

use clap::Subcommand;
use micro::settings::Source;
use micro::{Code, Service};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Format, Output, Tone};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Show the settings that a service would start with here, and what set each: a flag, a variable of this environment, the
    /// document, or nothing.
    Config(Config),
}

#[derive(clap::Args)]
#[command(
    after_help = "micro explain config --settings service.json -- --address=:8080 --client-timeout=2s"
)]
struct Config {
    /// Document of settings to read, as MICRO_SETTINGS and --settings of a service name it.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Show the settings that nothing sets, too.
    #[arg(long)]
    all: bool,
    /// Flags of the service.
    #[arg(last = true, value_name = "FLAGS")]
    flags: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    setting: String,
    value: String,
    kind: &'static str,
    source: String,
}

/// # Errors
/// For a flag, a variable or a document that is wrong.
pub(crate) fn run(options: Options, output: &mut Output) -> Result<(), Failure> {
    let What::Config(config) = options.what;
    let mut builder = Service::builder("service");
    if let Some(file) = config.settings {
        builder = builder.document(file);
    }
    let builder = match builder.args(config.flags) {
        // What the service itself would print.
        Err(asked) if asked.code() == Code::Cancelled => return Ok(output.line(asked.detail())?),
        read => read?,
    };
    let explanation = builder.explain()?;
    let rows: Vec<Row> = explanation
        .iter()
        // What code says is said by this command, which is not the program: only its name.
        .map(|one| match one.source {
            Source::Code => (one, "the program's", &Source::Default),
            _ => (one, one.value.as_str(), &one.source),
        })
        .filter(|(_, _, source)| config.all || **source != Source::Default)
        .map(|(one, value, source)| Row {
            setting: one.key.clone(),
            value: value.to_owned(),
            kind: source.kind(),
            source: source.to_string(),
        })
        .collect();
    if output.format() == Format::Json {
        return Ok(output.json(&rows)?);
    }
    if rows.is_empty() {
        output.message("no flag, variable or document sets anything: --all shows the defaults");
        return Ok(());
    }
    let rows = rows.into_iter().map(|row| {
        let source = if row.kind == row.source {
            row.source
        } else {
            format!("{} {}", row.kind, row.source)
        };
        [row.setting, row.value, source].map(|text| (text, Tone::Plain))
    });
    Ok(output.table(["SETTING", "VALUE", "SET BY"], rows)?)
}
