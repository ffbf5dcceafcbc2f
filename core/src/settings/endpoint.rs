//! What callers may know of an endpoint.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;
use prost_reflect::DescriptorPool;

use super::document::{Document, document};
use super::value::{Fields, Value};
use crate::codec::Schema;
use crate::error::Result;
use crate::registry::Labels;
use crate::server::Endpoint;
use crate::spelling::{nearest, quoted};

/// What callers, the registry and reflection may know of an endpoint.
///
/// ```
/// use micro::server::Endpoint;
/// use micro::settings::EndpointSettings;
/// use micro::{Context, Raw};
///
/// # fn main() -> micro::Result<()> {
/// let settings = EndpointSettings::from_json(r#"{"idempotent": true, "request": "Name"}"#)?;
/// let hello = Endpoint::unary("Greeter.Hello", |_: Context, name: Raw| async move { Ok(name) });
/// let hello = settings.apply(hello)?;
/// # Ok(())
/// # }
/// ```
///
/// | key | value |
/// |---|---|
/// | `idempotent` | `true`: repeating a call is harmless, so clients may retry it |
/// | `read_only` | `true`: a call changes nothing; web pages may call it with a GET |
/// | `internal` | `true`: served, but not advertised |
/// | `metadata` | labels: an object of texts |
/// | `request`, `response` | names of the message types, or trees of their fields as the registry has them: `{"name", "type", "values": […]}` |
/// | `descriptors` | a serialized `FileDescriptorSet` in base64, with all it imports; `request` and `response` are then full names of messages in it |
#[derive(Debug, Clone, Default)]
pub struct EndpointSettings {
    idempotent: bool,
    read_only: bool,
    internal: bool,
    metadata: Labels,
    request: Option<Schema>,
    response: Option<Schema>,
}

impl Document for EndpointSettings {
    const NAME: &'static str = "endpoint settings";

    fn read(value: Value) -> Result<Self> {
        let mut fields = value.fields()?;
        let pool = fields.read("descriptors", pool)?;
        let settings = Self {
            idempotent: fields.read("idempotent", Value::flag)?.unwrap_or_default(),
            read_only: fields.read("read_only", Value::flag)?.unwrap_or_default(),
            internal: fields.read("internal", Value::flag)?.unwrap_or_default(),
            metadata: fields.read("metadata", Value::labels)?.unwrap_or_default(),
            request: schema(&mut fields, "request", pool.as_ref())?,
            response: schema(&mut fields, "response", pool.as_ref())?,
        };
        let unused = pool.is_some() && settings.request.is_none() && settings.response.is_none();
        if unused {
            let path = fields.path.field("descriptors");
            return Err(path.wrong("name the messages in it with `request` and `response`"));
        }
        fields.finish()?;
        Ok(settings)
    }
}

document!(EndpointSettings);

impl EndpointSettings {
    /// The endpoint with these settings.
    ///
    /// # Errors
    /// None today; what cannot be used is found when the settings are read.
    pub fn apply(self, mut endpoint: Endpoint) -> Result<Endpoint> {
        for (key, value) in &self.metadata {
            endpoint = endpoint.metadata(key, value);
        }
        if self.idempotent {
            endpoint = endpoint.idempotent();
        }
        if self.read_only {
            endpoint = endpoint.read_only();
        }
        if self.internal {
            endpoint = endpoint.internal();
        }
        let request = self.request.unwrap_or_else(|| endpoint.request().clone());
        let response = self.response.unwrap_or_else(|| endpoint.response().clone());
        Ok(endpoint.schemas(request, response))
    }
}

fn pool(value: Value) -> Result<DescriptorPool> {
    let path = value.path.clone();
    let set = STANDARD_PAD_INDIFFERENT
        .decode(value.text()?)
        .map_err(|error| path.wrong(format!("no base64: {error}")))?;
    DescriptorPool::decode(set.as_slice()).map_err(|error| {
        path.wrong(format!(
            "no FileDescriptorSet with all it imports (protoc --include_imports): {error}"
        ))
    })
}

pub(super) fn schema(
    fields: &mut Fields,
    name: &'static str,
    pool: Option<&DescriptorPool>,
) -> Result<Option<Schema>> {
    fields.read(name, |value| {
        let path = value.path.clone();
        if value.is_object() {
            let tree = "the name of a type, or a tree of `name`, `type` and `values`";
            return value.parse(tree).map(Schema::of_value);
        }
        let name = value.text()?;
        let Some(pool) = pool else { return Ok(Schema::named(&name)) };
        if let Some(message) = pool.get_message_by_name(&name) {
            return Ok(Schema::of_protobuf(message));
        }
        let known: Vec<_> =
            pool.all_messages().map(|message| message.full_name().to_owned()).collect();
        let hint = match nearest(&name, known.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "write its full name, with the package".to_owned(),
        };
        Err(path.wrong(format!("no message {} in `descriptors`: {hint}", quoted(&name))))
    })
}
