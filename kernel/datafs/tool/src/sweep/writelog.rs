//! Recordings made by others: the log of QEMU's blklogwrites, which is that of Linux's dm-log-writes
//! (Documentation/admin-guide/device-mapper/log-writes.rst).
//!
//! A sector of superblock, then for each request a sector of header and, for a write, its data in whole sectors. What the superblock does not
//! count is not looked at: the machine was stopped while it was written.

use std::sync::Arc;

use datafs::BLOCK;

use super::oracle::Verdict;
use super::record::Event;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
const HEADER: usize = 32;

/// What was done to the part of a disk that begins at byte `offset` and has so many blocks.
///
/// # Errors
/// It is no such log, or holds what a device of whole blocks without FUA and discard is never asked.
pub fn events(log: &[u8], offset: u64, blocks: u64) -> Verdict<Vec<Event>> {
    let superblock = log.first_chunk::<28>().ok_or("the log has no superblock")?;
    let (magic, version, count) = (word(superblock, 0), word(superblock, 8), word(superblock, 16));
    let sector = word(superblock, 24) as u32 as usize;
    if magic != MAGIC || version != 1 || !matches!(sector, 512 | 4096) {
        return Err(String::from("it is no log of writes that is known"));
    }
    let mut events = Vec::new();
    let mut at = sector;
    for index in 0..count {
        let header = log.get(at..).and_then(<[u8]>::first_chunk::<HEADER>).ok_or("the log ends in a header")?;
        let (first, sectors, flags) = (word(header, 0), word(header, 8), word(header, 16));
        at += sector;
        if flags & FLUSH != 0 {
            events.push(Event::Flush);
        }
        if flags & (DISCARD | MARK) != 0 || sectors == 0 {
            if flags & DISCARD != 0 {
                return Err(format!("request {index} discards"));
            }
            continue;
        }
        let length = usize::try_from(sectors).ok().and_then(|sectors| sectors.checked_mul(sector));
        let data = length.and_then(|length| log.get(at..at.checked_add(length)?)).ok_or("the log ends in data")?;
        at += data.len();
        let start = first.checked_mul(sector as u64).ok_or("a place beyond all disks")?;
        write(start, data, offset, blocks, &mut events).map_err(|what| format!("request {index} {what}"))?;
        if flags & FUA != 0 {
            return Err(format!("request {index} asks for FUA"));
        }
    }
    Ok(events)
}

/// The blocks of a write that lie in the part of the disk.
fn write(start: u64, data: &[u8], offset: u64, blocks: u64, events: &mut Vec<Event>) -> Verdict<()> {
    let end = offset.saturating_add(blocks.saturating_mul(BLOCK as u64));
    if start >= end || start.saturating_add(data.len() as u64) <= offset {
        return Ok(());
    }
    let from = start.checked_sub(offset).filter(|from| from % BLOCK as u64 == 0);
    let Some(first) = from.filter(|_| data.len().is_multiple_of(BLOCK)) else {
        return Err(String::from("is not of whole blocks of the volume"));
    };
    for (block, bytes) in (first / BLOCK as u64..blocks).zip(data.as_chunks::<BLOCK>().0) {
        events.push(Event::Write { block, bytes: Arc::new(*bytes) });
    }
    Ok(())
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    let length = bytes.len().min(at + 8) - at;
    word[..length].copy_from_slice(&bytes[at..at + length]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(requests: &[(u64, u64, &[u8])]) -> Vec<u8> {
        let mut log = vec![0; 512];
        for (at, word) in [MAGIC, 1, requests.len() as u64, 512].into_iter().enumerate() {
            log[at * 8..][..8].copy_from_slice(&word.to_le_bytes());
        }
        for &(sector, flags, data) in requests {
            let mut header = [0; 512];
            for (at, word) in [sector, data.len() as u64 / 512, flags, 0].into_iter().enumerate() {
                header[at * 8..][..8].copy_from_slice(&word.to_le_bytes());
            }
            log.extend(header);
            log.extend(data);
        }
        log
    }

    #[test]
    fn writes_to_the_part_and_flushes_are_kept() {
        let (two, one) = ([7; 2 * BLOCK], [8; BLOCK]);
        let log =
            log(&[(0, 0, &one), (16, 0, &two), (0, FLUSH, b""), (0, MARK, b""), (32, FLUSH, &one), (48, 0, &one)]);
        let found = events(&log, 2 * BLOCK as u64, 4).unwrap();
        let found = found.iter().map(|event| match event {
            Event::Write { block, bytes } => Some((*block, bytes[0])),
            Event::Flush => None,
        });
        assert_eq!(found.collect::<Vec<_>>(), [Some((0, 7)), Some((1, 7)), None, None, Some((2, 8))]);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let whole = log(&[(16, 0, &[1; BLOCK])]);
        assert!(events(&whole, 0, 100).is_ok());
        for length in [0, 20, 512, 600, 1100, whole.len() - 1] {
            assert!(events(&whole[..length], 0, 100).is_err(), "{length}");
        }
        for (at, byte) in [(0, 1), (8, 2), (25, 1)] {
            let mut other = whole.clone();
            other[at] = byte;
            assert!(events(&other, 0, 100).is_err(), "{at}");
        }
        for requests in [(17, 0, &[1; BLOCK][..]), (16, 0, &[1; 512]), (16, FUA, &[1; BLOCK]), (16, DISCARD, &[])] {
            assert!(events(&log(&[requests]), 0, 100).is_err(), "{requests:?}");
        }
    }
}
