//! What every binding asks of the process around it, in a safe form: to be told of forks ([`fork`]) and to be spared a signal
//! ([`signal`]).
//!
//! The system offers both only through calls that Rust cannot check. They are all here, each with the reason why it is sound, so
//! that what uses them needs no `unsafe` for them. Elsewhere than on Unix there is neither, and this crate is empty.
#![cfg(unix)]

pub mod fork;
pub mod signal;
