//! The shared vectors (tests/vectors/release), and what they cannot say.

use super::*;
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;

fn vectors() -> (Value, Vec<u8>) {
    vectors_of("release")
}

pub fn vectors_of(folder: &str) -> (Value, Vec<u8>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(folder);
    let index = std::fs::read_to_string(folder.join("index.json")).unwrap();
    (serde_json::from_str(&index).unwrap(), std::fs::read(folder.join("base.bin")).unwrap())
}

pub fn patched(case: &Value, base: &[u8]) -> Vec<u8> {
    let mut image = base.to_vec();
    for patch in case["patches"].as_array().unwrap() {
        let at = patch[0].as_u64().unwrap() as usize;
        let bytes = unhex(patch[1].as_str().unwrap());
        image[at..][..bytes.len()].copy_from_slice(&bytes);
    }
    if let Some(length) = case["length"].as_u64() {
        image.truncate(length as usize);
    }
    image
}

pub fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn read(image: &[u8], partition_size: u64) -> Result<Header, ReleaseError> {
    let header = Header::parse(image)?;
    SignatureArea::parse(image)?;
    header.check_for("swift-os", Some("qemu"), partition_size)?;
    Ok(header)
}

#[test]
fn the_shared_vectors_are_read_as_they_say() {
    let (index, base) = vectors();
    for case in index["cases"].as_array().unwrap() {
        let name = &case["name"];
        let image = patched(case, &base);
        match read(&image, case["partition_size"].as_u64().unwrap()) {
            Ok(header) => {
                assert_eq!(case["expect"], "ok", "{name}");
                let unknown_fields = header.minor > 0;
                if !unknown_fields {
                    assert_eq!(header.encode().unwrap()[..], image[..HEADER_SIZE], "{name}");
                }
            }
            Err(error) => {
                assert_eq!(case["expect"], error.class(), "{name}: {error}");
                assert!(!error.to_string().is_empty());
            }
        }
    }
}

#[test]
fn the_fields_are_where_the_format_says() {
    let (_, base) = vectors();
    let header = Header::parse(&base).unwrap();
    assert_eq!(
        (header.product.as_str(), header.profile.as_str(), header.version.as_str()),
        ("swift-os", "qemu", "0.1.0")
    );
    assert_eq!((header.rollback_index, header.signed_at), (7, 1_790_000_000));
    assert_eq!((header.flags_critical, header.flags_optional), (FLAG_DEV, 1 << 63));
    assert_eq!((header.min_slot_size, header.min_disk_layout, header.loader_security_version), (16 << 20, 1, 1));
    assert_eq!(header.verity_root, <[u8; 32]>::from(Sha256::digest(b"root")));
    let kernel = header.section(SectionKind::Kernel).unwrap();
    assert_eq!((kernel.offset, kernel.length), (16384, 900_001));
    assert_eq!(kernel.digest, <[u8; 32]>::from(Sha256::digest(b"section 1")));
    assert_eq!(header.section(SectionKind::Symbols).unwrap().length, 60_000);
    let area = SignatureArea::parse(&base).unwrap();
    assert_eq!(area.key_set, b"key set 1");
    let signatures: Vec<_> = area.signatures.iter().map(|s| (s.algorithm, s.key_id[0], s.bytes.len())).collect();
    assert_eq!(signatures, [(1, 1, 64), (2, 2, 71)]);
}

#[test]
fn a_loader_for_no_profile_takes_any() {
    let header = Header::parse(&vectors().1).unwrap();
    assert!(header.check_for("swift-os", None, 16 << 20).is_ok());
    assert!(header.check_for("swift-os", Some("hetzner"), 16 << 20).is_err());
}

#[test]
fn texts_are_1_to_32_printable_characters() {
    assert_eq!(Text::new("0.1.0").unwrap().as_str(), "0.1.0");
    assert_eq!(Text::new(&"x".repeat(32)).unwrap().as_str().len(), 32);
    for bad in ["", "a b", "ä", "a\0b", &"x".repeat(33)] {
        assert!(Text::new(bad).is_none(), "{bad:?}");
    }
}

#[test]
fn the_digest_covers_the_header_and_nothing_else() {
    let (_, mut base) = vectors();
    let before = digest(base.first_chunk().unwrap());
    base[HEADER_SIZE] ^= 1;
    assert_eq!(digest(base.first_chunk().unwrap()), before);
    base[HEADER_SIZE - 1] ^= 1;
    assert_ne!(digest(base.first_chunk().unwrap()), before);
}

proptest! {
    #[test]
    fn whatever_is_accepted_is_sound_and_encodes_to_itself(
        changes in prop::collection::vec((0usize..700, any::<u8>()), 0..4), area in prop::collection::vec((0usize..200, any::<u8>()), 0..4)
    ) {
        let (_, mut image) = vectors();
        for (at, value) in changes {
            image[at] = value;
        }
        for (at, value) in area {
            image[HEADER_SIZE + at] = value;
        }
        let _ = SignatureArea::parse(&image);
        if let Ok(header) = Header::parse(&image) {
            let mut free_from = AREA_SIZE as u64;
            for section in &header.sections {
                prop_assert!(section.offset >= free_from && section.length > 0);
                free_from = section.offset + section.length;
            }
            prop_assert!(free_from <= header.min_slot_size);
            if header.minor == 0 {
                prop_assert_eq!(&header.encode().unwrap()[..], &image[..HEADER_SIZE]);
            }
        }
    }
}
