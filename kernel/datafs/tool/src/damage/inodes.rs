//! Inodes, trees, extents, links, attributes, orphans.

use datafs::FILE_MAX;
use datafs::check::Fault;
use datafs::layout::inode::{self, ORPHAN};
use datafs::layout::node::{self, UNWRITTEN};

use super::Case;
use super::image::{Image, put32};

/// Which node the map of `big` has.
fn node_of_big(image: &Image) -> u64 {
    image.root_record(image.places.big, 0).block
}

/// Lets the two nodes of the map of `big` change places.
pub fn swap_nodes_of_big(image: &mut Image) -> [u64; 2] {
    let big = image.places.big;
    let nodes = [0, 1].map(|at| image.root_record(big, at).block);
    [0, 1].into_iter().for_each(|at| image.set_root_record(big, at, |record| record.block = nodes[1 - at]));
    nodes
}

pub const CASES: &[Case] = &[
    ("a torn inode", |image| {
        let (file, home) = (image.places.file, image.home(image.places.file));
        let at = image.geometry.inode_place(file).1;
        image.raw(home, |bytes| bytes[at + 70] ^= 1);
        vec![(Fault::InodeChecksum, home, file)]
    }),
    ("an inode in another's place", |image| {
        let (file, home) = (image.places.file, image.home(image.places.file));
        image.inode(file, |bytes| put32(bytes, 4, 999));
        vec![(Fault::InodePlace, home, file)]
    }),
    ("an undefined flag", |image| {
        let (file, home) = (image.places.file, image.home(image.places.file));
        image.set(file, |fields| fields.flags = 0x8000);
        vec![(Fault::InodeFields, home, file)]
    }),
    ("no such type", |image| {
        let (fifo, home) = (image.places.fifo, image.home(image.places.fifo));
        image.set(fifo, |fields| fields.mode = 0o170_600);
        vec![(Fault::InodeFields, home, fifo)]
    }),
    ("a file with a device's number", |image| {
        let (file, home) = (image.places.file, image.home(image.places.file));
        image.set(file, |fields| fields.device = 5);
        vec![(Fault::InodeFields, home, file)]
    }),
    ("a FIFO with a size", |image| {
        let (fifo, home) = (image.places.fifo, image.home(image.places.fifo));
        image.set(fifo, |fields| fields.size = 5);
        vec![(Fault::InodeFields, home, fifo)]
    }),
    ("a free inode marked used", |image| {
        let inode = image.free_inode();
        image.mark_inode(inode, true);
        vec![(Fault::InodeLeaked, image.home(inode), inode)]
    }),
    ("an inode in use marked free", |image| {
        let file = image.places.file;
        image.mark_inode(file, false);
        vec![(Fault::InodeUnmarked, image.home(file), file)]
    }),
    ("an inode's count of blocks", |image| {
        let file = image.places.file;
        image.set(file, |fields| fields.blocks += 1);
        vec![(Fault::InodeBlocks, image.home(file), file)]
    }),
    ("a count of links", |image| {
        let file = image.places.file;
        image.set(file, |fields| fields.links = 1);
        vec![(Fault::Links, image.home(file), file)]
    }),
    ("a directory's count of links", |image| {
        let inner = image.places.inner;
        image.set(inner, |fields| fields.links = 2);
        vec![(Fault::Links, image.home(inner), inner)]
    }),
    ("a torn node", |image| {
        let (big, block) = (image.places.big, node_of_big(image));
        image.raw(block, |bytes| bytes[70] ^= 1);
        vec![(Fault::NodeBlock, block, big)]
    }),
    ("a node of another level", |image| {
        let (big, block) = (image.places.big, node_of_big(image));
        image.sealed(block, |bytes| bytes[node::LEVEL] = 1);
        vec![(Fault::NodeBlock, block, big)]
    }),
    ("a node of an earlier use of the inode's number", |image| {
        let (big, block) = (image.places.big, node_of_big(image));
        image.sealed(block, |bytes| bytes[20] ^= 0x55);
        vec![(Fault::NodeOwner, block, big)]
    }),
    ("records of a node in disorder", |image| {
        let (big, block) = (image.places.big, node_of_big(image));
        image.set_node_record(block, 5, |record| record.high = 1);
        vec![(Fault::NodeKeys, block, big)]
    }),
    ("a node below a key that is larger", |image| {
        let (big, block) = (image.places.big, node_of_big(image));
        image.set_root_record(big, 0, |record| record.high = 1);
        vec![(Fault::NodeKeys, block, big)]
    }),
    ("nodes in disorder", |image| {
        let (big, [first, second]) = (image.places.big, swap_nodes_of_big(image));
        vec![(Fault::NodeKeys, first, big), (Fault::NodeKeys, second, big)]
    }),
    ("a node in two places of a tree", |image| {
        let (big, block) = (image.places.big, node_of_big(image));
        image.set_root_record(big, 1, |record| record.block = block);
        vec![(Fault::BlockShared, block, big)]
    }),
    ("an extent in the log", |image| {
        let (big, block) = (image.places.big, node_of_big(image));
        image.set_node_record(block, 7, |record| record.block = 17);
        vec![(Fault::Pointer, block, big)]
    }),
    ("an extent behind the volume's end", |image| {
        let (file, home) = (image.places.file, image.home(image.places.file));
        image.set_root_record(file, 0, |record| record.block = 1 << 40);
        vec![(Fault::Pointer, home, file)]
    }),
    ("a node in the superblock", |image| {
        let (big, home) = (image.places.big, image.home(image.places.big));
        image.set_root_record(big, 0, |record| record.block = 0);
        vec![(Fault::Pointer, home, big)]
    }),
    ("an extent without blocks", |image| {
        let (file, home) = (image.places.file, image.home(image.places.file));
        let block = image.root_record(file, 0).block;
        image.set_root_record(file, 0, |record| record.low = 0);
        vec![(Fault::ExtentEmpty, home, file), (Fault::InodeBlocks, home, file), (Fault::BlockLeaked, block, 0)]
    }),
    ("extents that overlap", |image| {
        let (file, home) = (image.places.file, image.home(image.places.file));
        image.set_root_record(file, 1, |record| record.high = 3);
        vec![(Fault::ExtentOverlap, home, file)]
    }),
    ("an extent behind the last block of all", |image| {
        let (file, home) = (image.places.file, image.home(image.places.file));
        image.set(file, |fields| fields.size = FILE_MAX);
        image.set_root_record(file, 1, |record| record.high = u32::MAX - 1);
        vec![(Fault::ExtentRange, home, file)]
    }),
    ("data behind a file's end", |image| {
        let (file, home) = (image.places.file, image.home(image.places.file));
        image.set(file, |fields| fields.size = 4096);
        vec![(Fault::ExtentBehindEnd, home, file)]
    }),
    ("the same never written is right", |image| {
        let file = image.places.file;
        image.set(file, |fields| fields.size = 4 * 4096);
        image.set_root_record(file, 1, |record| record.low |= UNWRITTEN);
        vec![]
    }),
    ("a target with a NUL", |image| {
        let link = image.places.short_link;
        image.inode(link, |bytes| bytes[inode::FIELDS + 3] = 0);
        vec![(Fault::LinkTarget, image.home(link), link)]
    }),
    ("a part of a target in another's place", |image| {
        let link = image.places.long_link;
        let block = image.root_record(link, 1).block;
        image.sealed(block, |bytes| put32(bytes, 24, 4));
        vec![(Fault::LinkTarget, block, link)]
    }),
    ("a target that is longer than its blocks", |image| {
        let link = image.places.long_link;
        let block = image.root_record(link, 1).block;
        image.set(link, |fields| {
            fields.count = 1;
            fields.blocks = 1;
        });
        vec![(Fault::LinkTarget, image.home(link), link), (Fault::BlockLeaked, block, 0)]
    }),
    ("a torn block of attributes", |image| {
        let (file, block) = (image.places.file, image.fields(image.places.file).xattrs);
        image.raw(block, |bytes| bytes[80] ^= 1);
        vec![(Fault::Xattrs, block, file)]
    }),
    ("attributes that are longer than their block says", |image| {
        let (file, block) = (image.places.file, image.fields(image.places.file).xattrs);
        image.sealed(block, |bytes| bytes[24] -= 4);
        vec![(Fault::Xattrs, block, file)]
    }),
    ("an attribute twice", |image| {
        let (file, block) = (image.places.file, image.fields(image.places.file).xattrs);
        // {6, 0, 5, 0} user.a value, padded to 16, and user.b
        image.sealed(block, |bytes| bytes[64 + 16 + 9] = b'a');
        vec![(Fault::XattrTwice, block, file)]
    }),
    ("the list of orphans leads to a free inode", |image| {
        let inode = image.free_inode();
        image.state(|state| state.orphans = inode);
        vec![(Fault::OrphanUnused, image.home(inode), inode)]
    }),
    ("a loop of orphans", |image| {
        let [first, second, third] = image.places.orphans;
        image.set(third, |fields| fields.next_orphan = second);
        assert_eq!(image.fields(first).next_orphan, second);
        vec![(Fault::OrphanLoop, image.home(second), second)]
    }),
    ("an orphan that leads back elsewhere", |image| {
        let [_, second, third] = image.places.orphans;
        image.set(second, |fields| fields.previous_orphan = third);
        vec![(Fault::OrphanBack, image.home(second), second)]
    }),
    ("an orphan that does not know", |image| {
        let [_, second, _] = image.places.orphans;
        let home = image.home(second);
        image.set(second, |fields| fields.flags &= !ORPHAN);
        vec![(Fault::OrphanFlag, home, second), (Fault::InodeUnnamed, home, second)]
    }),
    ("an orphan that nothing leads to", |image| {
        let [first, second, _] = image.places.orphans;
        image.state(|state| state.orphans = second);
        image.set(second, |fields| fields.previous_orphan = 0);
        vec![(Fault::OrphanLost, image.home(first), first)]
    }),
    ("an inode without a name that is no orphan", |image| {
        let [first, second, _] = image.places.orphans;
        image.state(|state| state.orphans = second);
        image.set(second, |fields| fields.previous_orphan = 0);
        image.set(first, |fields| (fields.flags, fields.next_orphan) = (0, 0));
        vec![(Fault::InodeUnnamed, image.home(first), first)]
    }),
    ("a FIFO with a name among the orphans", |image| {
        let fifo = image.places.fifo;
        make_first_orphan(image, fifo);
        vec![(Fault::OrphanKind, image.home(fifo), fifo)]
    }),
    ("a directory with names among the orphans", |image| {
        let inner = image.places.inner;
        make_first_orphan(image, inner);
        let home = image.home(inner);
        vec![(Fault::OrphanKind, home, inner), (Fault::OrphanFull, home, inner)]
    }),
];

fn make_first_orphan(image: &mut Image, inode: u32) {
    let [first, ..] = image.places.orphans;
    image.state(|state| state.orphans = inode);
    image.set(first, |fields| fields.previous_orphan = inode);
    image.set(inode, |fields| (fields.flags, fields.next_orphan) = (ORPHAN, first));
}
