//! Writes DNS packets byte for byte as go-micro does.
//!
//! By hand, because hickory cannot leave chosen names uncompressed, nor write a TXT without
//! strings or a question with the unicast bit, and Go's readers and the captured packets ask for
//! exactly that. Only names already checked by [`Names`](super::names::Names), or read from a
//! packet, reach it.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::packet::{CLASS_IN, Question, UNICAST_BIT, kind};

/// Response with authority, as answers carry it.
pub(super) const ANSWER: u16 = 0x8400;
/// Response without, as go-micro's announcements carry it.
pub(super) const ANNOUNCEMENT: u16 = 0x8000;
/// Highest offset a compression pointer reaches.
const POINTER_LIMIT: usize = 0x3fff;

/// A packet being written.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    questions: u16,
    answers: u16,
    /// Where labels start that later names may point to; `None` writes every name in full.
    offsets: Option<SmallVec<[u16; 24]>>,
}

impl Writer {
    /// A packet with names that point back to earlier ones.
    pub(super) fn compressed(id: u16, flags: u16) -> Self {
        let mut writer = Self::plain(id, flags);
        writer.offsets = Some(SmallVec::new());
        writer
    }

    /// A packet with every name in full.
    pub(super) fn plain(id: u16, flags: u16) -> Self {
        let mut bytes = Vec::with_capacity(1024);
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&flags.to_be_bytes());
        bytes.extend_from_slice(&[0; 8]);
        Self { bytes, questions: 0, answers: 0, offsets: None }
    }

    /// Adds a question as it was asked.
    pub(super) fn question(&mut self, question: &Question) {
        self.name(&question.name, true);
        self.number(question.kind);
        self.number(question.class);
        self.questions += 1;
    }

    /// Adds an answer: PTR.
    pub(super) fn pointer(&mut self, owner: &str, ttl: u32, target: &str) {
        self.record(owner, kind::PTR, ttl, |writer| writer.name(target, true));
    }

    /// Adds an answer: SRV, with go-micro's priority and weight.
    pub(super) fn server(&mut self, owner: &str, ttl: u32, port: u16, target: &str) {
        self.record(owner, kind::SRV, ttl, |writer| {
            writer.number(10);
            writer.number(1);
            writer.number(port);
            writer.name(target, false);
        });
    }

    /// Adds an answer: A or AAAA.
    pub(super) fn address(&mut self, owner: &str, ttl: u32, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.record(owner, kind::A, ttl, |writer| {
                writer.bytes.extend_from_slice(&v4.octets());
            }),
            IpAddr::V6(v6) => self.record(owner, kind::AAAA, ttl, |writer| {
                writer.bytes.extend_from_slice(&v6.octets());
            }),
        }
    }

    /// Adds an answer: TXT, `rdata` being strings that carry their length.
    pub(super) fn text(&mut self, owner: &str, ttl: u32, rdata: &[u8]) {
        self.record(owner, kind::TXT, ttl, |writer| writer.bytes.extend_from_slice(rdata));
    }

    /// True when nothing answers yet.
    pub(super) fn is_empty(&self) -> bool {
        self.answers == 0
    }

    /// The finished packet.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes[4..6].copy_from_slice(&self.questions.to_be_bytes());
        self.bytes[6..8].copy_from_slice(&self.answers.to_be_bytes());
        self.bytes
    }

    fn record(&mut self, owner: &str, kind: u16, ttl: u32, data: impl FnOnce(&mut Self)) {
        self.name(owner, true);
        self.number(kind);
        self.number(CLASS_IN);
        self.bytes.extend_from_slice(&ttl.to_be_bytes());
        let length_at = self.bytes.len();
        self.number(0);
        data(self);
        // A payload that outgrows the field also outgrows the packet, which `Entry` checks.
        let length = u16::try_from(self.bytes.len() - length_at - 2).unwrap_or(u16::MAX);
        self.bytes[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        self.answers += 1;
    }

    fn number(&mut self, number: u16) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }

    /// Writes a dotted name; `point` lets it end in a pointer to an earlier one.
    fn name(&mut self, name: &str, point: bool) {
        let mut rest = name.strip_suffix('.').unwrap_or(name);
        while !rest.is_empty() {
            if let Some(offsets) = &self.offsets {
                let earlier = offsets.iter().find(|offset| self.holds(usize::from(**offset), rest));
                if let (true, Some(&offset)) = (point, earlier) {
                    self.number(0xc000 | offset);
                    return;
                }
            }
            let start = self.bytes.len();
            if let (Some(offsets), true) = (&mut self.offsets, start <= POINTER_LIMIT) {
                offsets.extend(u16::try_from(start));
            }
            let (label, others) = rest.split_once('.').unwrap_or((rest, ""));
            self.bytes.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
            self.bytes.extend_from_slice(label.as_bytes());
            rest = others;
        }
        self.bytes.push(0);
    }

    /// True when the name written at `offset` is `name`.
    fn holds(&self, mut offset: usize, mut name: &str) -> bool {
        loop {
            match self.bytes.get(offset) {
                None => return false,
                Some(0) => return name.is_empty(),
                Some(&high) if high >= 0xc0 => {
                    let Some(&low) = self.bytes.get(offset + 1) else { return false };
                    offset = usize::from(high & 0x3f) << 8 | usize::from(low);
                }
                Some(&length) => {
                    let end = offset + 1 + usize::from(length);
                    let Some(label) = self.bytes.get(offset + 1..end) else { return false };
                    let (expected, others) = name.split_once('.').unwrap_or((name, ""));
                    if label != expected.as_bytes() {
                        return false;
                    }
                    (offset, name) = (end, others);
                }
            }
        }
    }
}

/// A query with one question.
pub(super) fn query(question: &Question) -> Vec<u8> {
    let mut writer = Writer::compressed(fastrand::u16(..), 0);
    writer.question(question);
    writer.finish()
}

/// Id of an answer: the asker's when it wanted a unicast answer, 0 otherwise.
pub(super) fn answer_id(id: u16, questions: &[Question]) -> u16 {
    if questions.iter().any(|question| question.class & UNICAST_BIT != 0) { id } else { 0 }
}
