//! The shared vectors (tests/vectors/gpt), and what they cannot say.

use super::*;
use proptest::prelude::*;
use serde_json::Value;
use std::path::Path;

/// A disk of which only the first 34 and the last 33 sectors hold anything.
pub struct Sparse {
    pub sectors: u64,
    ends: Vec<u8>,
    unreadable: Option<u64>,
}

impl Disk for Sparse {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), Unreadable> {
        assert_eq!(into.len() % SECTOR, 0);
        for (sector, chunk) in (first..).zip(into.chunks_exact_mut(SECTOR)) {
            if sector >= self.sectors || self.unreadable == Some(sector) {
                return Err(Unreadable);
            }
            let place = match sector {
                0..34 => Some(sector),
                _ if sector >= self.sectors - 33 => Some(34 + sector - (self.sectors - 33)),
                _ => None,
            };
            match place {
                Some(place) => chunk.copy_from_slice(&self.ends[place as usize * SECTOR..][..SECTOR]),
                None => chunk.fill(0),
            }
        }
        Ok(())
    }
}

fn vectors() -> (Value, Vec<u8>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/gpt");
    let index = std::fs::read_to_string(folder.join("index.json")).unwrap();
    (serde_json::from_str(&index).unwrap(), std::fs::read(folder.join("base.bin")).unwrap())
}

pub fn good_disk() -> Sparse {
    let (index, ends) = vectors();
    Sparse { sectors: index["sectors"].as_u64().unwrap(), ends, unreadable: None }
}

fn patched(case: &Value) -> Sparse {
    let mut disk = good_disk();
    for patch in case["patches"].as_array().unwrap() {
        let at = patch[0].as_u64().unwrap() as usize;
        let hex = patch[1].as_str().unwrap();
        for (i, pair) in hex.as_bytes().chunks_exact(2).enumerate() {
            disk.ends[at + i] = u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        }
    }
    disk
}

#[test]
fn the_shared_vectors_are_read_as_they_say() {
    let (index, _) = vectors();
    for case in index["cases"].as_array().unwrap() {
        let name = &case["name"];
        let mut buffer = [0; ENTRIES];
        match read(&mut patched(case), &mut buffer) {
            Ok(table) => {
                assert_eq!(case["expect"], "ok", "{name}");
                let source = if table.source == Source::Primary { "primary" } else { "backup" };
                assert_eq!(case["source"], source, "{name}");
                let fault = table.primary_fault.map(|fault| fault.class());
                assert_eq!(case.get("primary").and_then(Value::as_str), fault, "{name}");
                assert_eq!(table.partitions().count(), 6, "{name}");
            }
            Err(Error::Damaged { backup, .. }) => {
                assert_eq!(case["expect"], backup.class(), "{name}");
                assert!(!backup.to_string().is_empty());
            }
            Err(other) => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn slots_are_told_apart_by_name() {
    let mut buffer = [0; ENTRIES];
    let table = read(&mut good_disk(), &mut buffer).unwrap();
    let slot = table.find(&types::BASE, "base_b").unwrap();
    assert_eq!((slot.first, slot.sectors), (22528, 10240));
    assert!(table.find(&types::BASE, "base_c").is_none());
    assert!(table.find(&types::BASE, "base_").is_none());
    assert!(table.find(&types::DATA, "base_a").is_none());
    assert!(table.find(&types::ESP, "esp").is_some());
}

#[test]
fn a_sector_that_cannot_be_read_leads_to_the_backup() {
    for sector in [1, 2, 33] {
        let mut disk = Sparse { unreadable: Some(sector), ..good_disk() };
        let mut buffer = [0; ENTRIES];
        let table = read(&mut disk, &mut buffer).unwrap();
        assert_eq!(table.source, Source::Backup);
        assert!(matches!(table.primary_fault, Some(Fault::Unreadable(_))));
    }
}

#[test]
fn a_disk_without_room_is_refused() {
    for sectors in [0, 1, 66] {
        let mut disk = Sparse { sectors, ..good_disk() };
        assert_eq!(read(&mut disk, &mut [0; ENTRIES]).unwrap_err(), Error::TooSmall);
    }
}

#[test]
fn guids_are_stored_mixed_endian() {
    assert_eq!(types::ESP[..8], [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]);
    assert_eq!(types::ESP[8..], [0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b]);
}

#[test]
fn guids_are_read_and_written_as_text() {
    let text = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
    assert_eq!(parse_guid(text), Some(types::ESP));
    assert_eq!(parse_guid(&text.to_ascii_uppercase()), Some(types::ESP));
    assert_eq!(Written(&types::ESP).to_string(), text);
    let wrong = ["", &text[1..], "c12a7328+f81f-11d2-ba4b-00a0c93ec93b", "c12a7328-f81f-11d2-ba4b-00a0c93ec93g"];
    for text in wrong {
        assert_eq!(parse_guid(text), None, "{text}");
    }
}

#[test]
fn partitions_are_numbered_by_their_place() {
    let mut disk = good_disk();
    // The second entry is emptied, and the CRCs made right.
    disk.ends[2 * SECTOR + 128..2 * SECTOR + 256].fill(0);
    seal(&mut disk);
    let mut buffer = [0; ENTRIES];
    let table = read(&mut disk, &mut buffer).unwrap();
    assert_eq!(table.partitions().map(|partition| partition.number).collect::<Vec<_>>(), [1, 3, 4, 5, 6]);
}

/// Makes both CRCs of the primary table right.
fn seal(disk: &mut Sparse) {
    let array = CRC.checksum(&disk.ends[2 * SECTOR..34 * SECTOR]).to_le_bytes();
    disk.ends[SECTOR + 88..SECTOR + 92].copy_from_slice(&array);
    disk.ends[SECTOR + 16..SECTOR + 20].fill(0);
    let header = CRC.checksum(&disk.ends[SECTOR..SECTOR + 92]).to_le_bytes();
    disk.ends[SECTOR + 16..SECTOR + 20].copy_from_slice(&header);
}

proptest! {
    #[test]
    fn any_guid_comes_back_from_its_text(guid: Guid) {
        prop_assert_eq!(parse_guid(&Written(&guid).to_string()), Some(guid));
    }

    #[test]
    fn no_text_panics(text in "\\PC{30,40}") {
        let _ = parse_guid(&text);
    }

    /// CRCs would catch nearly every change, so both are made right again after it.
    #[test]
    fn whatever_is_read_lies_on_the_disk(changes in prop::collection::vec((0usize..92 + 768, any::<u8>()), 0..5)) {
        let mut disk = good_disk();
        for (at, value) in changes {
            disk.ends[if at < 92 { SECTOR + at } else { 2 * SECTOR + at - 92 }] = value;
        }
        seal(&mut disk);
        let sectors = disk.sectors;
        let mut buffer = [0; ENTRIES];
        let table = read(&mut disk, &mut buffer).unwrap();
        let mut partitions: Vec<_> = table.partitions().collect();
        partitions.sort_by_key(|partition| partition.first);
        let mut free_from = 1;
        for partition in partitions {
            prop_assert!(partition.first >= free_from && partition.last() < sectors);
            free_from = partition.last() + 1;
        }
    }
}
