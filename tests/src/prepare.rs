//! Peers built before a test, each by the module that drives it.

use std::path::PathBuf;

use crate::testing::foreign;
use crate::toolchain::{Missing, Need};
use crate::{conformance, go, h2spec, hostile, python, servers};

impl Need {
    /// Builds the peer; an error says which toolchain is missing.
    pub(crate) fn prepare(self) -> Result<PathBuf, Missing> {
        match self {
            Self::Go => go::build(),
            Self::ConnectConformance => conformance::suite::build(),
            Self::Grpcio => python::environment(),
            Self::H2spec => h2spec::build(),
            Self::Hostile => hostile::environment(),
            Self::GrpcGo => foreign::go(),
            Self::GrpcJava => foreign::java(),
            Self::Nats => servers::nats(),
            Self::Redis => servers::redis(),
            Self::Etcd => servers::etcd(),
        }
    }
}
