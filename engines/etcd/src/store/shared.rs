//! What all handles and watches of a store share.

use std::sync::Arc;

use micro::Result;

use super::fence::Known;
use super::keys::Keys;
use crate::lease::Leases;
use crate::link::Link;
use crate::options::Options;

pub(super) const RANGE: &str = "/etcdserverpb.KV/Range";
pub(super) const TXN: &str = "/etcdserverpb.KV/Txn";

/// What all handles and watches of a store share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) link: Arc<Link>,
    pub(super) leases: Leases,
    pub(super) keys: Keys,
    pub(super) known: Known,
}

impl Shared {
    pub(super) fn new(options: Options) -> Result<Self> {
        let keys = Keys::new(&options.prefix);
        let link = Arc::new(Link::new(options)?);
        let leases = Leases::new(link.clone());
        Ok(Self { link, leases, keys, known: Known::default() })
    }
}
