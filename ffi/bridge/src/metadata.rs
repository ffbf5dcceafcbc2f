//! Metadata as one block of bytes: one crossing, and safe for binary values.
//!
//! A block is `u32 n`, then n times `u32 name length, u32 value length, name, value`, all numbers in the machine's own byte
//! order. Values under names that end in `-bin` are bytes as they are; base64, and that the wire may join several, is the wire's
//! business. Two blocks may follow
//! each other: headers, then trailers.

use std::borrow::Cow;

use bytes::{BufMut as _, Bytes, BytesMut};
use micro::Metadata;

use crate::failure::{Failure, Result};

/// Bytes of a block at most: more than any header list a server takes.
const LARGEST: usize = 1024 * 1024;

/// The metadata as a block; empty when there is none that is the caller's business: names that gRPC owns are left out.
pub fn pack(metadata: &Metadata) -> Bytes {
    pack_all([metadata])
}

/// Headers, and a second block of what is known beside them, which is text.
pub(crate) fn pack_facts<'a>(
    headers: &Metadata,
    known: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Bytes {
    let size = known.clone().map(|(name, value)| 8 + name.len() + value.len()).sum::<usize>();
    let mut out = BytesMut::with_capacity(about(headers) + 4 + size);
    write(entries(headers), &mut out);
    write(known.map(|(name, value)| (name, Cow::Borrowed(value.as_bytes()))), &mut out);
    out.freeze()
}

/// Headers and trailers as two blocks; nothing at all when both are empty, and no second block without trailers.
pub(crate) fn pack_both(headers: &Metadata, trailers: &Metadata) -> Bytes {
    if entries(trailers).next().is_none() { pack(headers) } else { pack_all([headers, trailers]) }
}

fn pack_all<const N: usize>(blocks: [&Metadata; N]) -> Bytes {
    let size: usize = blocks.iter().map(|block| about(block)).sum();
    let mut out = BytesMut::with_capacity(size);
    let entries: u32 = blocks.iter().map(|block| write(entries(block), &mut out)).sum();
    if entries == 0 { Bytes::new() } else { out.freeze() }
}

fn entries(metadata: &Metadata) -> impl Iterator<Item = (&str, Cow<'_, [u8]>)> {
    metadata.values().filter(|(name, _)| !is_protocol(name))
}

/// Bytes that a block will need, about: base64 is longer than what it holds.
fn about(metadata: &Metadata) -> usize {
    4 + metadata.iter().map(|(name, value)| 8 + name.len() + value.len()).sum::<usize>()
}

/// What gRPC says about itself, not the caller about its call.
fn is_protocol(name: &str) -> bool {
    name.starts_with("grpc-") || matches!(name, "content-type" | "te" | "date")
}

fn write<'a>(entries: impl Iterator<Item = (&'a str, Cow<'a, [u8]>)>, out: &mut BytesMut) -> u32 {
    let start = out.len();
    out.put_u32_ne(0);
    let mut count = 0u32;
    for (name, value) in entries {
        out.put_u32_ne(length(name.len()));
        out.put_u32_ne(length(value.len()));
        out.put_slice(name.as_bytes());
        out.put_slice(&value);
        count += 1;
    }
    out[start..start + 4].copy_from_slice(&count.to_ne_bytes());
    count
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Reads a block that a host made; an empty one is no metadata.
///
/// # Errors
/// [`Status::ARG`](crate::Status::ARG) for a block that is cut short or too long, and for names and values that cannot be
/// sent.
pub fn unpack(block: &[u8]) -> Result<Metadata> {
    let mut metadata = Metadata::new();
    if block.len() > LARGEST {
        return Err(Failure::argument("metadata of more than 1 MiB: send it as a message"));
    }
    if block.is_empty() {
        return Ok(metadata);
    }
    let mut headers = Headers::new(block);
    for (name, value) in headers.by_ref() {
        let name = std::str::from_utf8(name)
            .map_err(|_| Failure::argument("a metadata name is not UTF-8"))?;
        append(&mut metadata, name, value)?;
    }
    if !headers.rest().is_empty() || headers.broken {
        return Err(Failure::argument("a metadata block is cut short or has a wrong count"));
    }
    Ok(metadata)
}

/// A block with an entry more: text, or bytes under a name that ends in `-bin`.
///
/// # Errors
/// As [`unpack`].
pub fn add(block: &[u8], name: &str, value: &[u8]) -> Result<Bytes> {
    let mut metadata = unpack(block)?;
    append(&mut metadata, name, value)?;
    Ok(pack(&metadata))
}

fn append(metadata: &mut Metadata, name: &str, value: &[u8]) -> Result<()> {
    if name.to_ascii_lowercase().ends_with("-bin") {
        return Ok(metadata.append_bin(name, value)?);
    }
    let value = std::str::from_utf8(value).map_err(|_| {
        Failure::argument(format!(
            "metadata `{name}` is not text: send bytes under a name that ends in -bin"
        ))
    })?;
    Ok(metadata.append(name, value)?)
}

/// Names and values of one block, in order.
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    rest: &'a [u8],
    left: u32,
    broken: bool,
}

impl<'a> Headers<'a> {
    /// The entries of the first block in `blocks`.
    pub fn new(blocks: &'a [u8]) -> Self {
        let mut headers = Self { rest: blocks, left: 0, broken: false };
        headers.left = headers.number().unwrap_or(0);
        headers.broken = headers.broken && !blocks.is_empty();
        headers
    }

    /// The next entry of a walk over `blocks` that holds on to nothing: `at` bytes and `read` entries of them have been read.
    pub fn step(blocks: &'a [u8], at: &mut usize, read: &mut u32) -> Option<(&'a [u8], &'a [u8])> {
        let mut headers = Self::new(blocks);
        if *read > 0 {
            headers.left = headers.left.saturating_sub(*read);
            headers.rest = blocks.get(*at..).unwrap_or_default();
        }
        let entry = headers.next()?;
        *at = blocks.len() - headers.rest.len();
        *read += 1;
        Some(entry)
    }

    /// What follows the first block.
    pub fn after(blocks: &'a [u8]) -> &'a [u8] {
        let mut headers = Self::new(blocks);
        headers.by_ref().for_each(drop);
        headers.rest
    }

    /// What follows the entries that were read: after the last, the next block.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn number(&mut self) -> Option<u32> {
        let bytes = self.bytes(4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let Some((bytes, rest)) = self.rest.split_at_checked(count) else {
            self.broken = true;
            return None;
        };
        self.rest = rest;
        Some(bytes)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (name, value) = (self.number()?, self.number()?);
        Some((self.bytes(name as usize)?, self.bytes(value as usize)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;

    fn metadata(entries: &[(&str, &str)]) -> Metadata {
        let mut metadata = Metadata::new();
        for (name, value) in entries {
            metadata.append(name, value).expect("valid");
        }
        metadata
    }

    #[test]
    fn repeated_and_binary_values_come_back() {
        let mut sent = metadata(&[("tenant", "blue"), ("tenant", "green"), ("a", "1")]);
        sent.append_bin("key-bin", &[0, 255, 10]).expect("valid");
        let block = pack(&sent);
        let keys: Vec<_> = Headers::new(&block).filter(|(name, _)| *name == b"key-bin").collect();
        assert_eq!(keys, [(&b"key-bin"[..], &[0u8, 255, 10][..])]);
        assert_eq!(unpack(&block).expect("a block"), sent);
    }

    #[test]
    fn a_block_grows_by_text_and_by_bytes() {
        let text = add(&[], "tenant", b"blue").expect("text");
        let both = add(&text, "Key-Bin", &[0, 255]).expect("bytes");
        let read = unpack(&both).expect("a block");
        assert_eq!(
            (read.get("tenant"), read.get_bin("key-bin")),
            (Some("blue"), Some(vec![0, 255]))
        );
        let failure = add(&both, "tenant", &[0xff]).expect_err("no text");
        assert!(failure.message().contains("-bin"), "{failure}");
    }

    #[test]
    fn values_that_the_wire_joined_come_apart_and_what_is_no_base64_stays_out() {
        let sent = metadata(&[("a-bin", "AQ==, Ag"), ("b-bin", "no base64!"), ("c", "1")]);
        let block = pack(&sent);
        let entries: Vec<_> = Headers::new(&block).collect();
        assert_eq!(
            entries,
            [(&b"a-bin"[..], &[1u8][..]), (&b"a-bin"[..], &[2][..]), (&b"c"[..], &b"1"[..])]
        );
        assert!(pack(&metadata(&[("b-bin", "no base64!")])).is_empty());
    }

    #[test]
    fn headers_and_trailers_are_two_blocks() {
        let blocks = pack_both(&metadata(&[("a", "1")]), &metadata(&[("b", "2")]));
        let mut headers = Headers::new(&blocks);
        assert_eq!(headers.by_ref().collect::<Vec<_>>(), [(&b"a"[..], &b"1"[..])]);
        let mut trailers = Headers::new(headers.rest());
        assert_eq!(trailers.by_ref().collect::<Vec<_>>(), [(&b"b"[..], &b"2"[..])]);
        assert!(trailers.rest().is_empty());
        let first = blocks.len() - headers.rest().len();
        assert_eq!(Headers::after(&blocks), &blocks[first..]);
        let (mut at, mut read) = (0, 0);
        assert!(Headers::step(&blocks, &mut at, &mut read).is_some());
        assert_eq!((at, read), (first, 1));
        assert_eq!(Headers::step(&blocks, &mut at, &mut read), None, "trailers are another walk");
        (at, read) = (usize::MAX, 7);
        assert_eq!(Headers::step(&blocks, &mut at, &mut read), None);
        assert!(pack_both(&Metadata::new(), &Metadata::new()).is_empty());
        assert_eq!(Headers::new(&pack_both(&Metadata::new(), &metadata(&[("b", "2")]))).count(), 0);
    }

    #[test]
    fn broken_blocks_are_refused() {
        let block = pack(&metadata(&[("tenant", "blue"), ("a", "1")]));
        for end in 1..block.len() {
            let failure = unpack(&block[..end]).expect_err("cut short");
            assert_eq!(failure.status(), Status::ARG, "{end}");
        }
        for wrong in [&[255u8; 4][..], &[1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]] {
            assert_eq!(unpack(wrong).expect_err("no block").status(), Status::ARG);
        }
        let longer = [&block[..], b"x"].concat();
        assert_eq!(unpack(&longer).expect_err("too long").status(), Status::ARG);
    }

    #[test]
    fn more_names_than_fit_are_refused() {
        let mut block = BytesMut::new();
        block.put_u32_ne(30_000);
        for n in 0..30_000 {
            let name = format!("name-{n}");
            block.put_u32_ne(length(name.len()));
            block.put_u32_ne(1);
            block.put_slice(name.as_bytes());
            block.put_slice(b"1");
        }
        let failure = unpack(&block).expect_err("too many");
        assert_eq!(failure.status(), Status(3));
        assert!(failure.message().contains("more than 8192 names"), "{failure}");
    }

    #[test]
    fn names_that_cannot_be_sent_are_refused_with_the_cores_words() {
        let mut block = BytesMut::new();
        block.put_u32_ne(1);
        block.put_u32_ne(2);
        block.put_u32_ne(1);
        block.put_slice(b"tex");
        let failure = unpack(&block).expect_err("reserved");
        assert!(failure.message().contains("reserved"), "{failure}");
    }
}
