//! The signature area: what lies outside the signed bytes.

use arrayvec::ArrayVec;

use crate::le::{array, is_zero, u16_at, u32_at};
use crate::{AREA_SIZE, HEADER_SIZE, ReleaseError};

/// Most signatures.
pub const MAX_SIGNATURES: usize = 16;

const HEAD: usize = 32;
const ENTRY: usize = 40;

/// One signature. A verifier skips an algorithm that it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    /// 1 Ed25519, 2 ECDSA P-256 with SHA-256.
    pub algorithm: u16,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub key_id: [u8; 32],
    /// The signature itself.
    pub bytes: &'a [u8],
}

/// Key set and signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureArea<'a> {
    /// Empty when there is none.
    pub key_set: &'a [u8],
    /// In the order of the area.
    pub signatures: ArrayVec<Signature<'a>, MAX_SIGNATURES>,
}

impl<'a> SignatureArea<'a> {
    /// Reads it from the first [`AREA_SIZE`] bytes of a slot image.
    pub fn parse(image: &'a [u8]) -> Result<Self, ReleaseError> {
        let area = image.get(HEADER_SIZE..AREA_SIZE).ok_or(ReleaseError::Truncated(image.len()))?;
        let wrong = |what| ReleaseError::SignatureArea(what);
        if area[..8] != *b"SWIFTSIG" {
            return Err(wrong("it does not start with SWIFTSIG"));
        }
        if u32_at(area, 8) != 1 {
            return Err(wrong("its version is not 1"));
        }
        let length = u32_at(area, 12) as usize;
        if length < HEAD || length > area.len() {
            return Err(wrong("its length in use is not 32 to 12288"));
        }
        if !is_zero(&area[24..32]) {
            return Err(wrong("reserved bytes are not zero"));
        }
        let count = u32_at(area, 20) as usize;
        if count > MAX_SIGNATURES {
            return Err(wrong("more than 16 signatures"));
        }
        let (key_set, rest) = split_padded(&area[HEAD..length], u32_at(area, 16) as usize)
            .ok_or(wrong("the key set reaches past the end"))?;
        Ok(Self { key_set, signatures: entries(rest, count).map_err(wrong)? })
    }
}

/// `count` entries, the last of which ends where the bytes do. More than there is room for are an error.
pub(crate) fn entries<const MAX: usize>(
    bytes: &[u8],
    count: usize,
) -> Result<ArrayVec<Signature<'_>, MAX>, &'static str> {
    let mut rest = bytes;
    let mut signatures = ArrayVec::new();
    for _ in 0..count {
        let head = rest.get(..ENTRY).ok_or("a signature reaches past the end")?;
        let (bytes, after) =
            split_padded(&rest[ENTRY..], u32_at(head, 4) as usize).ok_or("a signature reaches past the end")?;
        let signature = Signature { algorithm: u16_at(head, 0), key_id: array(head, 8), bytes };
        signatures.try_push(signature).map_err(|_| "too many signatures")?;
        rest = after;
    }
    if rest.is_empty() { Ok(signatures) } else { Err("bytes follow the last signature") }
}

/// The first `length` bytes, and what follows them after padding to a multiple of 8.
fn split_padded(data: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let padded = length.checked_next_multiple_of(8)?;
    Some((data.get(..length)?, data.get(padded..)?))
}
