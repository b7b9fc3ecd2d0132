//! Declares the one cfg of the userland: `swift_os` chooses our own start-up code instead of the host's std.
fn main() {
    println!("cargo::rustc-check-cfg=cfg(swift_os)");
    println!("cargo::rerun-if-changed=build.rs");
}
