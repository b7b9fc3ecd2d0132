//! Superblocks, log, groups, blocks.

use datafs::check::Fault;
use datafs::layout::geometry::{BLOCK_BITMAP, GROUP_USED_BLOCKS, GROUP_USED_INODES};
use datafs::layout::record::HEADER;
use datafs::{BLOCK, QUOTAS};

use super::image::{Image, put32, seal_superblock};
use super::{Case, Found};

/// Where the records of [`Image::with_log`] begin: each fills one block.
fn records(image: &mut Image) -> [u64; 3] {
    *image = Image::with_log();
    let tail = image.tail();
    let start = image.geometry.log_start();
    [0, 1, 2].map(|at| start + (tail - start + at) % u64::from(image.geometry.log_blocks))
}

fn bump(bytes: &mut [u8], at: usize) {
    bytes[at] = bytes[at].wrapping_add(1);
}

fn group(image: &Image, number: u32) -> u64 {
    image.geometry.group_start(number)
}

pub const CASES: &[Case] = &[
    ("no magic", |image| {
        [0, 1].into_iter().for_each(|copy| image.raw(copy, |bytes| bytes[..8].fill(0)));
        vec![(Fault::NotDatafs, 0, 0)]
    }),
    ("both superblocks torn", |image| {
        [0, 1].into_iter().for_each(|copy| image.raw(copy, |bytes| bump(bytes, 200)));
        vec![(Fault::Superblock, 0, 0)]
    }),
    ("the older superblock torn", |image| {
        let older = 1 - image.newest();
        image.raw(older, |bytes| bump(bytes, 200));
        vec![(Fault::SuperblockCopy, older, 0)]
    }),
    ("the newer superblock torn: the log leads from the older to the same", |image| {
        let newest = image.newest();
        image.raw(newest, |bytes| bump(bytes, 200));
        vec![(Fault::SuperblockCopy, newest, 0)]
    }),
    ("the newer superblock torn, the older leads nowhere", |image| {
        records(image);
        let newest = image.newest();
        image.raw(newest, |bytes| bump(bytes, 200));
        image.superblock(1 - newest, |superblock| superblock.tail_sequence -= 1);
        vec![(Fault::SuperblockCopy, newest, 0), (Fault::SuperblockStale, newest, 0)]
    }),
    ("another label", |image| {
        let older = 1 - image.newest();
        image.superblock(older, |superblock| superblock.label[0] = b'x');
        vec![(Fault::SuperblockDiffers, older, 0)]
    }),
    ("an unknown feature", |image| {
        let newest = image.newest();
        image.raw(newest, |bytes| {
            bump(bytes, 40);
            seal_superblock(bytes);
        });
        vec![(Fault::Features, 0, 0)]
    }),
    ("a shorter device", |image| {
        image.device_blocks -= 1;
        vec![(Fault::DeviceSize, 0, 0)]
    }),
    ("a block of inodes that cannot be read", |image| {
        let home = image.home(image.places.file);
        image.bad.insert(home);
        vec![(Fault::Unreadable, home, 0)]
    }),
    ("a block of names that cannot be read", |image| {
        let block = image.names_blocks(image.places.sub)[0];
        image.bad.insert(block);
        vec![(Fault::Unreadable, block, image.places.sub)]
    }),
    ("a record that leads into the log", |image| {
        let [first, ..] = records(image);
        image.record(first, |bytes| put32(bytes, HEADER, 5));
        vec![(Fault::LogRecord, first, 0)]
    }),
    ("a torn record before the last", |image| {
        let [_, second, third] = records(image);
        image.raw(second, |bytes| bump(bytes, 100));
        vec![(Fault::LogGap, third, 0)]
    }),
    ("a block with parts in the log, damaged at home", |image| {
        records(image);
        let (sub, block) = (image.places.sub, image.names_blocks(image.places.sub)[0]);
        image.raw(block, |bytes| bump(bytes, BLOCK - 1));
        vec![(Fault::LogHome, block, sub)]
    }),
    ("a torn bitmap", |image| {
        let block = group(image, 1);
        image.raw(block, |bytes| bump(bytes, 300));
        vec![(Fault::GroupBlock, block, 0)]
    }),
    ("a bitmap of another group", |image| {
        let block = group(image, 1);
        image.sealed(block, |bytes| put32(bytes, 16, 0));
        vec![(Fault::GroupBlock, block, 0)]
    }),
    ("blocks of inodes that are free", |image| {
        let block = group(image, 1);
        image.sealed(block, |bytes| bytes[BLOCK_BITMAP] &= !1);
        vec![(Fault::GroupStatic, block, 0)]
    }),
    ("bits behind the volume's end", |image| {
        let block = group(image, 1);
        image.sealed(block, |bytes| bytes[BLOCK_BITMAP + 2047] = 0x80);
        vec![(Fault::GroupEnd, block, 0)]
    }),
    ("a group's count of blocks", |image| {
        let block = group(image, 1);
        image.sealed(block, |bytes| bump(bytes, GROUP_USED_BLOCKS));
        vec![(Fault::GroupUsedBlocks, block, 0)]
    }),
    ("a group's count of inodes", |image| {
        let block = group(image, 1);
        image.sealed(block, |bytes| bump(bytes, GROUP_USED_INODES));
        vec![(Fault::GroupUsedInodes, block, 0)]
    }),
    ("a leaked block", |image| {
        let block = image.free_block();
        image.mark_block(block, true);
        vec![(Fault::BlockLeaked, block, 0)]
    }),
    ("two leaked blocks in a row", |image| {
        let block = image.free_block();
        image.mark_block(block, true);
        image.mark_block(block + 1, true);
        vec![(Fault::BlockLeaked, block, 0)]
    }),
    ("a block in use and free", |image| {
        let (file, block) = (image.places.file, image.root_record(image.places.file, 1).block + 2);
        image.mark_block(block, false);
        vec![(Fault::BlockUnmarked, block, file)]
    }),
    ("a block of names in use and free", |image| {
        let (many, block) = (image.places.many, image.root_record(image.places.many, 0).block);
        image.mark_block(block, false);
        vec![(Fault::BlockUnmarked, block, many)]
    }),
    ("a block of two files", shared_by_files),
    ("a block twice in one file", |image| {
        let file = image.places.file;
        let (first, second) = (image.root_record(file, 0).block, image.root_record(file, 1).block);
        image.set_root_record(file, 1, |record| record.block = first);
        vec![(Fault::BlockShared, first, file), (Fault::BlockLeaked, second, 0)]
    }),
    ("a node of the tree in it again", |image| {
        let big = image.places.big;
        let node = image.root_record(big, 0).block;
        let data = image.node_record(node, 3).block;
        image.set_node_record(node, 3, |record| record.block = node);
        vec![(Fault::BlockShared, node, big), (Fault::BlockLeaked, data, 0)]
    }),
    ("the volume's count of blocks", |image| {
        image.state(|state| state.used_blocks += 1);
        vec![(Fault::StateBlocks, 0, 0)]
    }),
    ("the volume's count of inodes", |image| {
        image.state(|state| state.used_inodes -= 1);
        vec![(Fault::StateInodes, 0, 0)]
    }),
    ("a quota's count", |image| {
        let block = image.root_record(QUOTAS, 0).block;
        image.sealed(block, |bytes| bump(bytes, 64 + 7 * 64 + 16));
        vec![(Fault::QuotaUse, block, QUOTAS)]
    }),
    ("a torn block of quotas", |image| {
        let block = image.root_record(QUOTAS, 0).block;
        image.raw(block, |bytes| bump(bytes, 600));
        vec![(Fault::QuotaBlock, block, QUOTAS)]
    }),
    ("a block of quotas in another's place", |image| {
        let block = image.root_record(QUOTAS, 0).block;
        image.sealed(block, |bytes| put32(bytes, 24, 1));
        vec![(Fault::QuotaBlock, block, QUOTAS)]
    }),
    ("no table of quotas", |image| {
        let block = image.root_record(QUOTAS, 0).block;
        image.set(QUOTAS, |fields| fields.mode = 0);
        let home = image.home(QUOTAS);
        vec![(Fault::QuotaTable, home, QUOTAS), (Fault::BlockLeaked, block, 0), (Fault::InodeLeaked, home, QUOTAS)]
    }),
];

fn shared_by_files(image: &mut Image) -> Vec<Found> {
    let (file, other) = (image.places.file, image.places.other);
    let (block, left) = (image.root_record(file, 0).block, image.root_record(other, 0).block);
    image.set_root_record(other, 0, |record| record.block = block);
    let told = image.check().findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(told.contains(&format!("(block {block}, inode {other}): also by inode {file}")), "{told}");
    assert!(told.contains(&format!("(block {left}): 4 blocks from there on")), "{told}");
    vec![(Fault::BlockShared, block, other), (Fault::BlockLeaked, left, 0)]
}
