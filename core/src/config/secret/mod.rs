//! Values that are not shown.

mod cipher;

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

pub use cipher::Cipher;
#[cfg(feature = "config-secrets")]
pub use cipher::{KeyPair, SecretBox};
pub(super) use cipher::{SCHEME, decrypted};

/// A value that is neither printed nor logged. As a field of a type that is [scanned](super::Config::scan), it is read as `T` is; what is
/// wrong with it is told without it.
///
/// ```
/// use micro::config::Secret;
///
/// let password = Secret::new("hunter2".to_owned());
/// assert_eq!(format!("{password:?}"), "(secret)");
/// assert_eq!(password.expose(), "hunter2");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides `value`.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// The value.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let wrong = |_| D::Error::custom("the secret is not of the type that is wanted");
        T::deserialize(from).map(Self).map_err(wrong)
    }
}
