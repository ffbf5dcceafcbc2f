//! Generates the test messages with reflection, without needing `protoc`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let protos = ["greeter.proto"];
    let includes = ["proto"];
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(&descriptors, protox::compile(protos, includes)?.encode_to_vec())?;

    let mut config = prost_build::Config::new();
    config.skip_protoc_run();
    prost_reflect_build::Builder::new()
        .file_descriptor_set_path(descriptors)
        .file_descriptor_set_bytes("crate::greeter::DESCRIPTORS")
        .compile_protos_with_config(config, &protos, &includes)?;
    Ok(())
}
