//! The root public keys: the only ones that this program trusts. They stand in one block of constant size, so that images built
//! with different keys differ there and nowhere else (docs/formats/release-header.md, "Root keys in the loader").

use release::roots::RootKeys;

/// The block itself.
#[used]
pub static ROOT_KEYS: RootKeys = RootKeys::parse(match option_env!("SWIFT_ROOT_KEYS") {
    Some(source) => source,
    None => "",
});

/// The block as it stands in the program's file: read as if it could change, so that it stays there.
pub fn block() -> RootKeys {
    // SAFETY: reads a static of a type without pointers.
    unsafe { (&raw const ROOT_KEYS).read_volatile() }
}
