//! A block device as a file: its bytes are those of the device, wherever a write starts and ends, and failures are told.

use proptest::prelude::*;

use super::*;
use crate::cache::{Cache, Limits};
use crate::device::BLOCK_SIZE;
use crate::testing::{Fault, MemoryDevice, Operation, Record};
use crate::{BlockDevice, BlockFile, PAGE_SIZE};

const BLOCKS: u64 = 5;
/// Sectors behind the last whole block.
const TAIL: usize = 3 * 512;
const SIZE: usize = 4 * BLOCK_SIZE + TAIL;

/// A device that does not end on a block. What is behind its end is not its own.
#[derive(Debug)]
struct Cut(MemoryDevice<Host>, std::sync::atomic::AtomicBool);

impl crate::Device<Host> for Cut {
    fn blocks(&self) -> u64 {
        BLOCKS - 1
    }
    fn tail(&self) -> usize {
        TAIL
    }
    fn is_read_only(&self) -> bool {
        false
    }
    fn is_gone(&self) -> bool {
        self.1.load(std::sync::atomic::Ordering::Relaxed)
    }
    fn read(&self, block: u64, pages: &[HostPage]) -> Result<(), Errno> {
        self.0.read(block, pages)
    }
    fn write(&self, block: u64, pages: &[HostPage]) -> Result<(), Errno> {
        self.0.write(block, pages)
    }
    fn flush(&self) -> Result<(), Errno> {
        self.0.flush()
    }
    fn discard(&self, block: u64, count: u64) -> Result<(), Errno> {
        self.0.discard(block, count)
    }
}

impl Cut {
    fn remove(&self) {
        self.0.remove();
        self.1.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    fn holds(&self) -> Vec<u8> {
        self.0.image()[..SIZE].to_vec()
    }
}

struct Fixture {
    cut: Arc<Cut>,
    cache: Arc<Cache<Host>>,
    device: Arc<BlockDevice<Host>>,
}

impl Fixture {
    fn new() -> Self {
        let image = (0..BLOCKS as usize * BLOCK_SIZE).map(|at| (at / 512) as u8).collect();
        let cut = Arc::new(Cut(MemoryDevice::from_image(image), false.into()));
        let cache = Cache::new(Limits { dirty_max: 3, dirty_background: 2 });
        let device = BlockDevice::new(cut.clone(), &cache);
        Self { cut, cache, device }
    }
}

fn read(file: &BlockFile<Host>, offset: u64, length: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0xee; length];
    let mut sink = SliceMut::new(&mut bytes);
    file.read(offset, &mut sink, 0)?;
    let count = crate::Sink::done(&sink);
    bytes.truncate(count);
    Ok(bytes)
}

fn write(file: &BlockFile<Host>, offset: u64, bytes: &[u8]) -> Result<u64, Errno> {
    file.write(offset, &mut Slice::new(bytes), 0)
}

#[test]
fn reads_to_the_last_byte_and_no_further() {
    let fixture = Fixture::new();
    let file = fixture.device.open();
    assert_eq!(file.size(), Some(SIZE as u64));
    assert_eq!(read(&file, 0, 2 * SIZE).unwrap(), fixture.cut.holds());
    assert_eq!(read(&file, 511, 2).unwrap(), [0, 1]);
    assert_eq!(read(&file, SIZE as u64 - 1, 9).unwrap(), [34]);
    assert_eq!(read(&file, SIZE as u64, 9).unwrap(), [0_u8; 0]);
    assert_eq!(read(&file, u64::MAX, 9).unwrap(), [0_u8; 0]);
}

#[test]
fn a_write_behind_the_end_has_no_room_and_one_across_it_is_short() {
    let fixture = Fixture::new();
    let file = fixture.device.open();
    assert_eq!(write(&file, SIZE as u64, b"a"), Err(Errno::ENOSPC));
    assert_eq!(file.write(0, &mut Slice::new(b"a"), O_APPEND), Err(Errno::ENOSPC));
    let mut source = Slice::new(b"abcd");
    assert_eq!(file.write(SIZE as u64 - 2, &mut source, 0), Ok(SIZE as u64));
    assert_eq!(crate::Source::left(&source), 2);
    assert_eq!(file.sync(0..u64::MAX, true), Ok(()));
    assert!(fixture.cut.holds().ends_with(b"ab"));
}

#[test]
fn what_was_written_is_flushed_by_sync_and_only_then() {
    let fixture = Fixture::new();
    let file = fixture.device.open();
    fixture.cut.0.record();
    write(&file, 4096, &[7; PAGE_SIZE]).unwrap();
    assert_eq!(fixture.cut.0.records(), [], "it is in the cache");
    assert_eq!(fixture.cut.0.count(Operation::Read), 0, "a whole page need not be read");
    file.sync(0..4096, true).unwrap();
    assert_eq!(fixture.cut.0.records(), [Record::Flush], "another range");
    file.sync(4096..4097, true).unwrap();
    let expected = [Record::Write { block: 1, bytes: [7; PAGE_SIZE].into() }, Record::Flush];
    assert_eq!(fixture.cut.0.records(), expected);
}

#[test]
fn the_first_to_open_sees_the_device_and_a_second_what_is_cached() {
    let fixture = Fixture::new();
    let file = fixture.device.open();
    assert_eq!(read(&file, 0, 1).unwrap(), [0]);
    fixture.cut.0.tamper(|bytes| bytes[0] = 99);
    let second = fixture.device.open();
    assert_eq!(read(&second, 0, 1).unwrap(), [0]);
    write(&second, 1, b"x").unwrap();
    drop((file, second));
    let file = fixture.device.open();
    // The page was written whole, with the byte that it had.
    assert_eq!(read(&file, 0, 2).unwrap(), b"\0x");
    fixture.device.forget().unwrap();
    fixture.cut.0.tamper(|bytes| bytes[0] = 99);
    assert_eq!(read(&file, 0, 2).unwrap(), b"\x63x");
}

#[test]
fn too_much_that_is_dirty_is_written_by_who_makes_it() {
    let fixture = Fixture::new();
    let file = fixture.device.open();
    for page in 0..BLOCKS {
        write(&file, page * PAGE_SIZE as u64, &[1; 100]).unwrap();
    }
    assert!(fixture.cache.statistics().dirty <= 4 && fixture.cut.0.count(Operation::Write) > 0);
}

#[test]
fn a_failure_is_told_to_everybody_once_and_what_failed_is_tried_again() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.device.open(), fixture.device.open());
    write(&one, 0, b"lasts").unwrap();
    fixture.cut.0.fail(Fault { operation: Operation::Write, after: 0, is_lasting: false });
    assert_eq!(one.write_out(0..u64::MAX), Err(Errno::EIO));
    assert_eq!((one.sync(0..u64::MAX, true), one.sync(0..u64::MAX, true)), (Err(Errno::EIO), Ok(())));
    assert_eq!((other.sync(0..u64::MAX, true), other.sync(0..u64::MAX, true)), (Err(Errno::EIO), Ok(())));
    assert!(fixture.cut.holds().starts_with(b"lasts"));
    fixture.cut.0.fail(Fault { operation: Operation::Flush, after: 0, is_lasting: false });
    assert_eq!((one.sync(0..u64::MAX, true), one.sync(0..u64::MAX, true)), (Err(Errno::EIO), Ok(())));
    fixture.cut.0.fail(Fault { operation: Operation::Read, after: 0, is_lasting: true });
    assert_eq!(read(&one, 2 * 4096, 1), Err(Errno::EIO));
    assert_eq!(write(&one, 2 * 4096, b"a"), Err(Errno::EIO), "the rest of its page cannot be had");
}

#[test]
fn of_a_device_that_has_gone_nothing_is_left() {
    let fixture = Fixture::new();
    let file = fixture.device.open();
    write(&file, 0, b"lost").unwrap();
    fixture.cut.remove();
    assert_eq!((read(&file, 0, 1), write(&file, 0, b"a")), (Err(Errno::EIO), Err(Errno::EIO)));
    assert_eq!(file.sync(0..u64::MAX, true), Err(Errno::EIO));
    assert_eq!(fixture.cache.statistics().dirty, 0, "nobody can ever write it");
    drop(file);
    assert_eq!(read(&fixture.device.open(), 0, 1), Err(Errno::EIO));
}

#[test]
fn a_discard_takes_whole_blocks_and_their_pages() {
    let fixture = Fixture::new();
    let file = fixture.device.open();
    write(&file, 4096, b"gone").unwrap();
    fixture.cut.0.record();
    fixture.device.discard(100..3 * 4096 + 5).unwrap();
    assert_eq!(fixture.cut.0.records(), [Record::Discard { block: 1, count: 2 }]);
    assert_eq!(read(&file, 4095, 3).unwrap(), [7, 0xd5, 0xd5]);
    assert_eq!(fixture.device.discard(0..SIZE as u64 + 1), Err(Errno::EINVAL));
    assert_eq!(fixture.device.discard(1..4096), Ok(()), "no whole block");
}

#[test]
fn seeks_from_the_end_of_the_device() {
    let fixture = Fixture::new();
    let open = OpenFile::new(tree().root, Some(Arc::new(fixture.device.open())), O_RDONLY);
    assert_eq!(open.seek(-1, SEEK_END), Ok(SIZE as u64 - 1));
}

proptest! {
    /// Against plain bytes: writes anywhere, reads anywhere, syncs, closings, blocks that leave the cache.
    #[test]
    fn is_as_plain_bytes(steps in prop::collection::vec((0..5_u8, 0..SIZE, 0..9000_usize, any::<u8>()), 1..60)) {
        let fixture = Fixture::new();
        let mut expected = fixture.cut.holds();
        let mut file = fixture.device.open();
        for (what, at, length, byte) in steps {
            let end = (at + length).min(SIZE);
            match what {
                0 | 1 if at < end => {
                    prop_assert_eq!(write(&file, at as u64, &vec![byte; length]), Ok(end as u64));
                    expected[at..end].fill(byte);
                }
                2 => prop_assert_eq!(read(&file, at as u64, length).unwrap(), &expected[at..end]),
                3 => {
                    file.sync(at as u64..end as u64, true).unwrap();
                    prop_assert_eq!(&fixture.cut.holds()[at..end], &expected[at..end]);
                    fixture.cache.reclaim(length);
                }
                _ => {
                    drop(file);
                    file = fixture.device.open();
                    prop_assert_eq!(fixture.cut.holds(), expected.clone());
                }
            }
        }
        file.sync(0..u64::MAX, true).unwrap();
        prop_assert_eq!(fixture.cut.holds(), expected);
    }
}
