//! `micro data doctor`: whether all that is kept can be read.

use micro::data::{self, Condition, Examination, Examined};

use super::folder::FolderOption;
use super::lost::lost;
use crate::failure::Failure;
use crate::output::{Format, Output, Tone};
use crate::progress::Progress;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    folder: FolderOption,
}

pub(super) fn run(options: &Options, broker: &str, output: &mut Output) -> Result<(), Failure> {
    let folder = options.folder.path(broker)?;
    let mut progress = Progress::new("reading");
    let examined = data::examine(&folder, |step| progress.tell(step.done, step.total))?;
    drop(progress);
    match output.format() {
        Format::Json => output.json(&examined)?,
        Format::Table => show(&examined, output)?,
    }
    match examined.is_sound() {
        true => Ok(()),
        false => {
            let folder = examined.folder.display();
            Err(Failure::refused(format!(
                "{folder} is damaged: `micro data repair {folder}` keeps what can be read"
            )))
        }
    }
}

fn show(examined: &Examination, output: &mut Output) -> Result<(), Failure> {
    output.line(&format!("folder  {}", examined.folder.display()))?;
    let owner = match &examined.owner {
        Some(owner) if owner.is_alive => format!("{owner}, the owner number {}", owner.epoch),
        Some(owner) => format!("none; the last was {owner}, number {}", owner.epoch),
        None => "none, and there never was one".to_owned(),
    };
    output.line(&format!("owner   {owner}"))?;
    output.line(&format!("bytes   {}", examined.bytes))?;
    output.line(&format!("records {}", examined.records))?;
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let rows = examined.files.iter().map(|file| {
        let (condition, tone) = condition(file);
        [
            (file.name.clone(), Tone::Plain),
            (file.bytes.to_string(), Tone::Plain),
            (file.records.to_string(), Tone::Plain),
            (number(file.first), Tone::Plain),
            (number(file.last), Tone::Plain),
            (condition, tone),
        ]
    });
    output.table(["FILE", "BYTES", "RECORDS", "FIRST", "LAST", "CONDITION"], rows)?;
    for file in &examined.files {
        for damage in &file.damage {
            let path = examined.folder.join(&file.name);
            let place = match file.condition {
                Condition::Missing => format!("{} is gone", path.display()),
                _ => format!("{} byte {}, {} bytes", path.display(), damage.offset, damage.bytes),
            };
            output.toned(Tone::Bad, &format!("{place}: {} lost", lost(damage)))?;
        }
    }
    Ok(())
}

fn condition(file: &Examined) -> (String, Tone) {
    match file.condition {
        Condition::Sound if file.torn > 0 => {
            (format!("sound, {} bytes being written", file.torn), Tone::Good)
        }
        Condition::Sound => ("sound".to_owned(), Tone::Good),
        Condition::Damaged => ("damaged".to_owned(), Tone::Bad),
        Condition::Misplaced => ("not the file that its name says".to_owned(), Tone::Bad),
        Condition::Missing => ("missing".to_owned(), Tone::Bad),
        Condition::Newer => ("of a newer version".to_owned(), Tone::Bad),
        _ => ("unknown".to_owned(), Tone::Bad),
    }
}
