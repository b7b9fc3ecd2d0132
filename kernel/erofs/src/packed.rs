//! Compressed files (`struct z_erofs_map_header`, `struct z_erofs_vle_decompressed_index` and the compact packs of erofs_fs.h).
//!
//! A file is cut into *extents* of any length, each compressed on its own into whole blocks. A table with one index for each 4096 bytes
//! of the file says of each such *cluster* either where in it an extent begins and which block that is in (*head*), or how many clusters back the
//! extent begins that covers it (*tail*). The first tail behind a head may say how many blocks the extent takes; where none says so, it is one. An extent
//! that did not become smaller is stored as it is, in one block.
//!
//! A *full* index has 8 bytes. *Compact* ones stand in packs of 2 in 8 bytes or 16 in 32: entries of 16 or 14 bits, then the block behind which the
//! pack's heads follow each other.

use alloc::vec::Vec;

use crate::inode::Layout;
use crate::{BLOCK, Error, Fault, Image, Inode, Source, lz4, u16_at, u32_at};

/// The longest extent: what a reader needs at once to read any byte of it.
pub const LENGTH_MAX: usize = 1 << 20;
/// The most blocks of an extent (`Z_EROFS_PCLUSTER_MAX_SIZE`).
const BLOCKS_MAX: u32 = 256;
/// Clusters that the longest extent can touch.
const CLUSTERS_MAX: u64 = (LENGTH_MAX / BLOCK) as u64 + 1;

const HEADER: u64 = 8;
/// Between header and full indexes (`Z_EROFS_VLE_LEGACY_HEADER_PADDING`).
const FULL_PADDING: u64 = 8;
const FULL_INDEX: u64 = 8;

const ADVISE_TWO_BYTES: u16 = 1;
const ADVISE_BIG_HEAD1: u16 = 2;
const ADVISE_BIG_HEAD2: u16 = 4;
const ADVISE_KNOWN: u16 = ADVISE_TWO_BYTES | ADVISE_BIG_HEAD1 | ADVISE_BIG_HEAD2;

/// Kinds of cluster. A second head, of another algorithm, is not made by mkfs.erofs 1.5.
const KIND_PLAIN: u16 = 0;
const KIND_HEAD: u16 = 1;
const KIND_TAIL: u16 = 2;
const KIND_MASK: u16 = 3;
/// In what a tail says of its distance: it is a count of blocks instead, and the distance is 1.
const BLOCK_COUNT: u16 = 1 << 11;
/// Bits of a compact entry in front of its kind.
const COMPACT_BITS: u32 = 12;

/// The table of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// Byte of the first index.
    first: u64,
    form: Form,
    /// Extents may take several blocks.
    big: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Full,
    /// Packs of 16 are used from where they are aligned on.
    Compact {
        two_bytes: bool,
    },
}

/// What an index says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cluster {
    Head { offset: usize, block: u32, plain: bool },
    Tail { back: u64, blocks: Option<u32> },
}

/// A stretch of a file that was compressed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where in the file it begins.
    pub start: u64,
    /// Bytes of the file.
    pub length: usize,
    /// Its first block.
    pub block: u32,
    /// Blocks that it takes.
    pub blocks: u32,
    /// It is not compressed after all.
    pub plain: bool,
}

impl<S: Source> Image<S> {
    /// The table of a file whose inode and attributes end at `behind`. `None`: it is of an unknown kind.
    pub(crate) fn packed_table(&self, nid: u64, full: bool, behind: u64) -> Result<Option<Table>, Error<S::Error>> {
        let at = behind.next_multiple_of(HEADER);
        let first = at + HEADER;
        if full && !self.big_clusters {
            // Older than the header's fields.
            return Ok(Some(Table { first: first + FULL_PADDING, form: Form::Full, big: false }));
        }
        let header: [u8; HEADER as usize] = self.array(at)?.ok_or(Fault::Inode { nid })?;
        let [_, _, _, _, low, high, algorithms, clusters] = header;
        let advise = u16::from_le_bytes([low, high]);
        let (big, big_second) = (advise & ADVISE_BIG_HEAD1 != 0, advise & ADVISE_BIG_HEAD2 != 0);
        // LZ4 for heads of the first kind, clusters of 4096 bytes, and nothing in another inode.
        let is_known = advise & !ADVISE_KNOWN == 0 && algorithms & 0xf == 0 && clusters == 0;
        let agrees = (!big || self.big_clusters) && (full || big == big_second);
        let form = if full { Form::Full } else { Form::Compact { two_bytes: advise & ADVISE_TWO_BYTES != 0 } };
        let first = if full { first + FULL_PADDING } else { first };
        Ok((is_known && agrees).then_some(Table { first, form, big }))
    }

    /// The extent of a compressed file that covers the byte at `offset`.
    ///
    /// # Errors
    /// `Packed` when there is none that makes sense; that it cannot be read.
    pub fn extent(&self, inode: &Inode, offset: u64) -> Result<Extent, Error<S::Error>> {
        let bad = Fault::Packed { nid: inode.nid };
        let Layout::Packed(table) = inode.layout else { return Err(bad.into()) };
        if offset >= inode.size {
            return Err(bad.into());
        }
        let clusters = inode.size.div_ceil(BLOCK as u64);
        let cluster = |number| Ok::<_, Error<S::Error>>(self.cluster(&table, clusters, number)?.ok_or(bad)?);
        let (mut number, mut within) = (offset / BLOCK as u64, (offset % BLOCK as u64) as usize);
        let lowest = number.saturating_sub(CLUSTERS_MAX);
        let (start, block, plain) = loop {
            let back = match cluster(number)? {
                Cluster::Head { offset, block, plain } if offset <= within => break (offset, block, plain),
                Cluster::Head { .. } => 1,
                Cluster::Tail { back, .. } => back,
            };
            number = number.checked_sub(back).filter(|&number| number >= lowest).ok_or(bad)?;
            // Wherever the head of an earlier cluster is, it is before the byte.
            within = BLOCK;
        };
        let start = number * BLOCK as u64 + start as u64;
        let (mut end, mut told) = (None, None);
        for next in number + 1..=number + CLUSTERS_MAX {
            if next >= clusters {
                end = Some(inode.size);
                break;
            }
            match cluster(next)? {
                Cluster::Head { offset, .. } => {
                    end = Some(next * BLOCK as u64 + offset as u64);
                    break;
                }
                Cluster::Tail { blocks, .. } if next == number + 1 => told = Some(blocks),
                Cluster::Tail { .. } => {}
            }
        }
        let end = end.filter(|&end| offset < end && end <= inode.size).ok_or(bad)?;
        let length = usize::try_from(end - start).map_err(|_| bad)?;
        let blocks = match told {
            Some(blocks) if table.big && !plain => blocks.ok_or(bad)?,
            _ => 1,
        };
        let is_inside = u64::from(block) + u64::from(blocks) <= u64::from(self.blocks);
        let fits = length <= if plain { BLOCK } else { LENGTH_MAX } && (1..=BLOCKS_MAX).contains(&blocks);
        if is_inside && fits { Ok(Extent { start, length, block, blocks, plain }) } else { Err(bad.into()) }
    }

    /// Fills `into` with the first bytes of an extent of this file.
    ///
    /// # Errors
    /// `Packed` when they make no sense; `Memory`; that they cannot be read.
    pub fn unpack_into(&self, inode: &Inode, extent: &Extent, into: &mut [u8]) -> Result<(), Error<S::Error>> {
        let bad = Fault::Packed { nid: inode.nid };
        if into.len() > extent.length {
            return Err(bad.into());
        }
        let block = |number: u32, ahead: u32| {
            let index = u64::from(extent.block) + u64::from(number);
            self.source.block_of_run(index, u64::from(ahead)).map_err(Error::Source)
        };
        let first = block(0, extent.blocks - 1)?;
        if extent.plain {
            into.copy_from_slice(first.get(..into.len()).ok_or(bad)?);
            return Ok(());
        }
        if extent.blocks == 1 {
            return self.decompress(&first[..], extent, into).ok_or_else(|| bad.into());
        }
        let mut input = Vec::new();
        input.try_reserve_exact(extent.blocks as usize * BLOCK).map_err(|_| Error::Memory)?;
        input.extend_from_slice(&first[..]);
        for number in 1..extent.blocks {
            input.extend_from_slice(&block(number, extent.blocks - 1 - number)?[..]);
        }
        self.decompress(&input, extent, into).ok_or_else(|| bad.into())
    }

    fn decompress(&self, input: &[u8], extent: &Extent, into: &mut [u8]) -> Option<()> {
        if !self.padded_in_front {
            // What lies behind the compressed bytes is not told apart from them: it is enough that they give what is wanted.
            return lz4::decompress(input, into).map(|_| ());
        }
        // The padding is part of the first block.
        let start = input[..BLOCK].iter().position(|&byte| byte != 0)?;
        let left = lz4::decompress(&input[start..], into)?;
        (left == 0 || into.len() < extent.length).then_some(())
    }

    /// What the index of cluster `number`, of so many, says. `None`: there is none that makes sense.
    fn cluster(&self, table: &Table, clusters: u64, number: u64) -> Result<Option<Cluster>, Error<S::Error>> {
        match table.form {
            Form::Full => {
                let at = number.checked_mul(FULL_INDEX).and_then(|offset| table.first.checked_add(offset));
                let Some(at) = at else { return Ok(None) };
                Ok(self.array(at)?.and_then(|raw: [u8; FULL_INDEX as usize]| full_index(&raw, table.big)))
            }
            Form::Compact { two_bytes } => {
                let pack = pack_of(table.first, two_bytes, clusters, number);
                Ok(if pack.entries == 2 {
                    self.array::<8>(pack.at)?.and_then(|raw| compact_index(&raw, &pack, table.big))
                } else {
                    self.array::<32>(pack.at)?.and_then(|raw| compact_index(&raw, &pack, table.big))
                })
            }
        }
    }
}

fn full_index(raw: &[u8; FULL_INDEX as usize], big: bool) -> Option<Cluster> {
    let distance = u16_at(raw, 4)?;
    match u16_at(raw, 0)? {
        KIND_TAIL => tail(distance, big),
        kind @ (KIND_PLAIN | KIND_HEAD) => {
            let offset = usize::from(u16_at(raw, 2)?);
            let head = Cluster::Head { offset, block: u32_at(raw, 4)?, plain: kind == KIND_PLAIN };
            (offset < BLOCK).then_some(head)
        }
        _ => None,
    }
}

fn tail(distance: u16, big: bool) -> Option<Cluster> {
    if distance & BLOCK_COUNT != 0 {
        return big.then_some(Cluster::Tail { back: 1, blocks: Some(u32::from(distance & !BLOCK_COUNT)) });
    }
    (distance > 0).then_some(Cluster::Tail { back: u64::from(distance), blocks: None })
}

/// Where a compact index is.
struct Pack {
    /// Byte at which its pack begins.
    at: u64,
    /// 2 or 16.
    entries: usize,
    /// Which of them.
    number: usize,
}

/// Up to the first multiple of 32 bytes the packs have two entries, then 16 as long as they are full, then two again.
fn pack_of(first: u64, two_bytes: bool, clusters: u64, number: u64) -> Pack {
    const SMALL: u64 = 8;
    const LARGE: u64 = 32;
    let before = (first.next_multiple_of(LARGE) - first) / SMALL * 2;
    let large = if two_bytes { clusters.saturating_sub(before) / 16 * 16 } else { 0 };
    let small = |at: u64, number: u64| Pack { at: at + number / 2 * SMALL, entries: 2, number: (number % 2) as usize };
    let aligned = first + before / 2 * SMALL;
    if number < before {
        small(first, number)
    } else if number - before < large {
        let number = number - before;
        Pack { at: aligned + number / 16 * LARGE, entries: 16, number: (number % 16) as usize }
    } else {
        small(aligned + large / 16 * LARGE, number - before - large)
    }
}

fn compact_index(raw: &[u8], pack: &Pack, big: bool) -> Option<Cluster> {
    let bits = (raw.len() - size_of::<u32>()) * 8 / pack.entries;
    let entry = |number: usize| {
        let at = bits * number;
        let word = u32_at(raw, at / 8)? >> (at % 8);
        Some((((word >> COMPACT_BITS) as u16) & KIND_MASK, (word & ((1 << COMPACT_BITS) - 1)) as u16))
    };
    match entry(pack.number)? {
        (KIND_TAIL, value) if value & BLOCK_COUNT != 0 || pack.number + 1 < pack.entries => tail(value, big),
        // The last of a pack tells the distance to the next head instead: its own follows from the one before it.
        (KIND_TAIL, _) => {
            let back = match entry(pack.number - 1)? {
                (KIND_TAIL, value) if value & BLOCK_COUNT != 0 => 2,
                (KIND_TAIL, value) => u64::from(value) + 1,
                _ => 1,
            };
            Some(Cluster::Tail { back, blocks: None })
        }
        (kind @ (KIND_PLAIN | KIND_HEAD), offset) => {
            let base = u32_at(raw, raw.len() - size_of::<u32>())?;
            // Where extents may have several blocks the base is the first head's own block, else the one before it.
            let mut blocks = u32::from(!big);
            for before in 0..pack.number {
                blocks += match (entry(before)?, entry(before + 1)?) {
                    ((KIND_TAIL, value), _) if value & BLOCK_COUNT != 0 => u32::from(value & !BLOCK_COUNT),
                    ((KIND_TAIL, _), _) => 0,
                    // The next one counts its blocks.
                    (_, (KIND_TAIL, value)) if value & BLOCK_COUNT != 0 => 0,
                    _ => 1,
                };
            }
            let block = base.checked_add(blocks)?;
            Some(Cluster::Head { offset: usize::from(offset), block, plain: kind == KIND_PLAIN })
        }
        _ => None,
    }
}
