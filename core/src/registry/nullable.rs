//! Go writes nil maps and lists as `null`; both directions accept and produce that.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) trait Empty: Default {
    fn is_empty(&self) -> bool;
}
impl<T> Empty for Vec<T> {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}
impl Empty for BTreeMap<String, String> {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

pub(super) fn serialize<T: Empty + Serialize, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if value.is_empty() { serializer.serialize_none() } else { value.serialize(serializer) }
}

pub(super) fn deserialize<'de, T: Empty + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
