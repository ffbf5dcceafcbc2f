//! Linker arguments of an addon, where a system needs some.

fn main() {
    napi_build::setup();
}
