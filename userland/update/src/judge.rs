//! Whether a release may be installed on this machine. The order is that of the checks: form, signatures, profile, room, then what this machine has seen.

use alloc::string::String;
use core::fmt;

use bootctl::{Block, change};
use release::trust::{TrustError, Trusted, accept};
use release::{Header, ReleaseError, SectionKind};

use crate::facts::Facts;

const PRODUCT: &str = "swift-os";

/// What the operator lets pass. Floors and versions of key sets are none of his.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leave {
    /// A key set whose time is over.
    pub expired: bool,
    /// A version below the running one.
    pub downgrade: bool,
}

/// The machine that the release is for.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// What runs.
    pub facts: &'a Facts,
    /// The header of what runs.
    pub running: &'a Header,
    /// The block that counts.
    pub block: &'a Block,
    /// Bytes of the slot that does not run.
    pub slot_size: u64,
    /// Bytes of the second loader file, where there is one.
    pub loader_size: Option<u64>,
    /// Seconds since 1970.
    pub now: u64,
}

/// Why a release is not installed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are what the message prints")]
pub enum Refusal {
    /// Nothing can be installed on a system that runs from no slot.
    NoSlot,
    /// The running release has not been marked good.
    OnTrial,
    /// Form or signatures.
    Trust(TrustError),
    /// Product, profile, size or disk layout.
    Release(ReleaseError),
    /// Older than the floor allows.
    BelowFloor { index: u64, floor: u64 },
    /// Its key set is older than one that was seen here.
    OldKeys { key_set: u64, seen: u64 },
    /// Its key set's version is larger than can be remembered.
    Version { key_set: u64 },
    /// Its key set's time is over.
    Expired { at: u64, now: u64 },
    /// It runs already.
    Same,
    /// A version below the running one.
    Downgrade { version: String, running: String },
    /// It failed here before.
    FailedHere,
    /// Its loader's security version is below the floor.
    LoaderBelowFloor { security: u32, floor: u32 },
    /// Its loader is larger than the second loader file.
    LoaderSize { length: u64, size: u64 },
}

impl Refusal {
    /// A stable name, for scripts and tests.
    pub fn class(&self) -> &'static str {
        match self {
            Self::NoSlot => "no-slot",
            Self::OnTrial => "on-trial",
            Self::Trust(error) => error.class(),
            Self::Release(error) => error.class(),
            Self::BelowFloor { .. } => "below-floor",
            Self::OldKeys { .. } => "old-keys",
            Self::Version { .. } => "key-set-version",
            Self::Expired { .. } => "expired",
            Self::Same => "same",
            Self::Downgrade { .. } => "downgrade",
            Self::FailedHere => "failed-here",
            Self::LoaderBelowFloor { .. } => "loader-below-floor",
            Self::LoaderSize { .. } => "loader-size",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSlot => f.write_str("this system was booted from no slot: there is none that could be tried instead"),
            Self::OnTrial => f.write_str(
                "the running release is on trial: an update would give up the one to fall back to; 'update mark-good' ends the trial",
            ),
            Self::Trust(error) => write!(f, "not a release that this machine trusts: {error}"),
            Self::Release(error) => write!(f, "not a release for this machine: {error}"),
            Self::BelowFloor { index, floor } => write!(f, "its rollback index {index} is below this machine's floor {floor}"),
            Self::OldKeys { key_set, seen } => write!(f, "its key set {key_set} is older than {seen}, which was seen here"),
            Self::Version { key_set } => write!(f, "its key set's version {key_set} is above {}", u32::MAX),
            Self::Expired { at, now } => write!(
                f,
                "its key set expired {} days ago; --accept-expired installs it all the same",
                now.saturating_sub(*at) / 86400
            ),
            Self::Same => f.write_str("it is the release that runs"),
            Self::Downgrade { version, running } => {
                write!(f, "version {version} is below {running}, which runs; --allow-downgrade installs it all the same")
            }
            Self::LoaderBelowFloor { security, floor } => {
                write!(f, "its loader's security version {security} is below this machine's floor {floor}")
            }
            Self::LoaderSize { length, size } => {
                write!(f, "its loader has {length} bytes, and the second loader file of this disk only {size}")
            }
            Self::FailedHere => f.write_str("it failed on this machine before; 'update retry' forgets that"),
        }
    }
}

/// Reads a release's first bytes and holds it to the machine.
///
/// # Errors
/// Why it is not installed.
pub fn judge<'a>(area: &'a [u8], machine: &Machine<'_>, leave: Leave) -> Result<Trusted<'a>, Refusal> {
    let Machine { facts, running, block, slot_size, loader_size, now } = *machine;
    let slot = facts.slot.ok_or(Refusal::NoSlot)?;
    let trusted = accept(area, &facts.trust()).map_err(Refusal::Trust)?;
    let (header, key_set) = (&trusted.header, trusted.key_set.version);
    header.check_for(PRODUCT, Some(running.profile.as_str()), slot_size).map_err(Refusal::Release)?;
    // Who repairs a machine has no release that is good: that is what he repairs.
    if !block.slot(slot).is_good() && !facts.recovery {
        return Err(Refusal::OnTrial);
    }
    let (marks, index) = (block.marks(), header.rollback_index);
    let floor = marks.rollback_floor.max(facts.rollback_floor);
    if index < floor {
        return Err(Refusal::BelowFloor { index, floor });
    }
    let seen = u64::from(marks.key_set_seen.max(marks.key_set_floor)).max(facts.key_set_floor);
    if key_set < seen {
        return Err(Refusal::OldKeys { key_set, seen });
    }
    if key_set > u32::MAX.into() {
        return Err(Refusal::Version { key_set });
    }
    // A clock that stands before the newest signed time is wrong: that time has been.
    let (at, now) = (trusted.key_set.expires, now.max(marks.signed_at));
    if at != 0 && at < now && !leave.expired {
        return Err(Refusal::Expired { at, now });
    }
    // In a boot for recovery the other slot is filled with it, for the running one may be marked bad.
    if trusted.digest == facts.release && !facts.recovery {
        return Err(Refusal::Same);
    }
    let (version, runs) = (header.version.as_str(), running.version.as_str());
    if numbers(version).lt(numbers(runs)) && !leave.downgrade {
        return Err(Refusal::Downgrade { version: version.into(), running: runs.into() });
    }
    if block.failed_releases().any(|failed| failed == trusted.digest) {
        return Err(Refusal::FailedHere);
    }
    let security = header.loader_security_version;
    if security < marks.loader_floor {
        return Err(Refusal::LoaderBelowFloor { security, floor: marks.loader_floor });
    }
    let length = header.section(SectionKind::Loader).map_or(0, |section| section.length);
    if let Some(size) = loader_size.filter(|&size| length > size) {
        return Err(Refusal::LoaderSize { length, size });
    }
    Ok(trusted)
}

/// The numbers of a version, in order: `1.10.0` is above `1.9.2`.
fn numbers(version: &str) -> impl Iterator<Item = u64> + '_ {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().unwrap_or(u64::MAX))
}

/// What the boot-control block remembers of a release that was judged.
pub fn remembered(trusted: &Trusted<'_>) -> change::Release {
    let mut version = [0; 32];
    let text = trusted.header.version.as_str().as_bytes();
    version[..text.len()].copy_from_slice(text);
    change::Release {
        digest: trusted.digest,
        version,
        rollback_index: trusted.header.rollback_index,
        key_set: trusted.key_set.version as u32,
        signed_at: trusted.signed_at(),
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
