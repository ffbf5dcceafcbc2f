//! A strategy by name, as settings and flags write it.

use std::sync::Arc;

use super::{Hash, P2c, Random, RoundRobin, Strategy};
use crate::error::{Error, Result};

/// Names that [`strategy`] knows.
pub const STRATEGIES: [&str; 4] = ["p2c", "random", "round_robin", "hash"];

/// The strategy called `name`, also written as a URL: `p2c`, `p2c://`. Empty is the default.
///
/// # Errors
/// `INVALID_ARGUMENT` for any other name.
pub fn strategy(name: &str) -> Result<Arc<dyn Strategy>> {
    Ok(match name.trim_end_matches("://").replace('-', "_").as_str() {
        "" | "p2c" => Arc::new(P2c::new()),
        "random" => Arc::new(Random::new()),
        "round_robin" | "roundrobin" => Arc::new(RoundRobin::new()),
        "hash" => Arc::new(Hash::new()),
        _ => {
            return Err(Error::invalid_argument(format!(
                "unknown strategy {name:?}: choose one of {}",
                STRATEGIES.join(", ")
            )));
        }
    })
}
