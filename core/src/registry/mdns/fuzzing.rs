//! Targets that read what comes over the network.

#![allow(clippy::panic, clippy::expect_used, reason = "a panic is how a target reports a finding")]

use std::sync::Arc;

use tokio::time::Instant;

use super::heard::{Heard, Socket};
use super::names::Names;
use super::packet::Packet;
use super::table::Table;
use super::txt::{INFLATED_LIMIT, Payload};
use super::writer;
use crate::fuzzing::Input;

/// Packets, one after the other, into one table: it never holds more than its limits, and what it
/// tells can be told again.
pub(crate) fn dns(data: &[u8]) {
    let names = Arc::new(Names::new("micro").expect("the default domain"));
    let mut table = Table::new(names);
    let mut input = Input::new(data);
    let now = Instant::now();
    for turn in 0.. {
        if input.is_empty() || turn == 16 {
            break;
        }
        let socket = Socket::Group(input.byte() & 1 == 0);
        let packet = if turn == 0 && input.byte() & 1 == 0 { input.rest() } else { input.slice() };
        match Packet::decode(packet) {
            Some(Packet::Response(records)) => {
                let from = [10, 0, 0, input.byte() & 3].into();
                table.hear(&records, &Heard { socket, from, at: now });
            }
            Some(Packet::Query { questions, .. }) => {
                for question in &questions {
                    // Whatever can be asked can be asked on, but for labels that end in a dot.
                    if question.name.contains("..") {
                        continue;
                    }
                    let Some(Packet::Query { questions: again, .. }) =
                        Packet::decode(&writer::query(question))
                    else {
                        continue;
                    };
                    assert_eq!(&again[..], std::slice::from_ref(question));
                }
            }
            None => {}
        }
    }
    table.check();
}

/// A TXT payload: never more than the limit comes out, and it survives being written.
pub(crate) fn txt(data: &[u8]) {
    let mut budget = INFLATED_LIMIT;
    let read = Payload::decode(data, &mut budget);
    assert!(budget <= INFLATED_LIMIT);
    // Any JSON may be packed by another program; fuzzing finds little through zlib and hex.
    let payload = read.or_else(|| serde_json::from_slice(data).ok());
    let Some(payload) = payload else { return };
    let Ok(text) = payload.encode() else { return };
    let mut budget = INFLATED_LIMIT;
    assert_eq!(Payload::decode(&text, &mut budget), Some(payload));
}
