//! Making a volume: two superblocks, an empty log, and by the volume's own operations a root directory.

use alloc::boxed::Box;

use crate::layout::geometry::{BLOCKS_MAX, Geometry, LOG_BLOCKS_MAX, LOG_BLOCKS_MIN};
use crate::layout::inode::{DIRECTORY, REGULAR};
use crate::layout::superblock::{LABEL_MAX, State, Superblock};
use crate::types::{Bytes, InodeNumber, New};
use crate::volume::{Out, Volume};
use crate::{Error, QUOTAS, ROOT};

/// What a new volume is to be.
#[derive(Clone, Copy, Debug)]
pub struct Format<'a> {
    /// Blocks of the device.
    pub blocks: u64,
    /// Identity.
    pub uuid: [u8; 16],
    /// UTF-8, at most 32 bytes.
    pub label: &'a [u8],
    /// Key of the hash of names: random, or derived as the UUID is.
    pub hash_key: [u8; 16],
    /// Nanoseconds since 1970.
    pub created: i64,
    /// Blocks of the log; `None`: a share of the volume, between 1 and 32 MiB.
    pub log_blocks: Option<u32>,
    /// Inodes in each 64 MiB; `None`: 4096.
    pub inodes_per_group: Option<u32>,
}

impl Format<'_> {
    /// What goes into blocks 0 and 1; the log behind them, `log_blocks` blocks, has to be zeroed first. Nothing else is written, whatever the size.
    ///
    /// # Errors
    /// `Invalid` when the numbers or the label do not fit; `NoSpace` when there are too few blocks.
    pub fn superblocks(&self) -> Result<([Box<Bytes>; 2], u32), Error> {
        let share = (self.blocks / 16).clamp(u64::from(LOG_BLOCKS_MIN), 8192) as u32;
        let geometry = Geometry {
            log_blocks: self.log_blocks.unwrap_or(share),
            inodes_per_group: self.inodes_per_group.unwrap_or(4096),
        };
        if !geometry.is_valid() || self.label.len() > LABEL_MAX || self.blocks > BLOCKS_MAX {
            return Err(Error::Invalid);
        }
        if geometry.group_count(self.blocks) == 0 {
            return Err(Error::NoSpace);
        }
        let mut label = [0; LABEL_MAX];
        label[..self.label.len()].copy_from_slice(self.label);
        let first = Superblock {
            sequence: 2,
            compat: 0,
            ro_compat: 0,
            incompat: 0,
            uuid: self.uuid,
            label,
            hash_key: self.hash_key,
            created: self.created,
            geometry,
            tail: 0,
            tail_sequence: 1,
            state: State { blocks: self.blocks, generation: 1, ..State::default() },
        };
        let second = Superblock { sequence: 1, ..first.clone() };
        Ok(([first.encode(), second.encode()], geometry.log_blocks))
    }
}

const _: () = assert!(LOG_BLOCKS_MAX >= 8192);

impl Volume {
    /// Makes the root directory and the table of quotas of a volume that is new; nothing else works before.
    ///
    /// # Errors
    /// `Exists` when it has them.
    pub fn make_root(&mut self, root: &New<'_>) -> Out<()> {
        self.operate(|volume| {
            if volume.state.groups > 0 {
                return Err(Error::Exists.into());
            }
            volume.make_reserved(ROOT, root, 0o7777 & root.mode | DIRECTORY, 2)?;
            let quotas = New { user: 0, group: 0, ..*root };
            volume.make_reserved(QUOTAS, &quotas, REGULAR | 0o600, 1)
        })
    }

    fn make_reserved(&mut self, number: InodeNumber, new: &New<'_>, mode: u32, links: u32) -> Out<()> {
        if self.allocate_inode(0)? != number {
            return Err(Error::Exists.into());
        }
        let mut fields = self.new_fields(number, new, mode, links);
        fields.device = if number == ROOT { u64::from(ROOT) } else { 0 };
        self.put_inode(&fields)
    }
}
