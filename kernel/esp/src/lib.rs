#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! The two loader files of an EFI system partition (docs/formats/disk.md): the one that the firmware starts, and a second of the same size, whose entries stand
//! in one sector of their directory. So one sector, written, makes each the other; no other byte of the file system changes.
//!
//! Only what that needs of FAT32 is read (Microsoft FAT specification, 1.03; sections in brackets). What does not fit is refused: the partition is then left as it is.

use core::fmt;
use core::ops::Range;

use gpt::{Disk, SECTOR};

/// Most bytes of a loader file.
pub const FILE_MAX: u32 = 4 << 20;

/// The folders on the way, and the files in the last, as 8.3 names.
const FOLDERS: [(&str, &[u8; 11]); 2] = [("EFI", b"EFI        "), ("EFI/BOOT", b"BOOT       ")];
const FILES: [(&str, &[u8; 11]); 2] =
    [("EFI/BOOT/BOOTAA64.EFI", b"BOOTAA64EFI"), ("EFI/BOOT/SECOND.EFI", b"SECOND  EFI")];

const ENTRY: usize = 32;
/// Of a directory entry.
const NAME: Range<usize> = 0..11;
const ATTRIBUTES: usize = 11;
const CLUSTER_HIGH: usize = 20;
const CLUSTER_LOW: usize = 26;
const SIZE: usize = 28;
const DIRECTORY: u8 = 0x10;
/// A long name's piece or the volume's label. [6.2]
const VOLUME_ID: u8 = 0x08;
const LAST_ENTRY: u8 = 0;
/// Entries from here on end a chain. [4]
const CHAIN_END: u32 = 0x0fff_fff8;
const CLUSTER_BITS: u32 = 0x0fff_ffff;
/// Clusters of a directory that are looked at.
const DIRECTORY_MAX: usize = 64;

/// Why there are no two such files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The disk does not give a sector.
    Unreadable,
    /// No FAT32 volume as the ones that are built for this system; what is wrong with it.
    Volume(&'static str),
    /// There is no such file or folder.
    Missing(&'static str),
    /// A file's clusters do not lie in a row, or are not as many as it needs.
    Scattered(&'static str),
    /// The two files have different sizes, share clusters, or their entries stand in two sectors.
    Unlike,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("a sector cannot be read"),
            Self::Volume(why) => write!(f, "no FAT32 volume that is known here: {why}"),
            Self::Missing(path) => write!(f, "there is no {path}"),
            Self::Scattered(path) => write!(f, "the clusters of {path} do not lie in a row"),
            Self::Unlike => {
                f.write_str("the two loader files cannot change places: sizes, clusters or entries do not allow it")
            }
        }
    }
}

impl core::error::Error for Error {}

/// Where both files lie on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    /// First sector of the file that the firmware starts.
    pub main: u64,
    /// First sector of the other.
    pub second: u64,
    /// Bytes of each.
    pub size: u32,
    /// The sector in which both entries stand.
    pub directory: u64,
    /// Where in it.
    entries: [usize; 2],
}

impl Files {
    /// Looks for them in a partition, which has these sectors of the disk.
    ///
    /// # Errors
    /// Why there are none.
    pub fn find(disk: &mut dyn Disk, partition: Range<u64>) -> Result<Self, Error> {
        let mut volume = Volume::open(disk, partition)?;
        let mut folder = volume.root;
        for (path, name) in FOLDERS {
            let entry = volume.entry(folder, path, name)?;
            if entry.attributes & DIRECTORY == 0 {
                return Err(Error::Missing(path));
            }
            folder = entry.cluster;
        }
        let [main, second] =
            [volume.entry(folder, FILES[0].0, FILES[0].1)?, volume.entry(folder, FILES[1].0, FILES[1].1)?];
        for (entry, (path, _)) in [main, second].iter().zip(FILES) {
            if entry.attributes & DIRECTORY != 0 || entry.size == 0 || entry.size > FILE_MAX {
                return Err(Error::Missing(path));
            }
            volume.check_row(entry, path)?;
        }
        let count = volume.clusters_of(main.size);
        let apart = main.cluster.abs_diff(second.cluster);
        if main.size != second.size || apart < count || main.sector != second.sector {
            return Err(Error::Unlike);
        }
        let [first, other] = [main, second].map(|entry| volume.place(entry.cluster));
        Ok(Self { main: first, second: other, size: main.size, directory: main.sector, entries: [main.at, second.at] })
    }

    /// The directory's sector with the two files in each other's place: each name has the other's clusters.
    pub fn swap(&self, sector: &mut [u8; SECTOR]) {
        let [main, second] = self.entries;
        for field in [CLUSTER_HIGH, CLUSTER_LOW] {
            for at in field..field + 2 {
                sector.swap(main + at, second + at);
            }
        }
    }
}

/// A file or folder.
#[derive(Clone, Copy)]
struct Entry {
    sector: u64,
    at: usize,
    attributes: u8,
    cluster: u32,
    size: u32,
}

struct Volume<'d> {
    disk: &'d mut dyn Disk,
    /// Sectors on the disk.
    fat: u64,
    data: u64,
    per_cluster: u64,
    clusters: u32,
    root: u32,
    /// The sector that was read last: chains are read entry by entry.
    sector: u64,
    bytes: [u8; SECTOR],
}

impl<'d> Volume<'d> {
    /// Reads the boot sector. [3.1, 3.3]
    fn open(disk: &'d mut dyn Disk, partition: Range<u64>) -> Result<Self, Error> {
        let mut bytes = [0; SECTOR];
        disk.read(partition.start, &mut bytes).map_err(|_| Error::Unreadable)?;
        let short = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let long = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let (per_cluster, reserved, copies) = (u64::from(bytes[13]), u64::from(short(14)), u64::from(bytes[16]));
        let (fat_sectors, sectors) = (u64::from(long(36)), u64::from(long(32)));
        if short(510) != 0xaa55 || short(11) as usize != SECTOR || !per_cluster.is_power_of_two() {
            return Err(Error::Volume("its boot sector"));
        }
        if short(17) != 0 || short(19) != 0 || short(22) != 0 || fat_sectors == 0 || copies == 0 || reserved == 0 {
            return Err(Error::Volume("it is FAT12 or FAT16"));
        }
        if short(40) & 0x80 != 0 {
            return Err(Error::Volume("its tables are not copies of each other"));
        }
        // None of these is larger than 2^40.
        let before = reserved + copies * fat_sectors;
        if sectors > partition.end.saturating_sub(partition.start) || before >= sectors {
            return Err(Error::Volume("its size"));
        }
        let clusters = ((sectors - before) / per_cluster).min(fat_sectors * (SECTOR as u64 / 4) - 2);
        Ok(Self {
            disk,
            fat: partition.start + reserved,
            data: partition.start + before,
            per_cluster,
            clusters: clusters.min(u64::from(CLUSTER_BITS)) as u32,
            root: long(44) & CLUSTER_BITS,
            sector: partition.start,
            bytes,
        })
    }

    fn read(&mut self, sector: u64) -> Result<&[u8; SECTOR], Error> {
        if sector != self.sector {
            self.sector = u64::MAX;
            self.disk.read(sector, &mut self.bytes).map_err(|_| Error::Unreadable)?;
            self.sector = sector;
        }
        Ok(&self.bytes)
    }

    fn is_cluster(&self, cluster: u32) -> bool {
        cluster.checked_sub(2).is_some_and(|index| index < self.clusters)
    }

    /// First sector of a cluster of this volume.
    fn place(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster - 2) * self.per_cluster
    }

    fn clusters_of(&self, size: u32) -> u32 {
        // At most `FILE_MAX` in 512 bytes.
        u64::from(size).div_ceil(self.per_cluster * SECTOR as u64) as u32
    }

    /// What follows a cluster in its chain. [4]
    fn next(&mut self, cluster: u32) -> Result<u32, Error> {
        let at = u64::from(cluster) * 4;
        let sector = self.read(self.fat + at / SECTOR as u64)?;
        let at = (at % SECTOR as u64) as usize;
        let bytes = [sector[at], sector[at + 1], sector[at + 2], sector[at + 3]];
        Ok(u32::from_le_bytes(bytes) & CLUSTER_BITS)
    }

    /// Of a folder, the entry of this name. [6]
    fn entry(&mut self, folder: u32, path: &'static str, name: &[u8; 11]) -> Result<Entry, Error> {
        let mut cluster = folder;
        for _ in 0..DIRECTORY_MAX {
            if !self.is_cluster(cluster) {
                break;
            }
            let first = self.place(cluster);
            for sector in first..first + self.per_cluster {
                for (at, entry) in (0..).step_by(ENTRY).zip(self.read(sector)?.chunks_exact(ENTRY)) {
                    if entry[0] == LAST_ENTRY {
                        return Err(Error::Missing(path));
                    }
                    if entry[NAME] == name[..] && entry[ATTRIBUTES] & VOLUME_ID == 0 {
                        let half = |at: usize| u32::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
                        let cluster = (half(CLUSTER_HIGH) << 16 | half(CLUSTER_LOW)) & CLUSTER_BITS;
                        let size = half(SIZE + 2) << 16 | half(SIZE);
                        return Ok(Entry { sector, at, attributes: entry[ATTRIBUTES], cluster, size });
                    }
                }
            }
            cluster = self.next(cluster)?;
        }
        Err(Error::Missing(path))
    }

    /// A file's clusters lie in a row, and are as many as it needs.
    fn check_row(&mut self, entry: &Entry, path: &'static str) -> Result<(), Error> {
        let last = entry.cluster.saturating_add(self.clusters_of(entry.size) - 1);
        if !self.is_cluster(entry.cluster) || !self.is_cluster(last) {
            return Err(Error::Scattered(path));
        }
        for cluster in entry.cluster..last {
            if self.next(cluster)? != cluster + 1 {
                return Err(Error::Scattered(path));
            }
        }
        if self.next(last)? < CHAIN_END { Err(Error::Scattered(path)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
