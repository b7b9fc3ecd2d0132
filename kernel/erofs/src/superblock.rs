//! The superblock, at byte 1024 (`struct erofs_super_block`).

use crate::{BLOCK, Error, Fault, Image, Source, u16_at, u32_at, u64_at};

const OFFSET: usize = 1024;
const SIZE: usize = 128;
const MAGIC: u32 = 0xe0f5_e1e2;
const COMPAT_CHECKSUM: u32 = 1;
const INCOMPAT_PADDED_IN_FRONT: u32 = 1;
/// The algorithms in use are listed; there may be clusters of several blocks.
const INCOMPAT_BIG_CLUSTERS: u32 = 2;
const INCOMPAT_CHUNKED_FILE: u32 = 4;
const INCOMPAT_KNOWN: u32 = INCOMPAT_PADDED_IN_FRONT | INCOMPAT_BIG_CLUSTERS | INCOMPAT_CHUNKED_FILE;
/// In the list of algorithms (`Z_EROFS_COMPRESSION_LZ4`).
const ALGORITHM_LZ4: u16 = 1;
/// CRC-32C without the final inversion.
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

impl<S: Source> Image<S> {
    /// Checks the superblock of the image that the blocks of `source` begin with.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(source: S) -> Result<Self, Error<S::Error>> {
        let present = source.count();
        if present == 0 {
            return Err(Fault::TooShort.into());
        }
        let first = source.block(0).map_err(Error::Source)?;
        let block = &first[OFFSET..];
        let head = &block[..SIZE];
        let word = |at| u32_at(head, at).ok_or(Fault::TooShort);
        let found = word(0)?;
        if found != MAGIC {
            return Err(Fault::Magic { found }.into());
        }
        let bits = head[12];
        if 1usize.checked_shl(u32::from(bits)) != Some(BLOCK) {
            return Err(Fault::BlockSize { bits }.into());
        }
        if word(8)? & COMPAT_CHECKSUM != 0 {
            let (stored, computed) = (word(4)?, checksum(block));
            if stored != computed {
                return Err(Fault::Checksum { stored, computed }.into());
            }
        }
        let features = word(80)?;
        if features & !INCOMPAT_KNOWN != 0 {
            return Err(Fault::Feature { bits: features & !INCOMPAT_KNOWN }.into());
        }
        let big_clusters = features & INCOMPAT_BIG_CLUSTERS != 0;
        let algorithms = u16_at(head, 84).ok_or(Fault::TooShort)?;
        if big_clusters && algorithms & !ALGORITHM_LZ4 != 0 {
            return Err(Fault::Compression { bits: algorithms }.into());
        }
        let blocks = word(36)?;
        if u64::from(blocks) > present {
            return Err(Fault::Truncated { blocks, present }.into());
        }
        let image = Self {
            meta: u64::from(word(40)?) * BLOCK as u64,
            root: u64::from(u16_at(head, 14).ok_or(Fault::TooShort)?),
            inodes: u64_at(head, 16).ok_or(Fault::TooShort)?,
            blocks,
            built: (u64_at(head, 24).ok_or(Fault::TooShort)?, word(32)?),
            padded_in_front: features & INCOMPAT_PADDED_IN_FRONT != 0,
            big_clusters,
            source,
        };
        let root = image.inode(image.root)?;
        if root.is_directory() { Ok(image) } else { Err(Fault::Inode { nid: image.root }.into()) }
    }
}

fn checksum(block: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&block[..4]);
    digest.update(&[0; 4]);
    digest.update(&block[8..]);
    !digest.finalize()
}
