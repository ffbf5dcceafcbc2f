//! TLS on the command line.

use std::path::PathBuf;

use micro::{ClientTls, Pem, Result, TlsPolicy};

/// Whom the command trusts, and what it shows. TLS is spoken when any of these is given, and to nodes that say so in the registry.
#[derive(clap::Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct Options {
    /// Trust servers with a certificate from these authorities (PEM), or that is in here itself; the system's unless set.
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Show this certificate (PEM).
    #[arg(long, global = true, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Private key of the certificate (PEM).
    #[arg(long, global = true, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Name that servers must have a certificate for, instead of the host they are called at.
    #[arg(long, global = true, value_name = "NAME")]
    server_name: Option<String>,
    /// Which nodes TLS is spoken to; `required` if any of the others is given.
    #[arg(long, global = true, value_enum, value_name = "POLICY")]
    tls: Option<Policy>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Policy {
    /// All.
    Required,
    /// Those that say in the registry that they speak it; the others in plain text.
    Prefer,
}

impl Options {
    /// What was asked for; nothing when nothing was.
    pub(crate) fn client(self) -> Result<Option<ClientTls>> {
        let Self { ca, cert, key, server_name, tls } = self;
        let own = cert.zip(key).map(|(cert, key)| (Pem::file(cert), Pem::file(key)));
        if ca.is_none() && own.is_none() && server_name.is_none() && tls.is_none() {
            return Ok(None);
        }
        let mut client = match (ca.map(Pem::file), own) {
            (None, None) => ClientTls::system()?,
            (None, Some((cert, key))) => ClientTls::system_mutual(cert, key)?,
            (Some(ca), None) => ClientTls::trusting(ca)?,
            (Some(ca), Some((cert, key))) => ClientTls::mutual(ca, cert, key)?,
        };
        if let Some(name) = server_name {
            client = client.server_name(&name)?;
        }
        Ok(Some(client.policy(match tls {
            None | Some(Policy::Required) => TlsPolicy::Required,
            Some(Policy::Prefer) => TlsPolicy::Prefer,
        })))
    }
}
