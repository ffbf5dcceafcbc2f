//! `micro data repair`: makes a damaged folder open again.

use micro::data::{self, Condition, Examined};

use super::folder::FolderOption;
use super::lost::lost;
use crate::confirm::Confirm;
use crate::failure::Failure;
use crate::output::{Format, Output, Tone};
use crate::progress::Progress;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    folder: FolderOption,
    #[command(flatten)]
    confirm: Confirm,
}

pub(super) fn run(options: &Options, broker: &str, output: &mut Output) -> Result<(), Failure> {
    let folder = options.folder.path(broker)?;
    let mut progress = Progress::new("reading");
    let examined = data::examine(&folder, |step| progress.tell(step.done, step.total))?;
    drop(progress);
    if examined.is_sound() {
        match output.format() {
            Format::Json => output.json(&[(); 0])?,
            Format::Table => output.message(&format!("{} is sound", examined.folder.display())),
        }
        return Ok(());
    }
    for file in examined.files.iter().filter(|file| file.condition != Condition::Sound) {
        output.message(&plan(file));
    }
    options.confirm.ask("repair the folder", output)?;
    let mut progress = Progress::new("repairing");
    let repaired = data::repair(&folder, |step| progress.tell(step.done, step.total))?;
    drop(progress);
    if output.format() == Format::Json {
        return Ok(output.json(&repaired)?);
    }
    for one in &repaired {
        let aside = one.aside.as_ref().map(|aside| format!("; as it was in {}", aside.display()));
        let aside = aside.unwrap_or_default();
        output.line(&format!("{}: {} records kept{aside}", one.name, one.kept))?;
        for damage in &one.lost {
            output.toned(Tone::Bad, &format!("{}: {} lost", one.name, lost(damage)))?;
        }
    }
    Ok(())
}

/// What would be done for a file.
fn plan(file: &Examined) -> String {
    let what = match file.condition {
        Condition::Damaged => {
            format!(
                "is set aside, and the {} records that can be read are written anew",
                file.records
            )
        }
        Condition::Misplaced => "is set aside".to_owned(),
        Condition::Missing => "is gone: what was in it is lost".to_owned(),
        _ => "stays as it is".to_owned(),
    };
    let lost: Vec<_> = file.damage.iter().map(lost).collect();
    let lost = if lost.is_empty() { String::new() } else { format!("; lost: {}", lost.join("; ")) };
    format!("{} {what}{lost}", file.name)
}
