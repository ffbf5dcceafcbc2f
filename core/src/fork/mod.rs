//! What a fork of the process means for what this library shares in it.
//!
//! A child of a fork has the thread that forked, and nothing else that runs. Whatever another thread was making at that moment
//! stays half made. So what is shared is made before, by [`warm_up`], but for what is large and not always used: that is made
//! at its first use, and [`hold`] keeps forks away meanwhile. And the child has every descriptor of its parent. Were it to keep
//! them, the parent's address would be listened on, its peers connected and its files locked for as long as the child lives;
//! [`let_go`] tells which to close.
//!
//! The packages of other languages call these from the hooks of `pthread_atfork`. A Rust program that forks without running
//! another program, which is rare, should do the same.

mod child;
mod descriptors;
mod generation;
mod shared;

pub use self::child::{in_child, warm_up, warm_up_thread};
pub(crate) use self::descriptors::Uninherited;
#[cfg(unix)]
pub use self::descriptors::let_go;
pub(crate) use self::generation::generation;
pub(crate) use self::shared::Shared;
pub use self::shared::{Held, hold};
