//! Generates messages with reflection, without needing `protoc`: the tests' own, and those of the
//! connectconformance suite.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    generate("greeter.proto", "descriptors.bin", "crate::greeter::DESCRIPTORS")?;
    generate("grpc/testing/test.proto", "testing.bin", "crate::testing::DESCRIPTORS")?;
    let conformance = "connectrpc/conformance/v1/conformance.proto";
    generate(conformance, "conformance.bin", "crate::conformance::DESCRIPTORS")?;
    stubs()
}

/// Generates what a user of tonic has, and the descriptors that `tonic-reflection` would be given.
fn stubs() -> Result<(), Box<dyn Error>> {
    let files = protox::compile(["hall.proto"], ["proto"])?;
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("hall.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}

/// Generates a proto file and those it imports; `bytes` is where the crate keeps the `descriptors`.
fn generate(proto: &str, descriptors: &str, bytes: &str) -> Result<(), Box<dyn Error>> {
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join(descriptors);
    let compiled = protox::compile([proto], ["proto"])?;
    fs::write(&descriptors, compiled.encode_to_vec())?;
    let protos: Vec<_> = compiled.file.iter().map(|file| file.name().to_owned()).collect();

    let mut config = prost_build::Config::new();
    config.skip_protoc_run();
    prost_reflect_build::Builder::new()
        .file_descriptor_set_path(descriptors)
        .file_descriptor_set_bytes(bytes)
        .compile_protos_with_config(config, &protos, &["proto"])?;
    Ok(())
}
