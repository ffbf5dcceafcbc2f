//! `micro completions`: what a shell needs to complete the command.

use std::io::Write as _;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::failure::Failure;

#[derive(clap::Args)]
#[command(after_help = "bash: micro completions bash > /etc/bash_completion.d/micro\n\
zsh:  micro completions zsh > \"${fpath[1]}/_micro\"\n\
fish: micro completions fish > ~/.config/fish/completions/micro.fish")]
pub(crate) struct Options {
    /// The shell to complete for.
    shell: Shell,
}

/// Prints the script for a shell.
///
/// # Errors
/// When it cannot be printed.
pub(crate) fn run<C: CommandFactory>(options: &Options) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut C::command(), "micro", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}
