//! Asks before something is destroyed.

use std::io::{self, BufRead as _, IsTerminal as _};

use crate::failure::Failure;
use crate::output::Output;

#[derive(clap::Args)]
pub(crate) struct Confirm {
    /// Do it without asking.
    #[arg(long, short)]
    yes: bool,
}

impl Confirm {
    /// Returns where the user wants it.
    ///
    /// # Errors
    /// The user does not, or cannot be asked and did not say so before.
    pub(crate) fn ask(&self, what: &str, output: &mut Output) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(Failure::usage(format!("--yes is needed to {what} without being asked")));
        }
        output.prompt(&format!("{what}? [y/N] "));
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::refused("nothing was changed")),
        }
    }
}
