//! Generates the messages of `guide/shop.proto`, without needing `protoc`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use protox::prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    let compiled = protox::compile(["shop.proto"], ["guide"])?;
    fs::write(&descriptors, compiled.encode_to_vec())?;
    let mut config = prost_build::Config::new();
    config.skip_protoc_run();
    prost_reflect_build::Builder::new()
        .file_descriptor_set_path(&descriptors)
        .file_descriptor_set_bytes("crate::shop::DESCRIPTORS")
        .compile_protos_with_config(config, &["shop.proto"], &["guide"])?;
    println!("cargo:rerun-if-changed=guide/shop.proto");
    Ok(())
}
