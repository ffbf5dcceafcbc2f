//! Which keys of etcd hold what.

use bytes::Bytes;
use micro::store::Place;

/// The keys of one store.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// Before the keys of all records.
    pub(super) fn records(&self) -> String {
        format!("{}/record/", self.prefix)
    }

    /// Before the keys of all records of a database.
    pub(super) fn database(&self, name: &str) -> String {
        format!("{}/record/{name}/", self.prefix)
    }

    /// Before the keys of all records of a place.
    pub(super) fn place(&self, place: &Place) -> String {
        format!("{}/record/{place}/", self.prefix)
    }

    pub(super) fn record(&self, place: &Place, key: &str) -> Bytes {
        format!("{}{key}", self.place(place)).into()
    }

    pub(super) fn fence(&self, lock: &str) -> Bytes {
        format!("{}/fence/{lock}", self.prefix).into()
    }
}

/// The first key behind all that begin so.
pub(super) fn end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end.into();
        }
    }
    // To the last key there is.
    Bytes::from_static(&[0])
}

/// The first key behind this one.
pub(super) fn next(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_place_are_within_its_range() {
        let keys = Keys::new("/shop");
        let place = Place::default();
        let (low, high) = (keys.place(&place), end(keys.place(&place).as_bytes()));
        for key in ["a", "\u{10ffff}", "/", "\u{1}"] {
            let key = keys.record(&place, key);
            assert!(key > low.as_bytes() && key < high, "{key:?}");
        }
        let neighbour = Place::new("micro", "micro.1").unwrap();
        let key = keys.record(&neighbour, "a");
        assert!(key < low.as_bytes() || key >= high);
        assert_eq!(end(b"a\xff"), "b");
        assert!(next(b"a") > "a" && next(b"a") < "a\u{1}");
    }
}
