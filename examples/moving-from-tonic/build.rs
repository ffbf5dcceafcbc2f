//! Generates what a user of tonic has, without needing `protoc`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use protox::prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=greeter.proto");
    let files = protox::compile(["greeter.proto"], ["."])?;
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("greeter.bin");
    fs::write(descriptors, files.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
