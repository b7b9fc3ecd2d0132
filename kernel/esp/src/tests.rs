//! A volume in memory, and everything that can be wrong with it.

use super::*;
use gpt::Unreadable;
use proptest::prelude::*;
use std::collections::HashMap;

const FIRST: u64 = 2048;
const RESERVED: u64 = 32;
const FAT_SECTORS: u64 = 520;
const SECTORS: u64 = 70_000;
const FAT: u64 = FIRST + RESERVED;
const DATA: u64 = FAT + 2 * FAT_SECTORS;
/// Bytes of a loader file: three sectors, of one cluster each.
const LENGTH: u32 = 1400;
const MAIN: u32 = 10;
const SECOND: u32 = 20;
/// The sector of EFI/BOOT.
const BOOT: u64 = DATA + 2;

#[derive(Clone)]
struct Sparse {
    sectors: HashMap<u64, [u8; SECTOR]>,
    unreadable: Option<u64>,
}

impl Disk for Sparse {
    fn sectors(&self) -> u64 {
        FIRST + SECTORS
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), Unreadable> {
        assert_eq!(into.len(), SECTOR);
        assert!((FIRST..FIRST + SECTORS).contains(&first), "sector {first} is not the partition's");
        if self.unreadable == Some(first) {
            return Err(Unreadable);
        }
        into.copy_from_slice(self.sectors.get(&first).unwrap_or(&[0; SECTOR]));
        Ok(())
    }
}

impl Sparse {
    fn put(&mut self, sector: u64, at: usize, bytes: &[u8]) {
        self.sectors.entry(sector).or_insert([0; SECTOR])[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn link(&mut self, cluster: u32, next: u32) {
        self.put(FAT + u64::from(cluster) / 128, cluster as usize % 128 * 4, &next.to_le_bytes());
    }

    fn entry(&mut self, folder: u64, place: usize, name: &[u8; 11], attributes: u8, cluster: u32, size: u32) {
        let mut entry = [0; ENTRY];
        entry[NAME].copy_from_slice(name);
        entry[ATTRIBUTES] = attributes;
        entry[CLUSTER_HIGH..CLUSTER_HIGH + 2].copy_from_slice(&((cluster >> 16) as u16).to_le_bytes());
        entry[CLUSTER_LOW..CLUSTER_LOW + 2].copy_from_slice(&(cluster as u16).to_le_bytes());
        entry[SIZE..].copy_from_slice(&size.to_le_bytes());
        self.put(folder, place * ENTRY, &entry);
    }

    fn files(&mut self) -> Result<Files, Error> {
        Files::find(self, partition())
    }
}

fn partition() -> Range<u64> {
    FIRST..FIRST + SECTORS
}

/// Root, EFI and EFI/BOOT in clusters 2 to 4; what is not looked at stands between.
fn volume() -> Sparse {
    let mut disk = Sparse { sectors: HashMap::new(), unreadable: None };
    disk.put(FIRST, 11, &512_u16.to_le_bytes());
    disk.put(FIRST, 13, &[1]);
    disk.put(FIRST, 14, &(RESERVED as u16).to_le_bytes());
    disk.put(FIRST, 16, &[2]);
    disk.put(FIRST, 32, &(SECTORS as u32).to_le_bytes());
    disk.put(FIRST, 36, &(FAT_SECTORS as u32).to_le_bytes());
    disk.put(FIRST, 44, &2_u32.to_le_bytes());
    disk.put(FIRST, 510, &[0x55, 0xaa]);
    for cluster in 2..5 {
        disk.link(cluster, u32::MAX);
    }
    for first in [MAIN, SECOND] {
        disk.link(first, first + 1);
        disk.link(first + 1, first + 2);
        disk.link(first + 2, CHAIN_END);
    }
    disk.entry(DATA, 0, b"EFI        ", VOLUME_ID, 0, 0);
    disk.entry(DATA, 1, b"EFI        ", DIRECTORY, 3, 0);
    disk.entry(DATA + 1, 2, b"BOOT       ", DIRECTORY, 4, 0);
    disk.entry(DATA + 1, 0, b".          ", DIRECTORY, 3, 0);
    disk.entry(DATA + 1, 1, b"..         ", DIRECTORY, 0, 0);
    disk.entry(BOOT, 0, b".          ", DIRECTORY, 4, 0);
    disk.entry(BOOT, 1, b"..         ", DIRECTORY, 3, 0);
    disk.entry(BOOT, 2, b"\xe5OOTAA64EFI", 0x20, 99, 1);
    disk.entry(BOOT, 3, FILES[0].1, 0x20, MAIN, LENGTH);
    disk.entry(BOOT, 5, FILES[1].1, 0x20, SECOND, LENGTH);
    // Between the two: a piece of a long name.
    disk.entry(BOOT, 4, b"As.e.c.o.n.", 0x0f, 0, 0);
    disk
}

fn place(cluster: u32) -> u64 {
    DATA + u64::from(cluster) - 2
}

#[test]
fn both_files_are_found() {
    let files = volume().files().unwrap();
    assert_eq!((files.main, files.second, files.size, files.directory), (place(MAIN), place(SECOND), LENGTH, BOOT));
}

#[test]
fn one_sector_makes_each_the_other() {
    let mut disk = volume();
    let before = disk.files().unwrap();
    disk.entry(BOOT, 5, FILES[1].1, 0x21, SECOND | 0x1_0000, LENGTH);
    let old = disk.sectors[&BOOT];
    before.swap(disk.sectors.get_mut(&BOOT).unwrap());
    let new = disk.sectors[&BOOT];
    let changed: Vec<usize> = (0..SECTOR).filter(|&at| old[at] != new[at]).collect();
    // First clusters alone: their halves differ in the lowest byte of each.
    assert_eq!(changed, [3 * 32 + CLUSTER_HIGH, 3 * 32 + CLUSTER_LOW, 5 * 32 + CLUSTER_HIGH, 5 * 32 + CLUSTER_LOW]);
    before.swap(disk.sectors.get_mut(&BOOT).unwrap());
    disk.entry(BOOT, 5, FILES[1].1, 0x20, SECOND, LENGTH);
    before.swap(disk.sectors.get_mut(&BOOT).unwrap());
    let after = disk.files().unwrap();
    assert_eq!((after.main, after.second), (before.second, before.main));
    after.swap(disk.sectors.get_mut(&BOOT).unwrap());
    assert_eq!(disk.files(), Ok(before));
}

#[test]
fn a_folder_may_go_on_in_another_cluster() {
    let mut disk = volume();
    for at in 0..SECTOR / ENTRY {
        disk.entry(DATA, at, b"\xe5          ", 0x20, 0, 0);
    }
    disk.link(2, 50);
    disk.link(50, CHAIN_END);
    disk.entry(place(50), 3, b"EFI        ", DIRECTORY, 3, 0);
    assert_eq!(disk.files(), Err(Error::Missing("EFI")), "nothing stands behind the last entry");
    for at in 0..3 {
        disk.entry(place(50), at, b"\xe5          ", 0x20, 0, 0);
    }
    assert!(disk.files().is_ok());
    // A chain that goes round ends.
    disk.entry(place(50), 3, b"OTHER      ", DIRECTORY, 3, 0);
    for at in 4..SECTOR / ENTRY {
        disk.entry(place(50), at, b"\xe5          ", 0x20, 0, 0);
    }
    disk.link(50, 2);
    assert_eq!(disk.files(), Err(Error::Missing("EFI")));
}

type Edit = fn(&mut Sparse);

#[test]
fn what_does_not_fit_is_refused() {
    use Error::{Missing, Scattered, Unlike, Unreadable, Volume};
    let [main, second] = FILES.map(|(path, _)| path);
    let cases: [(Error, Edit); 26] = [
        (Unreadable, |disk| disk.unreadable = Some(FIRST)),
        (Unreadable, |disk| disk.unreadable = Some(BOOT)),
        (Unreadable, |disk| disk.unreadable = Some(FAT)),
        (Volume("its boot sector"), |disk| disk.put(FIRST, 510, &[0])),
        (Volume("its boot sector"), |disk| disk.put(FIRST, 12, &[8])),
        (Volume("its boot sector"), |disk| disk.put(FIRST, 13, &[0])),
        (Volume("its boot sector"), |disk| disk.put(FIRST, 13, &[3])),
        (Volume("it is FAT12 or FAT16"), |disk| disk.put(FIRST, 22, &[1])),
        (Volume("it is FAT12 or FAT16"), |disk| disk.put(FIRST, 36, &[0; 4])),
        (Volume("its tables are not copies of each other"), |disk| disk.put(FIRST, 40, &[0x80])),
        (Volume("its size"), |disk| disk.put(FIRST, 32, &(SECTORS as u32 + 1).to_le_bytes())),
        (Volume("its size"), |disk| disk.put(FIRST, 36, &u32::MAX.to_le_bytes())),
        (Missing("EFI"), |disk| disk.put(FIRST, 44, &u32::MAX.to_le_bytes())),
        (Missing("EFI"), |disk| disk.entry(DATA, 1, b"EFI        ", 0x20, 3, 0)),
        (Missing("EFI/BOOT"), |disk| disk.entry(DATA, 1, b"EFI        ", DIRECTORY, 1, 0)),
        (Missing("EFI/BOOT/BOOTAA64.EFI"), |disk| disk.entry(BOOT, 3, b"BOOTAA64EF_", 0x20, MAIN, LENGTH)),
        (Missing("EFI/BOOT/SECOND.EFI"), |disk| disk.entry(BOOT, 5, FILES[1].1, DIRECTORY, SECOND, LENGTH)),
        (Missing("EFI/BOOT/SECOND.EFI"), |disk| disk.entry(BOOT, 5, FILES[1].1, 0x20, SECOND, 0)),
        (Missing("EFI/BOOT/SECOND.EFI"), |disk| disk.entry(BOOT, 5, FILES[1].1, 0x20, SECOND, FILE_MAX + 1)),
        (Scattered("EFI/BOOT/BOOTAA64.EFI"), |disk| disk.link(MAIN + 1, MAIN + 3)),
        (Scattered("EFI/BOOT/BOOTAA64.EFI"), |disk| disk.link(MAIN + 2, MAIN + 3)),
        (Scattered("EFI/BOOT/SECOND.EFI"), |disk| disk.entry(BOOT, 5, FILES[1].1, 0x20, 0, LENGTH)),
        (Scattered("EFI/BOOT/SECOND.EFI"), |disk| disk.entry(BOOT, 5, FILES[1].1, 0x20, CLUSTER_BITS, LENGTH)),
        (Unlike, |disk| disk.entry(BOOT, 5, FILES[1].1, 0x20, MAIN, LENGTH)),
        (Unlike, |disk| disk.entry(BOOT, 5, FILES[1].1, 0x20, SECOND, LENGTH - 1)),
        (Unlike, |disk| {
            disk.entry(BOOT, 5, b"\xe5          ", 0x20, 0, 0);
            for at in 6..SECTOR / ENTRY {
                disk.entry(BOOT, at, b"\xe5          ", 0x20, 0, 0);
            }
            disk.link(4, 60);
            disk.entry(place(60), 0, FILES[1].1, 0x20, SECOND, LENGTH);
        }),
    ];
    for (index, (expected, edit)) in cases.into_iter().enumerate() {
        let mut disk = volume();
        edit(&mut disk);
        let found = disk.files();
        assert_eq!(found, Err(expected), "case {index}");
        assert!(!expected.to_string().is_empty());
    }
    assert!(main.ends_with("BOOTAA64.EFI") && second.ends_with("SECOND.EFI"));
}

proptest! {
    /// Whatever stands in the sectors that are read: an answer, inside the partition.
    #[test]
    fn damage_is_an_error_or_inside_the_partition(
        damage in prop::collection::vec((0usize..5, 0usize..SECTOR, any::<u8>()), 1..24),
    ) {
        let mut disk = volume();
        for (place, at, byte) in damage {
            disk.put([FIRST, FAT, DATA, DATA + 1, BOOT][place], at, &[byte]);
        }
        if let Ok(files) = disk.files() {
            let sectors = u64::from(files.size).div_ceil(SECTOR as u64);
            for first in [files.main, files.second] {
                prop_assert!(first > FIRST && first + sectors <= FIRST + SECTORS);
            }
            prop_assert!(files.main.abs_diff(files.second) >= sectors);
            prop_assert!((FIRST + 1..FIRST + SECTORS).contains(&files.directory));
        }
    }
}
