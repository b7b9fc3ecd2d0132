//! Trees come from veritysetup, the reference writer.

use super::*;
use proptest::prelude::*;
use sha256::Engine;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Data, section, root.
struct Made {
    data: Vec<u8>,
    section: Vec<u8>,
    root: [u8; DIGEST],
}

const SALT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn pattern(blocks: usize) -> Vec<u8> {
    (0..blocks * BLOCK).map(|at| (at / BLOCK * 7 + at / 3) as u8).collect()
}

fn format(data: Vec<u8>, salt: &str, more: &[&str]) -> Made {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| -> String { room.path().join(name).to_str().unwrap().into() };
    fs::write(path("data"), &data).unwrap();
    let done = Command::new("/usr/sbin/veritysetup")
        .args(["format", "--salt", salt, "--uuid", "11111111-2222-3333-4444-555555555555"])
        .args(more)
        .args([path("data"), path("tree")])
        .output()
        .expect("veritysetup (package cryptsetup-bin)");
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let root = said.lines().find_map(|line| line.strip_prefix("Root hash:")).expect("a root hash").trim();
    let mut bytes = [0; DIGEST];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&root[at..at + 2], 16).unwrap();
    }
    Made { data, section: fs::read(Path::new(&path("tree"))).unwrap(), root: bytes }
}

fn verifier(made: &Made) -> Verifier<&[u8]> {
    Verifier::new(&made.section[..], made.data.len() as u64, made.root, Engine::best()).unwrap()
}

fn check<T: AsRef<[u8]>>(verifier: &Verifier<T>, data: &[u8], block: u64) -> Result<(), Failure> {
    verifier.verify(block, &data.as_chunks::<BLOCK>().0[block as usize])
}

fn check_all<T: AsRef<[u8]>>(verifier: &Verifier<T>, data: &[u8]) -> Result<(), Failure> {
    (0..verifier.layout().data_blocks()).try_for_each(|block| check(verifier, data, block))
}

#[test]
fn every_shape_of_tree_leads_to_its_root() {
    let longest = "5a".repeat(SALT_MAX);
    let table = [
        (1, SALT, 0),
        (2, SALT, 1),
        (127, "-", 1),
        (128, SALT, 1),
        (129, &longest, 2),
        (300, "ab", 2),
        (128 * 128, SALT, 2),
        (128 * 128 + 1, SALT, 3),
    ];
    for (blocks, salt, levels) in table {
        let made = format(pattern(blocks), salt, &[]);
        let verifier = verifier(&made);
        assert_eq!(verifier.layout().levels(), levels, "{blocks} blocks");
        check_all(&verifier, &made.data).unwrap();
        assert_eq!(verifier.sound_tree_blocks(), verifier.layout().tree_blocks(), "{blocks} blocks");
        assert_eq!(verifier.layout().section_length(), made.section.len() as u64);
        check_all(&verifier, &made.data).unwrap();
    }
}

#[test]
fn a_block_of_another_place_is_none_of_this_one() {
    let made = format(pattern(130), SALT, &[]);
    let verifier = verifier(&made);
    let first: &[u8; BLOCK] = made.data.first_chunk().unwrap();
    assert_eq!(verifier.verify(129, first), Err(Failure { block: 129, level: 0 }));
    assert_eq!(verifier.verify(130, first), Err(Failure { block: 130, level: 0 }));
    assert_eq!(verifier.verify(u64::MAX, first), Err(Failure { block: u64::MAX, level: 0 }));
    assert_eq!(verifier.verify(0, first), Ok(()));
}

/// Every bit of a small image and of its tree, one at a time: the block under it fails, whatever was checked before, and no other does.
#[test]
fn every_flipped_bit_of_data_is_found() {
    let made = format(pattern(2), SALT, &[]);
    let verifier = verifier(&made);
    let mut data = made.data.clone();
    for bit in 0..data.len() * 8 {
        data[bit / 8] ^= 1 << (bit % 8);
        let block = (bit / 8 / BLOCK) as u64;
        assert_eq!(check(&verifier, &data, block), Err(Failure { block, level: 0 }), "bit {bit}");
        data[bit / 8] ^= 1 << (bit % 8);
    }
    check_all(&verifier, &data).unwrap();
}

#[test]
fn every_flipped_bit_of_the_tree_is_found() {
    let made = format(pattern(2), SALT, &[]);
    let mut section = made.section.clone();
    for bit in BLOCK * 8..section.len() * 8 {
        section[bit / 8] ^= 1 << (bit % 8);
        let altered = Verifier::new(&section[..], made.data.len() as u64, made.root, Engine::best()).unwrap();
        for block in 0..2 {
            assert_eq!(check(&altered, &made.data, block), Err(Failure { block, level: 1 }), "bit {bit}");
        }
        section[bit / 8] ^= 1 << (bit % 8);
    }
}

/// What of it the tree does not cover is compared, but for the UUID, which nothing here depends on, and the salt, which all depends on.
#[test]
fn every_flipped_bit_of_the_superblock_is_found() {
    let made = format(pattern(2), SALT, &[]);
    let length = made.data.len() as u64;
    let mut section = made.section.clone();
    for bit in 0..BLOCK * 8 {
        section[bit / 8] ^= 1 << (bit % 8);
        match Verifier::new(&section[..], length, made.root, Engine::best()) {
            Ok(altered) if (16..32).contains(&(bit / 8)) => check_all(&altered, &made.data).unwrap(),
            Ok(altered) => {
                assert!((80..120).contains(&(bit / 8)), "bit {bit}");
                assert_eq!(check(&altered, &made.data, 0), Err(Failure { block: 0, level: 1 }), "bit {bit}");
            }
            Err(error) => assert!(matches!(error, Error::Superblock(_)), "bit {bit}: {error}"),
        }
        section[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_damaged_level_is_named_and_what_does_not_lie_under_it_passes() {
    // Two levels: block 0 of the tree is the top, 1 to 3 the hashes of blocks from 0, 128, 256.
    let made = format(pattern(300), SALT, &[]);
    let length = made.data.len() as u64;
    let altered = |tree_block: usize| {
        let mut section = made.section.clone();
        section[(1 + tree_block) * BLOCK + 5] ^= 1;
        Verifier::new(section, length, made.root, Engine::best()).unwrap()
    };
    let top = altered(0);
    for block in [0, 299, 0] {
        assert_eq!(check(&top, &made.data, block), Err(Failure { block, level: 2 }));
    }
    assert_eq!(top.sound_tree_blocks(), 0);
    let middle = altered(2);
    assert_eq!(check(&middle, &made.data, 127), Ok(()));
    assert_eq!(check(&middle, &made.data, 128), Err(Failure { block: 128, level: 1 }));
    assert_eq!(check(&middle, &made.data, 255), Err(Failure { block: 255, level: 1 }));
    assert_eq!(check(&middle, &made.data, 256), Ok(()));
    assert_eq!(middle.sound_tree_blocks(), 3);
    let mut root = made.root;
    root[31] ^= 0x80;
    let other = Verifier::new(&made.section[..], length, root, Engine::best()).unwrap();
    assert_eq!(check(&other, &made.data, 7), Err(Failure { block: 7, level: 2 }));
}

/// Over one block there is no tree, and the root is its hash.
#[test]
fn a_single_block_is_held_to_the_root() {
    let made = format(pattern(1), SALT, &[]);
    let verifier = verifier(&made);
    assert_eq!(check(&verifier, &made.data, 0), Ok(()));
    let mut data = made.data.clone();
    data[4095] ^= 1;
    assert_eq!(check(&verifier, &data, 0), Err(Failure { block: 0, level: 0 }));
}

#[test]
fn another_form_of_tree_is_refused_by_name() {
    let refusal = |more: &[&str], salt: &str| {
        let made = format(pattern(130), salt, more);
        let mut section = made.section;
        // A section of the right length, so that it is the superblock that is looked at.
        section.resize(4 * BLOCK, 0);
        Verifier::new(section, made.data.len() as u64, made.root, Engine::best()).unwrap_err()
    };
    assert_eq!(refusal(&["--format=0"], SALT), Error::Superblock(Field::HashType));
    assert_eq!(refusal(&["--hash=sha512"], SALT), Error::Superblock(Field::Algorithm));
    assert_eq!(refusal(&["--data-block-size=1024"], SALT), Error::Superblock(Field::BlockSize));
    assert_eq!(refusal(&["--hash-block-size=1024"], SALT), Error::Superblock(Field::BlockSize));
    assert_eq!(refusal(&["--data-blocks=100"], SALT), Error::Superblock(Field::DataBlocks));
}

#[test]
fn a_malformed_superblock_is_named() {
    let made = format(pattern(2), SALT, &[]);
    let with = |at: usize, bytes: &[u8]| {
        let mut section = made.section.clone();
        section[at..at + bytes.len()].copy_from_slice(bytes);
        Verifier::new(section, made.data.len() as u64, made.root, Engine::best()).unwrap_err()
    };
    assert_eq!(with(0, b"V"), Error::Superblock(Field::Signature));
    assert_eq!(with(8, &[2]), Error::Superblock(Field::Version));
    assert_eq!(with(72, &[3]), Error::Superblock(Field::DataBlocks));
    assert_eq!(with(79, &[1]), Error::Superblock(Field::DataBlocks));
    assert_eq!(with(80, &[1, 1]), Error::Superblock(Field::Salt));
    assert_eq!(with(80, &[0xff, 0xff]), Error::Superblock(Field::Salt));
    assert_eq!(with(80, &[31]), Error::Superblock(Field::Salt));
    assert_eq!(with(82, &[1]), Error::Superblock(Field::Reserved));
    assert_eq!(with(343, &[1]), Error::Superblock(Field::Salt));
    assert_eq!(with(344, &[1]), Error::Superblock(Field::Reserved));
    assert_eq!(with(BLOCK - 1, &[1]), Error::Superblock(Field::Reserved));
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let made = format(pattern(2), SALT, &[]);
    let with = |section: &[u8], length: u64| {
        Verifier::new(section.to_vec(), length, made.root, Engine::best()).map(|_| ()).unwrap_err()
    };
    let length = made.data.len() as u64;
    assert_eq!(with(&made.section, length - 1), Error::Data { length: length - 1 });
    assert_eq!(with(&made.section, 0), Error::Data { length: 0 });
    assert_eq!(with(&made.section, u64::MAX), Error::Data { length: u64::MAX });
    let beyond = (DATA_BLOCKS_MAX + 1) * BLOCK as u64;
    assert_eq!(with(&made.section, beyond), Error::Data { length: beyond });
    for cut in [0, 100, BLOCK, 2 * BLOCK - 1] {
        let expected = 2 * BLOCK as u64;
        assert_eq!(with(&made.section[..cut], length), Error::Section { length: cut as u64, expected });
    }
    assert!(matches!(with(&[made.section.clone(), vec![0; BLOCK]].concat(), length), Error::Section { .. }));
}

#[test]
fn the_largest_tree_has_the_levels_that_it_needs() {
    let layout = Layout::over(DATA_BLOCKS_MAX * BLOCK as u64).unwrap();
    assert_eq!(layout.levels(), LEVELS_MAX);
    assert_eq!(layout.tree_blocks(), 131_072 + 1024 + 8 + 1);
    assert_eq!(layout.place(DATA_BLOCKS_MAX - 1, 0), (layout.tree_blocks() - 1, 127));
    assert_eq!(layout.place(DATA_BLOCKS_MAX - 1, 3), (0, 7));
}

#[test]
fn a_bitmap_counts_each_block_once() {
    let bitmap = Bitmap::new(130).unwrap();
    for block in [0, 63, 64, 129, 129, 0] {
        bitmap.insert(block);
    }
    assert_eq!(bitmap.count(), 4);
    assert!([0, 63, 64, 129].iter().all(|&block| bitmap.contains(block)));
    assert!(![1, 62, 128, 130, 10_000, u64::MAX].iter().any(|&block| bitmap.contains(block)));
    bitmap.insert(u64::MAX);
    bitmap.remove(u64::MAX);
    bitmap.remove(63);
    bitmap.remove(63);
    assert_eq!(bitmap.count(), 3);
    assert!(!bitmap.contains(63) && bitmap.contains(64));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// Flipped bits anywhere, one to three of them, with blocks checked in any order: what fails is exactly what a fresh reckoning of the whole says.
    #[test]
    fn flips_anywhere_are_found(
        blocks in 1usize..400, flips in prop::collection::vec(any::<prop::sample::Index>(), 1..4), order in any::<u64>()
    ) {
        let made = format(pattern(blocks), SALT, &[]);
        let (mut data, mut section) = (made.data.clone(), made.section.clone());
        let tree = section.len() - BLOCK;
        for flip in &flips {
            let bit = flip.index((data.len() + tree) * 8);
            match bit.checked_sub(data.len() * 8) {
                None => data[bit / 8] ^= 1 << (bit % 8),
                Some(bit) => section[BLOCK + bit / 8] ^= 1 << (bit % 8),
            }
        }
        let altered = Verifier::new(&section[..], data.len() as u64, made.root, Engine::best()).unwrap();
        let changed = |bytes: &[u8], sound: &[u8], block: u64| {
            let at = block as usize * BLOCK;
            bytes[at..at + BLOCK] != sound[at..at + BLOCK]
        };
        for step in 0..blocks as u64 {
            let block = (step * (2 * (order % 1000) + 1) + order % 77) % blocks as u64;
            let layout = altered.layout();
            let wrong = (0..layout.levels()).rev().find(|&level| {
                changed(&section, &made.section, 1 + layout.place(block, level).0)
            });
            let expected = match wrong {
                Some(level) => Err(Failure { block, level: level + 1 }),
                None if changed(&data, &made.data, block) => Err(Failure { block, level: 0 }),
                None => Ok(()),
            };
            prop_assert_eq!(check(&altered, &data, block), expected);
        }
    }

    #[test]
    fn superblocks_read_back(uuid in any::<[u8; 16]>(), blocks in any::<u64>(), salt in prop::collection::vec(any::<u8>(), 0..=SALT_MAX)) {
        let superblock = Superblock::new(uuid, blocks, &salt).unwrap();
        prop_assert_eq!(superblock.salt(), &salt[..]);
        prop_assert_eq!(Superblock::read(&superblock.encode(), blocks), Ok(superblock));
        let other = Superblock::read(&superblock.encode(), blocks ^ 1);
        prop_assert_eq!(other, Err(Error::Superblock(Field::DataBlocks)));
    }
}
