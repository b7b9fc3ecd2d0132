//! Every kind of damage, planted and found: each by its name, with its block and inode, and nothing else.
//!
//! Damage of meaning has valid checksums: what is planted is sealed again.

mod blocks;
pub mod image;
pub mod inodes;
pub mod names;
mod used;

use std::collections::BTreeSet;

use datafs::OpenError;
use datafs::check::Fault;

use crate::mounted::options;
use crate::{Failure, Mounted};

use image::Image;

/// A finding: fault, block, inode.
type Found = (Fault, u64, u32);

/// What it is called, and what plants it and says what is to be found.
type Case = (&'static str, fn(&mut Image) -> Vec<Found>);

fn cases() -> impl Iterator<Item = &'static Case> {
    blocks::CASES.iter().chain(inodes::CASES).chain(names::CASES)
}

#[test]
fn a_volume_that_is_sound_gives_nothing() {
    let report = Image::populated().check();
    assert!(report.is_clean(), "{:#?}", report.findings);
    assert_eq!((report.orphans, report.records), (3, 0));
    assert_eq!(report.directories, 6);
    assert!(report.inodes > 1500 && report.used_blocks > 17_000, "{report:?}");
    let report = Image::with_log().check();
    assert!(report.is_clean(), "{:#?}", report.findings);
    assert_eq!(report.records, 3);
}

#[test]
fn planted_damage_is_found_and_named() {
    let mut wrong = Vec::new();
    for (name, plant) in cases() {
        let mut image = Image::populated();
        let mut expected = plant(&mut image);
        let report = image.check();
        let found = report.findings.iter().map(|finding| (finding.fault, finding.block, finding.inode));
        let mut found: Vec<Found> = found.collect();
        found.sort_unstable();
        expected.sort_unstable();
        if found != expected {
            let words: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
            wrong.push(format!("{name}: expected {expected:?}, found\n{}", words.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_kind_is_planted() {
    let planted: BTreeSet<Fault> =
        cases().flat_map(|(_, plant)| plant(&mut Image::populated())).map(|(fault, ..)| fault).collect();
    let missing: Vec<Fault> = Fault::ALL.iter().copied().filter(|fault| !planted.contains(fault)).collect();
    assert_eq!(missing, [Fault::Memory], "{} of {} planted", planted.len(), Fault::ALL.len());
}

/// Where there is no volume to look at, there is none to be opened either; everything else is opened, or refused, without harm.
#[test]
fn what_cannot_be_checked_cannot_be_opened() {
    for (name, plant) in cases() {
        let mut image = Image::populated();
        let faults: Vec<Fault> = plant(&mut image).into_iter().map(|found| found.0).collect();
        let options = datafs::Options { device_blocks: image.device_blocks, ..options(0) };
        let opened = Mounted::open_with(image.device, options);
        let refusal = match faults[..] {
            [Fault::NotDatafs] => Some(OpenError::NotDatafs),
            [Fault::Features] => Some(OpenError::Features { incompat: 1 }),
            [.., Fault::SuperblockStale] => Some(OpenError::Stale),
            [Fault::Superblock | Fault::DeviceSize | Fault::LogRecord] => {
                assert!(matches!(opened, Err(Failure::Open(_))), "{name}");
                continue;
            }
            _ => None,
        };
        match opened {
            Err(Failure::Open(error)) => assert_eq!(Some(error), refusal, "{name}"),
            _ => assert_eq!(refusal, None, "{name}"),
        }
    }
}

#[test]
fn names_and_words_are_told_apart() {
    let names: BTreeSet<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
    let words: BTreeSet<&str> = Fault::ALL.iter().map(|fault| fault.words()).collect();
    assert_eq!((names.len(), words.len()), (Fault::ALL.len(), Fault::ALL.len()));
    let mut image = Image::populated();
    let file = image.places.file;
    image.set(file, |fields| fields.links = 7);
    let told = image.check().findings[0].to_string();
    let block = image.home(file);
    let expected = format!(
        "links: an inode's count of links is not that of its names (block {block}, inode {file}): 7, expected 2"
    );
    assert_eq!(told, expected);
}
