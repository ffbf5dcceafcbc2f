//! Who is calling. Providers, tokens and rules fill and read the [`Account`] of a call.

use http::header::{AUTHORIZATION, HeaderMap};

use crate::error::{Error, Result};
use crate::registry::Labels;

/// An identity that was proven, with go-micro's fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Unique id within the issuer.
    pub id: String,
    /// What kind of account: `user`, `service`, ….
    pub kind: String,
    /// Who vouches for it.
    pub issuer: String,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// Anything else that was said of it.
    pub metadata: Labels,
}

/// Refuses any scheme but go-micro's `Bearer `, as its server does whatever provider it has (wire
/// reference 9.5): a caller that means to authenticate must not be served as a stranger.
///
/// # Errors
/// `UNAUTHENTICATED` with go-micro's text.
pub(crate) fn expect_bearer(headers: &HeaderMap) -> Result<()> {
    match headers.get(AUTHORIZATION) {
        Some(value) if !value.as_bytes().starts_with(b"Bearer ") => {
            Err(Error::unauthenticated("invalid authorization header. expected Bearer schema"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn only_the_bearer_scheme_is_accepted() {
        let mut headers = HeaderMap::new();
        assert_eq!(expect_bearer(&headers), Ok(()));
        for (value, accepted) in
            [("Bearer t", true), ("bearer t", false), ("Bearer", false), ("Basic eDp5", false)]
        {
            headers.insert(AUTHORIZATION, value.parse().expect("a header value"));
            let refused = expect_bearer(&headers).err().map(|error| error.code());
            assert_eq!(refused, (!accepted).then_some(Code::Unauthenticated), "{value}");
        }
    }
}
