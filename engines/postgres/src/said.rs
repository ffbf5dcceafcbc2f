//! What the server says, in words for the one who can change it.

use std::error::Error as _;

use micro::{Code, Error, Reach};
use tokio_postgres::error::SqlState;

use crate::options::Options;

/// Whether the transaction was given up by the server for another, so that it may be tried again.
pub(crate) fn is_worth_another(error: &tokio_postgres::Error) -> bool {
    let known = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
    error.code().is_some_and(|code| known.contains(code))
}

/// Whether the connection is of no use any more.
pub(crate) fn is_over(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else { return true };
    // Ended by the administrator, by a limit of time, or by the end of the server.
    code.code().starts_with("57P")
        || code.code().starts_with("08")
        || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
}

/// What became of `what`.
pub(crate) fn said(options: &Options, what: &str, error: tokio_postgres::Error) -> Error {
    let place = options.place();
    let Some(db) = error.as_db_error() else {
        let told = chain(&error);
        let error = match told.as_str() {
            _ if told.ends_with("password missing") => Error::unauthenticated(format!(
                "{place} asks for a password: put user and password before the host of the URL"
            )),
            _ if told.contains("TLS") => unreachable(
                options,
                &format!(
                    "{told}: name the authority of its certificate by `ca=` in the URL, and the host as the certificate does"
                ),
            ),
            _ => unreachable(options, &told),
        };
        return error;
    };
    let code = db.code().clone();
    let told = match db.hint() {
        Some(hint) => format!("{} ({hint})", db.message()),
        None => db.message().to_owned(),
    };
    let text = format!("{place} refuses {what}: {told}");
    let by_url = "put user and password before the host of the URL";
    let (kind, advice) = match &code {
        _ if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION]
            .contains(&code) =>
        {
            (Code::Unauthenticated, format!("{by_url}, or let this user in by `pg_hba.conf`"))
        }
        _ if code == SqlState::INVALID_CATALOG_NAME => (
            Code::FailedPrecondition,
            "create the database, or name another behind the host of the URL".into(),
        ),
        _ if code == SqlState::INSUFFICIENT_PRIVILEGE => (
            Code::PermissionDenied,
            format!(
                "grant the user SELECT, INSERT, UPDATE and DELETE on `{0}_records`, `{0}_fences` and `{0}_state`, and CREATE on their \
                 schema unless they are there; or name another user before the host of the URL",
                options.tables
            ),
        ),
        _ if code == SqlState::INVALID_SCHEMA_NAME => (
            Code::FailedPrecondition,
            "create the schema, or name another by `tables=schema.micro` in the URL".into(),
        ),
        _ if code == SqlState::UNDEFINED_COLUMN || code == SqlState::WRONG_OBJECT_TYPE => (
            Code::FailedPrecondition,
            format!(
                "the tables `{}_…` are those of another program: name others by `tables=` in the URL",
                options.tables
            ),
        ),
        _ if code == SqlState::READ_ONLY_SQL_TRANSACTION => (
            Code::Unavailable,
            "it takes no changes now, as a standby does: name the primary in the URL".into(),
        ),
        _ if code == SqlState::TOO_MANY_CONNECTIONS => (
            Code::ResourceExhausted,
            "raise `max_connections` of the server, or lower `connections=` in the URL".into(),
        ),
        _ if code == SqlState::INVALID_SQL_STATEMENT_NAME
            || code == SqlState::DUPLICATE_PSTATEMENT =>
        {
            (
                Code::FailedPrecondition,
                "this is what a pooler between does: say `pooler=true` in the URL".into(),
            )
        }
        _ if code.code().starts_with("53") => {
            (Code::ResourceExhausted, "give the server more room".into())
        }
        _ => return Error::new(Code::Unavailable, text).with_source(error),
    };
    Error::new(kind, format!("{text}: {advice}")).with_source(error)
}

/// The server is not there, or does not answer.
pub(crate) fn unreachable(options: &Options, why: &str) -> Error {
    Error::unavailable(format!("{} cannot be reached: {why}", options.place()))
}

/// Nothing was changed.
pub(crate) fn untouched(error: Error) -> Error {
    error.with_reach(Reach::Never)
}

/// An error with its causes.
fn chain(error: &tokio_postgres::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
