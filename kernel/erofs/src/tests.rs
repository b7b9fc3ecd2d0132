//! Images come from mkfs.erofs, the reference writer; a tree is read back and compared, and mutated images must not panic.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::string::String;
use std::vec::Vec;

#[derive(Clone, Debug, PartialEq)]
enum Node {
    File(Vec<u8>),
    Link(String),
    Directory(BTreeMap<String, Node>),
}

fn node() -> impl Strategy<Value = Node> {
    let lengths = prop_oneof![0usize..200, 3900usize..4200, 8000usize..20000, 60_000usize..150_000];
    let file =
        (lengths, any::<u64>(), 0u32..10).prop_map(|(length, seed, kind)| Node::File(content(length, seed, kind)));
    let link = "[a-z/.]{1,80}".prop_map(Node::Link);
    let leaf = prop_oneof![3 => file, 1 => link];
    leaf.prop_recursive(3, 60, 20, |inner| {
        prop::collection::btree_map("[a-zA-Z0-9_]{1,24}", inner, 0..20).prop_map(Node::Directory)
    })
}

/// From one byte again and again to what no compression makes smaller, and mixtures.
fn content(length: usize, seed: u64, kind: u32) -> Vec<u8> {
    let mut state = seed | 1;
    (0..length)
        .map(|at| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            match kind {
                0 => seed as u8,
                1..4 => (state >> 32) as u8,
                4..7 => b"in the beginning was the command line"[(state >> 60) as usize + at % 17],
                _ if at / 5000 % 2 == 0 => (at / 40) as u8,
                _ => (state >> 40) as u8,
            }
        })
        .collect()
}

fn write(at: &Path, node: &Node) {
    match node {
        Node::File(bytes) => fs::write(at, bytes).unwrap(),
        Node::Link(target) => symlink(target, at).unwrap(),
        Node::Directory(children) => {
            fs::create_dir(at).unwrap();
            children.iter().for_each(|(name, child)| write(&at.join(name), child));
        }
    }
}

fn make(tree: &BTreeMap<String, Node>, options: &[&str]) -> Vec<u8> {
    let room = tempfile::tempdir().unwrap();
    let (root, image) = (room.path().join("root"), room.path().join("image"));
    write(&root, &Node::Directory(tree.clone()));
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    let done =
        Command::new("mkfs.erofs").args(options).arg(&image).arg(&root).output().expect("mkfs.erofs is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    fs::read(image).unwrap()
}

type Plain<'a> = Image<&'a [u8]>;

fn read(image: &Plain<'_>, nid: u64) -> Node {
    let inode = image.inode(nid).unwrap();
    let mut bytes = std::vec![0; inode.size as usize];
    match inode.mode & 0o170_000 {
        0o100_000 => {
            assert_eq!(image.read(&inode, 0, &mut bytes).unwrap(), bytes.len());
            Node::File(bytes)
        }
        0o120_000 => {
            image.read(&inode, 0, &mut bytes).unwrap();
            Node::Link(String::from_utf8(bytes).unwrap())
        }
        0o040_000 => {
            let mut children = BTreeMap::new();
            let mut position = 0;
            while let Some(entry) = image.entry_at(&inode, position).unwrap() {
                assert!(entry.next > position);
                position = entry.next;
                assert_eq!(image.lookup(&inode, entry.name()).unwrap().unwrap().nid, entry.nid);
                if entry.name() != b"." && entry.name() != b".." {
                    children.insert(String::from_utf8(entry.name().to_vec()).unwrap(), read(image, entry.nid));
                }
            }
            assert!(image.lookup(&inode, b"no such name").unwrap().is_none());
            Node::Directory(children)
        }
        other => panic!("unexpected type {other:o}"),
    }
}

/// Visits everything that can be reached, errors included; bounded by `budget`.
fn crawl(image: &Plain<'_>, nid: u64, budget: &mut usize) {
    let Some(left) = budget.checked_sub(1) else { return };
    *budget = left;
    let Ok(inode) = image.inode(nid) else { return };
    let mut page = [0; BLOCK];
    let _ = image.read(&inode, 0, &mut page);
    let _ = image.read(&inode, inode.size.saturating_sub(10), &mut page);
    let _ = image.lookup(&inode, b"middle");
    let mut position = 0;
    while let Ok(Some(entry)) = image.entry_at(&inode, position) {
        position = entry.next;
        crawl(image, entry.nid, budget);
        if *budget == 0 {
            return;
        }
    }
}

fn sample(form: &[&str]) -> Vec<u8> {
    let mut tree = BTreeMap::new();
    for index in 0..300 {
        tree.insert(
            std::format!("a-rather-long-name-so-that-blocks-fill-{index:04}"),
            Node::File(std::vec![index as u8; 30]),
        );
    }
    tree.insert(String::from("big"), Node::File((0..100_000u32).map(|i| (i * 7) as u8).collect()));
    tree.insert(String::from("link"), Node::Link(String::from("big")));
    tree.insert(String::from("text"), Node::File(content(200_000, 1, 5)));
    tree.insert(String::from("mixed"), Node::File(content(200_000, 1, 9)));
    make(&tree, form)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn trees_read_back(tree in prop::collection::btree_map("[a-z0-9._-]{1,20}x", node(), 0..12), form in 0..FORMS.len()) {
        let bytes = make(&tree, FORMS[form]);
        let image = Image::open(&bytes[..]).unwrap();
        prop_assert_eq!(read(&image, image.root()), Node::Directory(tree));
    }

    /// What another library compresses.
    #[test]
    fn lz4_gives_back_what_was_compressed(length in 0usize..100_000, seed in any::<u64>(), kind in 0u32..10, cut in any::<prop::sample::Index>()) {
        let bytes = content(length, seed, kind);
        let packed = lz4_flex::block::compress(&bytes);
        let mut output = std::vec![0; length];
        prop_assert_eq!(decompress(&packed, &mut output), if length == 0 { Some(packed.len()) } else { Some(0) });
        prop_assert_eq!(&output, &bytes);
        let mut part = std::vec![0; cut.index(length + 1)];
        prop_assert!(decompress(&packed, &mut part).is_some());
        prop_assert_eq!(&part[..], &bytes[..part.len()]);
        let mut more = std::vec![0; length + 1];
        prop_assert_eq!(decompress(&packed, &mut more), None);
    }

    /// Any bytes: what the other library takes gives the same here, and neither reads or writes elsewhere.
    #[test]
    fn lz4_of_any_bytes_is_what_another_library_says(packed in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 1..200)) {
        if let Ok(bytes) = lz4_flex::block::decompress(&packed, 1 << 16) {
            let mut output = std::vec![0; bytes.len()];
            prop_assert!(decompress(&packed, &mut output).is_some());
            prop_assert_eq!(output, bytes);
        }
        let _ = decompress(&packed, &mut [0; 5000]);
    }
}

/// What mkfs.erofs is told.
const FORMS: [&[&str]; 8] = [
    &["--chunksize=8192"],
    &["-E", "force-inode-extended"],
    &["-zlz4"],
    &["-zlz4hc,9", "--max-extent-bytes=65536"],
    &["-zlz4hc", "-C65536"],
    &["-zlz4", "-C16384", "-E", "force-inode-extended"],
    &["-zlz4", "-E", "legacy-compress"],
    &["-zlz4", "-C32768", "-E", "legacy-compress"],
];

/// Files in the longest forms, and every length around the ends of clusters and packs of indexes.
#[test]
fn compressed_files_of_every_length_read_back() {
    let mut tree = BTreeMap::new();
    for clusters in (0..20).chain(31..36).chain(63..66).chain([250]) {
        for odd in [0, 1, 2000] {
            let length = clusters * BLOCK + odd;
            let name = |kind: &str| std::format!("{kind}-{length:07}");
            tree.insert(name("zero"), Node::File(std::vec![0; length]));
            tree.insert(name("mixed"), Node::File(content(length, length as u64 + 7, 9)));
            tree.insert(name("text"), Node::File(content(length, length as u64, 5)));
        }
    }
    for form in FORMS {
        let bytes = make(&tree, form);
        let image = Image::open(&bytes[..]).unwrap();
        assert_eq!(read(&image, image.root()), Node::Directory(tree.clone()), "{form:?}");
    }
}

/// What no reader has to hold at once; mkfs.erofs makes such extents of zeroes only, and none with --max-extent-bytes.
#[test]
fn an_extent_that_is_too_long_is_refused() {
    let tree = BTreeMap::from([(String::from("zeroes"), Node::File(std::vec![0; 3 << 20]))]);
    for (form, refused) in
        [(&["-zlz4", "-C65536"][..], true), (&["-zlz4", "-C65536", "--max-extent-bytes=65536"], false)]
    {
        let bytes = make(&tree, form);
        let image = Image::open(&bytes[..]).unwrap();
        let root = image.inode(image.root()).unwrap();
        let inode = image.inode(image.lookup(&root, b"zeroes").unwrap().unwrap().nid).unwrap();
        let result = image.read(&inode, 0, &mut [0; 100]);
        assert_eq!(result, if refused { Err(Fault::Packed { nid: inode.nid }.into()) } else { Ok(100) });
    }
}

/// Each extent covers its bytes, the next begins where it ends, and any part of a file reads as the whole does.
#[test]
fn extents_follow_each_other() {
    for form in FORMS {
        let bytes = make(&BTreeMap::from([(String::from("file"), Node::File(content(400_001, 3, 9)))]), form);
        let image = Image::open(&bytes[..]).unwrap();
        let root = image.inode(image.root()).unwrap();
        let inode = image.inode(image.lookup(&root, b"file").unwrap().unwrap().nid).unwrap();
        assert_eq!(inode.is_packed(), form[0].starts_with("-zlz4"), "{form:?}");
        if !inode.is_packed() {
            continue;
        }
        let (mut offset, mut kinds) = (0, [0; 3]);
        while offset < inode.size {
            let extent = image.extent(&inode, offset).unwrap();
            assert_eq!(extent.start, offset);
            let end = offset + extent.length as u64;
            for inside in [offset + extent.length as u64 / 2, end - 1] {
                assert_eq!(image.extent(&inode, inside).unwrap(), extent, "{form:?}");
            }
            kinds[if extent.plain { 0 } else { usize::from(extent.blocks > 1) + 1 }] += 1;
            let mut part = std::vec![0; extent.length / 3];
            image.unpack_into(&inode, &extent, &mut part).unwrap();
            assert_eq!(part[..], content(400_001, 3, 9)[offset as usize..][..part.len()], "{form:?}");
            offset = end;
        }
        assert!(kinds[0] + kinds[1] + kinds[2] > 3 && kinds[1] + kinds[2] > 0, "{form:?}: {kinds:?}");
        assert_eq!(kinds[2] > 0, form.iter().any(|option| option.starts_with("-C")), "{form:?}: {kinds:?}");
        assert!(image.extent(&inode, inode.size).is_err());
        assert!(image.extent(&root, 0).is_err());
    }
}

#[test]
fn mutated_images_never_panic() {
    for form in [&[][..], FORMS[2], FORMS[4], FORMS[7]] {
        mutate(&sample(form));
    }
}

fn mutate(good: &[u8]) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..500 {
        let mut bytes = good.to_vec();
        for _ in 0..next() % 8 + 1 {
            // Three of four changes hit the metadata, where they matter.
            let span = if next() % 4 == 0 { bytes.len() } else { bytes.len().min(64 * 1024) };
            let at = next() as usize % span;
            bytes[at] = next() as u8;
        }
        // The checksum would refuse most changes of the superblock: leave it out of the account.
        bytes[1024 + 8] &= !1;
        if next() % 16 == 0 {
            bytes.truncate(next() as usize % bytes.len());
        }
        if let Ok(image) = Image::open(&bytes[..]) {
            crawl(&image, image.root(), &mut 400);
        }
    }
}

#[test]
fn a_bad_superblock_is_named() {
    let good = sample(&[]);
    assert!(Image::open(&good[..]).is_ok());
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        fault(&bytes)
    };
    assert!(matches!(with(1024, 0), Fault::Magic { .. }));
    assert!(matches!(with(1024 + 12, 13), Fault::BlockSize { bits: 13 }));
    assert!(matches!(with(1024 + 12, 200), Fault::BlockSize { bits: 200 }));
    assert!(matches!(with(1024 + 36, 0xfe), Fault::Checksum { .. }), "any other byte of it is covered by the checksum");
    assert_eq!(fault(&good[..1000]), Fault::TooShort);
    assert!(matches!(fault(&good[..good.len() - BLOCK]), Fault::Truncated { .. }));
}

fn fault(bytes: &[u8]) -> Fault {
    match Image::open(bytes) {
        Err(Error::Fault(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

/// With the checksum made right.
fn altered(good: &[u8], change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = good.to_vec();
    change(&mut bytes[1024..]);
    bytes[1024 + 8] &= !1;
    bytes
}

#[test]
fn features_that_are_not_had_are_refused() {
    let tree = BTreeMap::from([(String::from("text"), Node::File(content(200_000, 1, 5)))]);
    assert_eq!(fault(&make(&tree, &["-zlz4", "-Eztailpacking"])), Fault::Feature { bits: 0x10 });
    let good = make(&tree, &["-zlz4", "-C16384"]);
    for bit in 0..32 {
        let bytes = altered(&good, |head| head[80 + bit / 8] |= 1 << (bit % 8));
        match bit {
            0..3 => assert!(Image::open(&bytes[..]).is_ok()),
            _ => assert_eq!(fault(&bytes), Fault::Feature { bits: 1 << bit }),
        }
    }
    // LZMA beside LZ4.
    assert_eq!(fault(&altered(&good, |head| head[84] = 3)), Fault::Compression { bits: 3 });
}

/// A source that does not have some blocks: what needs one says so, and nothing else is a fault of the image.
#[test]
fn a_block_that_cannot_be_had_is_no_fault_of_the_image() {
    struct Holes<'a>(&'a [u8], u64);
    impl<'a> Source for Holes<'a> {
        type Block = &'a [u8; BLOCK];
        type Error = u64;
        fn count(&self) -> u64 {
            self.0.count()
        }
        fn block(&self, index: u64) -> Result<Self::Block, u64> {
            if index == self.1 { Err(index) } else { Ok(self.0.block(index).unwrap()) }
        }
    }
    for form in FORMS {
        let bytes = sample(form);
        let mut missed = 0;
        for missing in 0..(&bytes[..]).count() {
            let image = match Image::open(Holes(&bytes, missing)) {
                Ok(image) => image,
                Err(error) => {
                    assert_eq!(error, Error::Source(missing));
                    missed += 1;
                    continue;
                }
            };
            for name in [&b"big"[..], b"text", b"mixed", b"link", b"a-rather-long-name-so-that-blocks-fill-0099"] {
                let inode = |name| {
                    let root = image.inode(image.root())?;
                    image.inode(image.lookup(&root, name)?.expect("it is there").nid)
                };
                let all = inode(name).and_then(|inode| {
                    let mut bytes = std::vec![0; inode.size as usize];
                    image.read(&inode, 0, &mut bytes)
                });
                match all {
                    Ok(_) => {}
                    Err(error) => {
                        assert_eq!(error, Error::Source(missing), "{form:?}");
                        missed += 1;
                    }
                }
            }
        }
        assert!(missed > 10, "{form:?}: {missed}");
    }
}

#[test]
fn pages_are_on_block_boundaries() {
    let bytes = sample(&[]);
    let image = Image::open(&bytes[..]).unwrap();
    let root = image.inode(image.root()).unwrap();
    let big = image.lookup(&root, b"big").unwrap().unwrap();
    let inode = image.inode(big.nid).unwrap();
    for page in 0..inode.size / BLOCK as u64 {
        let Piece::Data { block, range, .. } = image.piece(&inode, page * BLOCK as u64, 0).unwrap() else {
            panic!("hole")
        };
        assert_eq!(range, 0..BLOCK);
        let at_hand = image.page_at_hand(&inode, page * BLOCK as u64).unwrap();
        assert!(core::ptr::eq(block, at_hand));
    }
    assert_eq!(image.piece(&inode, inode.size, 0).unwrap().length(), 0);
    assert!(image.page_at_hand(&inode, inode.size).is_none());
}
