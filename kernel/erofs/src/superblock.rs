//! The superblock, at byte 1024 (`struct erofs_super_block`).

use crate::{BLOCK, Error, Image, u16_at, u32_at, u64_at};

const OFFSET: usize = 1024;
const SIZE: usize = 128;
const MAGIC: u32 = 0xe0f5_e1e2;
const COMPAT_CHECKSUM: u32 = 1;
const INCOMPAT_CHUNKED_FILE: u32 = 4;
/// CRC-32C without the final inversion.
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

impl<'a> Image<'a> {
    /// Checks the superblock of the image that `bytes` begin with.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let short = Error::TooShort { length: bytes.len() };
        let block = bytes.get(OFFSET..BLOCK).ok_or(short)?;
        let head = &block[..SIZE];
        let word = |at| u32_at(head, at).ok_or(short);
        let found = word(0)?;
        if found != MAGIC {
            return Err(Error::Magic { found });
        }
        let bits = head[12];
        if 1usize.checked_shl(u32::from(bits)) != Some(BLOCK) {
            return Err(Error::BlockSize { bits });
        }
        if word(8)? & COMPAT_CHECKSUM != 0 {
            let (stored, computed) = (word(4)?, checksum(block));
            if stored != computed {
                return Err(Error::Checksum { stored, computed });
            }
        }
        let unknown = word(80)? & !INCOMPAT_CHUNKED_FILE;
        if unknown != 0 {
            return Err(Error::Feature { bits: unknown });
        }
        let (blocks, present) = (word(36)?, bytes.len() / BLOCK);
        if blocks as usize > present {
            return Err(Error::Truncated { blocks, present });
        }
        let image = Self {
            bytes: &bytes[..blocks as usize * BLOCK],
            meta: word(40)? as usize * BLOCK,
            root: u64::from(u16_at(head, 14).ok_or(short)?),
            inodes: u64_at(head, 16).ok_or(short)?,
            blocks,
            built: (u64_at(head, 24).ok_or(short)?, word(32)?),
        };
        if image.inode(image.root)?.is_directory() { Ok(image) } else { Err(Error::Inode { nid: image.root }) }
    }
}

fn checksum(block: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&block[..4]);
    digest.update(&[0; 4]);
    digest.update(&block[8..]);
    !digest.finalize()
}
