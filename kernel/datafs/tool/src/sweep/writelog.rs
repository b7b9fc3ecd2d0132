//! Recordings made by others: the log of QEMU's blklogwrites, which is that of Linux's dm-log-writes
//! (Documentation/admin-guide/device-mapper/log-writes.rst).
//!
//! A sector of superblock, then for each request a sector of header and, for a write, its data in whole sectors; the text of a mark stands in its
//! header's sector. What the superblock does not count is not looked at: the machine was stopped while it was written.

use std::sync::Arc;

use datafs::BLOCK;

use super::cut::{Part, WHOLE};
use super::oracle::Verdict;
use super::record::{Event, SECTOR, SECTORS};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
const HEADER: usize = 32;

/// Something that whoever was recorded told between two requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Events before it.
    pub time: usize,
    /// What.
    pub text: String,
}

/// What a log tells of a disk, or of a part of one.
#[derive(Clone, Default)]
pub struct Log {
    /// Writes and flushes.
    pub events: Vec<Event>,
    /// Marks, in their order.
    pub marks: Vec<Mark>,
}

/// What was done to the part of a disk that begins at byte `offset` and has so many blocks.
///
/// # Errors
/// It is no such log, or holds what a device without FUA and discard is never asked.
pub fn events(log: &[u8], offset: u64, blocks: u64) -> Verdict<Log> {
    let superblock = log.first_chunk::<28>().ok_or("the log has no superblock")?;
    let (magic, version, count) = (word(superblock, 0), word(superblock, 8), word(superblock, 16));
    let sector = word(superblock, 24) as u32 as usize;
    if magic != MAGIC || version != 1 || !matches!(sector, 512 | 4096) {
        return Err(String::from("it is no log of writes that is known"));
    }
    let mut found = Log::default();
    let mut at = sector;
    for index in 0..count {
        let whole = log.get(at..).and_then(|rest| rest.get(..sector)).ok_or("the log ends in a header")?;
        let header = whole.first_chunk::<HEADER>().ok_or("the log ends in a header")?;
        let (first, sectors, flags) = (word(header, 0), word(header, 8), word(header, 16));
        at += sector;
        if flags & FLUSH != 0 {
            found.events.push(Event::Flush);
        }
        if flags & MARK != 0 {
            let length = usize::try_from(word(header, 24)).unwrap_or(usize::MAX);
            let text = HEADER.checked_add(length).and_then(|end| whole.get(HEADER..end)).ok_or("a mark without end")?;
            found.marks.push(Mark { time: found.events.len(), text: String::from_utf8_lossy(text).into_owned() });
            continue;
        }
        if flags & (DISCARD | FUA) != 0 {
            return Err(format!("request {index} {}", if flags & DISCARD != 0 { "discards" } else { "asks for FUA" }));
        }
        let length = usize::try_from(sectors).ok().and_then(|sectors| sectors.checked_mul(sector));
        let data = length.and_then(|length| log.get(at..at.checked_add(length)?)).ok_or("the log ends in data")?;
        at += data.len();
        let start = first.checked_mul(sector as u64).ok_or("a place beyond all disks")?;
        write(start, data, offset, blocks, &mut found.events).map_err(|what| format!("request {index} {what}"))?;
    }
    Ok(found)
}

/// The blocks of a write that lie in the part of the disk, those at its ends perhaps in part.
fn write(start: u64, data: &[u8], offset: u64, blocks: u64, events: &mut Vec<Event>) -> Verdict<()> {
    if !offset.is_multiple_of(SECTOR as u64) {
        return Err(String::from("goes to a part that begins inside a sector"));
    }
    let (size, skipped) = (BLOCK as u64, offset.saturating_sub(start));
    let data = usize::try_from(skipped).ok().and_then(|skipped| data.get(skipped..)).unwrap_or_default();
    let (mut at, mut rest) = (start.saturating_sub(offset), data);
    while !rest.is_empty() && at / size < blocks {
        let within = (at % size) as usize;
        let (these, behind) = rest.split_at(rest.len().min(BLOCK - within));
        let mut bytes = [0; BLOCK];
        bytes[within..within + these.len()].copy_from_slice(these);
        let sectors = some_sectors(within / SECTOR, these.len() / SECTOR);
        events.push(Event::Write { block: at / size, bytes: Arc::new(bytes), sectors });
        (at, rest) = (at + these.len() as u64, behind);
    }
    Ok(())
}

/// So many, from one on.
fn some_sectors(first: usize, count: usize) -> Part {
    if count == SECTORS { WHOLE } else { ((1 << count) - 1) << first }
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
        assert_eq!(told(&log, 2, 4), [Some((0, 7, WHOLE)), Some((1, 7, WHOLE)), None, None, Some((2, 8, WHOLE))]);
    }

    fn told(log: &[u8], first: u64, blocks: u64) -> Vec<Option<(u64, u8, Part)>> {
        let found = events(log, first * BLOCK as u64, blocks).unwrap().events;
        let told = found.iter().map(|event| match event {
            Event::Write { block, bytes, sectors } => {
                Some((*block, bytes[sectors.trailing_zeros() as usize * SECTOR], *sectors))
            }
            Event::Flush => None,
        });
        told.collect()
    }

    #[test]
    fn sectors_of_a_block_are_a_part_of_it() {
        let log = log(&[(33, 0, &[5; 512]), (46, 0, &[6; 3 * BLOCK]), (15, 0, &[7; 1024]), (23, 0, &[8; 1024])]);
        let inside = [(2, 5, 0b10), (3, 6, 0b1100_0000), (4, 6, WHOLE), (5, 6, WHOLE), (6, 6, 0b11_1111)];
        let ends = [(0, 7, 1), (0, 8, 0b1000_0000), (1, 8, 1)];
        assert_eq!(told(&log, 2, 100), inside.iter().chain(&ends).copied().map(Some).collect::<Vec<_>>());
        assert_eq!(
            told(&log, 2, 3),
            [inside[0], ends[0], ends[1], ends[2]].map(Some),
            "what lies behind it is not of it"
        );
    }

    #[test]
    fn marks_stand_between_events() {
        let mut log = log(&[(0, 0, &[1; BLOCK]), (0, MARK, b""), (0, FLUSH, b""), (0, MARK, b"")]);
        let second = log.len() - 512;
        log[second + 24] = 4;
        log[second + 32..second + 36].copy_from_slice(b"told");
        let mark = |time, text: &str| Mark { time, text: String::from(text) };
        assert_eq!(events(&log, 0, 100).unwrap().marks, [mark(1, ""), mark(2, "told")]);
        log[second + 25] = 2;
        assert!(events(&log, 0, 100).is_err(), "it is longer than its sector");
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
        for requests in [(16, FUA, &[1; BLOCK][..]), (16, DISCARD, &[])] {
            assert!(events(&log(&[requests]), 0, 100).is_err(), "{requests:?}");
        }
        assert!(events(&whole, 100, 100).is_err(), "inside a sector");
    }
}
