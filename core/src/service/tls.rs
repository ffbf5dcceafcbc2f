//! TLS of a service: as a server, and as a client too.

use super::ServiceBuilder;
use crate::error::Result;
use crate::transport::{ClientTls, Pem, ServerTls};

impl ServiceBuilder {
    /// Serves TLS and speaks it as a client: shows one certificate on both sides, and trusts one authority, as the other side must.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when any of the three cannot be read.
    pub fn mutual_tls(
        self,
        authority: impl Into<Pem>,
        certificate: impl Into<Pem>,
        private_key: impl Into<Pem>,
    ) -> Result<Self> {
        let (authority, certificate, key) =
            (authority.into(), certificate.into(), private_key.into());
        let client = ClientTls::mutual(authority.clone(), certificate.clone(), key.clone())?;
        let server = ServerTls::mutual(certificate, key, authority)?;
        Ok(self.tls(server).client(|of| of.tls(client)))
    }

    /// Serves TLS.
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.server = self.server.tls(tls);
        self
    }
}
