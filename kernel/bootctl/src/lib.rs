#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! The boot-control block (docs/formats/bootctl.md): which copy counts, which slot boots, what to write next.
//!
//! - A [`Block`] keeps the bytes it was read from: whoever changes one field loses none that it does not know.
//! - [`Current::next`] is the only way to a block that may be written: the sequence goes up by one, the digest is right, and it
//!   goes to the copy that is not current. So a cut at any byte leaves the old block or the new one (`tests.rs` tries them all).
//! - [`candidates`] and [`refusal`] are the choice rule, and read nothing but the block.
//! - [`change`] has each step of an update as a function from block to block, [`permit`] what a running system may write at all.
//! - [`disk`] finds the disk that a running system was booted from.

extern crate alloc;

pub mod change;
#[cfg(test)]
mod change_tests;
mod choice;
pub mod disk;
pub mod permit;
#[cfg(test)]
mod tests;

pub use choice::{Refusal, UNFINISHED_MAX, candidates, refusal};

use alloc::boxed::Box;

/// Bytes of a copy.
pub const SIZE: usize = 4096;
/// Where the copies lie in the partition.
pub const OFFSETS: [u64; 2] = [0, 65536];
/// Priority of a slot that is preferred over all others.
pub const MAX_PRIORITY: u8 = 15;
/// Boots that a slot on trial may be given.
pub const MAX_TRIES: u8 = 7;

const IN_USE: u32 = 776;
const LENGTH: usize = 12;
const SEQUENCE: usize = 16;
const FLAGS: usize = 72;
/// The running release is to be copied to the other slot.
const COPY_DUE: u64 = 1;
const DIGEST: usize = 4064;
const SLOTS: [usize; 2] = [96, 352];
const FAILED: usize = 608;
/// Releases that failed here and are remembered.
pub const FAILED_MAX: usize = 4;
const LOADER_TRIES: usize = 52;
const LOADER: usize = FAILED + 32 * FAILED_MAX;

/// One of the two slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// Partition `base_a`.
    A = 0,
    /// Partition `base_b`.
    B = 1,
}

impl Slot {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The one that this is not.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The name in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// The name of its partition.
    pub const fn partition(self) -> &'static str {
        match self {
            Self::A => "base_a",
            Self::B => "base_b",
        }
    }
}

/// Values of [`Entry::reason_code`].
pub mod reason {
    /// No failure.
    pub const NONE: u16 = 0;
    /// The tries are used up.
    pub const TRIES: u16 = 1;
    /// Verification failed.
    pub const VERIFICATION: u16 = 2;
    /// The kernel panicked.
    pub const PANIC: u16 = 3;
    /// Health checks failed.
    pub const HEALTH: u16 = 4;
    /// The system hung.
    pub const HANG: u16 = 5;
    /// The operator said so.
    pub const OPERATOR: u16 = 6;
    /// The slot cannot be read.
    pub const UNREADABLE: u16 = 7;
    /// The loader that came with the release did not lead to a good system.
    pub const LOADER: u16 = 8;
}

/// The fields of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// 0 = unbootable; larger is preferred.
    pub priority: u8,
    /// Boots left for a slot on trial.
    pub tries: u8,
    /// 1 once marked good.
    pub successful: u8,
    /// 1: failed verification.
    pub bad: u8,
    /// Boots in a row of a good slot that did not reach `boot.ready`.
    pub unfinished_boots: u8,
    /// Of the release in the slot.
    pub rollback_index: u64,
    /// Zero when not recorded.
    pub release_digest: [u8; 32],
    /// ASCII, NUL-padded.
    pub version: [u8; 32],
    /// One of [`reason`].
    pub reason_code: u16,
    /// Version of the key set that the release carries; 0: not recorded.
    pub key_set: u32,
    /// Seconds since 1970.
    pub reason_time: u64,
    /// UTF-8, NUL-padded.
    pub reason: [u8; 96],
}

impl Entry {
    /// A slot that holds nothing.
    pub const EMPTY: Self = Self {
        priority: 0,
        tries: 0,
        successful: 0,
        bad: 0,
        unfinished_boots: 0,
        rollback_index: 0,
        release_digest: [0; 32],
        version: [0; 32],
        reason_code: reason::NONE,
        key_set: 0,
        reason_time: 0,
        reason: [0; 96],
    };

    /// Whether the slot has been marked good; otherwise it is on trial.
    pub const fn is_good(&self) -> bool {
        self.successful == 1
    }

    /// Records a failure. The text is cut to its field at a character. The loader has no clock that it trusts, so it leaves
    /// the time at 0.
    pub fn set_reason(&mut self, code: u16, text: &str) {
        self.reason_code = code;
        self.reason_time = 0;
        self.reason = [0; 96];
        let length = text.floor_char_boundary(self.reason.len());
        self.reason[..length].copy_from_slice(&text.as_bytes()[..length]);
    }

    /// The reason as text, as far as it is UTF-8.
    pub fn reason_text(&self) -> &str {
        let length = self.reason.iter().position(|&byte| byte == 0).unwrap_or(self.reason.len());
        match str::from_utf8(&self.reason[..length]) {
            Ok(text) => text,
            Err(error) => str::from_utf8(&self.reason[..error.valid_up_to()]).unwrap_or_default(),
        }
    }
}

/// The loader of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loader {
    /// SHA-256 of its file.
    pub digest: [u8; 32],
    /// Bytes of its file, never 0.
    pub length: u32,
    /// Its security version.
    pub security: u32,
}

/// The loader of the release on trial, in the second file of the EFI system partition (docs/formats/disk.md): to be started before it is relied upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderTrial {
    /// Which.
    pub loader: Loader,
    /// How often it may still be started.
    pub tries: u32,
}

/// What only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Smallest rollback index that may boot.
    pub rollback_floor: u64,
    /// Newest signed time that was verified, seconds since 1970.
    pub signed_at: u64,
    /// Smallest version of a key set that the loader takes.
    pub key_set_floor: u32,
    /// Newest version of a key set that was verified at an install.
    pub key_set_seen: u32,
    /// Smallest security version of a loader.
    pub loader_floor: u32,
    /// Of channel metadata: root, timestamp, snapshot.
    pub tuf: [u32; 3],
}

impl Marks {
    /// So many of [`Marks::named`], from the first on, are raised by steps of this version.
    const RAISED: usize = 5;

    /// Each with its name.
    fn named(&self) -> [(&'static str, u64); 8] {
        let [root, timestamp, snapshot] = self.tuf.map(u64::from);
        [
            ("rollback floor", self.rollback_floor),
            ("newest signed time", self.signed_at),
            ("key set floor", self.key_set_floor.into()),
            ("newest key set", self.key_set_seen.into()),
            ("loader floor", self.loader_floor.into()),
            ("channel root version", root),
            ("channel timestamp version", timestamp),
            ("channel snapshot version", snapshot),
        ]
    }
}

/// A block: all 4096 bytes of a copy, known and unknown. They lie on the heap: kernel stacks are small.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    bytes: Box<[u8; SIZE]>,
}

impl core::fmt::Debug for Block {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Block")
            .field("sequence", &self.sequence())
            .field("a", &self.slot(Slot::A))
            .field("b", &self.slot(Slot::B))
            .finish_non_exhaustive()
    }
}

impl Block {
    /// A block in which both slots are empty: to be filled when no copy is valid.
    pub fn empty() -> Self {
        let mut block = Self { bytes: boxed(&[0; SIZE]) };
        block.put(0, b"SWIFTBCT");
        block.put(8, &1u16.to_le_bytes());
        block.put(LENGTH, &IN_USE.to_le_bytes());
        block.bytes[80] = u8::MAX;
        block.seal();
        block
    }

    /// A copy, when it is valid.
    pub fn parse(copy: &[u8]) -> Option<Self> {
        let bytes = copy.first_chunk()?;
        is_valid(bytes).then(|| Self { bytes: boxed(bytes) })
    }

    /// The block in these bytes, whether or not its sequence and digest are right: what somebody wants to become current.
    pub fn draft(bytes: &[u8; SIZE]) -> Self {
        Self { bytes: boxed(bytes) }
    }

    /// As they are to be written.
    pub fn bytes(&self) -> &[u8; SIZE] {
        &self.bytes
    }

    /// Larger is newer.
    pub fn sequence(&self) -> u64 {
        u64::from_le_bytes(self.get(SEQUENCE))
    }

    /// Smallest rollback index that may boot.
    pub fn rollback_floor(&self) -> u64 {
        u64::from_le_bytes(self.get(24))
    }

    /// Raises or sets the floor.
    pub fn set_rollback_floor(&mut self, floor: u64) {
        self.put(24, &floor.to_le_bytes());
    }

    /// What only ever grows, the rollback floor among it.
    pub fn marks(&self) -> Marks {
        Marks {
            rollback_floor: self.rollback_floor(),
            signed_at: u64::from_le_bytes(self.get(32)),
            key_set_floor: u32::from_le_bytes(self.get(40)),
            key_set_seen: u32::from_le_bytes(self.get(44)),
            loader_floor: u32::from_le_bytes(self.get(48)),
            tuf: [56, 60, 64].map(|at| u32::from_le_bytes(self.get(at))),
        }
    }

    /// Sets them.
    pub fn set_marks(&mut self, marks: &Marks) {
        self.put(24, &marks.rollback_floor.to_le_bytes());
        self.put(32, &marks.signed_at.to_le_bytes());
        self.put(40, &marks.key_set_floor.to_le_bytes());
        self.put(44, &marks.key_set_seen.to_le_bytes());
        self.put(48, &marks.loader_floor.to_le_bytes());
        for (at, version) in [56, 60, 64].into_iter().zip(marks.tuf) {
            self.put(at, &version.to_le_bytes());
        }
    }

    /// Whether the running release is to be copied to the other slot, which it has made useless: also after a cut.
    pub fn is_copy_due(&self) -> bool {
        u64::from_le_bytes(self.get(FLAGS)) & COPY_DUE != 0
    }

    /// Sets that; other flags stay.
    pub fn set_copy_due(&mut self, is_due: bool) {
        let others = u64::from_le_bytes(self.get(FLAGS)) & !COPY_DUE;
        self.put(FLAGS, &(others | if is_due { COPY_DUE } else { 0 }).to_le_bytes());
    }

    /// The loader that is on trial, if one is. A block of before there was such a thing has other bytes there.
    pub fn loader_trial(&self) -> Option<LoaderTrial> {
        let [in_use, tries, length, security] =
            [LENGTH, LOADER_TRIES, LOADER + 32, LOADER + 36].map(|at| u32::from_le_bytes(self.get(at)));
        let loader = Loader { digest: self.get(LOADER), length, security };
        (in_use >= IN_USE && length > 0).then_some(LoaderTrial { loader, tries })
    }

    /// Sets that.
    pub fn set_loader_trial(&mut self, trial: Option<&LoaderTrial>) {
        if self.loader_trial().is_none() && trial.is_none() {
            return;
        }
        let none = LoaderTrial { loader: Loader { digest: [0; 32], length: 0, security: 0 }, tries: 0 };
        let LoaderTrial { loader, tries } = trial.unwrap_or(&none);
        self.put(LOADER, &loader.digest);
        let in_use = u32::from_le_bytes(self.get(LENGTH)).max(IN_USE);
        let values =
            [(LENGTH, in_use), (LOADER_TRIES, *tries), (LOADER + 32, loader.length), (LOADER + 36, loader.security)];
        for (at, value) in values {
            self.put(at, &value.to_le_bytes());
        }
    }

    /// The slot that was booted last.
    pub fn last_booted(&self) -> Option<Slot> {
        Slot::ALL.into_iter().find(|&slot| slot as u8 == self.bytes[80])
    }

    /// Records what is booted.
    pub fn set_last_booted(&mut self, slot: Slot) {
        self.bytes[80] = slot as u8;
    }

    /// Digests of releases that failed on this machine, newest first.
    pub fn failed_releases(&self) -> impl Iterator<Item = [u8; 32]> + '_ {
        (0..FAILED_MAX).map(|at| self.get(FAILED + 32 * at)).filter(|digest| *digest != [0; 32])
    }

    /// Remembers a release that failed here, as the newest; the oldest of more than [`FAILED_MAX`] is forgotten.
    pub fn add_failed_release(&mut self, digest: [u8; 32]) {
        if digest == [0; 32] {
            return;
        }
        let others: [[u8; 32]; FAILED_MAX] = core::array::from_fn(|at| self.get(FAILED + 32 * at));
        let kept = others.into_iter().filter(|other| *other != digest);
        for (at, digest) in core::iter::once(digest).chain(kept).take(FAILED_MAX).enumerate() {
            self.put(FAILED + 32 * at, &digest);
        }
    }

    /// Forgets them all.
    pub fn clear_failed_releases(&mut self) {
        self.put(FAILED, &[0; 32 * FAILED_MAX]);
    }

    /// The stored digest of bytes 0 to 4064.
    pub fn digest(&self) -> [u8; 32] {
        self.get(DIGEST)
    }

    /// The fields of a slot.
    pub fn slot(&self, slot: Slot) -> Entry {
        let at = SLOTS[slot as usize];
        Entry {
            priority: self.bytes[at],
            tries: self.bytes[at + 1],
            successful: self.bytes[at + 2],
            bad: self.bytes[at + 3],
            unfinished_boots: self.bytes[at + 4],
            rollback_index: u64::from_le_bytes(self.get(at + 8)),
            release_digest: self.get(at + 16),
            version: self.get(at + 48),
            reason_code: u16::from_le_bytes(self.get(at + 80)),
            key_set: u32::from_le_bytes(self.get(at + 84)),
            reason_time: u64::from_le_bytes(self.get(at + 88)),
            reason: self.get(at + 96),
        }
    }

    /// Sets the fields of a slot; its reserved bytes stay.
    pub fn set_slot(&mut self, slot: Slot, entry: &Entry) {
        let at = SLOTS[slot as usize];
        self.put(at, &[entry.priority, entry.tries, entry.successful, entry.bad, entry.unfinished_boots]);
        self.put(at + 8, &entry.rollback_index.to_le_bytes());
        self.put(at + 16, &entry.release_digest);
        self.put(at + 48, &entry.version);
        self.put(at + 80, &entry.reason_code.to_le_bytes());
        self.put(at + 84, &entry.key_set.to_le_bytes());
        self.put(at + 88, &entry.reason_time.to_le_bytes());
        self.put(at + 96, &entry.reason);
    }

    fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        get(&self.bytes, at)
    }

    fn put(&mut self, at: usize, data: &[u8]) {
        self.bytes[at..at + data.len()].copy_from_slice(data);
    }

    fn seal(&mut self) {
        let digest = computed_digest(&self.bytes);
        self.put(DIGEST, &digest);
    }
}

/// A copy that is never on the stack.
fn boxed(bytes: &[u8; SIZE]) -> Box<[u8; SIZE]> {
    Box::<[u8]>::from(&bytes[..]).try_into().expect("as many bytes")
}

/// `N` bytes at an offset that this crate knows.
fn get<const N: usize>(bytes: &[u8; SIZE], at: usize) -> [u8; N] {
    core::array::from_fn(|i| bytes[at + i])
}

fn computed_digest(bytes: &[u8; SIZE]) -> [u8; 32] {
    sha256::best()(&bytes[..DIGEST])
}

/// Whether a copy is valid.
fn is_valid(bytes: &[u8; SIZE]) -> bool {
    bytes[..8] == *b"SWIFTBCT"
        && u16::from_le_bytes(get(bytes, 8)) == 1
        && u32::from_le_bytes(get(bytes, LENGTH)) as usize <= DIGEST
        && get(bytes, DIGEST) == computed_digest(bytes)
}

/// How many copies were valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Both.
    Ok,
    /// The other one is damaged.
    OneCopy,
}

/// The block that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// Its fields.
    pub block: Block,
    /// The copy it was read from: 0 or 1.
    pub copy: usize,
    /// What the other copy is like.
    pub state: State,
}

/// A block to be written and flushed before anything relies on it.
#[must_use = "the change counts only once it is on the disk"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which copy to write: see [`OFFSETS`].
    pub copy: usize,
    /// What to write.
    pub block: Block,
}

impl Current {
    /// Of two copies, the one that counts; `None` when neither is valid.
    pub fn of(copies: [&[u8]; 2]) -> Option<Self> {
        match copies.map(Block::parse) {
            [Some(zero), Some(one)] if one.sequence() > zero.sequence() => {
                Some(Self { block: one, copy: 1, state: State::Ok })
            }
            [Some(zero), Some(_)] => Some(Self { block: zero, copy: 0, state: State::Ok }),
            [Some(zero), None] => Some(Self { block: zero, copy: 0, state: State::OneCopy }),
            [None, Some(one)] => Some(Self { block: one, copy: 1, state: State::OneCopy }),
            [None, None] => None,
        }
    }

    /// What to write so that `changed` becomes current: the next sequence number, to the other copy. `None` when the sequence
    /// is at its end, which only damage can bring about.
    pub fn next(&self, changed: &Block) -> Option<Write> {
        let mut block = changed.clone();
        block.put(SEQUENCE, &self.block.sequence().checked_add(1)?.to_le_bytes());
        block.seal();
        Some(Write { copy: 1 - self.copy, block })
    }

    /// What is current once the write has reached the disk.
    pub fn written(write: Write) -> Self {
        Self { block: write.block, copy: write.copy, state: State::Ok }
    }
}

/// The first writes to a partition without a valid copy: both the same, so that neither is missed when the other is lost.
pub fn first_writes(mut block: Block) -> [Write; 2] {
    block.put(SEQUENCE, &1u64.to_le_bytes());
    block.seal();
    [0, 1].map(|copy| Write { copy, block: block.clone() })
}
