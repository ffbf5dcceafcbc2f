//! Which endpoint a path means.
//!
//! A path names a package, a type and a method. go-micro has no packages: its callers put the name there by which they found
//! the service (wire reference 1.1). So an endpoint is found by its type and method whatever stands before them, as long as it
//! is the only one; where two packages have the same, each is found by its full path alone.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::endpoint::{Endpoint, is_usable};
use super::handler::{Request, Response};
#[cfg(feature = "tonic")]
use super::mount::Mounts;
use crate::error::{Error, Result};
use crate::middleware::Layers;
use crate::resilience::Limiter;
use crate::spelling::nearest;

/// Longest endpoint name; it has to fit registries and paths.
const MAX_NAME: usize = 200;

/// Every endpoint of a server, found by the last two parts of the request's path.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// Keyed `Type/Method`, as the path ends.
    by_path: HashMap<Box<str>, Namesakes, RandomState>,
    /// Services whose methods are found out by calling them.
    #[cfg(feature = "tonic")]
    pub(super) mounts: Mounts,
}

/// Names of endpoints, and what is to stand around those.
pub(crate) type Chosen = (Vec<String>, Layers<Request, Response>);

fn is_named(endpoint: &Endpoint, name: &str) -> bool {
    endpoint.name() == name || *endpoint.full_name() == *name
}

/// The endpoints with one type and method, each of another package. Nearly always one.
type Namesakes = SmallVec<[Arc<Endpoint>; 1]>;

impl Routes {
    /// Adds an endpoint.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a name that is not `Type.Method` or `package.Type.Method`, `ALREADY_EXISTS` for a second one.
    pub(crate) fn add(&mut self, mut endpoint: Endpoint) -> Result<()> {
        let Some((package, kind, method)) = parts(endpoint.name()) else {
            let name = endpoint.name();
            return Err(Error::invalid_argument(format!(
                "endpoint `{name}`: name it Type.Method with letters, digits and `_`, for example Greeter.Hello, or package.Type.Method"
            )));
        };
        let (path, name) = (format!("{kind}/{method}"), format!("{kind}.{method}"));
        endpoint.package = package.map(Into::into);
        let namesakes = self.by_path.entry(path.into()).or_default();
        if namesakes.iter().any(|known| known.package == endpoint.package) {
            let name = endpoint.name();
            return Err(Error::already_exists(format!(
                "endpoint `{name}` is registered twice: give one of them another name"
            )));
        }
        endpoint.name = name.into();
        namesakes.push(Arc::new(endpoint));
        if namesakes.len() > 1 {
            for namesake in namesakes {
                let full = namesake.full_name();
                Arc::make_mut(namesake).name = full;
            }
        }
        Ok(())
    }

    /// Every endpoint, to be changed before the server starts.
    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut Endpoint> {
        self.by_path.values_mut().flatten().map(Arc::make_mut)
    }

    /// Gives every unary endpoint a gate. A stream lasts as long as both sides like, which says
    /// nothing of how busy the server is; and questions about its state are always answered.
    pub(crate) fn limit(&mut self, limiter: &Limiter, most: usize) {
        for endpoint in self.by_path.values_mut().flatten() {
            if !endpoint.shape.streams() && !endpoint.name.starts_with("Debug.") {
                Arc::make_mut(endpoint).gate = limiter.gate(most).map(Arc::new);
            }
        }
    }

    /// Puts the layers of each endpoint around it, and around those the layers that were `chosen` for them.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a name that is none of an endpoint.
    pub(crate) fn wrap(&mut self, chosen: &[Chosen]) -> Result<()> {
        for name in chosen.iter().flat_map(|(names, _)| names) {
            let known = self.sorted();
            if !known.iter().any(|endpoint| is_named(endpoint, name)) {
                let known: Vec<_> = known.iter().map(|endpoint| endpoint.name()).collect();
                return Err(Error::invalid_argument(format!(
                    "layer_for: there is no endpoint `{name}` here, but {}",
                    known.join(", ")
                )));
            }
        }
        for endpoint in self.by_path.values_mut().flatten() {
            let its = |(names, _): &&Chosen| names.iter().any(|name| is_named(endpoint, name));
            let outer: Vec<_> = chosen.iter().filter(its).map(|(_, layers)| layers).collect();
            Arc::make_mut(endpoint).wrap(&outer);
        }
        Ok(())
    }

    /// The endpoint of a request path.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` and `UNIMPLEMENTED` with go-micro's texts; `UNIMPLEMENTED` with the full paths where the path fits
    /// endpoints of several packages.
    pub(crate) fn find(&self, path: &str) -> Result<Arc<Endpoint>> {
        let malformed = || Error::invalid_argument(format!("malformed method name: {path:?}"));
        let rest = path.strip_prefix('/').ok_or_else(malformed)?;
        let (prefix, method) = rest.split_once('/').ok_or_else(malformed)?;
        if prefix.is_empty() || method.is_empty() || method.contains('/') {
            return Err(malformed());
        }
        let start = prefix.rfind('.').map_or(0, |dot| dot + 1);
        let kind = &prefix[start..];
        let package = || prefix.get(..start.saturating_sub(1)).unwrap_or_default();
        match self.by_path.get(&rest[start..]).map_or(&[][..], |found| found) {
            [] => {}
            #[cfg(feature = "tonic")]
            [only]
                if self.mounts.have(prefix)
                    && only.package.as_deref().is_some_and(|own| own != package()) => {}
            [only] => return Ok(only.clone()),
            several => {
                let package = package();
                let of = |package: Option<&str>| {
                    several.iter().find(|endpoint| endpoint.package.as_deref() == package)
                };
                return of(Some(package)).or_else(|| of(None)).cloned().ok_or_else(|| {
                    let paths = several.iter().map(|endpoint| {
                        format!("/{}.{kind}/{method}", endpoint.package.as_deref().unwrap_or(""))
                    });
                    Error::unimplemented(format!(
                        "`{kind}.{method}` is in several packages here: call {}",
                        paths.collect::<Vec<_>>().join(" or ")
                    ))
                });
            }
        }
        #[cfg(feature = "tonic")]
        if let Some(endpoint) = self.mounts.find(package(), kind, method)? {
            return Ok(endpoint);
        }
        Err(Error::unimplemented(self.unknown(kind, method)))
    }

    /// go-micro's text for a path that leads nowhere, which speaks of services whatever is wrong, and the endpoint that was
    /// probably meant.
    #[cold]
    fn unknown(&self, kind: &str, method: &str) -> String {
        let is_known =
            |path: &str| path.strip_prefix(kind).is_some_and(|method| method.starts_with('/'));
        let mut text = format!("unknown service {kind}");
        if self.by_path.keys().any(|path| is_known(path)) {
            text = format!("{text}.{method}");
        }
        let names = self.by_path.values().flatten().map(|endpoint| &*endpoint.name);
        if let Some(meant) = nearest(&format!("{kind}.{method}"), names) {
            text = format!("{text}: no such endpoint is here; did you mean `{meant}`?");
        }
        text
    }

    /// Full names of the services of which nothing else is known.
    pub(crate) fn undescribed(&self) -> Vec<&str> {
        #[cfg(feature = "tonic")]
        return self.mounts.undescribed();
        #[cfg(not(feature = "tonic"))]
        Vec::new()
    }

    /// Endpoints sorted by name.
    pub(crate) fn sorted(&self) -> Vec<&Arc<Endpoint>> {
        let mut endpoints: Vec<_> = self.by_path.values().flatten().collect();
        endpoints.sort_by(|a, b| a.name.cmp(&b.name));
        endpoints
    }
}

/// Package, type and method of an endpoint's name.
fn parts(name: &str) -> Option<(Option<&str>, &str, &str)> {
    if name.len() > MAX_NAME || !name.split('.').all(is_usable) {
        return None;
    }
    let (rest, method) = name.rsplit_once('.')?;
    Some(match rest.rsplit_once('.') {
        Some((package, kind)) => (Some(package), kind, method),
        None => (None, rest, method),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, Raw};

    fn echo(name: &str) -> Endpoint {
        Endpoint::unary(name, |_, request: Raw| async move { Ok(request) })
    }

    fn routes() -> Routes {
        let mut routes = Routes::default();
        routes.add(echo("Greeter.Hello")).expect("a good name");
        routes
    }

    #[test]
    fn only_the_last_part_of_the_prefix_counts() {
        let routes = routes();
        for path in ["/Greeter/Hello", "/x.Greeter/Hello", "/any.thing.Greeter/Hello"] {
            assert_eq!(routes.find(path).expect(path).name(), "Greeter.Hello");
        }
    }

    #[test]
    fn wrong_paths_fail_with_go_micros_texts() {
        let routes = routes();
        for (path, code, text) in [
            ("/a/b/c", Code::InvalidArgument, r#"malformed method name: "/a/b/c""#),
            ("/", Code::InvalidArgument, r#"malformed method name: "/""#),
            ("Hello", Code::InvalidArgument, r#"malformed method name: "Hello""#),
            ("//Hello", Code::InvalidArgument, r#"malformed method name: "//Hello""#),
            ("/Greeter/", Code::InvalidArgument, r#"malformed method name: "/Greeter/""#),
            ("/x.Nope/Hello", Code::Unimplemented, "unknown service Nope"),
            ("/Greeter/Nope", Code::Unimplemented, "unknown service Greeter.Nope"),
            ("/Gree/Hello", Code::Unimplemented, "unknown service Gree"),
            (
                "/x.Greeter/Helo",
                Code::Unimplemented,
                "unknown service Greeter.Helo: no such endpoint is here; did you mean `Greeter.Hello`?",
            ),
            (
                "/x.Greter/Hello",
                Code::Unimplemented,
                "unknown service Greter: no such endpoint is here; did you mean `Greeter.Hello`?",
            ),
        ] {
            let error = routes.find(path).map(|_| ()).expect_err(path);
            assert_eq!((error.code(), error.detail()), (code, text));
        }
    }

    #[test]
    fn unusable_and_repeated_names_are_refused() {
        let mut routes = routes();
        for name in ["", "Hello", "A..B", "Greeter.", ".Hello", "Greeter.He llo", "A/B.C", "x.A."] {
            let error = routes.add(echo(name)).expect_err(name);
            assert_eq!(error.code(), Code::InvalidArgument);
        }
        let error = routes.add(echo("Greeter.Hello")).expect_err("the second");
        assert_eq!(error.code(), Code::AlreadyExists);
    }

    #[test]
    fn packages_with_one_name_are_told_apart_by_the_full_path() {
        let mut routes = routes();
        for name in ["shop.v1.Cart.Add", "shop.v2.Cart.Add", "shop.v1.Cart.Drop"] {
            routes.add(echo(name)).expect("a good name");
        }
        for (path, name) in [
            ("/shop.v1.Cart/Add", "shop.v1.Cart.Add"),
            ("/shop.v2.Cart/Add", "shop.v2.Cart.Add"),
            ("/shop.v1.Cart/Drop", "Cart.Drop"),
            ("/shop.Cart/Drop", "Cart.Drop"),
        ] {
            assert_eq!(routes.find(path).expect(path).name(), name, "{path}");
        }
        for path in ["/Cart/Add", "/shop.Cart/Add", "/xshop.v1.Cart/Add"] {
            let error = routes.find(path).map(|_| ()).expect_err(path);
            assert_eq!(error.code(), Code::Unimplemented);
            let told = "call /shop.v1.Cart/Add or /shop.v2.Cart/Add";
            assert!(error.detail().contains(told), "{error}");
        }
        let again = routes.add(echo("shop.v2.Cart.Add")).expect_err("the second");
        assert_eq!(again.code(), Code::AlreadyExists);
        routes.add(echo("Cart.Add")).expect("one without a package");
        assert_eq!(routes.find("/anything.Cart/Add").expect("that one").name(), "Cart.Add");
        assert_eq!(routes.find("/shop.v2.Cart/Add").expect("v2").name(), "shop.v2.Cart.Add");
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_paths_never_panic(path in "\\PC{0,40}") {
            let _ = routes().find(&path);
        }
    }
}
