//! Who is calling. Providers, tokens and rules fill and read the [`Account`] of a call.

use http::header::AUTHORIZATION;

use crate::error::{Error, Result};
use crate::metadata::Metadata;
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

/// The scheme of go-micro's credentials.
const BEARER: &str = "bearer";

/// The token a caller authenticates with, for middleware that looks at tokens; `None` when it sent no `authorization`. The scheme is
/// `Bearer` in any case, as HTTP has it.
///
/// A server without such middleware does not look: `authorization` is metadata like any other.
///
/// ```
/// use micro::{Metadata, auth};
///
/// let mut metadata = Metadata::new();
/// assert_eq!(auth::bearer(&metadata)?, None);
/// metadata.insert("authorization", "bearer abc")?;
/// assert_eq!(auth::bearer(&metadata)?, Some("abc"));
/// # Ok::<(), micro::Error>(())
/// ```
///
/// # Errors
/// `UNAUTHENTICATED` with go-micro's text for another scheme, and for a token that is empty: a caller that means to
/// authenticate must not be served as a stranger.
pub fn bearer(metadata: &Metadata) -> Result<Option<&str>> {
    let Some(value) = metadata.headers().get(AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case(BEARER).then(|| token.trim())
    });
    match token.filter(|token| !token.is_empty()) {
        Some(token) => Ok(Some(token)),
        None => Err(Error::unauthenticated("invalid authorization header. expected Bearer schema")),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::Code;

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers.clone().into()), Ok(None));
        for (value, token) in [
            ("Bearer t", Some("t")),
            ("bearer t", Some("t")),
            ("BEARER  t ", Some("t")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Bearert", None),
            ("Basic eDp5", None),
            ("", None),
        ] {
            headers.insert(AUTHORIZATION, value.parse().expect("a header value"));
            let metadata = Metadata::from(headers.clone());
            match token {
                Some(_) => assert_eq!(bearer(&metadata), Ok(token), "{value}"),
                None => {
                    let error = bearer(&metadata).expect_err(value);
                    assert_eq!(error.code(), Code::Unauthenticated, "{value}");
                }
            }
        }
    }
}
