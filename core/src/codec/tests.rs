//! The table of content types, and what speaks the codecs that a program adds.

use bytes::{BufMut as _, Bytes, BytesMut};

use serde::Serialize;
use serde::de::DeserializeSeed;

use super::*;
use crate::Code;
use crate::proto::debug::StatsResponse;

struct MessagePack;

impl Format for MessagePack {
    fn write<T>(&self, value: &T, buffer: &mut BytesMut) -> Result<(), FormatError>
    where
        T: Serialize + ?Sized,
    {
        let mut writer = rmp_serde::Serializer::new(buffer.writer()).with_struct_map();
        Ok(value.serialize(&mut writer)?)
    }

    fn read<'de, S>(&self, bytes: &'de [u8], seed: S) -> Result<S::Value, FormatError>
    where
        S: DeserializeSeed<'de>,
    {
        Ok(seed.deserialize(&mut rmp_serde::Deserializer::from_read_ref(bytes))?)
    }
}

#[test]
fn an_added_codec_is_found_by_its_content_types() {
    let codec = provide("x.found", MessagePack).expect("a new name");
    for name in [
        "application/grpc+x.found",
        "Application/GRPC+X.Found; charset=x",
        "application/x.found",
        "application/connect+x.found",
    ] {
        assert_eq!(Codec::from_content_type(name), Ok(codec), "{name}");
    }
    assert_eq!((codec.name(), codec.to_string()), ("x.found", "x.found".to_owned()));
    let Codec::Added(added) = codec else { panic!("{codec:?}") };
    assert_eq!(Added::numbered(added.number()), Some(added));
    for name in ["application/grpc+x.lost", "text/x.found", "x.found", "application/x.found+x"] {
        assert!(Codec::from_content_type(name).is_err(), "{name}");
    }
}

#[test]
fn types_of_serde_and_of_protobuf_speak_it() {
    let codec = provide("x.spoken", MessagePack).expect("a new name");
    let pair = Json(("Ada".to_owned(), 7_u64));
    let bytes = pair.clone().into_bytes(codec, Side::Client).expect("writes");
    assert_eq!(bytes[..], [0x92, 0xa3, b'A', b'd', b'a', 7]);
    assert_eq!(Json::decode(codec, bytes), Ok(pair));
    let stats = StatsResponse { started: 5, ..Default::default() };
    let bytes = stats.into_bytes(codec, Side::Client).expect("writes");
    assert_eq!(&bytes[..], b"\x81\xa7started\xa15");
    assert_eq!(StatsResponse::decode(codec, bytes), Ok(stats));
    let raw = Bytes::from_static(b"\xc1");
    assert_eq!(Raw::decode(codec, raw.clone()), Ok(Raw(raw.clone())));
    for error in [
        Json::<u8>::decode(codec, raw.clone()).expect_err("no value"),
        StatsResponse::decode(codec, raw.clone()).expect_err("no message"),
    ] {
        assert_eq!((error.code(), error.http_code()), (Code::InvalidArgument, 400), "{error}");
        assert!(error.detail().contains("failed to unmarshal"), "{error}");
    }
    let error = Proto::<StatsResponse>::decode(codec, raw).expect_err("no descriptor");
    assert_eq!(error.code(), Code::Unimplemented);
}

#[test]
fn what_a_format_cannot_say_is_the_fault_of_its_side() {
    struct Mute;
    impl Format for Mute {
        fn write<T>(&self, _: &T, _: &mut BytesMut) -> Result<(), FormatError>
        where
            T: Serialize + ?Sized,
        {
            Err("there are no words".into())
        }

        fn read<'de, S>(&self, _: &'de [u8], _: S) -> Result<S::Value, FormatError>
        where
            S: DeserializeSeed<'de>,
        {
            Err("there are no words".into())
        }
    }
    let codec = provide("x.mute", Mute).expect("a new name");
    let error = Json(1).into_bytes(codec, Side::Client).expect_err("a client's");
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.detail().contains("no words"), "{error}");
    let error = Json(1).into_bytes(codec, Side::Server).expect_err("a server's");
    assert_eq!(error.code(), Code::Internal);
}

#[test]
fn a_codec_that_was_declared_is_spoken_by_bytes_until_it_has_a_format() {
    let codec = declare("x.declared").expect("a new name");
    assert_eq!(declare("x.declared"), Ok(codec));
    let error = Json(1).into_bytes(codec, Side::Client).expect_err("no format yet");
    assert_eq!(error.code(), Code::Unimplemented);
    assert!(error.detail().contains("`x.declared`"), "{error}");
    assert_eq!(provide("x.declared", MessagePack), Ok(codec));
    assert_eq!(Json(1).into_bytes(codec, Side::Client).expect("writes")[..], [1]);
    let error = provide("x.declared", MessagePack).expect_err("it has one");
    assert_eq!(error.code(), Code::AlreadyExists);
}

#[test]
fn content_types_follow_go_micros_table() {
    for (name, codec) in [
        ("application/json", Codec::Json),
        ("application/grpc+json", Codec::Json),
        ("application/grpc", Codec::Proto),
        ("application/grpc+proto; charset=x", Codec::Proto),
        ("Application/Protobuf", Codec::Proto),
        ("application/grpc+bytes", Codec::Bytes),
    ] {
        assert_eq!(Codec::from_content_type(name).ok(), Some(codec), "{name}");
    }
    let error = Codec::from_content_type("application/grpc+foo").expect_err("unknown");
    assert_eq!(error.detail(), "Unsupported Content-Type: application/grpc+foo");
}
