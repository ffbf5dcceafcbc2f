//! What is asked: one function for each way of answering, one number an operation.

use std::mem::offset_of;

use micro_bridge::{Id, Question, Result};

use crate::client::begin;
use crate::error::{answer, micro_error};
use crate::given::Grows;
use crate::object::{at, put};
use crate::{
    micro_bytes, micro_client, micro_id, micro_queue, micro_runtime, micro_slice, micro_status,
};

/// Whether each node of a service wants calls. args {"service": text}. REPLY: a JSON array of objects with node, address,
/// version, serving and detail.
pub const MICRO_CLIENT_HEALTH: u32 = 0x0101;
/// What the client has seen so far. args {}. REPLY: a JSON array with calls, errors and latencies by endpoint.
pub const MICRO_CLIENT_STATS: u32 = 0x0102;
/// The nodes of a service that the client chooses from, as it sees them. args {"service": text}. REPLY: a JSON array of objects
/// with node, address, version, in_flight (calls), latency_ms (null before the first answer) and ejected (calls avoid it for
/// now). MICRO_UNAVAILABLE where there is no node.
pub const MICRO_CLIENT_NODES: u32 = 0x0103;
/// The versions of a service with their nodes. args {"service": text}. REPLY: a JSON array of registry records.
/// MICRO_NOT_FOUND where there is no node.
pub const MICRO_REGISTRY_GET: u32 = 0x0201;
/// Every service there is. args {}. REPLY: a JSON array of registry records. Of a service
/// whose registry lists names alone and that cannot be looked up now, nodes and endpoints are left out.
pub const MICRO_REGISTRY_LIST: u32 = 0x0202;
/// Changes of a service, or of all, from now on. args {"service"?: text}. Followed. CHANGE: a JSON object with action (create,
/// update, delete) and service, the record of what it affects. END: MICRO_ABORTED when it fell too far behind and should begin
/// anew.
pub const MICRO_REGISTRY_WATCH: u32 = 0x0203;
/// Adds the nodes of a record, or refreshes those that are known. args {"service": record, "ttl"?: duration}: how long they
/// live without another registration, for ever unless it is given. REPLY: nothing.
pub const MICRO_REGISTRY_REGISTER: u32 = 0x0204;
/// Removes the nodes of a record; those that are not known are no error. args {"service": record}. REPLY: nothing.
pub const MICRO_REGISTRY_DEREGISTER: u32 = 0x0205;
/// The record of a key. args {"database"?: text, "table"?: text, "key": text}: the first two are "micro" unless they are given. REPLY: the
/// value; the second block of the metadata has key, version and, where it has them, expires_in (milliseconds) and metadata (a JSON
/// object). MICRO_NOT_FOUND where there is none.
pub const MICRO_STORE_READ: u32 = 0x0301;
/// Makes changes of records, all of them or none. args {"changes": list, "fences"?: list, "level"?: text}. A change has key and, where they are
/// needed, database, table, length (it is written: its value are so many of the next bytes of the payload), delete (true), metadata (an
/// object), ttl (milliseconds), and one of if_version (a number), if_absent (true) and if_present (true). A fence has lock and token. The level
/// is "written" or "synced". REPLY: a JSON array with the version of each record, 0 where nothing was changed. MICRO_ABORTED with the reason
/// "conflict" where a condition does not hold, MICRO_FAILED_PRECONDITION with "stale_token" for a fence that another has passed: nothing is
/// changed then.
pub const MICRO_STORE_APPLY: u32 = 0x0302;
/// Records of a table, in the order of their keys. args {"database"?: text, "table"?: text, "prefix"?: text, "suffix"?: text, "after"?: text,
/// "descending"?: flag, "offset"?: number, "limit"?: number, "keys_only"?: flag}. Followed. CHANGE: a record, as MICRO_STORE_READ tells it.
/// END: MICRO_OK after the last.
pub const MICRO_STORE_LIST: u32 = 0x0303;
/// Changes of records whose keys begin with a prefix, after a version or from now on. args {"database"?: text, "table"?: text, "prefix"?:
/// text, "after"?: number}. Followed. CHANGE: the record as MICRO_STORE_READ tells it; one that was deleted or whose time is over has gone
/// beside key and version, and no value. END: MICRO_OUT_OF_RANGE with the reason "history_gone" where changes were missed.
pub const MICRO_STORE_WATCH: u32 = 0x0304;
/// Names of the databases that have a record. args {}. REPLY: a JSON array of texts.
pub const MICRO_STORE_DATABASES: u32 = 0x0305;
/// Names of the tables of a database that have a record. args {"database"?: text}. REPLY: a JSON array of texts.
pub const MICRO_STORE_TABLES: u32 = 0x0306;
/// Messages of a topic, each lent until micro_settle or the end of what is followed. args {"topic": text, "queue"?: text, "start"?:
/// record, "max_in_flight"?: number, "max_attempts"?: number, "lease"?: duration, "dead_letters"?: text}. A start is "new", "first",
/// an object with sequence, a number, or one with time, in milliseconds since 1970. Followed. DELIVERY: the message. Goes on for
/// ever: a subscription that its broker ends is made again.
pub const MICRO_BROKER_SUBSCRIBE: u32 = 0x0401;
/// A lock, which is held between processes. args {"name": text, "ttl"?: duration, "wait"?: duration, "who"?: text, "note"?: text, "fence"?:
/// flag}. Followed. CHANGE: once it is held, a JSON object with lock and token, which MICRO_STORE_APPLY takes as a fence, and who; without
/// lock where fence is false. It is renewed by itself. micro_stream_close gives it back, and END has MICRO_OK once that is done.
/// END: MICRO_ABORTED when it is lost, before another holds it; MICRO_DEADLINE_EXCEEDED where it was waited for too long.
pub const MICRO_SYNC_LOCK: u32 = 0x0501;
/// A seat of a semaphore, of as many as all say who ask for one. args {"name": text, "seats": number, "ttl"?: duration, "wait"?: duration,
/// "who"?: text, "note"?: text, "fence"?: flag}. Followed. CHANGE: as of MICRO_SYNC_LOCK, and so is END.
pub const MICRO_SYNC_SEMAPHORE: u32 = 0x0502;
/// The leadership of an election. args {"name": text, "ttl"?: duration, "wait"?: duration, "who"?: text, "note"?: text, "fence"?: flag}.
/// Followed. CHANGE: as of MICRO_SYNC_LOCK, and so is END.
pub const MICRO_SYNC_ELECT: u32 = 0x0503;
/// Who leads, now and as that changes. args {"name": text}. Followed. CHANGE: a JSON object with who, note, token and since, in
/// milliseconds since 1970; null for nobody.
pub const MICRO_SYNC_LEADERS: u32 = 0x0504;
/// Takes permits of a rate that a fleet shares. args {"name": text, "permits": number, "per": duration, "burst"?: number, "take"?: number,
/// "wait"?: duration}: 1 is taken, without waiting, unless it is given. REPLY: nothing. MICRO_RESOURCE_EXHAUSTED where they are not to be had.
pub const MICRO_SYNC_TAKE: u32 = 0x0505;
/// What the service behind the client has seen so far; the client is that of micro_server_client. args {}. REPLY: a JSON object
/// with edges (calls by caller and endpoint), in_flight and shed. MICRO_FAILED_PRECONDITION for other clients.
pub const MICRO_SERVICE_STATS: u32 = 0x0801;
/// The jobs of the service behind the client; the client is that of micro_server_client. args {}. REPLY: a JSON array of objects
/// with name, schedule, scope (fleet or node), next_ms and runs, the last 100 at most, the oldest first; of each time_ms, attempt,
/// node, began_ms, took_ms (null while it runs), outcome (running, done, failed, skipped, lost) and error. Moments are milliseconds
/// since 1970. MICRO_FAILED_PRECONDITION for other clients.
pub const MICRO_SERVICE_JOBS: u32 = 0x0802;
/// Waits for the answer of a task, whoever sent it. args {"id": text}. REPLY: what its worker answered, in the codec of the flags.
/// MICRO_DEADLINE_EXCEEDED where there is none within the timeout: it may come later. The error of its last attempt, where it
/// was given up. MICRO_INVALID_ARGUMENT for what is no id, and for a broker that keeps no messages.
pub const MICRO_TASK_RESULT: u32 = 0x0901;
/// How far a task has come. args {"id": text}. REPLY: a JSON object with state (queued, running, failed, done, dead) and, where
/// they are known, attempt, node, code (gRPC's number) and error. Fails as MICRO_TASK_RESULT does. What is kept no longer is
/// told as queued.
pub const MICRO_TASK_STATE: u32 = 0x0902;

/// Registries: what MICRO_REGISTRY_* ask. The upper byte of their numbers.
pub const MICRO_AREA_REGISTRY: u32 = 0x02;
/// Brokers: MICRO_BROKER_SUBSCRIBE, and MICRO_PROVIDED_PUBLISH. What one can do is added: MICRO_ABLE_*.
pub const MICRO_AREA_BROKER: u32 = 0x04;
/// Asked of a broker that a program provides: it takes a message. args {"topic": text, "type"?: text, "key"?: text, "id"?: text,
/// "priority": number, "due"?: milliseconds since 1970, "expires"?: the same}; the metadata has its headers too, the payload is its
/// body. Reply once it is as safe as the broker makes messages.
pub const MICRO_PROVIDED_PUBLISH: u32 = 0x0402;
/// It redelivers what was not acknowledged.
pub const MICRO_ABLE_REDELIVERS: u32 = 0x100;
/// Messages survive the end of every process.
pub const MICRO_ABLE_PERSISTS: u32 = 0x200;
/// A subscription may start with older messages.
pub const MICRO_ABLE_REPLAYS: u32 = 0x400;
/// A message may be held back for a time.
pub const MICRO_ABLE_DELAYS: u32 = 0x800;
/// Messages of one key are delivered one after the other.
pub const MICRO_ABLE_ORDERS_BY_KEY: u32 = 0x1000;
/// A message may be of no use after a time.
pub const MICRO_ABLE_EXPIRES: u32 = 0x2000;
/// A message that is published again with the same id is delivered once.
pub const MICRO_ABLE_DEDUPLICATES: u32 = 0x4000;
/// Messages of a higher priority are delivered first.
pub const MICRO_ABLE_PRIORITIZES: u32 = 0x8000;

/// Something to be asked or to be followed. Fields are only ever added: set `size` to `sizeof(micro_question)`, and what is not
/// needed to 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct micro_question {
    /// Size of this struct, as the caller knows it.
    pub size: u32,
    /// MICRO_REQUEST_WAIT, or 0.
    pub flags: u32,
    /// Which operation: `MICRO_<AREA>_<VERB>`.
    pub operation: u32,
    /// 0.
    pub reserved: u32,
    /// Its arguments: a JSON object, or nothing. A duration is "250ms", "1.5s", "1m" or a number of milliseconds.
    pub args: micro_slice,
    /// The value or the message, of operations that take one; the others refuse it. Taken, also when the function fails at once.
    pub payload: micro_bytes,
    /// Metadata, of operations that take it: a block made by micro_meta_add, or nothing. The others refuse it.
    pub meta: micro_slice,
    /// Nanoseconds to wait for the answer, or for what is followed to open: 0 for 10 s, MICRO_NO_TIMEOUT for ever. A shorter
    /// deadline of the parent wins.
    pub timeout_ns: u64,
    /// The call that came in of which this is part, or 0: it ends with that one.
    pub parent: micro_id,
}

/// Asks a question, which ends in one MICRO_EVENT_REPLY with this `token`; the event may come before this returns. `id` may be
/// NULL; micro_cancel takes it. Up to 1024 questions of a client are under way at once.
///
/// When this fails nothing has begun and no event comes: MICRO_FULL when as many are under way as may be, MICRO_ARG or
/// MICRO_INVALID_ARGUMENT for a wrong question, MICRO_CANCELLED when the parent is over, MICRO_CLOSED, MICRO_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_ask(
    client: *mut micro_client,
    queue: *mut micro_queue,
    question: *const micro_question,
    token: u64,
    id: *mut micro_id,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises live objects or NULL, a valid question, and writable `id` and `err`.
    unsafe { begin(client, queue, question, id, err, |at, on, it| at.ask(on, it, token)) }
}

/// Follows something: MICRO_EVENT_OPENED when it does, MICRO_EVENT_CHANGE for each thing that happens, or
/// MICRO_EVENT_DELIVERY for each message, as micro_stream_grant made room for them, and one MICRO_EVENT_END: MICRO_CANCELLED by micro_cancel. Up to 1024 things are followed
/// by a client at once. Fails as micro_ask does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_follow(
    client: *mut micro_client,
    queue: *mut micro_queue,
    question: *const micro_question,
    token: u64,
    id: *mut micro_id,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises live objects or NULL, a valid question, and writable `id` and `err`.
    unsafe { begin(client, queue, question, id, err, |at, on, it| at.follow(on, it, token)) }
}

/// Provides a registry or a broker of the program's own, for `area` MICRO_AREA_REGISTRY or MICRO_AREA_BROKER: from now on `host://<name>` is the URL of it, in
/// this process. A name has letters, digits, "-", "_" and ".".
///
/// A question to it is told as MICRO_EVENT_CALL with this `token`: `method` is the operation, MICRO_REGISTRY_*, and the
/// metadata "micro-args-bin" has its arguments. Answer it with micro_reply, as the operation's comment says. Where that says
/// CHANGE, answer with micro_stream_send: first an empty message, once every change from then on will be told, then one message
/// for each.
///
/// A broker is asked to subscribe by MICRO_BROKER_SUBSCRIBE, with max_in_flight, max_attempts and lease always given. It grants what it
/// is sent, answers with an empty message once the subscription stands, then with one for each delivery: the length of a head in four
/// bytes, little-endian, the head, {"delivery": number, "attempt"?, "sequence"?, "published"?, "type"?, "key"?, "id"?, "priority"?,
/// "headers"?: an object of lists of text, base64 under names that end in -bin}, and the body. It is sent {"delivery": number,
/// "verdict": "ack", "retry", "reject" or "extend", "delay"?: milliseconds, "reason"?}, and answers all but the last with a head
/// {"settled": number, "error"?: text}.
///
/// micro_cancel withdraws the name, which ends in one MICRO_EVENT_END.
///
/// MICRO_ARG for an area or a name that cannot be, MICRO_ALREADY_EXISTS for a name that is taken, MICRO_CLOSED, MICRO_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_provide(
    runtime: *mut micro_runtime,
    area: u32,
    name: micro_slice,
    queue: *mut micro_queue,
    token: u64,
    id: *mut micro_id,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises live objects or NULL, readable text, and writable `id` and `err`.
    unsafe {
        answer(err, || {
            let (runtime, queue) = (at(runtime)?, at(queue)?);
            put(id, runtime.provide(area, name.text("name")?, queue, token)?.to_raw())
        })
    }
}

impl Grows for micro_question {
    const NAME: &'static str = "question";
    const LEAST: usize = offset_of!(Self, parent) + size_of::<micro_id>();
    type Read<'a> = Question<'a>;

    unsafe fn read<'a>(self) -> Result<Question<'a>> {
        // SAFETY: the slices' promise is the caller's.
        unsafe {
            let payload = self.payload.take("payload")?;
            Ok(Question {
                operation: self.operation,
                args: self.args.text("arguments")?,
                payload,
                meta: self.meta.bytes("metadata")?,
                timeout_ns: self.timeout_ns,
                parent: Id::from_raw(self.parent),
                flags: self.flags,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use micro_bridge::operations;
    use micro_bridge::provided::{PUBLISH, abilities, area};

    use super::*;

    #[test]
    fn numbers_are_the_bridges() {
        assert_eq!([MICRO_AREA_REGISTRY, MICRO_AREA_BROKER], [area::REGISTRY, area::BROKER]);
        assert_eq!(
            [MICRO_BROKER_SUBSCRIBE, MICRO_PROVIDED_PUBLISH],
            [operations::BROKER_SUBSCRIBE, PUBLISH]
        );
        let able = [
            MICRO_ABLE_REDELIVERS,
            MICRO_ABLE_PERSISTS,
            MICRO_ABLE_REPLAYS,
            MICRO_ABLE_DELAYS,
            MICRO_ABLE_ORDERS_BY_KEY,
            MICRO_ABLE_EXPIRES,
            MICRO_ABLE_DEDUPLICATES,
            MICRO_ABLE_PRIORITIZES,
        ];
        let known = [
            abilities::REDELIVERS,
            abilities::PERSISTS,
            abilities::REPLAYS,
            abilities::DELAYS,
            abilities::ORDERS_BY_KEY,
            abilities::EXPIRES,
            abilities::DEDUPLICATES,
            abilities::PRIORITIZES,
        ];
        assert_eq!(able, known);
    }
}
