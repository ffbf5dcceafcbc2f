//! Plays scenarios with adapters and counts what held.
//!
//! A *cell* is one client against one server. Its scenarios share two adapter processes, but for those
//! that say otherwise; each has keys, and where it starts servers a service name, of its own.
//!
//! * [`Scenario`]: what is done and what must come of it, read from `scenarios/*.toml`
//! * [`Adapters`]: which languages there are, read from `adapters.toml`
//! * [`Cell`]: plays all scenarios with one pair of adapters
//! * [`keeps_contract`]: runs the contract of registries on one that is written in another language
//! * [`Matrix`]: what came of it, for people and for `cargo xtask conformance`

mod adapters;
mod call;
mod cell;
mod document;
mod endpoints;
mod events;
mod expect;
mod judge;
mod matrix;
mod play;
mod process;
mod reflection;
mod registry;
mod scenario;
mod step;
mod variables;

pub use adapters::{Adapter, Adapters};
pub use cell::Cell;
pub use judge::Options;
pub use matrix::{CellReport, Matrix, RegistryReport, Verdict};
pub use registry::keeps_contract;
pub use scenario::{Scenario, load};

/// What goes wrong here is told to people.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
