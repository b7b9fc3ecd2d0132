//! The same input gives the same bytes: no time stamp (and not /Brepro, whose stamp is a digest of the contents: other root
//! keys would change the header as well), no path of a debug file.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SWIFT_PROFILE");
    println!("cargo:rerun-if-env-changed=SWIFT_LOADER_SECURITY");
    println!("cargo:rustc-link-arg-bins=/timestamp:0");
    println!("cargo:rustc-link-arg-bins=/debug:none");
}
