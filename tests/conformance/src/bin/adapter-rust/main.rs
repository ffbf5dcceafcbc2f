//! The adapter of Rust: `adapter-rust server` or `adapter-rust client`, told on standard input what to do.
//!
//! The service `Conformance` is in [`server`], [`handler`] and [`keys`], calls and streams in [`client`],
//! [`calls`] and [`streams`], what is asked beside them in [`questions`], and answers go through [`output`].
//!
//! `--wrong echo` and `--wrong end` make it break a promise, for the test that the runner notices.

mod calls;
mod client;
mod handler;
mod keys;
mod layers;
mod output;
mod questions;
mod requests;
mod server;
mod streams;
mod wrong;

use std::io::BufRead as _;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use micro_conformance::Line;
use tokio::sync::mpsc;

use output::Output;
use wrong::Wrong;

#[derive(Parser)]
struct Arguments {
    role: Role,
    /// A promise to break.
    #[arg(long)]
    wrong: Option<Wrong>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Server,
    Client,
}

fn main() -> ExitCode {
    let Arguments { role, wrong } = Arguments::parse();
    let output = Output;
    let (sender, requests) = mpsc::unbounded_channel();
    // A thread of its own, because reading standard input cannot be cancelled.
    std::thread::spawn(move || {
        for text in std::io::stdin().lock().lines() {
            let Ok(text) = text else { break };
            match Line::parse(&text) {
                Ok(line) if line.verb == "exit" => break,
                Ok(line) => {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
                Err(error) => output.note(&format!("cannot read `{text}`: {error}")),
            }
        }
    });
    // Some handlers block the thread they run on, and the others need threads then.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            output.note(&format!("no runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    output.tell(&Line::new("ready").with("language", "rust"));
    runtime.block_on(async {
        match role {
            Role::Server => server::serve(requests, output, wrong).await,
            Role::Client => client::serve(requests, output, wrong).await,
        }
    });
    // The process ends here, as those of the other adapters do. A runtime that is dropped lets go of its tasks one by one: those of
    // calls may cancel them while that of their connection still writes.
    #[allow(clippy::disallowed_methods, reason = "what is still running ends with the process")]
    std::process::exit(0)
}
