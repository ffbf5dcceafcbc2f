//! Why a handshake failed, in words that lead to the fix.

use std::{fmt, io};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error as TlsError, InconsistentKeys};

use crate::error::Error;

/// Names of a certificate that are told.
const MAX_NAMES: usize = 8;

/// Who tells of the failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The peer is a server.
    Client,
    /// The peer is a client.
    Server,
}

/// The error of TLS that cannot be set up: what was tried, and why it failed.
pub(super) fn wrong(what: &str, error: impl fmt::Display) -> Error {
    Error::invalid_argument(format!("{what}: {error}"))
}

/// Why a handshake ended with `error`.
pub(crate) fn refused(error: &io::Error, side: Side) -> String {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        return of(error, side);
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => match side {
            Side::Client => "the server closed the connection: does it speak TLS?".to_owned(),
            Side::Server => {
                "the client closed the connection: does it trust the certificate?".to_owned()
            }
        },
        _ => error.to_string(),
    }
}

pub(super) fn of(error: &TlsError, side: Side) -> String {
    let peer = match side {
        Side::Client => "server",
        Side::Server => "client",
    };
    match error {
        TlsError::InvalidCertificate(error) => certificate(error, side),
        TlsError::AlertReceived(told) => alert(*told, side)
            .map_or_else(|| format!("the {peer} refused: {told:?}"), str::to_owned),
        TlsError::InvalidMessage(_) => match side {
            Side::Client => "what the server says is not TLS: it speaks plain text, or TLS is ended by something in between".to_owned(),
            Side::Server => "what the client says is not TLS: it needs `tls`, or https:// in the address".to_owned(),
        },
        TlsError::NoCertificatesPresented => {
            "the client showed no certificate: give it `certificate` and `private_key`".to_owned()
        }
        TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "the private key is not the one of the certificate".to_owned()
        }
        TlsError::PeerIncompatible(_) => {
            format!("the {peer} speaks no version of TLS that is safe: 1.2 and 1.3 are")
        }
        TlsError::NoApplicationProtocol => format!("the {peer} speaks no HTTP/2"),
        _ => error.to_string(),
    }
}

/// What is wrong with the certificate of the peer.
fn certificate(error: &CertificateError, side: Side) -> String {
    let subject = match side {
        Side::Client => "the server's certificate",
        Side::Server => "the client's certificate",
    };
    let authority = match side {
        Side::Client => "the authority of `tls`",
        Side::Server => "the server's `authority`",
    };
    match error {
        CertificateError::Expired => format!("{subject} has expired: renew it"),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("{subject} has expired on {}: renew it", date(*not_after))
        }
        CertificateError::NotValidYet => {
            format!("{subject} is not valid yet: is the clock of this machine right?")
        }
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "{subject} is not valid before {}: is the clock of this machine right?",
            date(*not_before)
        ),
        CertificateError::UnknownIssuer => {
            format!(
                "{subject} is signed by no trusted authority: add its signer, or itself, to {authority}"
            )
        }
        CertificateError::BadSignature => format!(
            "{subject} is signed with another key than that of its authority: is {authority} an older one of the same name?"
        ),
        CertificateError::NotValidForName => {
            format!(
                "{subject} is not for the name it was called by: set `server_name` to one that it has"
            )
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let mut names: Vec<_> =
                presented.iter().take(MAX_NAMES).map(|name| shown(name)).collect();
            if presented.len() > MAX_NAMES {
                names.push("…".to_owned());
            }
            let expected = expected.to_str();
            match names.is_empty() {
                true => format!(
                    "{subject} has no names, and {expected} was called: make one with subjectAltName, the common name does not count"
                ),
                false => format!(
                    "{subject} is for {}, and not for {expected}: set `server_name` to a name that it has",
                    names.join(", ")
                ),
            }
        }
        CertificateError::Revoked => format!("{subject} has been revoked"),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            let purpose = match side {
                Side::Client => "serverAuth",
                Side::Server => "clientAuth",
            };
            format!("{subject} is made for another purpose: its extendedKeyUsage needs {purpose}")
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            format!(
                "{subject} is an authority's (CA:TRUE), which is for signing others: add itself to {authority}, or make one with CA:FALSE"
            )
        }
        CertificateError::BadEncoding => format!("{subject} cannot be read"),
        other => format!("{subject} cannot be verified: {other}"),
    }
}

/// A name as rustls shows it: `DnsName("a.example")`, `IpAddress(10.0.0.1)`.
pub(super) fn shown(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"').to_owned()
}

/// What an alert of the peer says; nothing for one that only says that something went wrong.
pub(crate) fn alert(told: AlertDescription, side: Side) -> Option<&'static str> {
    use AlertDescription as Alert;
    Some(match (side, told) {
        (Side::Client, Alert::CertificateRequired) => {
            "the server lets in only clients with a certificate: set `certificate` and `private_key` of `tls`"
        }
        (Side::Client, Alert::UnknownCA) => {
            "the server does not trust the authority of this client's certificate"
        }
        (Side::Client, Alert::CertificateExpired) => {
            "this client's certificate has expired: renew it"
        }
        (Side::Client, Alert::CertificateRevoked) => "this client's certificate has been revoked",
        (
            Side::Client,
            Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::AccessDenied
            | Alert::DecryptError,
        ) => "the server does not take this client's certificate",
        (Side::Client, Alert::HandshakeFailure) => {
            "the server found nothing in common with this client, or wants a certificate: set `certificate` and `private_key` of `tls`"
        }
        (Side::Client, Alert::UnrecognisedName) => {
            "the server has no certificate for the name it was called by: set `server_name`"
        }
        (_, Alert::NoApplicationProtocol) => "the peer speaks no HTTP/2 over TLS",
        (_, Alert::ProtocolVersion) => "the peer speaks another version of TLS, or none",
        (
            Side::Server,
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::CertificateExpired,
        ) => "the client does not take this server's certificate",
        _ => return None,
    })
}

/// Alerts by which a server turns away a client after the handshake.
pub(crate) const REFUSALS: [AlertDescription; 8] = [
    AlertDescription::CertificateRequired,
    AlertDescription::UnknownCA,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateRevoked,
    AlertDescription::BadCertificate,
    AlertDescription::CertificateUnknown,
    AlertDescription::AccessDenied,
    AlertDescription::DecryptError,
];

/// A day, as in `2027-03-01`.
fn date(time: UnixTime) -> String {
    let days = time.as_secs() / 86_400;
    // Days to a date of the Gregorian calendar, counted from 1 March of the year 0.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (4_102_444_799, "2099-12-31"),
        ] {
            assert_eq!(date(UnixTime::since_unix_epoch(Duration::from_secs(seconds))), day);
        }
    }

    #[test]
    fn names_are_told_bare() {
        assert_eq!(shown(r#"DnsName("a.example")"#), "a.example");
        assert_eq!(shown("IpAddress(10.0.0.1)"), "10.0.0.1");
    }
}
