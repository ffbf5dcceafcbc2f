//! `micro config`: what the configuration of a program says, read here as the program would read it.

use clap::Subcommand;
use micro::config::{Config, Why};
use serde::Serialize;
use serde_json::Value as Json;

use crate::failure::Failure;
use crate::output::{Format, Output};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Print the value at a path, or all of them.
    Get(At),
    /// Say where the value at a path comes from, and what it overrode.
    Why(At),
}

#[derive(clap::Args)]
#[command(
    after_help = "micro config why db.url --source file:///etc/shop.yaml --source env://SHOP"
)]
struct At {
    /// The path, for example db.url; everything without.
    #[arg(default_value = "")]
    path: String,
    /// A source, the later ones over the earlier: file:///etc/shop.yaml, file://shop.d, env://SHOP, https://… A path alone is a file.
    #[arg(long, short, value_name = "URL", required = true)]
    source: Vec<String>,
    /// Leave ${NAME} in values as it is.
    #[arg(long)]
    raw: bool,
}

#[derive(Serialize)]
struct Layer<'a> {
    origin: String,
    value: &'a str,
}

/// # Errors
/// For a source that cannot be read, and a path that nothing sets.
pub(crate) async fn run(options: Options, output: &mut Output) -> Result<(), Failure> {
    match options.what {
        What::Get(at) => {
            let value = load(&at).await?.get(at.path.as_str());
            if !value.is_set() {
                return Err(unset(&at));
            }
            match output.format() {
                Format::Json => output.line(&value.to_string())?,
                Format::Table => match value.string() {
                    Ok(text) => output.line(&text)?,
                    Err(_) => {
                        let json: Json = value.scan()?;
                        output.line(&format!("{json:#}"))?;
                    }
                },
            }
        }
        What::Why(at) => {
            let why = load(&at).await?.why(at.path.as_str());
            if why.origin().is_none() {
                return Err(unset(&at));
            }
            match output.format() {
                Format::Json => output.json(&layers(&why))?,
                Format::Table => {
                    for line in why.to_string().lines() {
                        output.line(line)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// What each source says, the one that counts first.
fn layers(why: &Why) -> Vec<Layer<'_>> {
    let said = why.said().iter();
    said.map(|said| Layer { origin: said.origin.to_string(), value: &said.value }).collect()
}

async fn load(at: &At) -> Result<Config, Failure> {
    let mut builder = Config::builder().keep_encrypted();
    for source in &at.source {
        let url = match source.contains("://") {
            true => source.clone(),
            false => format!("file://{source}"),
        };
        builder = builder.source(url);
    }
    if at.raw {
        builder = builder.without_variables();
    }
    Ok(builder.load().await?)
}

fn unset(at: &At) -> Failure {
    let path = &at.path;
    Failure::refused(format!(
        "no source sets {path}: `micro config get` without a path shows what they set"
    ))
}
