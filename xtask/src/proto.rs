//! Types of the protocols the core itself speaks, generated once and checked in.
//!
//! A build script would make every user of the crate compile a protobuf compiler; instead the
//! generated files are part of the source and `--check` proves that they match `core/proto`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_build::{Config, Module};
use prost_reflect::{DescriptorPool, MessageDescriptor};
use prost_types::FileDescriptorSet;

use crate::Outcome;

const HEADER: &str = "// Generated from core/proto by `cargo xtask proto`; edit the .proto file.\n";

/// Options of `cargo xtask proto`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Compare with the checked-in files instead of writing them.
    #[arg(long)]
    check: bool,
}

/// Generates the files, or with `--check` fails when one of them is missing or different.
pub(crate) fn run(root: &Path, options: &Options) -> Outcome {
    let generated = generate(&root.join("core/proto"))?;
    let folder = root.join("core/src/proto");
    if options.check {
        return check(&folder, &generated);
    }
    fs::create_dir_all(&folder)?;
    for (name, content) in &generated {
        let path = folder.join(name);
        if fs::read(&path).ok().as_ref() != Some(content) {
            fs::write(&path, content)?;
            println!("wrote core/src/proto/{name}");
        }
    }
    Ok(())
}

/// File name and content of everything generated from the `.proto` files of `source`.
fn generate(source: &Path) -> Outcome<BTreeMap<String, Vec<u8>>> {
    let protos = protos(source)?;
    let mut compiler = protox::Compiler::new([source])?;
    compiler.include_source_info(true).open_files(&protos)?;
    let files = compiler.file_descriptor_set();

    let mut config = Config::new();
    config.bytes(["."]);
    for message in compiler.descriptor_pool().all_messages() {
        reflect(&mut config, &message);
    }
    let stems: BTreeMap<Module, String> = files
        .file
        .iter()
        .map(|file| {
            let module = Module::from_protobuf_package_name(file.package());
            (module, file.name().trim_end_matches(".proto").to_owned())
        })
        .collect();
    let requests = files
        .file
        .iter()
        .map(|file| (Module::from_protobuf_package_name(file.package()), file.clone()))
        .collect();
    let mut generated: BTreeMap<String, Vec<u8>> = config
        .generate(requests)?
        .into_iter()
        .map(|(module, code)| (format!("{}.rs", stems[&module]), format!("{HEADER}{code}").into()))
        .collect();
    generated.insert("descriptors.bin".to_owned(), descriptors(files)?);
    Ok(generated)
}

/// The `.proto` files of `folder`, sorted so that the output does not depend on the disk.
fn protos(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut protos = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            protos.push(path);
        }
    }
    protos.sort();
    Ok(protos)
}

/// Makes the type of `message` know its own descriptor.
fn reflect(config: &mut Config, message: &MessageDescriptor) {
    let name = message.full_name();
    let path = format!(".{name}");
    config
        .message_attribute(&path, "#[derive(::prost_reflect::ReflectMessage)]")
        .message_attribute(
            &path,
            format!(
                "#[prost_reflect(descriptor_pool = \"crate::proto::DESCRIPTORS\", message_name = \"{name}\")]"
            ),
        );
}

/// The encoded descriptors, without comments and under a folder of their own: a service may well
/// serve an `errors.proto` of its own next to ours by reflection.
fn descriptors(mut files: FileDescriptorSet) -> Outcome<Vec<u8>> {
    for file in &mut files.file {
        file.source_code_info = None;
        file.name = Some(format!("micro/{}", file.name()));
    }
    DescriptorPool::from_file_descriptor_set(files.clone())?;
    Ok(files.encode_to_vec())
}

fn check(folder: &Path, generated: &BTreeMap<String, Vec<u8>>) -> Outcome {
    let stale: Vec<&str> = generated
        .iter()
        .filter(|(name, content)| fs::read(folder.join(name)).ok().as_ref() != Some(content))
        .map(|(name, _)| name.as_str())
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!(
        "core/src/proto differs from core/proto in {}: run `cargo xtask proto` and commit the result",
        stale.join(", ")
    )
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_files_match_the_protos() {
        run(&crate::root(), &Options { check: true }).unwrap();
    }

    #[test]
    fn a_stale_file_is_named_with_the_command_that_refreshes_it() {
        let folder = tempfile::tempdir().unwrap();
        let proto = folder.path().join("core/proto");
        fs::create_dir_all(&proto).unwrap();
        let file = proto.join("ping.proto");
        fs::write(&file, "syntax = \"proto3\"; package ping; message Ping {}").unwrap();
        run(folder.path(), &Options { check: false }).unwrap();
        run(folder.path(), &Options { check: true }).unwrap();

        fs::write(&file, "syntax = \"proto3\"; package ping; message Ping { int32 id = 1; }")
            .unwrap();
        let error = run(folder.path(), &Options { check: true }).unwrap_err().to_string();
        assert!(error.contains("ping.rs"), "{error}");
        assert!(error.contains("cargo xtask proto"), "{error}");
    }
}
