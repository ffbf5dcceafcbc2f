//! Which headers of an inbound call go on with the calls that its handler makes.
//!
//! go-micro forwards everything, to any peer. A header that was meant for one hop then changes what the next server does, and
//! a caller's secret reaches addresses the caller has never heard of. So every name is of one of three kinds: what belongs to a
//! hop or to a browser stays, credentials go to nodes of the registry, and the rest is metadata and goes on.

pub(crate) mod names;

use http::header::{HeaderMap, HeaderName};

use self::names::{HeaderKind, kind};
use crate::error::{Error, Result};
use crate::metadata::append;

/// Names a rule may have in each of its lists: each is compared with every header of a call.
const MAX_NAMES: usize = 64;

/// How far credentials of an inbound call go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Credentials {
    /// To nodes that the registry found; not to addresses given to a call or a client.
    #[default]
    Registry,
    /// To addresses given to a call or a client, too.
    Anywhere,
    /// Nowhere.
    Nowhere,
}

/// The rule by which headers of an inbound call go on with the calls its handler makes.
///
/// Unless told otherwise, metadata goes on by its name, and credentials (`authorization`, `x-api-key`, `x-auth-token`,
/// `x-access-token`, `api-key`) go on to nodes of the registry alone. Whatever the rule, a header never goes on that
///
/// - belongs to the connection or the protocol: all that `connection` names, `te`, `upgrade`, `expect`, `http2-settings`,
///   `range`, `if-…`, `accept…`, `content-…`, `proxy-…`, `forwarded`, `x-forwarded-…`, `via`, `grpc-…`, `connect-…` and the like;
/// - belongs to one message: `ce-…` of a CloudEvent, `micro-dead-…` and `micro-retry-…` of a dead letter;
/// - belongs to a browser: `cookie`, `origin`, `referer`, `sec-…`, `access-control-…`, `user-agent` and the like.
///
/// Deadline, trace and go-micro's namespace are no headers in this sense: they always go on, unless the call is detached. What
/// a call is given itself, with `metadata`, is sent as it is.
///
/// ```
/// use micro::{Client, Forward};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> micro::Result<()> {
/// let rule = Forward::new().except("tenant-secret").credential("x-session");
/// let client = Client::builder().forward(rule).build()?;
/// assert!(client.forward().goes_to_nodes("X-Session") && !client.forward().goes_to_addresses("X-Session"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Forward {
    /// The only metadata that goes on, where this is set.
    only: Option<Vec<Name>>,
    except: Vec<Name>,
    credentials: Vec<Name>,
    to: Credentials,
    wrong: Option<Error>,
}

/// A header's name, or how one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Whole(Box<str>),
    Start(Box<str>),
}

impl Name {
    fn read(text: &str) -> Result<Self> {
        let lower = text.to_ascii_lowercase();
        let (start, whole) = match lower.strip_suffix('*') {
            Some(start) => (true, start),
            None => (false, &*lower),
        };
        if whole.contains('*') || HeaderName::from_bytes(whole.as_bytes()).is_err() {
            return Err(Error::invalid_argument(format!(
                "{text:?} is no name of a header to forward: write for example \"tenant\", or \"x-shop-*\" for all that begin so"
            )));
        }
        Ok(if start { Self::Start(whole.into()) } else { Self::Whole(whole.into()) })
    }

    fn is(&self, name: &str) -> bool {
        match self {
            Self::Whole(whole) => **whole == *name,
            Self::Start(start) => name.starts_with(&**start),
        }
    }
}

impl Forward {
    /// The default rule.
    pub fn new() -> Self {
        Self::default()
    }

    /// A rule by which no header goes on.
    pub fn nothing() -> Self {
        Self { only: Some(Vec::new()), to: Credentials::Nowhere, ..Self::default() }
    }

    /// Lets only this metadata go on; repeat it for more. `*` at the end stands for any end. Case is ignored here and in all
    /// other names. A name that never goes on is refused with `INVALID_ARGUMENT` where the rule is used.
    #[must_use]
    pub fn only(mut self, name: &str) -> Self {
        match Name::read(name) {
            Ok(Name::Whole(name)) if kind(&name) == HeaderKind::Hop => self.note(stays(&name)),
            Ok(name) => add(self.only.get_or_insert_default(), name, &mut self.wrong),
            Err(error) => self.note(error),
        }
        self
    }

    /// Lets no metadata go on but what is named from here on; says nothing of credentials.
    #[must_use]
    pub(crate) fn only_nothing(mut self) -> Self {
        self.only = Some(Vec::new());
        self
    }

    /// Keeps this metadata, or credential, from going on; repeat it for more.
    #[must_use]
    pub fn except(mut self, name: &str) -> Self {
        match Name::read(name) {
            Ok(name) => add(&mut self.except, name, &mut self.wrong),
            Err(error) => self.note(error),
        }
        self
    }

    /// Takes this header for a credential too; repeat it for more.
    #[must_use]
    pub fn credential(mut self, name: &str) -> Self {
        match Name::read(name) {
            Ok(Name::Whole(name)) if kind(&name) == HeaderKind::Hop => self.note(stays(&name)),
            Ok(name) => add(&mut self.credentials, name, &mut self.wrong),
            Err(error) => self.note(error),
        }
        self
    }

    /// Says how far credentials go: to nodes of the registry unless set.
    #[must_use]
    pub fn credentials(mut self, to: Credentials) -> Self {
        self.to = to;
        self
    }

    /// Whether a header goes on to nodes that the registry found. What the header `connection` of a call names does not,
    /// whatever the rule says.
    pub fn goes_to_nodes(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.lets(&name, kind(&name), true)
    }

    /// Whether a header goes on to addresses given to a call or a client; otherwise as [`Forward::goes_to_nodes`].
    pub fn goes_to_addresses(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.lets(&name, kind(&name), false)
    }

    /// The rule, or what is wrong with it.
    pub(crate) fn checked(mut self) -> Result<Self> {
        self.wrong.take().map_or(Ok(self), Err)
    }

    fn note(&mut self, error: Error) {
        self.wrong.get_or_insert(error);
    }

    fn lets(&self, name: &str, kind: HeaderKind, found: bool) -> bool {
        if kind == HeaderKind::Hop || self.except.iter().any(|except| except.is(name)) {
            return false;
        }
        if kind == HeaderKind::Credential || self.credentials.iter().any(|known| known.is(name)) {
            return match self.to {
                Credentials::Registry => found,
                Credentials::Anywhere => true,
                Credentials::Nowhere => false,
            };
        }
        self.only.as_ref().is_none_or(|only| only.iter().any(|only| only.is(name)))
    }
}

fn add(names: &mut Vec<Name>, name: Name, wrong: &mut Option<Error>) {
    if names.len() < MAX_NAMES {
        names.push(name);
    } else {
        wrong.get_or_insert_with(|| {
            Error::invalid_argument(format!(
                "more than {MAX_NAMES} names in one list of headers to forward: name what they begin with, as in \"x-shop-*\""
            ))
        });
    }
}

fn stays(name: &str) -> Error {
    Error::invalid_argument(format!(
        "`{name}` belongs to one connection or to a browser and never goes on: give it to the call with `metadata`"
    ))
}

/// Copies into `target` what goes on of `inbound` by `rule`, but for names that `target` has already. `found`: the call goes to
/// a node that the registry found.
pub(crate) fn forward(
    inbound: &HeaderMap,
    target: &mut HeaderMap,
    rule: Option<&Forward>,
    found: bool,
) {
    let named = HopNames::by(inbound);
    let mut names = smallvec::SmallVec::<[&HeaderName; 16]>::new();
    for name in inbound.keys() {
        let text = name.as_str();
        let goes = match (kind(text), rule) {
            (HeaderKind::Hop, _) => false,
            (kind, Some(rule)) => rule.lets(text, kind, found),
            (HeaderKind::Credential, None) => found,
            (HeaderKind::Metadata, None) => true,
        };
        if goes && !named.has(text) && !target.contains_key(name) {
            names.push(name);
        }
    }
    for name in names {
        for value in inbound.get_all(name) {
            // What finds no room could not be sent either: peers take far less.
            let _ = append(target, name.clone(), value.clone());
        }
    }
}

/// What the headers `connection` of a call name: it belongs to the hop the call came by (RFC 9110, 7.6.1).
struct HopNames<'a>(Option<&'a HeaderMap>);

impl<'a> HopNames<'a> {
    fn by(headers: &'a HeaderMap) -> Self {
        Self(headers.contains_key(http::header::CONNECTION).then_some(headers))
    }

    fn has(&self, name: &str) -> bool {
        let Some(headers) = self.0 else { return false };
        let values = headers.get_all(http::header::CONNECTION).iter();
        values
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    }
}

#[cfg(test)]
mod tests;
