//! Values that are encrypted in their documents.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Secret;
use crate::error::{Error, Result};

/// What an encrypted value begins with.
pub(in crate::config) const SCHEME: &str = "secret://";

/// Encrypts and decrypts values. One that is written `secret://NAME/BASE64` in a document is decrypted by the cipher of that name, when it is loaded.
pub trait Cipher: fmt::Debug + Send + Sync + 'static {
    /// What values that it encrypted are called, for example `secretbox`.
    fn name(&self) -> &str;

    /// Encrypts.
    ///
    /// # Errors
    /// `INTERNAL` where the machine has no random numbers.
    fn encrypt(&self, plain: &[u8]) -> Result<Vec<u8>>;

    /// Decrypts what [`encrypt`](Self::encrypt) made. Returns at once.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for what it did not encrypt, or not with this key.
    fn decrypt(&self, encrypted: &[u8]) -> Result<Vec<u8>>;

    /// Encrypts a text as it is written in a document.
    ///
    /// # Errors
    /// As [`encrypt`](Self::encrypt).
    fn seal(&self, plain: &str) -> Result<String> {
        let encrypted = STANDARD.encode(self.encrypt(plain.as_bytes())?);
        Ok(format!("{SCHEME}{}/{encrypted}", self.name()))
    }
}

/// What an encrypted value says.
pub(in crate::config) fn decrypted(
    text: &str,
    ciphers: &[Arc<dyn Cipher>],
) -> Result<Secret<String>> {
    let rest = text.strip_prefix(SCHEME).unwrap_or(text);
    let (name, encrypted) = rest.split_once('/').ok_or_else(|| {
        Error::invalid_argument("an encrypted value is written secret://NAME/BASE64")
    })?;
    let cipher = ciphers.iter().find(|cipher| cipher.name() == name).ok_or_else(|| {
        Error::failed_precondition(format!(
            "it is encrypted, and there is no key: give `cipher` of the configuration one that is called {name:?}"
        ))
    })?;
    let encrypted = STANDARD.decode(encrypted.trim()).map_err(|_| {
        Error::invalid_argument("an encrypted value is base64, with padding, behind its name")
    })?;
    let plain = cipher.decrypt(&encrypted)?;
    String::from_utf8(plain)
        .map(Secret::new)
        .map_err(|_| Error::invalid_argument("what was encrypted is no text"))
}

#[cfg(feature = "config-secrets")]
pub use nacl::{KeyPair, SecretBox};

#[cfg(feature = "config-secrets")]
mod nacl {
    use std::fmt;

    use crypto_box::{PublicKey, SalsaBox, SecretKey};
    use crypto_secretbox::aead::Aead;
    use crypto_secretbox::{KeyInit as _, Nonce, XSalsa20Poly1305};
    use rustls::crypto::SecureRandom;

    use super::Cipher;
    use crate::error::{Error, Result};

    /// Bytes at the front.
    const NONCE: usize = 24;

    fn nonce() -> Result<[u8; NONCE]> {
        let mut nonce = [0; NONCE];
        let random: &dyn SecureRandom = rustls::crypto::ring::default_provider().secure_random;
        random
            .fill(&mut nonce)
            .map_err(|_| Error::internal("the machine has no random numbers: try again"))?;
        Ok(nonce)
    }

    fn encrypt(with: &impl Aead<NonceSize = NonceSize>, plain: &[u8]) -> Result<Vec<u8>> {
        let nonce = nonce()?;
        let sealed = with
            .encrypt(Nonce::from_slice(&nonce), plain)
            .map_err(|_| Error::invalid_argument("the value is too long to be encrypted"))?;
        Ok([&nonce[..], &sealed].concat())
    }

    fn decrypt(with: &impl Aead<NonceSize = NonceSize>, encrypted: &[u8]) -> Result<Vec<u8>> {
        let (nonce, sealed) = encrypted.split_at_checked(NONCE).ok_or_else(|| {
            Error::invalid_argument(format!(
                "an encrypted value has at least {NONCE} bytes, and this one has {}",
                encrypted.len()
            ))
        })?;
        with.decrypt(Nonce::from_slice(nonce), sealed).map_err(|_| {
            Error::invalid_argument("it was encrypted with another key, or changed since")
        })
    }

    type NonceSize = <XSalsa20Poly1305 as crypto_secretbox::aead::AeadCore>::NonceSize;

    /// go-micro's `secretbox`: one key of 32 bytes encrypts and decrypts. What it makes begins with 24 random bytes.
    ///
    /// ```
    /// use micro::config::{Cipher, Config, Memory, SecretBox};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> micro::Result<()> {
    /// let cipher = SecretBox::new([7; 32]);
    /// let document = Memory::new(serde_json::json!({"password": cipher.seal("hunter2")?}))?;
    /// let config = Config::builder().source(document).cipher(cipher).load().await?;
    /// assert_eq!(config.get("password").string()?, "hunter2");
    /// assert!(!format!("{config:?}").contains("hunter2"));
    /// # Ok(()) }
    /// ```
    #[derive(Clone)]
    pub struct SecretBox(XSalsa20Poly1305);

    impl SecretBox {
        /// With a key.
        pub fn new(key: [u8; 32]) -> Self {
            Self(XSalsa20Poly1305::new(&key.into()))
        }
    }

    impl fmt::Debug for SecretBox {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("SecretBox")
        }
    }

    impl Cipher for SecretBox {
        fn name(&self) -> &str {
            "secretbox"
        }

        fn encrypt(&self, plain: &[u8]) -> Result<Vec<u8>> {
            encrypt(&self.0, plain)
        }

        fn decrypt(&self, encrypted: &[u8]) -> Result<Vec<u8>> {
            decrypt(&self.0, encrypted)
        }
    }

    /// go-micro's `box`: what one pair of keys encrypts for another, that other decrypts. Keys are those of X25519, 32 bytes each. What it makes
    /// begins with 24 random bytes.
    pub struct KeyPair(SalsaBox);

    impl KeyPair {
        /// With one's own private key, and the public key of the other side: who reads what is encrypted, or who encrypted what is read.
        pub fn new(private_key: [u8; 32], others_public_key: [u8; 32]) -> Self {
            Self(SalsaBox::new(&PublicKey::from(others_public_key), &SecretKey::from(private_key)))
        }

        /// The public key that belongs to a private one.
        pub fn public_key(private_key: [u8; 32]) -> [u8; 32] {
            *SecretKey::from(private_key).public_key().as_bytes()
        }
    }

    impl fmt::Debug for KeyPair {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("KeyPair")
        }
    }

    impl Cipher for KeyPair {
        fn name(&self) -> &str {
            "box"
        }

        fn encrypt(&self, plain: &[u8]) -> Result<Vec<u8>> {
            encrypt(&self.0, plain)
        }

        fn decrypt(&self, encrypted: &[u8]) -> Result<Vec<u8>> {
            decrypt(&self.0, encrypted)
        }
    }
}
