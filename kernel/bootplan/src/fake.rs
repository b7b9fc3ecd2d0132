//! A disk in memory, and images for it: what the tests of this crate boot from.

use crate::image::{Accepted, Conditions, Floors, Image, LoadError, Memory, Store};
use crate::{Asked, Attempt, Control, Disk, Machine, Refused, Source, choose};
use bootctl::{Block, Current, Entry, Slot, Write};
use release::trust::TrustError;
use release::{Header, Section, SectionKind, SignatureArea, Text};

/// Memory that counts what is held, so that a refused image is seen to give everything back.
#[derive(Default)]
pub(crate) struct Heap {
    /// There is none for what is larger than a header.
    is_short: bool,
}

impl Memory for Heap {
    type Buffer = Vec<u8>;

    fn allocate(&mut self, length: u64, alignment: u64) -> Option<Vec<u8>> {
        assert!(alignment.is_multiple_of(4096));
        if self.is_short && length > release::AREA_SIZE as u64 {
            return None;
        }
        Some(vec![0xee; length.next_multiple_of(4096) as usize])
    }
}

pub(crate) struct Bytes<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) partition: bool,
    pub(crate) unreadable: bool,
}

impl Store for Bytes<'_> {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn is_partition(&self) -> bool {
        self.partition
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), String> {
        if self.unreadable {
            return Err("device error".into());
        }
        into.copy_from_slice(&self.bytes[offset as usize..][..into.len()]);
        Ok(())
    }
}

/// A kernel of two segments, entered in the first.
pub(crate) fn kernel_elf() -> Vec<u8> {
    const BASE: u64 = 0xffff_8000_0000_0000;
    let mut elf = vec![0; 0x3000];
    elf[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x00");
    let mut put = |at: usize, data: &[u8]| elf[at..at + data.len()].copy_from_slice(data);
    put(16, &2u16.to_le_bytes());
    put(18, &183u16.to_le_bytes());
    put(24, &(BASE + 0x10).to_le_bytes());
    put(32, &64u64.to_le_bytes());
    put(54, &56u16.to_le_bytes());
    put(56, &2u16.to_le_bytes());
    let segments = [(5u32, 0x1000u64, BASE, 0x1000u64, 0x1000u64), (6, 0x2000, BASE + 0x1000, 0x800, 0x5000)];
    for (index, (flags, offset, vaddr, file_size, memory_size)) in segments.into_iter().enumerate() {
        let at = 64 + 56 * index;
        put(at, &1u32.to_le_bytes());
        put(at + 4, &flags.to_le_bytes());
        for (i, field) in [offset, vaddr, vaddr - BASE, file_size, memory_size, 4096].into_iter().enumerate() {
            put(at + 8 + 8 * i, &field.to_le_bytes());
        }
    }
    put(0x1000, &[0x11; 0x1000]);
    put(0x2000, &[0x22; 0x800]);
    elf
}

pub(crate) const SLOT_SIZE: usize = 1 << 20;

pub(crate) fn image_with(kernel: &[u8], rollback_index: u64) -> Vec<u8> {
    let erofs = vec![0x33; 5000];
    let parts = [
        (SectionKind::Kernel, 1, kernel),
        (SectionKind::Erofs, 1, &erofs),
        (SectionKind::Verity, 1, &[0x44; 4096]),
        (SectionKind::Loader, 1, b"MZ"),
        (SectionKind::Symbols, 0, b"SWSYMTAB"),
    ];
    let mut image = vec![0; release::AREA_SIZE];
    image[4096..4108].copy_from_slice(b"SWIFTSIG\x01\0\0\0");
    image[4108..4112].copy_from_slice(&32u32.to_le_bytes());
    let mut header = Header {
        minor: 0,
        product: Text::new("swift-os").unwrap(),
        profile: Text::new("qemu").unwrap(),
        version: Text::new("0.1.0").unwrap(),
        rollback_index,
        signed_at: 0,
        flags_critical: release::FLAG_DEV,
        flags_optional: 0,
        min_slot_size: SLOT_SIZE as u64,
        min_disk_layout: 1,
        loader_security_version: 1,
        datafs_compat: 0,
        datafs_ro_compat: 0,
        datafs_incompat: 0,
        package_abi_min: 1,
        package_abi_max: 1,
        verity_root: [0; 32],
        sections: Default::default(),
    };
    for (kind, flags, bytes) in parts {
        let (offset, digest) = (image.len() as u64, sha256::software(bytes));
        header.sections.push(Section { kind: kind as u32, flags, offset, length: bytes.len() as u64, digest });
        image.extend(bytes);
        image.resize(image.len().next_multiple_of(4096), 0);
    }
    image[..4096].copy_from_slice(&header.encode().unwrap());
    image
}

pub(crate) fn image(rollback_index: u64) -> Vec<u8> {
    image_with(&kernel_elf(), rollback_index)
}

/// A release of this index is signed by keys that are not throw-away.
pub(crate) const OF_REAL_KEYS: u64 = 11;

/// Signatures are not these tests' matter (kernel/release): whatever has the form is accepted.
pub(crate) fn accept(area: &[u8]) -> Result<Accepted, TrustError> {
    let header = Header::parse(area)?;
    SignatureArea::parse(area)?;
    // The version of the key set goes with the release here: 1 for 1 to 3, 2 for 4 to 7.
    let key_set = 1 + header.rollback_index / 4;
    let is_dev = header.rollback_index != OF_REAL_KEYS;
    Ok(Accepted { header, digest: sha256::software(&area[..release::HEADER_SIZE]), key_set, is_dev })
}

/// For images of any profile that stand on the floors of a fresh disk.
pub(crate) fn any_profile() -> Conditions<'static> {
    let floors = Floors { rollback: 1, key_set: 1 };
    Conditions { accept: &accept, profile: None, floors, release: [0; 32], sha256: sha256::software }
}

/// A slot partition that holds an image.
pub(crate) fn slot(mut image: Vec<u8>) -> Option<Vec<u8>> {
    image.resize(SLOT_SIZE, 0);
    Some(image)
}

pub(crate) struct Fake {
    pub(crate) slots: [Option<Vec<u8>>; 2],
    pub(crate) esp: Option<Vec<u8>>,
    pub(crate) copies: [Vec<u8>; 2],
    pub(crate) unreadable: Option<Slot>,
    /// There is no memory for this one.
    pub(crate) too_large: Option<Slot>,
    /// So many reads of each copy of the block fail.
    pub(crate) failing: [usize; 2],
    /// Nobody has signed a release of this index.
    pub(crate) unsigned: u64,
    pub(crate) read_only: bool,
    /// This copy of the block cannot be written.
    pub(crate) broken_copy: Option<usize>,
    pub(crate) writes: usize,
    pub(crate) reports: Vec<Attempt>,
    pub(crate) second: Second,
}

/// What becomes of a start of the loader in the second file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Second {
    /// It is the firmware's first already.
    IsFirst,
    /// It takes over: for good or bad, this one is not asked again.
    TakesOver,
    ComesBack,
    /// It says that a slot is bad before it does.
    ComesBackAfter(Slot),
}

/// Thrown where a loader takes over.
pub(crate) struct TookOver;

impl Fake {
    pub(crate) fn new(a: Option<Vec<u8>>, b: Option<Vec<u8>>) -> Self {
        let copies = [vec![0; 4096], vec![0; 4096]];
        Self {
            slots: [a, b],
            esp: None,
            copies,
            unreadable: None,
            too_large: None,
            failing: [0; 2],
            unsigned: 0,
            read_only: false,
            broken_copy: None,
            writes: 0,
            reports: Vec::new(),
            second: Second::TakesOver,
        }
    }

    pub(crate) fn with_block(mut self, a: Entry, b: Entry, floor: u64) -> Self {
        let mut block = Block::empty();
        block.set_slot(Slot::A, &a);
        block.set_slot(Slot::B, &b);
        block.set_rollback_floor(floor);
        block.set_last_booted(Slot::A);
        self.copies[0] = bootctl::first_writes(block)[0].block.bytes().to_vec();
        self
    }

    pub(crate) fn current(&self) -> Option<Current> {
        Current::of([&self.copies[0], &self.copies[1]])
    }

    pub(crate) fn entry(&self, slot: Slot) -> Entry {
        self.current().unwrap().block.slot(slot)
    }

    /// What the loader reads of the block.
    pub(crate) fn disk(&self) -> Disk {
        let mut failing = self.failing;
        Disk::Slots(Control::read(|copy, into| {
            if failing[copy] > 0 {
                failing[copy] -= 1;
                into.fill(0x55);
                return Err("device error".into());
            }
            into.copy_from_slice(&self.copies[copy]);
            Ok(())
        }))
    }

    /// What is booted, or the reasons.
    pub(crate) fn boot(&mut self) -> Result<Source, Vec<Attempt>> {
        let disk = self.disk();
        let is_whole = matches!(&disk, Disk::Slots(control) if control.is_whole());
        match choose(self, disk, Asked::default()) {
            Ok(boot) => {
                let expected = self.current().filter(|_| is_whole);
                assert_eq!(boot.current, expected, "what is handed over is what the disk holds");
                Ok(boot.source)
            }
            Err(Refused(attempts)) => Err(attempts),
        }
    }
}

impl Fake {
    fn with<R>(
        &self,
        source: Source,
        floors: Floors,
        release: [u8; 32],
        run: impl FnOnce(&mut Bytes<'_>, &Conditions<'_>) -> Result<R, LoadError>,
    ) -> Result<R, LoadError> {
        let (bytes, unreadable) = match source {
            Source::Slot(slot) => (&self.slots[slot as usize], self.unreadable == Some(slot)),
            Source::Esp => (&self.esp, false),
        };
        let bytes = bytes.as_ref().ok_or_else(|| LoadError::Absent("not there".into()))?;
        let mut store = Bytes { bytes, partition: source != Source::Esp, unreadable };
        let accept = |area: &[u8]| match accept(area)? {
            found if found.header.rollback_index == self.unsigned => Err(TrustError::Release { signed: 1, wanted: 2 }),
            accepted => Ok(accepted),
        };
        run(
            &mut store,
            &Conditions { accept: &accept, profile: Some("qemu"), floors, release, sha256: sha256::software },
        )
    }
}

impl Machine for Fake {
    type Buffer = Vec<u8>;

    fn load(&mut self, source: Source, floors: Floors, release: [u8; 32]) -> Result<Image<Vec<u8>>, LoadError> {
        let mut heap = Heap { is_short: self.too_large.map(Source::Slot) == Some(source) };
        self.with(source, floors, release, |store, conditions| crate::image::load(store, &mut heap, conditions))
    }

    fn marks(&mut self, slot: Slot) -> Result<Floors, LoadError> {
        self.with(Source::Slot(slot), Floors::default(), [0; 32], |store, conditions| {
            let (accepted, _) = crate::image::load_header(store, &mut Heap::default(), conditions)?;
            Ok(Floors { rollback: accepted.header.rollback_index, key_set: accepted.key_set })
        })
    }

    fn write(&mut self, write: &Write) -> Result<(), String> {
        if self.read_only || self.broken_copy == Some(write.copy) {
            return Err("write protected".into());
        }
        self.writes += 1;
        self.copies[write.copy] = write.block.bytes().to_vec();
        Ok(())
    }

    fn is_first(&mut self, _: &bootctl::Loader) -> bool {
        self.second == Second::IsFirst
    }

    fn start(&mut self, loader: &bootctl::Loader) -> String {
        let trial = self.current().unwrap().block.loader_trial().unwrap();
        assert_eq!(trial.loader, *loader);
        assert!(trial.tries < bootctl::change::LOADER_TRIES, "its start is counted before it is started");
        match self.second {
            Second::TakesOver => std::panic::resume_unwind(Box::new(TookOver)),
            Second::ComesBackAfter(slot) => {
                let current = self.current().unwrap();
                let mut block = current.block.clone();
                block.set_slot(slot, &Entry { bad: 1, ..block.slot(slot) });
                let write = current.next(&block).unwrap();
                self.copies[write.copy] = write.block.bytes().to_vec();
            }
            _ => {}
        }
        "load error".into()
    }

    fn control(&mut self) -> Control {
        let Disk::Slots(control) = self.disk() else { unreachable!() };
        control
    }

    fn report(&mut self, attempt: &Attempt) {
        self.reports.push(attempt.clone());
    }
}

pub(crate) fn good(rollback_index: u64) -> Entry {
    Entry { priority: 15, successful: 1, rollback_index, ..Entry::EMPTY }
}

pub(crate) fn trial(tries: u8, rollback_index: u64) -> Entry {
    Entry { priority: 15, tries, rollback_index, ..Entry::EMPTY }
}

pub(crate) const A: Source = Source::Slot(Slot::A);
pub(crate) const B: Source = Source::Slot(Slot::B);
