//! The base: found by what the loader said, held to the release header by its dm-verity tree, from memory or from the disk; and what is
//! told of blocks that are damaged (docs/formats/base-image.md).

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bootinfo::{BootInfo, slot};
use linux::Errno;
use release::{Header, ReleaseError, Section, SectionKind};
use sha256::Engine;
use verity::{BLOCK, Failure};
use vfs::base::{InMemory, Integrity, OnDisk, Tree};

use super::Volume;
use crate::arch::timer;
use crate::drivers::block::{self, Kind};
use crate::mm::kmap;
use crate::sync::{Once, Rank, SpinLock};
use crate::{boot, event};

/// Why there is no base.
#[derive(Debug)]
pub enum Unusable {
    /// The loader gave none of it.
    Absent(&'static str),
    /// The release header is malformed.
    Header(ReleaseError),
    /// What the loader gave is not what the header says.
    Length(&'static str),
    /// The tree and its superblock are not what was built.
    Digest,
    /// The tree is not one over this base.
    Tree(verity::Error),
    /// The base is on a slot of the disk that was booted from, and there is no such slot.
    Slot,
    /// The image is malformed, or a block that is needed at once is damaged.
    Image(erofs::Error<Errno>),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(what) => write!(f, "the loader gave no {what}"),
            Self::Header(error) => write!(f, "release header: {error}"),
            Self::Length(what) => write!(f, "the {what} has another length than the release header says"),
            Self::Digest => f.write_str("the SHA-256 of the verity section is not the one in the release header"),
            Self::Tree(error) => error.fmt(f),
            Self::Slot => f.write_str("the slot that the loader booted from is on no disk that was found"),
            Self::Image(error) => error.fmt(f),
        }
    }
}

/// The base.
pub struct Base {
    /// Its files.
    pub volume: Arc<Volume>,
    /// Where they come from: `ram`, `disk`.
    pub source: &'static str,
    /// Bytes of its image.
    pub size: u64,
}

/// What the base is held to.
struct Watched {
    integrity: Arc<Integrity>,
    source: &'static str,
}

static WATCHED: Once<Watched> = Once::new();

/// Finds the base that the loader's choice is.
///
/// # Errors
/// Why there is none.
pub fn volume() -> Result<Base, Unusable> {
    let info = boot::info();
    let area = kmap::base_bytes(info.header_start, release::HEADER_SIZE as u64);
    let header = Header::parse(area.ok_or(Unusable::Absent("release header"))?).map_err(Unusable::Header)?;
    let erofs = section(&header, SectionKind::Erofs)?;
    let tree = tree(info, &header, erofs)?;
    let integrity = Integrity::new(&tree, Engine::best(), report).map_err(Unusable::Tree)?;
    let source = if info.erofs_length > 0 { "ram" } else { "disk" };
    let Watched { integrity, .. } = WATCHED.get_or_init(|| Watched { integrity, source });
    event!("verity.ready", source = source, blocks = integrity.blocks(), root = Hexadecimal(&tree.root));
    let volume = if info.erofs_length > 0 {
        let bytes = kmap::base_bytes(info.erofs_start, info.erofs_length).ok_or(Unusable::Absent("base image"))?;
        if bytes.len() as u64 != erofs.length {
            return Err(Unusable::Length("base image"));
        }
        vfs::base::volume(b"base", InMemory::new(bytes, integrity), super::cache())
    } else {
        let part = slot_kind(info).and_then(block::boot_part).ok_or(Unusable::Slot)?;
        part.claim();
        let first = erofs.offset / BLOCK as u64;
        vfs::base::volume(b"base", OnDisk::new(part, first, super::cache(), integrity), super::cache())
    };
    Ok(Base { volume: volume.map_err(Unusable::Image)?, source, size: erofs.length })
}

fn section(header: &Header, kind: SectionKind) -> Result<&Section, Unusable> {
    header.section(kind).ok_or(Unusable::Header(ReleaseError::MissingSection(kind)))
}

/// The partition that the loader booted from.
fn slot_kind(info: &BootInfo) -> Option<Kind> {
    match info.slot {
        slot::A => Some(Kind::BaseA),
        slot::B => Some(Kind::BaseB),
        _ => None,
    }
}

/// The tree that the loader gave. Our loader has held it to its digest in the header; what came as an initrd nobody has.
fn tree(info: &BootInfo, header: &Header, erofs: &Section) -> Result<Tree, Unusable> {
    let verity = section(header, SectionKind::Verity)?;
    let section = kmap::base_bytes(info.verity_start, info.verity_length).ok_or(Unusable::Absent("verity tree"))?;
    if section.len() as u64 != verity.length {
        return Err(Unusable::Length("verity tree"));
    }
    if info.slot == slot::INITRD && sha256::best()(section) != verity.digest {
        return Err(Unusable::Digest);
    }
    Ok(Tree { section, length: erofs.length, root: header.verity_root })
}

/// Bytes as digits.
struct Hexadecimal<'a>(&'a [u8]);

impl fmt::Display for Hexadecimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How many failures are shown one after the other, and how often one is shown from then on: a program may read a damaged block again and
/// again.
const SHOWN_AT_ONCE: u32 = 32;
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// Which failures are shown.
struct Shown {
    left: u32,
    last: Duration,
    hidden: u64,
}

static SHOWN: SpinLock<Shown> =
    SpinLock::new(Rank::FILE, Shown { left: SHOWN_AT_ONCE, last: Duration::ZERO, hidden: 0 });

/// A block of the base is not what was built.
fn report(failure: Failure) {
    let hidden = {
        let (mut shown, now) = (SHOWN.lock(), timer::now());
        if shown.left == 0 && now - shown.last < SHOWN_EVERY {
            shown.hidden += 1;
            return;
        }
        shown.left = shown.left.saturating_sub(1);
        shown.last = now;
        core::mem::take(&mut shown.hidden)
    };
    event!(
        "verity.error",
        what = if failure.level == 0 { "block" } else { "tree" },
        block = failure.block,
        level = failure.level,
        source = WATCHED.get().map_or("", |watched| watched.source),
        hidden = hidden,
        why = "its SHA-256 is not the one in the tree"
    );
}

/// `/proc/verity`.
pub fn text() -> Vec<u8> {
    let Some(Watched { integrity, source }) = WATCHED.get() else { return Vec::new() };
    let (verifier, blocks) = (integrity.verifier(), integrity.blocks());
    let (verified, errors) = (integrity.verified(), integrity.failures());
    let (tree_blocks, tree_verified) = (verifier.layout().tree_blocks(), verifier.sound_tree_blocks());
    format!(
        "source {source}\nroot {root}\nblocks {blocks}\nverified {verified}\ntree_blocks {tree_blocks}\n\
         tree_verified {tree_verified}\nerrors {errors}\n",
        root = Hexadecimal(verifier.root())
    )
    .into()
}
