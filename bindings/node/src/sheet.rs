//! Events on their way to JavaScript: numbers on one sheet, bytes in one arena, both of which JavaScript reads and gives again.
//! Only what has no place there becomes an object.

use bytes::Bytes;
use micro_bridge::Event;
use napi::bindgen_prelude::BufferSlice;
use napi::{Either, Env};

use crate::failure::Failure;
use crate::number::{milliseconds, of_id, of_size, of_token};
use crate::payload::buffer;

/// Numbers of one event; `lib/native.ts` reads them in this order.
const FIELDS: usize = 11;
/// Longest run of bytes that goes into the arena.
const LONGEST: usize = 16 * 1024;
/// Stands for the start of what is an object of its own.
const APART: f64 = -1.0;

/// What has no place on the sheet: a message, metadata, a failure, in this order for each event.
pub(crate) type Extra<'env> = Either<BufferSlice<'env>, Failure>;

/// A turn of the event loop.
pub(crate) struct Sheet<'a, 'env> {
    env: &'env Env,
    numbers: &'a mut [f64],
    arena: &'a mut [u8],
    events: usize,
    used: usize,
    extras: Vec<Extra<'env>>,
    wrong: Option<napi::Error>,
}

impl<'a, 'env> Sheet<'a, 'env> {
    pub(crate) fn new(env: &'env Env, numbers: &'a mut [f64], arena: &'a mut [u8]) -> Self {
        Self { env, numbers, arena, events: 0, used: 0, extras: Vec::new(), wrong: None }
    }

    /// How many events fit.
    pub(crate) fn room(&self) -> usize {
        self.numbers.len().saturating_sub(1) / FIELDS
    }

    /// Writes an event down.
    pub(crate) fn add(&mut self, event: Event) {
        let Event { kind, token, id, method, flags, timeout_ns, payload, meta, failure, .. } =
            event;
        let (start, length) = self.place(payload);
        let (meta_start, meta_length) = self.place(meta);
        let row = [
            f64::from(kind as u16),
            of_token(token),
            of_id(id),
            f64::from(method),
            f64::from(flags),
            milliseconds(timeout_ns),
            start,
            length,
            meta_start,
            meta_length,
            f64::from(u8::from(failure.is_some())),
        ];
        self.extras.extend(failure.map(|failure| Either::B(Failure::from(&*failure))));
        let at = 1 + self.events * FIELDS;
        if let Some(place) = self.numbers.get_mut(at..at + FIELDS) {
            place.copy_from_slice(&row);
            self.events += 1;
        }
    }

    /// Where bytes begin, and how many they are.
    fn place(&mut self, bytes: Bytes) -> (f64, f64) {
        let (length, start) = (bytes.len(), self.used);
        let fits = length <= LONGEST && length <= self.arena.len() - start;
        if fits {
            self.arena[start..start + length].copy_from_slice(&bytes);
            self.used += length;
            return (of_size(start), of_size(length));
        }
        match buffer(self.env, bytes) {
            Ok(buffer) => self.extras.push(Either::A(buffer)),
            Err(error) => self.wrong = Some(error),
        }
        (APART, of_size(length))
    }

    /// How many events there are goes in front of them; what has no place there is returned.
    pub(crate) fn finish(self) -> napi::Result<Vec<Extra<'env>>> {
        if let Some(first) = self.numbers.first_mut() {
            *first = of_size(self.events);
        }
        self.wrong.map_or(Ok(self.extras), Err)
    }
}
