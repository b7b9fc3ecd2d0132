//! Directories and their names.

use datafs::check::Fault;
use datafs::layout::names::entries;
use datafs::{QUOTAS, ROOT};

use super::image::{Image, hash_of, put32};
use super::{Case, Found};

/// Lets the second block of `many` that has a key end at the same hash, with an ordinal beyond 16 bits. Returns the node.
pub fn ordinal_too_large(image: &mut Image) -> u64 {
    let node = image.root_record(image.places.many, 0).block;
    let first = image.node_record(node, 1);
    image.set_node_record(node, 2, |record| (record.high, record.low) = (first.high, first.low + 0x1_0000));
    node
}

/// The block with the names of `sub`.
fn block_of_sub(image: &Image) -> u64 {
    image.names_blocks(image.places.sub)[0]
}

pub const CASES: &[Case] = &[
    ("a torn block of names", |image| {
        let (many, block) = (image.places.many, image.names_blocks(image.places.many)[3]);
        image.raw(block, |bytes| bytes[100] ^= 1);
        vec![(Fault::NamesBlock, block, many)]
    }),
    ("an entry that is too long", |image| {
        let (sub, block) = (image.places.sub, block_of_sub(image));
        image.sealed(block, |bytes| bytes[64 + 7] = 0xff);
        vec![(Fault::NamesBlock, block, sub)]
    }),
    ("a name with a slash", |image| {
        let sub = image.places.sub;
        let block = image.set_entry(sub, b"file", |entry| entry[15] = b'/');
        vec![(Fault::NamesBlock, block, sub)]
    }),
    ("a name with a NUL", |image| {
        let sub = image.places.sub;
        let block = image.set_entry(sub, b"file", |entry| entry[15] = 0);
        vec![(Fault::NamesBlock, block, sub)]
    }),
    ("a block of names of another directory", |image| {
        let (sub, block) = (image.places.sub, block_of_sub(image));
        let other = image.places.many;
        image.sealed(block, |bytes| put32(bytes, 16, other));
        vec![(Fault::NamesOwner, block, sub)]
    }),
    ("a name with another hash", |image| {
        let sub = image.places.sub;
        let block = image.set_entry(sub, b"file", |entry| entry[0] ^= 1);
        vec![(Fault::NameHash, block, sub)]
    }),
    ("a name in another block than it is looked for in", |image| {
        let many = image.places.many;
        let node = image.root_record(many, 0).block;
        let block = image.names_blocks(many)[2];
        let bytes = image.block(block);
        let mut keys: Vec<u64> = entries(&bytes).filter(|entry| entry.inode != 0).map(|entry| entry.key()).collect();
        keys.sort_unstable();
        image.set_node_record(node, 2, |record| (record.high, record.low) = ((keys[1] >> 32) as u32, keys[1] as u32));
        vec![(Fault::NamePlace, block, many)]
    }),
    ("a directory whose first block does not begin at the first hash", |image| {
        let sub = image.places.sub;
        image.set_root_record(sub, 0, |record| record.low = 1);
        vec![(Fault::NodeKeys, image.home(sub), sub)]
    }),
    ("an ordinal that no name has", |image| {
        let many = image.places.many;
        let node = ordinal_too_large(image);
        // what the block before is too narrow for now
        let block = image.names_blocks(many)[1];
        let bytes = image.block(block);
        let mut found = vec![(Fault::NodeKeys, node, many)];
        let border = image.node_record(node, 2).key();
        let behind = entries(&bytes).filter(|entry| entry.inode != 0 && entry.key() >= border);
        found.extend(behind.map(|_| (Fault::NamePlace, block, many)));
        found
    }),
    ("two names in one place of the order", |image| {
        let twin = image.places.twins[1].clone();
        let (block, entry) = image.entry(ROOT, &twin);
        assert_eq!((entry.ordinal, entry.hash), (1, hash_of(&image.places.twins[0])));
        image.set_entry(ROOT, &twin, |entry| entry[4] = 0);
        vec![(Fault::NameOrder, block, ROOT)]
    }),
    ("a name twice", |image| {
        let sub = image.places.sub;
        let hash = hash_of(b"file");
        let block = image.set_entry(sub, b"other", |entry| {
            put32(entry, 0, hash);
            entry[12] = 4;
            entry[14..18].copy_from_slice(b"file");
        });
        vec![(Fault::NameTwice, block, sub)]
    }),
    ("a name of a free inode", |image| {
        let (sub, file, free) = (image.places.sub, image.places.file, image.free_inode());
        let block = image.set_entry(sub, b"file", |entry| put32(entry, 8, free));
        vec![(Fault::NameDangling, block, sub), (Fault::Links, image.home(file), file)]
    }),
    ("a name of an inode that cannot be", |image| {
        let (sub, file) = (image.places.sub, image.places.file);
        let block = image.set_entry(sub, b"file", |entry| put32(entry, 8, u32::MAX));
        vec![(Fault::NameDangling, block, sub), (Fault::Links, image.home(file), file)]
    }),
    ("a name of the table of quotas", |image| {
        let (sub, file) = (image.places.sub, image.places.file);
        let block = image.set_entry(sub, b"file", |entry| put32(entry, 8, QUOTAS));
        vec![(Fault::NameDangling, block, sub), (Fault::Links, image.home(file), file)]
    }),
    ("a name of another type", |image| {
        let sub = image.places.sub;
        let block = image.set_entry(sub, b"file", |entry| entry[13] = 4);
        vec![(Fault::NameKind, block, sub)]
    }),
    ("a directory's size", |image| {
        let sub = image.places.sub;
        image.set(sub, |fields| fields.size += 4096);
        vec![(Fault::DirectorySize, image.home(sub), sub)]
    }),
    ("a directory's parent", |image| {
        let inner = image.places.inner;
        image.set(inner, |fields| fields.device = u64::from(ROOT));
        vec![(Fault::DirectoryParent, image.home(inner), inner)]
    }),
    ("a directory's parent that is no inode", |image| {
        let inner = image.places.inner;
        image.set(inner, |fields| fields.device = 1 << 40);
        let home = image.home(inner);
        vec![(Fault::InodeFields, home, inner), (Fault::DirectoryParent, home, inner)]
    }),
    ("a second name of a directory, before the true one", |image| {
        let (deep, file) = (image.places.deep, image.places.file);
        image.retarget(ROOT, b"second", deep);
        let block = image.names_blocks(image.places.inner)[0];
        vec![(Fault::DirectoryNames, block, deep), (Fault::Links, image.home(file), file)]
    }),
    ("a name of the root directory", |image| {
        let (sub, file) = (image.places.sub, image.places.file);
        let block = image.retarget(sub, b"file", ROOT);
        vec![(Fault::DirectoryNames, block, ROOT), (Fault::Links, image.home(file), file)]
    }),
    ("a directory without a name", |image| {
        let (inner, deep, file) = (image.places.inner, image.places.deep, image.places.file);
        image.retarget(inner, b"deep", file);
        let mut found = vec![(Fault::DirectoryLost, image.home(deep), deep)];
        found.extend([inner, file].map(|inode| (Fault::Links, image.home(inode), inode)));
        found
    }),
    ("directories in each other", ring),
    ("no root directory", |image| {
        let block = image.names_blocks(ROOT)[0];
        image.set(ROOT, |fields| fields.mode = 0);
        let home = image.home(ROOT);
        vec![(Fault::Root, home, ROOT), (Fault::BlockLeaked, block, 0), (Fault::InodeLeaked, home, ROOT)]
    }),
];

/// `sub` and `deep` change places: `inner`, which is in `sub`, has `sub` in it now.
fn ring(image: &mut Image) -> Vec<Found> {
    let (sub, inner, deep) = (image.places.sub, image.places.inner, image.places.deep);
    image.retarget(ROOT, b"sub", deep);
    image.retarget(inner, b"deep", sub);
    image.set(deep, |fields| fields.device = u64::from(ROOT));
    image.set(sub, |fields| fields.device = u64::from(inner));
    vec![(Fault::DirectoryRing, image.home(sub), sub.min(inner))]
}
