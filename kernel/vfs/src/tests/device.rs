//! The device in memory that other tests rely on.

use std::vec::Vec;

use linux::Errno;

use super::{Host, HostPage};
use crate::device::{BLOCK_SIZE, Device};
use crate::testing::{Fault, MemoryDevice, Operation, Record};
use crate::world::Page;

fn pages(fill: &[u8]) -> Vec<HostPage> {
    fill.iter()
        .map(|&byte| {
            let page = HostPage::zeroed().unwrap();
            page.change(&mut |bytes| bytes.fill(byte));
            page
        })
        .collect()
}

fn first_bytes(pages: &[HostPage]) -> Vec<u8> {
    pages.iter().map(|page| page.bytes()[0]).collect()
}

#[test]
fn gives_back_what_was_written() {
    let device = MemoryDevice::<Host>::new(8);
    assert_eq!((device.blocks(), device.is_read_only()), (8, false));
    device.write_runs(&[(1, &pages(b"ab")), (7, &pages(b"z"))]).unwrap();
    let (low, high) = (pages(&[9; 4]), pages(&[9]));
    device.read_runs(&[(0, &low), (7, &high)]).unwrap();
    assert_eq!((first_bytes(&low), first_bytes(&high)), (b"\0ab\0".to_vec(), b"z".to_vec()));
}

#[test]
fn refuses_what_is_not_there() {
    let device = MemoryDevice::<Host>::new(4);
    for (block, count) in [(4, 1), (3, 2), (u64::MAX, 1), (u64::MAX, 2)] {
        let pages = pages(&std::vec![0; count]);
        assert_eq!(device.read(block, &pages), Err(Errno::EIO));
        assert_eq!(device.write(block, &pages), Err(Errno::EIO));
        assert_eq!(device.discard(block, count as u64), Err(Errno::EIO));
    }
    let device = device.read_only();
    assert_eq!(device.write(0, &pages(b"a")), Err(Errno::EROFS));
    assert_eq!(device.discard(0, 1), Err(Errno::EROFS));
    assert_eq!(device.image(), std::vec![0; 4 * BLOCK_SIZE]);
}

#[test]
fn fails_when_told_to() {
    let device = MemoryDevice::<Host>::new(4);
    device.fail(Fault { operation: Operation::Write, after: 1, is_lasting: false });
    device.fail(Fault { operation: Operation::Flush, after: 0, is_lasting: true });
    let page = pages(b"a");
    // The second of three fails, and the third is tried all the same.
    assert_eq!(device.write_runs(&[(0, &page), (1, &page), (2, &page)]), Err(Errno::EIO));
    let read = pages(&[9; 3]);
    device.read(0, &read).unwrap();
    assert_eq!(first_bytes(&read), b"a\0a");
    assert_eq!((device.flush(), device.flush()), (Err(Errno::EIO), Err(Errno::EIO)));
    device.heal();
    assert_eq!(device.flush(), Ok(()));
    assert_eq!((device.count(Operation::Write), device.count(Operation::Flush)), (2, 1));
    device.remove();
    assert_eq!((device.read(0, &read), device.flush()), (Err(Errno::EIO), Err(Errno::EIO)));
}

#[test]
fn remembers_what_changed_it() {
    let device = MemoryDevice::<Host>::new(4);
    device.write(0, &pages(b"x")).unwrap();
    device.record();
    device.fail(Fault { operation: Operation::Write, after: 1, is_lasting: false });
    device.write(2, &pages(b"ab")).unwrap();
    assert_eq!(device.write(0, &pages(b"c")), Err(Errno::EIO));
    device.flush().unwrap();
    device.discard(1, 2).unwrap();
    let bytes = [[b'a'; BLOCK_SIZE], [b'b'; BLOCK_SIZE]].concat().into();
    let expected = [Record::Write { block: 2, bytes }, Record::Flush, Record::Discard { block: 1, count: 2 }];
    assert_eq!(device.records(), expected);
    assert_eq!(device.records(), []);
    device.tamper(|bytes| bytes[0] = b'y');
    let image = device.image();
    assert_eq!((image[0], image[2 * BLOCK_SIZE], image[3 * BLOCK_SIZE]), (b'y', 0xd5, b'b'));
}
