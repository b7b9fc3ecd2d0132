//! The same input gives the same bytes: no time stamp, no path of a debug file in the PE header.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SWIFT_PROFILE");
    println!("cargo:rustc-link-arg-bins=/Brepro");
    println!("cargo:rustc-link-arg-bins=/debug:none");
}
