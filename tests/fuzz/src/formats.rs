//! Bytes that come from a disk.

use bootctl::{Current, SIZE, Slot};
use bootplan::image::{Accepted, Conditions, Floors, Memory, Store};
use elfload::PAGE;
use erofs::{Error, Image, Inode, Piece};
use gpt::{Disk, ENTRIES, SECTOR, Unreadable};
use release::keyset::{KeySet, Role};
use release::trust::{Roots, check_root};
use release::{HEADER_SIZE, Header, SignatureArea};
use sha256::Engine;
use verity::{BLOCK, DIGESTS_PER_BLOCK, Superblock, Verifier};

pub fn release(data: &[u8]) {
    let _ = SignatureArea::parse(data);
    let Ok(header) = Header::parse(data) else { return };
    let _ = header.check_for("swift-os", Some("qemu"), 1 << 27);
    let mut free_from = release::AREA_SIZE as u64;
    for section in &header.sections {
        assert!(section.offset >= free_from && section.length > 0);
        free_from = section.offset + section.length;
    }
    assert!(free_from <= header.min_slot_size);
    if header.minor == 0 {
        assert_eq!(header.encode().as_ref().map(|bytes| &bytes[..]), Ok(&data[..HEADER_SIZE]));
    }
}

/// A key set. Whatever it says, no key of this world has signed for it.
pub fn key_set(data: &[u8]) {
    let Ok(set) = KeySet::parse(data) else { return };
    for role in [Role::Release, Role::Packages, Role::Evidence] {
        let keys = set.keys.iter().filter(|key| key.may(role)).count();
        assert!(set.threshold(role).is_none_or(|threshold| (1..=keys).contains(&threshold)));
    }
    assert!(check_root(&set, &Roots::of(&[[0x55; 32]; 2], 1)).is_err());
}

/// Two copies; a byte at the end says which get a right digest.
pub fn bootctl(data: &[u8]) {
    let Some((&seal, data)) = data.split_last() else { return };
    let mut copies = [[0; SIZE]; 2];
    for (copy, from) in copies.iter_mut().zip(data.chunks(SIZE)) {
        copy[..from.len()].copy_from_slice(from);
    }
    for (bit, copy) in copies.iter_mut().enumerate() {
        if seal >> bit & 1 != 0 {
            let digest = sha256::software(&copy[..SIZE - 32]);
            copy[SIZE - 32..].copy_from_slice(&digest);
        }
    }
    let Some(current) = Current::of([&copies[0], &copies[1]]) else { return };
    let candidates = bootctl::candidates(&current.block);
    for slot in Slot::ALL {
        assert_eq!(candidates.contains(&slot), bootctl::refusal(&current.block, slot).is_none());
        let _ = current.block.slot(slot).reason_text();
    }
    let mut changed = current.block.clone();
    changed.set_last_booted(Slot::B);
    let Some(write) = current.next(&changed) else { return };
    copies[write.copy] = *write.block.bytes();
    let after = Current::of([&copies[0], &copies[1]]).expect("what was written is valid");
    assert_eq!((after.block, after.copy), (write.block, write.copy));
}

struct Ends<'a> {
    sectors: u64,
    data: &'a [u8],
}

impl Disk for Ends<'_> {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), Unreadable> {
        for (sector, chunk) in (first..).zip(into.chunks_mut(SECTOR)) {
            let place =
                if sector < 34 { sector } else { 34 + (sector + 33).checked_sub(self.sectors).ok_or(Unreadable)? };
            let at = usize::try_from(place).map_err(|_| Unreadable)? * SECTOR;
            chunk.copy_from_slice(self.data.get(at..at + SECTOR).ok_or(Unreadable)?);
        }
        Ok(())
    }
}

/// The first 34 and the last 33 sectors; CRCs are made right.
pub fn gpt(data: &[u8]) {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let mut data = data.to_vec();
    for (header, array) in [(SECTOR, 2 * SECTOR), (66 * SECTOR, 34 * SECTOR)] {
        let Some(entries) = data.get(array..array + ENTRIES) else { continue };
        let entries = crc.checksum(entries).to_le_bytes();
        let Some(header) = data.get_mut(header..header + SECTOR) else { continue };
        header[88..92].copy_from_slice(&entries);
        let size = u32::from_le_bytes(header[12..16].try_into().expect("four bytes")) as usize;
        header[16..20].fill(0);
        let whole = crc.checksum(&header[..size.min(SECTOR)]).to_le_bytes();
        header[16..20].copy_from_slice(&whole);
    }
    let mut disk = Ends { sectors: 65536, data: &data };
    let mut buffer = [0; ENTRIES];
    let Ok(table) = gpt::read(&mut disk, &mut buffer) else { return };
    let mut ranges: Vec<_> = table.partitions().map(|p| (p.first, p.first + p.sectors)).collect();
    ranges.sort_unstable();
    assert!(ranges.iter().all(|&(first, end)| first < end && end <= 65536));
    assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    let _ = table.find(&gpt::types::BASE, "base_a");
}

/// A volume from its first sector on, which lies behind others. What is found lies in it, apart, and changes places for ever.
pub fn esp(data: &[u8]) {
    const FIRST: u64 = 8;
    struct Volume<'a>(&'a [u8]);
    impl gpt::Disk for Volume<'_> {
        fn sectors(&self) -> u64 {
            FIRST + 70_000
        }
        fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), gpt::Unreadable> {
            let at = first.checked_sub(FIRST).ok_or(gpt::Unreadable)? as usize * SECTOR;
            into.fill(0);
            for (byte, there) in into.iter_mut().zip(self.0.get(at..).unwrap_or_default()) {
                *byte = *there;
            }
            Ok(())
        }
    }
    let Ok(files) = esp::Files::find(&mut Volume(data), FIRST..FIRST + 70_000) else { return };
    let sectors = u64::from(files.size).div_ceil(SECTOR as u64);
    for first in [files.main, files.second] {
        assert!(first > FIRST && first + sectors <= FIRST + 70_000);
    }
    assert!(files.main.abs_diff(files.second) >= sectors);
    let mut sector = [0; SECTOR];
    gpt::Disk::read(&mut Volume(data), files.directory, &mut sector).expect("it was read");
    let before = sector;
    files.swap(&mut sector);
    files.swap(&mut sector);
    assert_eq!(sector, before);
}

/// The first bit of the last byte: as a kernel or as a program.
pub fn elfload(data: &[u8]) {
    let Some((&kind, file)) = data.split_last() else { return };
    let kernel = bootplan::image::KERNEL_ADDRESSES;
    let allowed = if kind & 1 != 0 { kernel } else { 0x1000..0x1_0000_0000_0000 };
    let file_length = file.len() as u64;
    let Ok(plan) = elfload::plan(&file[..file.len().min(elfload::PREFIX)], file_length, allowed.clone()) else {
        return;
    };
    let mut free_from = 0;
    for segment in &plan.segments {
        assert!(segment.file_offset + segment.file_size <= file_length && segment.file_size <= segment.memory_size);
        assert!(segment.pages().start >= free_from.max(allowed.start) && segment.pages().end <= allowed.end);
        assert!(!(segment.protection.write && segment.protection.execute));
        assert_eq!(segment.vaddr % PAGE, segment.file_offset % PAGE);
        free_from = segment.pages().end;
    }
    assert!(plan.segments.iter().any(|s| s.protection.execute && s.range().contains(&plan.entry)));
    if let Some(name) = plan.interpreter {
        assert!(name.start < name.end && name.end <= file_length);
    }
    if let Some(at) = plan.program_headers {
        assert!(plan.segments.iter().any(|segment| segment.range().contains(&at)));
    }
}

/// A whole slot image, with a hash that agrees with everything.
pub fn image(data: &[u8]) {
    struct Bytes<'a>(&'a [u8]);
    impl Store for Bytes<'_> {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }
        fn is_partition(&self) -> bool {
            false
        }
        fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), String> {
            into.copy_from_slice(&self.0[offset as usize..][..into.len()]);
            Ok(())
        }
    }
    struct Heap;
    impl Memory for Heap {
        type Buffer = Vec<u8>;
        fn allocate(&mut self, length: u64, _alignment: u64) -> Option<Vec<u8>> {
            // More than this is a machine that has no more memory.
            (length <= 1 << 22).then(|| vec![0xee; length.next_multiple_of(4096) as usize])
        }
    }
    let mut data = data.to_vec();
    for entry in 0..release::MAX_SECTIONS {
        let at = 320 + 64 * entry + 24;
        if let Some(digest) = data.get_mut(at..at + 32)
            && digest.iter().any(|&byte| byte != 0)
        {
            digest.fill(0);
        }
    }
    let accept = |area: &[u8]| {
        SignatureArea::parse(area)?;
        Ok(Accepted { header: Header::parse(area)?, digest: [0; 32], key_set: 0, is_dev: true })
    };
    let floors = Floors::default();
    let conditions = Conditions { accept: &accept, profile: None, floors, release: [0; 32], sha256: |_| [0; 32] };
    let Ok(image) = bootplan::image::load(&mut Bytes(&data), &mut Heap, &conditions) else { return };
    assert!(image.kernel.entry_offset() < image.kernel.length());
    assert!(image.kernel.length() <= image.kernel.memory.len() as u64);
    for (length, bytes) in [image.erofs, Some(image.verity), image.symbols].into_iter().flatten() {
        assert!(bytes[length as usize..].iter().all(|&byte| byte == 0));
    }
}

/// A compressed block behind the length that is wanted: the same bytes, or the same refusal, as by the plainest reading of the format.
pub fn lz4(data: &[u8]) {
    let Some((&length, packed)) = data.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(length) % 5000);
    let mut output = vec![0; length];
    let left = erofs::decompress(packed, &mut output);
    let expected = unpacked_plainly(packed, length);
    assert_eq!(left.is_some(), expected.is_some());
    if let (Some(left), Some(expected)) = (left, expected) {
        assert_eq!((output, left), expected);
    }
}

/// One byte after the other (lz4_Block_format.md). The bytes, and how many of the input are left.
fn unpacked_plainly(packed: &[u8], length: usize) -> Option<(Vec<u8>, usize)> {
    let (mut input, mut output) = (packed.iter(), Vec::new());
    while output.len() < length {
        let token = usize::from(*input.next()?);
        let more = |count: usize, input: &mut std::slice::Iter<'_, u8>| {
            let mut count = count;
            while count >= 15 {
                let byte = *input.next()?;
                count += usize::from(byte);
                if byte != u8::MAX {
                    break;
                }
            }
            Some(count)
        };
        for _ in 0..more(token >> 4, &mut input)?.min(length - output.len()) {
            output.push(*input.next()?);
        }
        if output.len() == length {
            break;
        }
        let distance = usize::from(u16::from_le_bytes([*input.next()?, *input.next()?]));
        if distance == 0 || distance > output.len() {
            return None;
        }
        for _ in 0..(more(token & 15, &mut input)? + 4).min(length - output.len()) {
            output.push(output[output.len() - distance]);
        }
    }
    Some((output, input.len()))
}

/// An image without a checksum, walked as far as 64 inodes go.
pub fn erofs(data: &[u8]) {
    let mut data = data.to_vec();
    if let Some(features) = data.get_mut(1024 + 8) {
        *features &= !1;
    }
    let Ok(image) = Image::open(&data[..]) else { return };
    let mut seen = vec![image.root()];
    let mut at = 0;
    while let Some(&nid) = seen.get(at) {
        at += 1;
        let Ok(inode) = image.inode(nid) else { continue };
        read_all(&image, &inode, data.len());
        if !inode.is_directory() {
            continue;
        }
        let mut position = 0;
        while let Ok(Some(entry)) = image.entry_at(&inode, position) {
            assert!(entry.next > position && !entry.name().is_empty());
            position = entry.next;
            let _ = image.lookup(&inode, entry.name());
            if seen.len() < 64 {
                seen.push(entry.nid);
            }
        }
    }
}

fn read_all(image: &Image<&[u8]>, inode: &Inode, image_length: usize) {
    let mut offset = 0;
    for _ in 0..64 {
        match image.piece(inode, offset, 1 << 16) {
            Ok(piece) if piece.length() > 0 => {
                if let Piece::Data { index, range, .. } = &piece {
                    assert!(range.end <= BLOCK && (*index as usize + 1) * BLOCK <= image_length);
                }
                offset += piece.length() as u64;
                assert!(offset <= inode.size);
            }
            _ => break,
        }
    }
    read_extents(image, inode, image_length);
    let mut buffer = [0; 300];
    if let Ok(count) = image.read(inode, inode.size / 2, &mut buffer) {
        assert!(count <= buffer.len());
    }
}

/// Extents cover the byte that they were asked for, and lie in the image.
fn read_extents(image: &Image<&[u8]>, inode: &Inode, image_length: usize) {
    let mut offset = 0;
    for _ in 0..16 {
        let Ok(extent) = image.extent(inode, offset) else { return };
        let end = extent.start + extent.length as u64;
        assert!(
            (extent.start..end).contains(&offset) && end <= inode.size && extent.length <= erofs::EXTENT_LENGTH_MAX
        );
        assert!((extent.block as usize + extent.blocks as usize) * BLOCK <= image_length);
        match image.unpack(inode, &extent) {
            Ok(bytes) => assert_eq!(bytes.len(), extent.length),
            Err(error) => assert!(matches!(error, Error::Fault(_))),
        }
        offset = end;
    }
}

/// Count of data blocks, root, superblock and tree. The data follow from the count; a block passes exactly when each hash on its way, reckoned
/// with nothing remembered, is what the tree says.
pub fn verity(data: &[u8]) {
    let Some((&count, data)) = data.split_first_chunk::<2>() else { return };
    let Some((&root, section)) = data.split_first_chunk::<32>() else { return };
    let blocks = u64::from(u16::from_le_bytes(count) % 300) + 1;
    let Ok(verifier) = Verifier::new(section, blocks * BLOCK as u64, root, Engine::best()) else { return };
    let superblock = Superblock::read(section, blocks).expect("the verifier has read it");
    assert_eq!(superblock.encode(), section[..BLOCK]);
    let hash = |block: &[u8]| sha256::software(&[superblock.salt(), block].concat());
    let counts = [blocks.div_ceil(DIGESTS_PER_BLOCK), blocks.div_ceil(DIGESTS_PER_BLOCK * DIGESTS_PER_BLOCK)];
    let levels = &counts[..verifier.layout().levels()];
    for block in [0, blocks / 2, blocks - 1, 0] {
        let (mut expected, mut number, mut wrong) = (Vec::new(), block, None);
        let content = [block as u8; BLOCK];
        expected.push(hash(&content));
        let mut stored = Vec::new();
        // The lowest level comes last in the section.
        for level in 0..levels.len() {
            let above: u64 = levels[level + 1..].iter().sum();
            let at = BLOCK * (1 + above + number / DIGESTS_PER_BLOCK) as usize;
            let tree = &section[at..at + BLOCK];
            stored.push(tree[32 * (number % DIGESTS_PER_BLOCK) as usize..][..32].to_vec());
            expected.push(hash(tree));
            number /= DIGESTS_PER_BLOCK;
        }
        stored.push(root.to_vec());
        for (level, (one, other)) in expected.iter().zip(&stored).enumerate() {
            wrong = if one[..] == other[..] { wrong } else { Some(level) };
        }
        assert_eq!(verifier.verify(block, &content).map_err(|failure| failure.level), wrong.map_or(Ok(()), Err));
    }
    assert!(verifier.verify(blocks, &[0; BLOCK]).is_err());
}

pub fn ksyms(data: &[u8]) {
    let Ok(symbols) = ksyms::Symbols::parse(data) else { return };
    for address in [0, ksyms::KERNEL_BASE - 1, ksyms::KERNEL_BASE, ksyms::KERNEL_BASE + 0x1234, u64::MAX] {
        if let Some(symbol) = symbols.lookup(address) {
            assert!(symbol.offset <= address - ksyms::KERNEL_BASE);
        }
    }
}

/// passwd, group and shadow at once.
pub fn accounts(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    for user in accounts::users(text) {
        assert!(user.uid != u32::MAX && user.gid != u32::MAX && !user.name.contains([':', '\n']));
        let groups = accounts::groups_of(&user, text);
        assert_eq!(groups.first(), Some(&user.gid));
        let _ = accounts::password_field(text, user.name);
    }
}

/// A signal frame as a program may have left it.
pub fn signal(data: &[u8]) {
    let mut frame = [0; linux::signal::FRAME_USED];
    let used = data.len().min(frame.len());
    frame[..used].copy_from_slice(&data[..used]);
    let Ok(restored) = linux::signal::restore(&frame) else { return };
    // Written again and read again it is the same.
    let again = linux::signal::Frame {
        info: linux::signal::SigInfo::kernel(linux::signal::Signal::SEGV),
        mask: restored.mask,
        stack: restored.stack,
        context: restored.context,
        vectors: &restored.vectors,
    };
    assert_eq!(linux::signal::restore(&again.to_bytes()), Ok(restored));
}
