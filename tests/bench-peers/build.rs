//! Compiles `proto/bench.proto` as a tonic user would, without needing `protoc`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["bench.proto"], ["proto"])?;
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("bench.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    Ok(())
}
