//! The TXT payload: a JSON object, zlib, lower-case hex, cut into strings of 255 characters
//! (go-micro `registry/mdns_registry.go`). Only the JSON matters, so any zlib level serves.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::registry::{Endpoint, Labels, nullable, weight};

/// Most bytes of JSON taken from one packet. A packet of 9000 bytes could inflate to 4 MiB; real
/// services with a hundred endpoints stay below this.
pub(super) const INFLATED_LIMIT: usize = 256 * 1024;
/// Most objects in that JSON: endpoints, and values of their requests and responses.
const OBJECT_LIMIT: usize = 8192;
/// Most endpoints of a service.
const ENDPOINT_LIMIT: usize = 1024;
/// Most memory that one description may take.
pub(super) const WEIGHT_LIMIT: usize = 512 * 1024;
/// Longest string inside a TXT record.
const STRING_LIMIT: usize = 255;

/// What a node tells about itself beyond its address. Field order and case are go-micro's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Payload {
    /// Name of the service.
    #[serde(alias = "service")]
    pub(super) service: String,
    /// Version of the service.
    #[serde(default, alias = "version")]
    pub(super) version: String,
    /// Endpoints of the version.
    #[serde(default, alias = "endpoints", with = "nullable")]
    pub(super) endpoints: Vec<Endpoint>,
    /// Metadata of the node; that of the service does not travel.
    #[serde(default, alias = "metadata", with = "nullable")]
    pub(super) metadata: Labels,
    /// Full id of a node, where it does not fit into a name; go-micro does not read it.
    #[serde(default, alias = "id", skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
}

impl Payload {
    /// The hex text of this payload.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let internal = |error: &dyn std::error::Error| Error::internal(format!("TXT: {error}"));
        let json = serde_json::to_vec(self).map_err(|error| internal(&error))?;
        if json.len() > INFLATED_LIMIT {
            return Err(Error::invalid_argument(format!(
                "service {} describes itself in {} bytes, over the {INFLATED_LIMIT} that mDNS \
                 carries: shorten metadata or endpoints",
                self.service,
                json.len()
            )));
        }
        if !self.is_bounded() || objects(&json) > OBJECT_LIMIT {
            return Err(Error::invalid_argument(format!(
                "service {} has {} endpoints that take {} bytes to describe; mDNS carries \
                 {ENDPOINT_LIMIT} endpoints and {WEIGHT_LIMIT} bytes: shorten metadata or endpoints",
                self.service,
                self.endpoints.len(),
                self.weight()
            )));
        }
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        let packed = zlib.write_all(&json).and_then(|()| zlib.finish());
        Ok(hex(&packed.map_err(|error| internal(&error))?))
    }

    /// Reads hex text, and takes what it inflates to out of `budget`. `None` for anything else.
    pub(super) fn decode(text: &[u8], budget: &mut usize) -> Option<Self> {
        let packed = unhex(text)?;
        let mut json = Vec::new();
        let limit = u64::try_from(*budget).ok()?.checked_add(1)?;
        let read = ZlibDecoder::new(packed.as_slice()).take(limit).read_to_end(&mut json);
        let left = budget.checked_sub(json.len());
        *budget = left.unwrap_or(0);
        // Two bytes of JSON can become two hundred of memory.
        if read.is_err() || left.is_none() || objects(&json) > OBJECT_LIMIT {
            return None;
        }
        serde_json::from_slice(&json).ok().filter(Self::is_bounded)
    }

    fn is_bounded(&self) -> bool {
        self.endpoints.len() <= ENDPOINT_LIMIT && self.weight() <= WEIGHT_LIMIT
    }

    /// Roughly the memory it takes.
    fn weight(&self) -> usize {
        self.service.len()
            + self.version.len()
            + self.id.as_ref().map_or(0, String::len)
            + weight::labels(&self.metadata)
            + self.endpoints.iter().map(weight::endpoint).sum::<usize>()
    }
}

fn objects(json: &[u8]) -> usize {
    json.iter().filter(|byte| **byte == b'{').count()
}

/// RDATA of a TXT record: `text` in strings that carry their length. Empty text gives no string.
pub(super) fn strings(text: &[u8]) -> Vec<u8> {
    let mut rdata = Vec::with_capacity(text.len() + text.len() / STRING_LIMIT + 1);
    for string in text.chunks(STRING_LIMIT) {
        rdata.push(u8::try_from(string.len()).unwrap_or(u8::MAX));
        rdata.extend_from_slice(string);
    }
    rdata
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS[usize::from(nibble)];
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registry::Value;

    /// What a go-micro v2 node sent.
    pub(in super::super) const CAPTURED: &str = "789c8c90b14af5401046dfe5ab97ff01b6ffd1c646c1466eb126435cdcccac3393c025ecbb4b628c37d858851cceb70766c113e99c3b42c4a0444e8a806752cbc28828c9c91c01ffb9af92d90df16501a7715ddc7d2dfedd53298200a58f69d5e3613cee24c0aff50ce654263a3db77d0ed35c330f37224fa5b44b5b3356858d4e9d1ddd840ef2bb34daf097d0489efae4097169ed12f0f0f38f5795775244bcb957045415974eca76c8da6dd718b2b95ed75ecf8600239db7cd6eb826b62aeadfa8b5cf000000ffff8ce58812";
    const CAPTURED_JSON: &str = r#"{"Service":"greeter","Version":"latest","Endpoints":[{"name":"Greeter.Hello","request":{"name":"Request","type":"Request","values":[{"name":"name","type":"string","values":null}]},"response":{"name":"Response","type":"Response","values":[{"name":"msg","type":"string","values":null}]},"metadata":{}}],"Metadata":{"broker":"http","protocol":"grpc","registry":"mdns","server":"grpc","transport":"grpc"}}"#;

    fn decode(text: &[u8]) -> Option<Payload> {
        Payload::decode(text, &mut INFLATED_LIMIT.clone())
    }

    #[test]
    fn payload_of_a_go_node_reads_as_its_json() {
        let expected: Payload = serde_json::from_str(CAPTURED_JSON).expect("JSON");
        let payload = decode(CAPTURED.as_bytes()).expect("payload");
        assert_eq!(payload, expected);
        assert_eq!(payload.metadata["protocol"], "grpc");
        assert_eq!(payload.endpoints[0].name, "Greeter.Hello");
        assert_eq!(decode(CAPTURED.to_uppercase().as_bytes()), Some(payload));
    }

    #[test]
    fn payload_is_the_json_that_go_writes() {
        let payload = decode(CAPTURED.as_bytes()).expect("payload");
        let hex = payload.encode().expect("encodes");
        let mut json = String::new();
        ZlibDecoder::new(unhex(&hex).expect("hex").as_slice())
            .read_to_string(&mut json)
            .expect("zlib");
        assert_eq!(json, CAPTURED_JSON.replace(r#""metadata":{}"#, r#""metadata":null"#));
    }

    #[test]
    fn long_text_is_cut_into_strings_of_255() {
        let rdata = strings(CAPTURED.as_bytes());
        assert_eq!((rdata.len(), rdata[0], rdata[256]), (0x19c, 255, 155));
        assert_eq!(strings(b""), b"");
    }

    #[test]
    fn bomb_is_refused_before_it_inflates() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        let name = vec![b'a'; 4 << 20];
        zlib.write_all(b"{\"Service\":\"").and_then(|()| zlib.write_all(&name)).expect("zlib");
        zlib.write_all(b"\"}").expect("zlib");
        let bomb = hex(&zlib.finish().expect("zlib"));
        assert!(bomb.len() < 9000, "fits into a packet: {}", bomb.len());
        let mut budget = INFLATED_LIMIT;
        assert_eq!(Payload::decode(&bomb, &mut budget), None);
        assert_eq!(budget, 0);
    }

    /// A payload of JSON that was written by hand.
    fn packed(json: &str) -> Vec<u8> {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        zlib.write_all(json.as_bytes()).expect("zlib");
        hex(&zlib.finish().expect("zlib"))
    }

    #[test]
    fn description_that_grows_in_memory_is_refused() {
        let endpoints = |count: usize| {
            let endpoints = vec![r#"{"name":""}"#; count].join(",");
            packed(&format!(r#"{{"Service":"a","Endpoints":[{endpoints}]}}"#))
        };
        assert!(decode(&endpoints(ENDPOINT_LIMIT)).is_some());
        assert_eq!(decode(&endpoints(ENDPOINT_LIMIT + 1)), None);
        let values = vec!["{}"; OBJECT_LIMIT].join(",");
        let request = format!(r#"{{"name":"b","request":{{"values":[{values}]}}}}"#);
        assert_eq!(decode(&packed(&format!(r#"{{"Service":"a","Endpoints":[{request}]}}"#))), None);
        let labels: Vec<String> = (0..9000).map(|key| format!(r#""{key}":"""#)).collect();
        let labels = packed(&format!(r#"{{"Service":"a","Metadata":{{{}}}}}"#, labels.join(",")));
        assert_eq!(decode(&labels), None);
    }

    #[test]
    fn service_with_a_hundred_large_endpoints_is_carried() {
        let value = |name: usize| Value { name: name.to_string(), ..Value::default() };
        let shape = Value { values: (0..10).map(value).collect(), ..Value::default() };
        let endpoint = |number: usize| Endpoint {
            name: format!("Greeter.Hello{number}"),
            request: Some(shape.clone()),
            response: Some(shape.clone()),
            ..Endpoint::default()
        };
        let endpoints = (0..100).map(endpoint).collect();
        let payload = Payload { service: "a".into(), endpoints, ..Payload::default() };
        assert_eq!(decode(&payload.encode().expect("fits")), Some(payload));
    }

    #[test]
    fn second_payload_of_a_packet_gets_what_the_first_left() {
        let mut budget = CAPTURED_JSON.len() + 10;
        assert!(Payload::decode(CAPTURED.as_bytes(), &mut budget).is_some());
        assert_eq!(budget, 10);
        assert_eq!(Payload::decode(CAPTURED.as_bytes(), &mut budget), None);
    }

    #[test]
    fn description_that_no_reader_would_take_is_refused() {
        let metadata = [("k".to_owned(), "v".repeat(INFLATED_LIMIT))].into();
        let payload = Payload { service: "a".into(), metadata, ..Payload::default() };
        assert_eq!(
            payload.encode().expect_err("too long").code(),
            crate::error::Code::InvalidArgument
        );
    }

    proptest! {
        #[test]
        fn any_payload_survives_the_trip(
            service in ".{0,40}",
            version in ".{0,20}",
            names in prop::collection::vec(".{0,30}", 0..20),
            metadata in prop::collection::btree_map(".{0,20}", ".{0,60}", 0..10),
        ) {
            let endpoints =
                names.into_iter().map(|name| Endpoint { name, ..Endpoint::default() }).collect();
            let payload = Payload { service, version, endpoints, metadata, id: None };
            prop_assert_eq!(decode(&payload.encode().expect("encodes")), Some(payload));
        }

        #[test]
        fn arbitrary_text_never_panics(text in prop::collection::vec(any::<u8>(), 0..9000)) {
            let _ = decode(&text);
            let _ = decode(&hex(&text));
        }
    }
}
