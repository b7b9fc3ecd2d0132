//! Quotas as extended attributes: `trusted.quota.NAME` of a file tells which id it counts for, what that id uses, and what it may use
//! (docs/decisions/0010). Values are decimal numbers; blocks are of 4096 bytes; a limit of 0 is none. They are not listed: a copy of the file does not
//! take them along. Only the privileged user sees them, as all that is `trusted.`.

use alloc::string::ToString;
use alloc::vec::Vec;

use datafs::{Quota, Stop, Volume};
use linux::Errno;

use super::body::{Body, now};
use crate::World;
use crate::inode::SetXattr;

const PREFIX: &[u8] = b"trusted.quota.";
/// Digits of the largest number.
const DIGITS_MAX: usize = 20;

/// One of the attributes.
#[derive(Clone, Copy)]
pub(super) enum Attribute {
    /// Which id the file counts for; 0: none. A new file has its directory's.
    Id,
    BlocksMax,
    InodesMax,
    /// With those that are set aside for what is not written yet.
    Blocks,
    Inodes,
}

impl Attribute {
    /// The attribute of that name; `None` for a name that is none of these.
    ///
    /// # Errors
    /// `EOPNOTSUPP`: the name is kept for one that there may be.
    pub(super) fn named(name: &[u8]) -> Result<Option<Self>, Errno> {
        Ok(Some(match name.strip_prefix(PREFIX) {
            None => return Ok(None),
            Some(b"id") => Self::Id,
            Some(b"blocks_max") => Self::BlocksMax,
            Some(b"inodes_max") => Self::InodesMax,
            Some(b"blocks") => Self::Blocks,
            Some(b"inodes") => Self::Inodes,
            Some(_) => return Err(Errno::EOPNOTSUPP),
        }))
    }

    /// Its value for a file.
    ///
    /// # Errors
    /// `EIO`.
    pub(super) fn get<W: World>(self, body: &Body<W>) -> Result<Vec<u8>, Errno> {
        let value = body.store.run(|volume| {
            let id = volume.attributes(body.number())?.quota;
            let quota = volume.quota(id)?;
            Ok(match self {
                Self::Id => id.into(),
                Self::BlocksMax => quota.blocks_max,
                Self::InodesMax => quota.inodes_max,
                Self::Blocks => quota.blocks.saturating_add(volume.quota_reserved(id)),
                Self::Inodes => quota.inodes,
            })
        })?;
        Ok(value.to_string().into_bytes())
    }

    /// Gives it a value.
    ///
    /// # Errors
    /// `EEXIST`: it is always there; `EINVAL`: no such value, or a limit for id 0; `EPERM`: what is used cannot be set; `EDQUOT`: the file is more than its new id may
    /// have; `ENOSPC`; `EIO`.
    pub(super) fn set<W: World>(self, body: &Body<W>, value: &[u8], how: SetXattr) -> Result<(), Errno> {
        if how == SetXattr::Create {
            return Err(Errno::EEXIST);
        }
        let value = number(value).ok_or(Errno::EINVAL)?;
        match self {
            Self::Id => {
                let id = u32::try_from(value).map_err(|_| Errno::EINVAL)?;
                let time = now::<W>();
                body.store.run_with_room(|volume| {
                    // What is set aside for the file's dirty pages goes along; with the volume locked it stays as it is.
                    let reserved = body.state.lock().reserved.len() as u32;
                    volume.set_quota_id(body.number(), id, reserved, time)?;
                    body.adopt(volume, false)
                })
            }
            Self::BlocksMax => limit(body, |quota| Quota { blocks_max: value, ..quota }),
            Self::InodesMax => limit(body, |quota| Quota { inodes_max: value, ..quota }),
            Self::Blocks | Self::Inodes => Err(Errno::EPERM),
        }
    }
}

/// Changes a limit of the id that a file counts for. What is in use already stays, also when it is more.
fn limit<W: World>(body: &Body<W>, change: impl Fn(Quota) -> Quota) -> Result<(), Errno> {
    body.store.run_with_room(|volume: &mut Volume| -> Result<(), Stop> {
        let id = volume.attributes(body.number())?.quota;
        let wanted = change(volume.quota(id)?);
        volume.set_quota(id, wanted.blocks_max, wanted.inodes_max)
    })
}

/// A decimal number without a sign.
fn number(text: &[u8]) -> Option<u64> {
    let is_number = (1..=DIGITS_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}
