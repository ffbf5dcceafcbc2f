//! A target that finds endpoints by path.

#![allow(clippy::panic, clippy::expect_used, reason = "a panic is how a target reports a finding")]

use super::endpoint::Endpoint;
use super::routes::Routes;
use crate::Raw;

/// A path finds the endpoint it ends in or nothing.
pub(crate) fn route(data: &[u8]) {
    let Ok(path) = str::from_utf8(data) else { return };
    let mut routes = Routes::default();
    for name in ["Greeter.Hello", "Greeter.Wave", "A.B"] {
        let endpoint = Endpoint::unary(name, |_, request: Raw| async move { Ok(request) });
        routes.add(endpoint).expect("a good name");
    }
    if let Ok(endpoint) = routes.find(path) {
        let end = endpoint.name().replace('.', "/");
        assert!(path.starts_with('/') && path.ends_with(&end), "{path:?} found {end}");
    }
}
