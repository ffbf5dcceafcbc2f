//! The name by which programs find the library at run time, and that it is never unloaded: threads of its own may still run
//! their last destructors then.

fn main() {
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    let arguments: &[&str] = match target.as_str() {
        "linux" | "android" | "freebsd" => &["-Wl,-soname,libmicro.so.1", "-Wl,-z,nodelete"],
        "macos" => &["-Wl,-install_name,@rpath/libmicro.1.dylib"],
        _ => &[],
    };
    for argument in arguments {
        println!("cargo::rustc-cdylib-link-arg={argument}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
