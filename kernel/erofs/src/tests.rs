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
    let file = (prop_oneof![0usize..200, 3900usize..4200, 8000usize..20000], any::<u8>())
        .prop_map(|(length, seed)| Node::File((0..length).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect()));
    let link = "[a-z/.]{1,80}".prop_map(Node::Link);
    let leaf = prop_oneof![3 => file, 1 => link];
    leaf.prop_recursive(3, 60, 20, |inner| {
        prop::collection::btree_map("[a-zA-Z0-9_]{1,24}", inner, 0..20).prop_map(Node::Directory)
    })
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

fn read(image: &Image<'_>, nid: u64) -> Node {
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
                assert_eq!(image.lookup(&inode, entry.name).unwrap().unwrap().nid, entry.nid);
                if entry.name != b"." && entry.name != b".." {
                    children.insert(String::from_utf8(entry.name.to_vec()).unwrap(), read(image, entry.nid));
                }
            }
            assert_eq!(image.lookup(&inode, b"no such name").unwrap(), None);
            Node::Directory(children)
        }
        other => panic!("unexpected type {other:o}"),
    }
}

/// Visits everything that can be reached, errors included; bounded by `budget`.
fn crawl(image: &Image<'_>, nid: u64, budget: &mut usize) {
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

fn sample() -> Vec<u8> {
    let mut tree = BTreeMap::new();
    for index in 0..300 {
        tree.insert(
            std::format!("a-rather-long-name-so-that-blocks-fill-{index:04}"),
            Node::File(std::vec![index as u8; 30]),
        );
    }
    tree.insert(String::from("big"), Node::File((0..100_000u32).map(|i| (i * 7) as u8).collect()));
    tree.insert(String::from("link"), Node::Link(String::from("big")));
    make(&tree, &[])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn trees_read_back(tree in prop::collection::btree_map("[a-z0-9._-]{1,20}x", node(), 0..12), chunked in any::<bool>()) {
        let options: &[&str] = if chunked { &["--chunksize=8192"] } else { &["-E", "force-inode-extended"] };
        let bytes = make(&tree, options);
        let image = Image::open(&bytes).unwrap();
        prop_assert_eq!(read(&image, image.root()), Node::Directory(tree));
    }

}

#[test]
fn mutated_images_never_panic() {
    let good = sample();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..3000 {
        let mut bytes = good.clone();
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
        if let Ok(image) = Image::open(&bytes) {
            crawl(&image, image.root(), &mut 400);
        }
    }
}

#[test]
fn a_bad_superblock_is_named() {
    let good = sample();
    assert!(Image::open(&good).is_ok());
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Image::open(&bytes).unwrap_err()
    };
    assert!(matches!(with(1024, 0), Error::Magic { .. }));
    assert!(matches!(with(1024 + 12, 13), Error::BlockSize { bits: 13 }));
    assert!(matches!(with(1024 + 12, 200), Error::BlockSize { bits: 200 }));
    assert!(matches!(with(1024 + 36, 0xfe), Error::Checksum { .. }), "any other byte of it is covered by the checksum");
    assert!(matches!(Image::open(&good[..1000]), Err(Error::TooShort { length: 1000 })));
    assert!(matches!(Image::open(&good[..good.len() - BLOCK]), Err(Error::Truncated { .. })));
}

#[test]
fn compressed_images_are_refused() {
    let mut tree = BTreeMap::new();
    tree.insert(String::from("zeroes"), Node::File(std::vec![0; 200_000]));
    let bytes = make(&tree, &["-zlz4hc"]);
    assert!(matches!(Image::open(&bytes), Err(Error::Feature { .. })));
}

#[test]
fn pages_are_on_block_boundaries() {
    let bytes = sample();
    let image = Image::open(&bytes).unwrap();
    let root = image.inode(image.root()).unwrap();
    let big = image.lookup(&root, b"big").unwrap().unwrap();
    let inode = image.inode(big.nid).unwrap();
    for page in 0..inode.size / BLOCK as u64 {
        let Piece::Data { bytes, offset } = image.piece(&inode, page * BLOCK as u64).unwrap() else { panic!("hole") };
        assert_eq!((offset % BLOCK, bytes.len()), (0, BLOCK));
    }
    assert_eq!(image.piece(&inode, inode.size).unwrap().length(), 0);
}
