//! Messages of `grpc.reflection.v1`, as far as they are used here; `v1alpha` has the same on the wire.

/// What a server is asked.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Question {
    #[prost(oneof = "Asked", tags = "3, 4, 7")]
    pub(super) asked: Option<Asked>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Asked {
    #[prost(string, tag = "3")]
    FileByName(String),
    #[prost(string, tag = "4")]
    FileContainingSymbol(String),
    #[prost(string, tag = "7")]
    ListServices(String),
}

/// What it says.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Answer {
    #[prost(oneof = "Said", tags = "4, 6, 7")]
    pub(super) said: Option<Said>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Said {
    #[prost(message, tag = "4")]
    Files(Files),
    #[prost(message, tag = "6")]
    Services(Services),
    #[prost(message, tag = "7")]
    Refused(Refused),
}

/// Files, each a `google.protobuf.FileDescriptorProto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Files {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) files: Vec<bytes::Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Services {
    #[prost(message, repeated, tag = "1")]
    pub(super) services: Vec<ServiceName>,
}

/// A service by its full name.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ServiceName {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Refused {
    #[prost(string, tag = "2")]
    pub(super) message: String,
}
