//! Growing a table, and every power cut on the way.

use std::collections::BTreeMap;

use super::grow::{Plan, Reason, plan};
use super::*;
use crate::tests::good_disk;

const SEED_GUIDS: (Guid, Guid) = ([0xaa; 16], [0xbb; 16]);
/// What the disk grows by.
const MORE: u64 = 300 * 2048 + 77;

/// A disk of which most sectors are zero.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Sectors {
    count: u64,
    written: BTreeMap<u64, [u8; SECTOR]>,
}

impl Disk for Sectors {
    fn sectors(&self) -> u64 {
        self.count
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), Unreadable> {
        for (sector, chunk) in (first..).zip(into.chunks_exact_mut(SECTOR)) {
            if sector >= self.count {
                return Err(Unreadable);
            }
            chunk.copy_from_slice(self.written.get(&sector).unwrap_or(&[0; SECTOR]));
        }
        Ok(())
    }
}

impl Sectors {
    /// The disk of the vectors, on a medium with `more` further sectors.
    fn of_vectors(more: u64) -> Self {
        let mut small = good_disk();
        let count = small.sectors;
        let mut written = BTreeMap::new();
        for sector in (0..34).chain(count - 33..count) {
            let mut bytes = [0; SECTOR];
            small.read(sector, &mut bytes).unwrap();
            written.insert(sector, bytes);
        }
        Self { count: count + more, written }
    }

    /// The sectors of a write, one by one: a cut may keep any of them.
    fn put(&mut self, write: &grow::Write, keep: impl Fn(usize) -> bool) {
        for (index, chunk) in write.bytes.chunks_exact(SECTOR).enumerate() {
            if keep(index) {
                self.written.insert(write.first + index as u64, chunk.try_into().unwrap());
            }
        }
    }

    fn apply(&mut self, plan: &Plan) {
        plan.writes.iter().for_each(|write| self.put(write, |_| true));
    }

    fn table(&mut self) -> (Source, Guid, Vec<Partition>) {
        let mut buffer = [0; ENTRIES];
        let table = read(self, &mut buffer).expect("firmware and loader find a table");
        (table.source, table.disk_guid, table.partitions().collect())
    }
}

#[test]
fn a_table_that_fits_needs_nothing() {
    assert_eq!(plan(&mut Sectors::of_vectors(0), Some(SEED_GUIDS)), Ok(None));
}

#[test]
fn a_larger_disk_gets_a_table_to_its_end() {
    let mut disk = Sectors::of_vectors(MORE);
    let (_, old_guid, old) = disk.table();
    let grown = plan(&mut disk, Some(SEED_GUIDS)).unwrap().unwrap();
    disk.apply(&grown);
    let (source, guid, new) = disk.table();
    assert_eq!((source, guid), (Source::Primary, SEED_GUIDS.0));
    assert_ne!(guid, old_guid);
    let (data_before, data) = (old.last().unwrap(), new.last().unwrap());
    assert_eq!(grown.reason, Reason::Grown { from: data_before.sectors, to: data.sectors });
    assert_eq!((data.first, data.guid), (data_before.first, SEED_GUIDS.1));
    assert!((data.first + data.sectors).is_multiple_of(2048) && data.first + data.sectors + 33 <= disk.count);
    assert!(disk.count - (data.first + data.sectors) < 2048 + 2048);
    assert_eq!(new[..5], old[..5]);
    assert_eq!(u32_at(&disk.written[&0], 446 + 12), (disk.count - 1) as u32);
    // The backup is as good, and nothing is left to do.
    disk.written.remove(&1);
    assert_eq!(disk.table(), (Source::Backup, guid, new));
    let mended = plan(&mut disk, None).unwrap().unwrap();
    assert_eq!(mended.reason, Reason::Primary(Fault::Signature));
    disk.apply(&mended);
    assert_eq!(plan(&mut disk, Some(SEED_GUIDS)), Ok(None));
}

#[test]
fn without_randomness_the_guids_stay() {
    let mut disk = Sectors::of_vectors(MORE);
    let (_, guid, old) = disk.table();
    let grown = plan(&mut disk, None).unwrap().unwrap();
    disk.apply(&grown);
    let (_, guid_after, new) = disk.table();
    assert_eq!((guid_after, new[5].guid), (guid, old[5].guid));
}

#[test]
fn a_damaged_copy_is_written_anew() {
    let mut disk = Sectors::of_vectors(0);
    let whole = disk.clone();
    let last = disk.count - 1;
    for sector in [1, 2, 20, last, last - 1, last - 32] {
        let mut damaged = whole.clone();
        damaged.written.get_mut(&sector).unwrap()[60] ^= 4;
        let mended = plan(&mut damaged, Some(SEED_GUIDS)).unwrap().unwrap();
        let is_primary = matches!(mended.reason, Reason::Primary(_));
        assert_eq!(is_primary, sector < 34, "{:?}", mended.reason);
        damaged.apply(&mended);
        assert_eq!(damaged, whole, "sector {sector}");
    }
    disk.written.clear();
    assert_eq!(plan(&mut disk, None), Err(Fault::Signature));
}

/// Cuts while `writes` are on their way: `flushed` says where a flush separates them. For each state, `check`.
fn every_cut(disk: &Sectors, plan: &Plan, flushes: bool, mut check: impl FnMut(Sectors)) {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let sectors = plan.writes[0].bytes.len() / SECTOR;
    for torn in 0..plan.writes.len() {
        let mut before = disk.clone();
        if flushes {
            plan.writes[..torn].iter().for_each(|write| before.put(write, |_| true));
        }
        let under_way = if flushes { &plan.writes[torn..=torn] } else { &plan.writes[..] };
        // Each prefix, each suffix, each single sector, all but one, and a sample of the rest.
        let prefixes = (0..=sectors + 1).flat_map(|n| [(1_u64 << n) - 1, !((1_u64 << n) - 1), 1 << n, !(1 << n)]);
        let sample: Vec<u64> = (0..200).map(|_| next()).collect();
        for mask in prefixes.chain(sample) {
            let mut state = before.clone();
            for write in under_way {
                let turn = if flushes { 0 } else { next() % 64 };
                state.put(write, |index| mask.rotate_left(turn as u32) >> index & 1 == 1);
            }
            check(state);
        }
    }
}

#[test]
fn every_power_cut_leaves_a_table_and_the_next_start_goes_on() {
    let disk = Sectors::of_vectors(MORE);
    let (_, _, old) = disk.clone().table();
    let grown = plan(&mut disk.clone(), Some(SEED_GUIDS)).unwrap().unwrap();
    let mut states = 0;
    every_cut(&disk, &grown, true, |mut state| {
        let (_, _, partitions) = state.table();
        assert_eq!(partitions[..5], old[..5]);
        assert_eq!(partitions[5].first, old[5].first);
        for again in 0..3 {
            match plan(&mut state, Some(SEED_GUIDS)).unwrap() {
                None => break,
                Some(next) => state.apply(&next),
            }
            assert!(again < 2, "the table never comes to rest");
        }
        let (source, guid, partitions) = state.table();
        assert_eq!((source, guid), (Source::Primary, SEED_GUIDS.0));
        assert!(partitions[5].sectors > old[5].sectors + MORE - 4096);
        states += 1;
    });
    assert!(states > 600, "{states}");
}

#[test]
fn without_the_flush_between_the_writes_a_cut_can_lose_the_table() {
    let disk = Sectors::of_vectors(MORE);
    let grown = plan(&mut disk.clone(), Some(SEED_GUIDS)).unwrap().unwrap();
    let mut lost = 0;
    every_cut(&disk, &grown, false, |mut state| lost += u32::from(read(&mut state, &mut [0; ENTRIES]).is_err()));
    assert!(lost > 0);
}
