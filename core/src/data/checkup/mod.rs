//! Whether what is in a data folder can be read, and what to do where it cannot.

mod examine;
mod repair;
#[cfg(test)]
mod tests;

pub use self::examine::{Condition, Damage, Examination, Examined, Step, examine};
pub use self::repair::{Repaired, repair};
