//! What arrives in a DNS packet, bounded and reduced to the few records a registry reads.
//!
//! Hickory decodes the parts; the message is walked here because its own walk refuses records
//! without data, and go-micro's list answers carry an empty TXT.

use std::net::IpAddr;

use hickory_proto::op::{Header, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record as DnsRecord, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// Largest packet read or sent, RFC 6762 section 17.
pub(super) const PACKET_LIMIT: usize = 9000;
/// Most questions read from one packet.
const QUESTION_LIMIT: u16 = 16;
/// Most records read from one packet, all sections together.
const RECORD_LIMIT: u16 = 128;

/// Record types by number.
pub(super) mod kind {
    pub(in super::super) const A: u16 = 1;
    pub(in super::super) const PTR: u16 = 12;
    pub(in super::super) const TXT: u16 = 16;
    pub(in super::super) const AAAA: u16 = 28;
    pub(in super::super) const SRV: u16 = 33;
    pub(in super::super) const ANY: u16 = 255;
}

/// Class IN.
pub(super) const CLASS_IN: u16 = 1;
/// Top bit of a question's class: answer by unicast.
pub(super) const UNICAST_BIT: u16 = 0x8000;

/// A packet that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// A query. Records beside the questions are not read, nor does go-micro read them.
    Query {
        /// To be echoed when an answer by unicast was asked for.
        id: u16,
        /// What is asked.
        questions: Vec<Question>,
    },
    /// An answer or an announcement: records of the answer and additional sections, in order.
    Response(Vec<Record>),
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// Dotted, with a dot at the end.
    pub(super) name: String,
    /// Record type by number.
    pub(super) kind: u16,
    /// Class with the unicast bit.
    pub(super) class: u16,
}

/// One record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Dotted, with a dot at the end.
    pub(super) name: String,
    /// Seconds; 0 says goodbye.
    pub(super) ttl: u32,
    /// What it says.
    pub(super) data: Data,
}

/// Data of the record types a registry reads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// Name of an instance.
    Pointer(String),
    /// Where an instance listens.
    Server {
        /// Port.
        port: u16,
        /// Owner of the address.
        target: String,
    },
    /// Address of a host.
    Address(IpAddr),
    /// Strings of a TXT record, joined.
    Text(Vec<u8>),
}

impl Question {
    /// A question with the class every go-micro asks with.
    pub(super) fn new(name: String, kind: u16) -> Self {
        Self { name, kind, class: CLASS_IN }
    }
}

impl Packet {
    /// Reads a packet. `None` for anything malformed, over a limit, or no plain query or response.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > PACKET_LIMIT {
            return None;
        }
        let mut decoder = BinDecoder::new(bytes);
        let Header { metadata, counts } = Header::read(&mut decoder).ok()?;
        let sections = [counts.answers, counts.authorities, counts.additionals];
        let total = sections.iter().fold(0_u16, |total, count| total.saturating_add(*count));
        if metadata.op_code != OpCode::Query
            || metadata.response_code != ResponseCode::NoError
            || counts.queries > QUESTION_LIMIT
            || total > RECORD_LIMIT
        {
            return None;
        }
        let mut questions = Vec::with_capacity(usize::from(counts.queries));
        for _ in 0..counts.queries {
            let query = Query::read(&mut decoder).ok()?;
            questions.push(Question {
                name: dotted(&query.name)?,
                kind: query.query_type.into(),
                class: query.query_class.into(),
            });
        }
        if metadata.message_type == MessageType::Query {
            return Some(Self::Query { id: metadata.id, questions });
        }
        let mut records = Vec::with_capacity(usize::from(total));
        for (section, count) in sections.into_iter().enumerate() {
            for _ in 0..count {
                let record = DnsRecord::read(&mut decoder).ok()?;
                let authority = section == 1;
                records.extend(Record::reduce(record).filter(|_| !authority));
            }
        }
        Some(Self::Response(records))
    }
}

impl Record {
    /// `None` for records of no interest to a registry.
    fn reduce(record: DnsRecord) -> Option<Self> {
        let data = match record.data {
            RData::PTR(target) => Data::Pointer(dotted(&target.0)?),
            RData::SRV(server) => {
                Data::Server { port: server.port, target: dotted(&server.target)? }
            }
            RData::A(address) => Data::Address(IpAddr::V4(address.0)),
            RData::AAAA(address) => Data::Address(IpAddr::V6(address.0)),
            RData::TXT(text) => Data::Text(text.txt_data.concat()),
            RData::Update0(RecordType::TXT) => Data::Text(Vec::new()),
            _ => return None,
        };
        Some(Self { name: dotted(&record.name)?, ttl: record.ttl, data })
    }
}

/// Labels joined by dots. DNS-SD speakers that keep a dotted instance in one label read the same.
fn dotted(name: &Name) -> Option<String> {
    let mut text = String::with_capacity(name.len() + 1);
    for label in name {
        text.push_str(std::str::from_utf8(label).ok()?);
        text.push('.');
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::vectors::{self, bytes};
    use super::*;

    #[test]
    fn question_of_a_go_client_is_read() {
        let greeter = Question::new("greeter.micro.".into(), kind::PTR);
        assert_eq!(
            Packet::decode(&bytes(vectors::QUERY)),
            Some(Packet::Query { id: 0x1234, questions: vec![greeter] })
        );
    }

    #[test]
    fn answer_of_a_go_node_is_read_in_order() {
        let Some(Packet::Response(records)) = Packet::decode(&bytes(vectors::ANSWER)) else {
            panic!("no response");
        };
        let instance = format!("{}.greeter.micro.", vectors::ID);
        let [pointer, server, address, text] = &records[..] else { panic!("{records:?}") };
        assert_eq!(pointer.name, "greeter.micro.");
        assert_eq!(pointer.data, Data::Pointer(instance.clone()));
        assert_eq!((server.name.as_str(), server.ttl), (instance.as_str(), 120));
        assert_eq!(server.data, Data::Server { port: 41001, target: "probehost.".into() });
        assert_eq!(address.name, "probehost.");
        assert_eq!(address.data, Data::Address([10, 9, 0, 1].into()));
        assert_eq!(text.data, Data::Text(super::super::txt::tests::CAPTURED.into()));
    }

    #[test]
    fn text_without_data_is_read_as_empty() {
        let Some(Packet::Response(records)) = Packet::decode(&bytes(vectors::LIST_ANSWER)) else {
            panic!("no response");
        };
        assert_eq!(records[3].data, Data::Text(Vec::new()));
        assert_eq!(records[3].name, "greeter._services.micro.");
    }

    #[test]
    fn goodbye_is_an_announcement_without_time_to_live() {
        let Some(Packet::Response(records)) = Packet::decode(&vectors::goodbye()) else {
            panic!("no response");
        };
        assert_eq!(records.iter().map(|record| record.ttl).collect::<Vec<_>>(), [0, 0, 0]);
    }

    #[test]
    fn counts_over_the_limits_are_refused_before_anything_is_read() {
        let mut packet = bytes(vectors::ANSWER);
        packet[6..8].copy_from_slice(&u16::MAX.to_be_bytes());
        assert_eq!(Packet::decode(&packet), None);
        let mut packet = bytes(vectors::QUERY);
        packet[4..6].copy_from_slice(&17_u16.to_be_bytes());
        assert_eq!(Packet::decode(&packet), None);
        assert_eq!(Packet::decode(&[0; PACKET_LIMIT + 1]), None);
    }

    #[test]
    fn compression_that_points_at_itself_is_refused() {
        let mut packet = bytes(vectors::QUERY)[..12].to_vec();
        packet.extend([0xc0, 12, 0, 12, 0, 1]);
        assert_eq!(Packet::decode(&packet), None);
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = bytes(vectors::ANSWER);
        for length in 0..whole.len() {
            assert_eq!(Packet::decode(&whole[..length]), None, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = Packet::decode(&bytes);
        }
    }
}
