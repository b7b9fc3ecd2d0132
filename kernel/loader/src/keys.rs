//! The root public keys: the only ones that this program trusts. They stand in one block of constant size, so that images built
//! with different keys differ there and nowhere else (docs/formats/release-header.md, "Root keys in the loader").

use release::trust::Roots;

/// Most root keys.
const MAX: usize = 8;
/// Hexadecimal, with commas between.
const SOURCE: Option<&str> = option_env!("SWIFT_ROOT_KEYS");

/// What `swiftbuild inspect` finds by its magic.
#[repr(C, align(8))]
pub struct RootKeys {
    magic: [u8; 8],
    version: u32,
    count: u32,
    keys: [[u8; 32]; MAX],
}

const _: () = assert!(size_of::<RootKeys>() == 272);

/// The block itself.
#[used]
pub static ROOT_KEYS: RootKeys = match SOURCE {
    Some(source) => parse(source.as_bytes()),
    None => parse(b""),
};

/// How many of root's keys must sign a key set.
const THRESHOLD: usize = 1;

/// The block as it stands in the program's file: read as if it could change, so that it stays there.
pub fn block() -> RootKeys {
    // SAFETY: reads a static of a type without pointers.
    unsafe { (&raw const ROOT_KEYS).read_volatile() }
}

impl RootKeys {
    /// What they are to a verifier. A block that was changed to hold more than there is room for holds none.
    pub fn roots(&self) -> Roots<'_> {
        Roots { keys: self.keys.get(..self.count as usize).unwrap_or_default(), threshold: THRESHOLD }
    }
}

const fn parse(source: &[u8]) -> RootKeys {
    let mut block = RootKeys { magic: *b"SWROOTKY", version: 1, count: 0, keys: [[0; 32]; MAX] };
    let mut at = 0;
    while at < source.len() {
        let mut byte = 0;
        while byte < 32 {
            block.keys[block.count as usize][byte] = digit(source[at]) << 4 | digit(source[at + 1]);
            byte += 1;
            at += 2;
        }
        block.count += 1;
        assert!(
            at == source.len() || source[at] == b',',
            "SWIFT_ROOT_KEYS: 64 hexadecimal digits per key, commas between"
        );
        at += 1;
    }
    block
}

const fn digit(character: u8) -> u8 {
    match character {
        b'0'..=b'9' => character - b'0',
        b'a'..=b'f' => character - b'a' + 10,
        _ => panic!("SWIFT_ROOT_KEYS: digits are 0 to 9 and a to f"),
    }
}
