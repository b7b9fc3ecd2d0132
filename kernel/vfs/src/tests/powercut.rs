//! Power cuts under programs' calls: what `fsync` said lasts is there after each, and everything else is old or new. The cuts and what is asked
//! of each are the crate `datatool`'s.

use datatool::sweep::cut::{Effort, Random};
use datatool::sweep::record::{Event, Site};
use datatool::sweep::states::{Choice, Recording, Tried, Violation, every_state};
use datatool::sweep::witness::{Tree, Witness};
use std::boxed::Box;
use std::string::String;

use super::data::Disk;
use super::*;
use crate::PAGE_SIZE;
use crate::create::link;
use crate::file::Allocate;
use crate::remove::unlink;
use crate::rename::rename;
use crate::testing::Record;

const CUTS: Effort = Effort { window_max: 8, subsets: 16, sectors: 2, torn: 3, stride: 1 };
const CHOICE: Choice = Choice { skipped: None, cuts: CUTS, first: 0, seed: 1 };
/// Of so many states one is mounted as the kernel would.
const MOUNT: usize = 150;

/// A mounted volume whose device is recorded, and what its user saw.
struct Recorded {
    disk: Disk,
    before: datatool::MemoryDevice,
    log: Vec<Event>,
    witness: Witness,
}

/// A device that holds an image.
pub fn device(image: &[u8]) -> datatool::MemoryDevice {
    let mut device = datatool::MemoryDevice::new((image.len() / PAGE_SIZE) as u64);
    for (block, bytes) in
        image.chunks_exact(PAGE_SIZE).enumerate().filter(|(_, bytes)| bytes.iter().any(|&byte| byte != 0))
    {
        datatool::Device::write(&mut device, block as u64, bytes.try_into().unwrap()).unwrap();
    }
    device
}

/// What was done, block by block.
pub fn events(records: Vec<Record>) -> Vec<Event> {
    let mut events = Vec::new();
    for record in records {
        match record {
            Record::Write { block, bytes } => events.extend(
                bytes
                    .chunks_exact(PAGE_SIZE)
                    .zip(block..)
                    .map(|(bytes, block)| Event::write(block, Arc::new(bytes.try_into().unwrap()))),
            ),
            Record::Flush => events.push(Event::Flush),
            Record::Discard { .. } => panic!("nothing is discarded"),
        }
    }
    events
}

impl Recorded {
    fn new() -> Self {
        let disk = Disk::new();
        let before = device(&disk.device.image());
        disk.device.record();
        Self { disk, before, log: Vec::new(), witness: Witness::new() }
    }

    /// Events so far.
    fn time(&mut self) -> usize {
        self.log.extend(events(self.disk.device.records()));
        self.log.len()
    }

    fn open(&mut self, path: &str) -> Arc<OpenFile<Host>> {
        let is_new = lookup(&self.disk.context, &at(path), true).is_err();
        let file = open(&self.disk.context, &at(path), O_CREAT | O_RDWR, 0o644).unwrap();
        if is_new {
            self.witness.made(path);
        }
        file
    }

    fn mkdir(&mut self, path: &str) {
        mkdir(&self.disk.context, &at(path), 0o755).unwrap();
        self.witness.made(path);
    }

    fn write(&mut self, path: &str, offset: usize, bytes: &[u8]) {
        let file = self.open(path);
        assert_eq!(file.write_at(offset as u64, &mut Slice::new(bytes)), Ok(bytes.len()));
        let id = self.witness.id(path);
        self.witness.wrote(id, offset, bytes);
    }

    fn truncate(&mut self, path: &str, size: usize) {
        self.open(path).truncate(size as u64).unwrap();
        let id = self.witness.id(path);
        self.witness.resized(id, size);
    }

    fn sync(&mut self, path: &str, data_only: bool) {
        self.open(path).sync(data_only).unwrap();
        let (time, id) = (self.time(), self.witness.id(path));
        self.witness.promised_file(time, id);
    }

    /// As SQLite does it: the names are a directory's data.
    fn sync_directory(&mut self, path: &str) {
        open(&self.disk.context, &at(path), O_RDONLY | O_DIRECTORY, 0).unwrap().sync(true).unwrap();
        let time = self.time();
        self.witness.promised_names(time);
    }

    fn rename(&mut self, from: &str, to: &str) {
        rename(&self.disk.context, &at(from), &at(to), 0).unwrap();
        self.witness.renamed(from, to);
    }

    fn unlink(&mut self, path: &str) {
        unlink(&self.disk.context, &at(path)).unwrap();
        self.witness.removed(path);
    }

    /// Ends the run; what was cut, or the first violation.
    fn sweep(mut self, skipped: Option<Site>) -> Result<Tried, Box<Violation>> {
        self.time();
        let recording = Recording::new(self.before, self.log).unwrap();
        let (witness, mut random) = (self.witness, Random::new(1));
        let epoch = |time| witness.epoch(time);
        every_state(&recording, &Choice { skipped, ..CHOICE }, &epoch, &mut |state, time| {
            witness.judge(&Tree::of_state(state)?, time)?;
            if random.below(MOUNT) == 0 {
                let after = Tree::read(device(&mounted_and_left(state)))?;
                witness.judge(&after, time).map_err(|what| std::format!("when it was mounted: {what}"))?;
            }
            Ok(())
        })
        .map_err(Box::new)
    }
}

/// What is on the device when a volume was mounted and left as it should be.
fn mounted_and_left(state: &datatool::sweep::states::State<'_>) -> Vec<u8> {
    let mut image = Vec::new();
    for block in 0..datatool::Device::blocks(state) {
        let mut bytes = [0; PAGE_SIZE];
        datatool::Device::read(state, block, &mut bytes).unwrap();
        image.extend(bytes);
    }
    let disk = Disk::of(image);
    disk.store.close().unwrap();
    disk.device.image()
}

fn fill(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (seed * 37 + at / 512 * 5 + at) as u8).collect()
}

/// A configuration file is replaced as programs do it.
fn replace(times: usize) -> Recorded {
    let mut run = Recorded::new();
    run.mkdir("/etc");
    run.sync_directory("/");
    for version in 0..times {
        run.write("/etc/new", 0, &fill(version, 900 + version * 2500));
        run.sync("/etc/new", version % 2 == 0);
        run.rename("/etc/new", "/etc/config");
        if version % 3 != 2 {
            run.sync_directory("/etc");
        }
    }
    run
}

/// A database with a rollback journal, as SQLite writes it.
fn database(transactions: usize) -> Recorded {
    let mut run = Recorded::new();
    run.write("/db", 0, &fill(0, 6 * PAGE_SIZE));
    run.sync("/db", false);
    for transaction in 1..=transactions {
        let pages = [transaction % 6, (transaction * 5 + 2) % 6];
        run.write("/db-journal", 0, &fill(transaction, 512));
        for (at, page) in pages.iter().enumerate() {
            let id = run.witness.id("/db");
            let old = run.witness.bytes(id)[page * PAGE_SIZE..][..PAGE_SIZE].to_vec();
            run.write("/db-journal", 512 + at * PAGE_SIZE, &old);
        }
        run.sync("/db-journal", true);
        run.write("/db-journal", 8, &[2; 4]);
        run.sync("/db-journal", true);
        run.sync_directory("/");
        for page in pages {
            run.write("/db", page * PAGE_SIZE, &fill(transaction + page, PAGE_SIZE));
        }
        let id = run.witness.id("/db");
        let size = run.witness.bytes(id).len();
        if transaction % 2 == 0 {
            run.write("/db", size, &fill(transaction, 700));
        }
        run.sync("/db", true);
        if transaction % 3 == 0 {
            run.truncate("/db-journal", 0)
        } else {
            run.unlink("/db-journal")
        }
        run.sync_directory("/");
    }
    run
}

/// Much is written and nobody syncs it: write-back and checkpoints come by themselves.
fn storm(rounds: usize) -> Recorded {
    let mut run = Recorded::new();
    for round in 0..rounds {
        for at in 0..6 {
            let path = std::format!("/{round}-{at}");
            run.write(&path, at * 3000, &fill(at, 5000));
            run.write(&path, at * 700, &fill(round, 1200));
        }
        let (old, new) = (std::format!("/{round}-0"), std::format!("/{round}-link"));
        link(&run.disk.context, &lookup(&run.disk.context, &at(&old), false).unwrap(), &at(&new)).unwrap();
        let id = run.witness.id(&old);
        run.witness.linked(id, &new);
        run.rename(&std::format!("/{round}-1"), &std::format!("/{round}-2"));
        run.truncate(&std::format!("/{round}-3"), 2000);
        run.truncate(&std::format!("/{round}-3"), 9000);
        run.open(&std::format!("/{round}-4")).allocate(Allocate::Keep, 0, 60_000).unwrap();
        run.disk.store.work().unwrap();
        if round > 0 {
            (3..6).for_each(|at| run.unlink(&std::format!("/{}-{at}", round - 1)));
        }
        if round % 3 == 2 {
            run.disk.store.close().unwrap(); // with a checkpoint
            let time = run.time();
            run.witness.promised_names(time);
        }
        run.disk.cache.reclaim(20);
    }
    run.disk.store.close().unwrap();
    let time = run.time();
    run.witness.promised_names(time);
    run
}

fn holds(what: &str, run: Recorded) {
    let tried = run.sweep(None).unwrap_or_else(|violation| panic!("{what}: {violation:?}"));
    std::println!("{what}: {tried:?}");
}

#[test]
fn a_file_is_replaced() {
    holds("replace", replace(5));
}

#[test]
fn a_database_with_a_rollback_journal() {
    holds("database", database(4));
}

#[test]
fn nobody_syncs() {
    holds("storm", storm(4));
}

/// The adaptor's own flushes, and those of the volume's plans, are there for something.
#[test]
fn each_flush_is_needed() {
    let runs: [(Site, fn() -> Recorded); 4] = [
        (Site::Data, || replace(3)),
        (Site::Overwritten, || database(3)),
        (Site::Record, || replace(3)),
        (Site::Homes, || storm(4)),
    ];
    for (site, run) in runs {
        let violation = run().sweep(Some(site)).expect_err("the flush is not missed");
        std::println!("without {site:?}: {}", violation.what.chars().take(200).collect::<String>());
    }
}
