//! Loading a slot image: header, digests, the kernel's segments; the rest where it will stay.
//!
//! Order: header, key set and signatures; product, profile and size; floor; the digest that the boot-control block names; then per
//! section room, bytes, digest; then the kernel's load plan. Nothing is looked into before its digest is right, and no digest counts before
//! those have signed it who must.
//!
//! The EROFS of a release that says so stays on its slot: the kernel reads it there, and holds each block to the verity tree, which is loaded.

use alloc::string::String;
use core::fmt;
use core::ops::Range;

use elfload::{ElfError, Plan};
use release::trust::TrustError;
use release::{Header, ReleaseError, Section, SectionKind};

/// The product that this loader boots.
pub const PRODUCT: &str = "swift-os";
/// The kernel may be put at any multiple of this.
pub const KERNEL_ALIGNMENT: u64 = 2 << 20;
/// Largest kernel, as a file and in memory.
pub const KERNEL_BYTES_MAX: u64 = 64 << 20;
/// Addresses that a kernel may be linked for (docs/kernel.md, "Address space").
pub const KERNEL_ADDRESSES: Range<u64> = 0xffff_8000_0000_0000..0xffff_9000_0000_0000;

/// Where a slot image lies: a partition, or a file.
pub trait Store {
    /// Bytes of it.
    fn size(&self) -> u64;
    /// Whether the size is that of a slot, which must hold `min_slot_size`; a file holds what it holds.
    fn is_partition(&self) -> bool;
    /// Fills `into` from `offset`; the text says why not.
    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), String>;
}

/// Gives memory that starts on a page and stays where it is.
pub trait Memory {
    /// At least the bytes asked for. Gives them back when it is dropped.
    type Buffer: AsRef<[u8]> + AsMut<[u8]>;
    /// `length` bytes, rounded up to whole pages, at a multiple of `alignment`.
    fn allocate(&mut self, length: u64, alignment: u64) -> Option<Self::Buffer>;
}

/// A header area whose signers are known.
pub struct Accepted {
    /// Its header.
    pub header: Header,
    /// Of the header's bytes.
    pub digest: [u8; 32],
    /// Version of the key set that its signers stand in.
    pub key_set: u64,
    /// That set's keys are throw-away.
    pub is_dev: bool,
}

/// Reads a header area and says whose it is. In a loader: [`release::trust::accept`] with its roots.
pub type Accept<'a> = dyn Fn(&[u8]) -> Result<Accepted, TrustError> + 'a;

/// What an image must stand on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    /// Smallest rollback index.
    pub rollback: u64,
    /// Smallest version of its key set.
    pub key_set: u64,
}

/// What an image is held to.
pub struct Conditions<'a> {
    /// Who must have signed it.
    pub accept: &'a Accept<'a>,
    /// The profile this loader was built for; `None` takes any.
    pub profile: Option<&'a str>,
    /// What it must stand on.
    pub floors: Floors,
    /// The release that the boot-control block names; all zero when it names none.
    pub release: [u8; 32],
    /// How to hash.
    pub sha256: sha256::Digest,
}

/// A checked image in memory.
pub struct Image<B> {
    /// Its header, read.
    pub header: Header,
    /// Of the header's bytes.
    pub release_digest: [u8; 32],
    /// Version of its key set.
    pub key_set: u64,
    /// Header and signature area, as they came.
    pub area: B,
    /// Bytes in use of the section, and their memory; `None` when it stays on its slot.
    pub erofs: Option<(u64, B)>,
    /// dm-verity superblock and tree.
    pub verity: (u64, B),
    /// The kernel's symbols.
    pub symbols: Option<(u64, B)>,
    /// The kernel, by segment.
    pub kernel: Kernel<B>,
}

/// A kernel whose segments have been put in place.
pub struct Kernel<B> {
    /// All of its pages, from the first segment's.
    pub memory: B,
    /// What was loaded.
    pub plan: Plan,
}

impl<B: AsRef<[u8]>> Kernel<B> {
    /// Bytes from the first segment's page to the end of the last.
    pub fn length(&self) -> u64 {
        let pages = self.plan.pages();
        pages.end - pages.start
    }

    /// From the start of its memory to its first instruction.
    pub fn entry_offset(&self) -> u64 {
        self.plan.entry - self.plan.pages().start
    }
}

/// Why an image is not booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// There is no such partition or file.
    Absent(String),
    /// The medium does not give the bytes.
    Read {
        /// What was to be read.
        what: &'static str,
        /// What the firmware says.
        why: String,
    },
    /// No memory for it.
    Memory {
        /// For what.
        what: &'static str,
        /// How much.
        bytes: u64,
    },
    /// Partition or file ends inside what the header names.
    Truncated {
        /// What does not fit.
        what: &'static str,
        /// Where it would end.
        end: u64,
        /// How much there is.
        size: u64,
    },
    /// The header is unsound, or for another machine.
    Release(ReleaseError),
    /// Those who must have not signed it.
    Trust(TrustError),
    /// Older than the floor allows.
    BelowFloor {
        /// Of the release.
        index: u64,
        /// Of the machine.
        floor: u64,
    },
    /// Signed by keys of a set older than the floor allows.
    OldKeys {
        /// Version of the key set.
        key_set: u64,
        /// Of the machine.
        floor: u64,
    },
    /// From a file, which only releases of throw-away keys boot from.
    NotDev,
    /// Not the release that the boot-control block names.
    OtherRelease,
    /// A section's bytes are not those that were built.
    Digest(&'static str),
    /// The kernel cannot be loaded.
    Kernel(ElfError),
    /// The kernel is larger than a loader takes.
    KernelSize(u64),
}

/// Who is at fault, which decides what is remembered of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The image: it will not boot on any other day either.
    Image,
    /// The medium: it may give the bytes another time.
    Medium,
    /// The machine: the image may be sound.
    Machine,
}

impl LoadError {
    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Absent(_) | Self::Read { .. } => Blame::Medium,
            Self::Memory { .. } => Blame::Machine,
            _ => Blame::Image,
        }
    }

    /// The part that failed, for events.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Absent(_) => "image",
            Self::Read { what, .. } | Self::Memory { what, .. } | Self::Truncated { what, .. } => what,
            Self::Release(_) | Self::BelowFloor { .. } | Self::OtherRelease | Self::NotDev => "header",
            Self::Trust(_) | Self::OldKeys { .. } => "signature",
            Self::Digest(what) => what,
            Self::Kernel(_) | Self::KernelSize(_) => "kernel",
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(why) => f.write_str(why),
            Self::Read { what, why } => write!(f, "cannot read the {what}: {why}"),
            Self::Memory { what, bytes } => write!(f, "no memory for the {what}: {bytes} bytes"),
            Self::Truncated { what, end, size } => {
                write!(f, "the {what} ends at byte {end}, but there are only {size}")
            }
            Self::Release(error) => error.fmt(f),
            Self::Trust(error) => error.fmt(f),
            Self::BelowFloor { index, floor } => write!(f, "rollback index {index} is below the floor {floor}"),
            Self::OldKeys { key_set, floor } => write!(f, "key set {key_set} is below the floor {floor}"),
            Self::NotDev => f.write_str("only a release marked dev, by throw-away keys, boots from a file"),
            Self::OtherRelease => f.write_str("the header is not of the release that the boot-control block names"),
            Self::Digest(what) => write!(f, "the SHA-256 of the {what} is not the one in the header"),
            Self::Kernel(error) => error.fmt(f),
            Self::KernelSize(bytes) => write!(f, "the kernel takes {bytes} bytes, at most {KERNEL_BYTES_MAX}"),
        }
    }
}

impl core::error::Error for LoadError {}

impl From<TrustError> for LoadError {
    fn from(error: TrustError) -> Self {
        match error {
            TrustError::Format(error) => Self::Release(error),
            error => Self::Trust(error),
        }
    }
}

/// Loads and checks the image in `store`.
pub fn load<M: Memory>(
    store: &mut impl Store,
    memory: &mut M,
    conditions: &Conditions<'_>,
) -> Result<Image<M::Buffer>, LoadError> {
    let (Accepted { header, digest: release_digest, key_set, .. }, area) = load_header(store, memory, conditions)?;
    // The header was held to the slot's size: all of the section is there.
    let stays = header.flags_optional & release::FLAG_BASE_ON_DISK != 0 && store.is_partition();
    let mut section = |kind: SectionKind| match header.section(kind) {
        Some(section) => load_section(store, memory, kind.name(), section, conditions).map(Some),
        None => Ok(None),
    };
    let missing = |kind| LoadError::Release(ReleaseError::MissingSection(kind));
    let kernel = section(SectionKind::Kernel)?.ok_or(missing(SectionKind::Kernel))?;
    let erofs = if stays { None } else { Some(section(SectionKind::Erofs)?.ok_or(missing(SectionKind::Erofs))?) };
    let verity = section(SectionKind::Verity)?.ok_or(missing(SectionKind::Verity))?;
    let symbols = section(SectionKind::Symbols)?;
    let (length, file) = kernel;
    let kernel = place_kernel(&file.as_ref()[..length as usize], memory)?;
    Ok(Image { header, release_digest, key_set, area, erofs, verity, symbols, kernel })
}

/// Reads and checks what comes before the sections. The area is as it came.
pub fn load_header<M: Memory>(
    store: &mut impl Store,
    memory: &mut M,
    conditions: &Conditions<'_>,
) -> Result<(Accepted, M::Buffer), LoadError> {
    let what = "header";
    let bytes = release::AREA_SIZE as u64;
    if store.size() < bytes {
        return Err(LoadError::Truncated { what, end: bytes, size: store.size() });
    }
    let mut area = memory.allocate(bytes, release::ALIGNMENT).ok_or(LoadError::Memory { what, bytes })?;
    let raw = &mut area.as_mut()[..release::AREA_SIZE];
    store.read(0, raw).map_err(|why| LoadError::Read { what, why })?;
    let accepted = (conditions.accept)(raw)?;
    let header = &accepted.header;
    let slot_size = if store.is_partition() { store.size() } else { u64::MAX };
    header.check_for(PRODUCT, conditions.profile, slot_size).map_err(LoadError::Release)?;
    // Both: a release with built-in passwords that real keys signed is marked dev too.
    let is_dev = header.flags_critical & release::FLAG_DEV != 0 && accepted.is_dev;
    if !store.is_partition() && !is_dev {
        return Err(LoadError::NotDev);
    }
    let Floors { rollback, key_set } = conditions.floors;
    if header.rollback_index < rollback {
        return Err(LoadError::BelowFloor { index: header.rollback_index, floor: rollback });
    }
    if accepted.key_set < key_set {
        return Err(LoadError::OldKeys { key_set: accepted.key_set, floor: key_set });
    }
    if conditions.release != [0; 32] && conditions.release != accepted.digest {
        return Err(LoadError::OtherRelease);
    }
    Ok((accepted, area))
}

fn load_section<M: Memory>(
    store: &mut impl Store,
    memory: &mut M,
    what: &'static str,
    section: &Section,
    conditions: &Conditions<'_>,
) -> Result<(u64, M::Buffer), LoadError> {
    // `Header::parse` has checked that the end does not wrap.
    let end = section.offset + section.length;
    if end > store.size() {
        return Err(LoadError::Truncated { what, end, size: store.size() });
    }
    if section.kind == SectionKind::Kernel as u32 && section.length > KERNEL_BYTES_MAX {
        return Err(LoadError::KernelSize(section.length));
    }
    let bytes = section.length;
    let mut buffer = memory.allocate(bytes, release::ALIGNMENT).ok_or(LoadError::Memory { what, bytes })?;
    // The rest of the last page may be mapped with it: let it hold nothing of what was there before.
    let (used, rest) = buffer.as_mut().split_at_mut(bytes as usize);
    store.read(section.offset, used).map_err(|why| LoadError::Read { what, why })?;
    rest.fill(0);
    if (conditions.sha256)(used) != section.digest {
        return Err(LoadError::Digest(what));
    }
    Ok((bytes, buffer))
}

/// Copies the kernel's segments to memory that the kernel may stay in, distances kept.
fn place_kernel<M: Memory>(file: &[u8], memory: &mut M) -> Result<Kernel<M::Buffer>, LoadError> {
    let prefix = &file[..file.len().min(elfload::PREFIX)];
    let plan = elfload::plan(prefix, file.len() as u64, KERNEL_ADDRESSES).map_err(LoadError::Kernel)?;
    let pages = plan.pages();
    let bytes = pages.end - pages.start;
    if bytes > KERNEL_BYTES_MAX {
        return Err(LoadError::KernelSize(bytes));
    }
    let no_memory = LoadError::Memory { what: "kernel", bytes };
    let mut buffer = memory.allocate(bytes, KERNEL_ALIGNMENT).ok_or(no_memory)?;
    let target = buffer.as_mut();
    target.fill(0);
    for segment in &plan.segments {
        // In bounds: the plan promises file ranges inside the file and addresses inside `pages`.
        let source = &file[segment.file_offset as usize..][..segment.file_size as usize];
        target[(segment.vaddr - pages.start) as usize..][..source.len()].copy_from_slice(source);
    }
    Ok(Kernel { memory: buffer, plan })
}
