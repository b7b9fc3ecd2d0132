//! A volume on a device that became larger, cut anywhere while it grows.

use datatool::Device as _;
use datatool::mounted::read_log;
use datatool::sweep::cut::{Effort, Random};
use datatool::sweep::oracle::{Verdict, look};
use datatool::sweep::record::Site;
use datatool::sweep::states::{Choice, Recording, State, Tried, Violation, every_state};
use datatool::sweep::witness::Tree;
use std::boxed::Box;

use super::data::{BLOCKS, Disk, image};
use super::*;
use crate::PAGE_SIZE;
use crate::attributes::statistics;
use crate::data::Options;
use crate::file::Allocate;
use crate::testing::{Fault, MemoryDevice, Operation};

const NEW: u64 = 1900;
/// What is cleared behind the old end.
const CLEARED: u64 = 512;
/// What lies there: somebody's old bytes.
const OTHERS: u8 = 0xa7;
/// The window is large while the blocks are cleared: some of its prefixes are enough.
const CUTS: Effort = Effort { window_max: 8, subsets: 16, sectors: 2, torn: 3, stride: 24 };
/// Of so many states one is mounted as the kernel would.
const MOUNT: usize = 60;

/// A volume's image on a device of so many blocks.
fn larger(mut image: Vec<u8>, blocks: u64) -> Vec<u8> {
    assert_eq!(image.len(), BLOCKS as usize * PAGE_SIZE);
    image.resize(blocks as usize * PAGE_SIZE, OTHERS);
    image
}

/// A volume that was not left properly.
fn used() -> Vec<u8> {
    let disk = Disk::new();
    mkdir(&disk.context, &at("d"), 0o755).unwrap();
    for number in 0..40u8 {
        write(&disk.context, &std::format!("d/f{number}"), &vec![number; 700 * usize::from(number)]).unwrap();
    }
    disk.store.sync().unwrap();
    disk.device.image()
}

fn blocks(disk: &Disk) -> u64 {
    statistics(&disk.context.root).blocks
}

fn mount(image: Vec<u8>) -> (Arc<MemoryDevice<Host>>, Disk) {
    let device = Arc::new(MemoryDevice::from_image(image));
    device.record();
    (device.clone(), Disk::on(device, Options::default()).unwrap())
}

#[test]
fn it_takes_in_the_whole_device() {
    // Within the first group, and with a second.
    for (new, more) in [(NEW, 650), (18_000, 16_200)] {
        let before = blocks(&Disk::new());
        let disk = Disk::of(larger(used(), new));
        assert!(blocks(&disk) > before + more, "{} of {new}", blocks(&disk));
        let file = open(&disk.context, &at("large"), O_CREAT | O_RDWR, 0o644).unwrap();
        let size = (statistics(&disk.context.root).bfree - 30) * PAGE_SIZE as u64;
        assert!(size > before * PAGE_SIZE as u64);
        file.allocate(Allocate::Extend, 0, size).unwrap();
        write(&disk.context, "file", b"in what is new").unwrap();
        let again = disk.again();
        assert_eq!(read(&again.context, "file").unwrap(), b"in what is new");
        assert_eq!(stat(&again.context, "large").unwrap().size, size);
        assert_eq!(blocks(&again), blocks(&disk));
        again.check();
    }
}

#[test]
fn what_fits_or_may_not_be_written_stays_as_it_is() {
    let (device, _) = mount(image());
    assert_eq!(device.records(), []);
    let device = Arc::new(MemoryDevice::from_image(larger(used(), NEW)).read_only());
    let disk = Disk::on(device, Options::default()).unwrap();
    assert_eq!(blocks(&disk), blocks(&Disk::new()));
    assert_eq!(read(&disk.context, "d/f3").unwrap(), [3; 2100]);
}

#[test]
fn it_serves_as_it_is_when_it_cannot_grow() {
    for operation in [Operation::Write, Operation::Flush] {
        let device = Arc::new(MemoryDevice::from_image(larger(image(), NEW)));
        device.fail(Fault { operation, after: 0, is_lasting: false });
        let disk = Disk::on(device, Options::default()).unwrap();
        assert_eq!(blocks(&disk), blocks(&Disk::new()));
        write(&disk.context, "file", b"kept").unwrap();
        let again = disk.again();
        assert_eq!(read(&again.context, "file").unwrap(), b"kept");
        assert!(blocks(&again) > blocks(&disk), "the next mount does it");
    }
    // A log that cannot be written: nothing is written from then on, and everything is read.
    let device = Arc::new(MemoryDevice::from_image(larger(image(), NEW)));
    device.fail(Fault { operation: Operation::Write, after: CLEARED / 64, is_lasting: true });
    let disk = Disk::on(device, Options::default()).unwrap();
    assert!(disk.store.has_failed());
    assert_eq!(mkdir(&disk.context, &at("d"), 0o755), Err(Errno::EROFS));
}

/// States that were seen with the old size, and with the new.
type Seen = [usize; 2];

/// What is asked of every state: all files, the old size or the new, nothing of others in the volume.
fn judge(state: &State<'_>, tree: &Tree, seen: &mut Seen) -> Verdict<()> {
    let found = Tree::of_state(state)?;
    if found.paths != tree.paths || found.files != tree.files {
        return Err(String::from("files are missing, or hold other bytes"));
    }
    let volume = read_log(state, look(state.blocks())).map_err(|failure| std::format!("{failure}"))?;
    match volume.blocks() {
        BLOCKS => seen[0] += 1,
        NEW => {
            seen[1] += 1;
            let is_clear = |block| bytes(state, block).iter().all(|&byte| byte == 0);
            if !(BLOCKS..BLOCKS + CLEARED).all(is_clear) {
                return Err(String::from("others' bytes came into the volume"));
            }
        }
        other => return Err(std::format!("it has {other} blocks")),
    }
    Ok(())
}

fn bytes(state: &State<'_>, block: u64) -> [u8; PAGE_SIZE] {
    let mut bytes = [0; PAGE_SIZE];
    state.read(block, &mut bytes).unwrap();
    bytes
}

/// Whatever a cut left, the next mount does the rest.
fn mount_again(state: &State<'_>, new: u64) -> Verdict<()> {
    let image = (0..state.blocks()).flat_map(|block| bytes(state, block)).collect();
    let disk = Disk::of(image);
    if blocks(&disk) != new {
        return Err(std::format!("{} blocks after the next mount", blocks(&disk)));
    }
    for number in 0..40u8 {
        if read(&disk.context, &std::format!("d/f{number}")) != Ok(vec![number; 700 * usize::from(number)]) {
            return Err(std::format!("f{number} is not what it was"));
        }
    }
    disk.check();
    Ok(())
}

fn sweep(skipped: Option<Site>) -> Result<(Tried, Seen), Box<Violation>> {
    let image = larger(used(), NEW);
    let before = super::powercut::device(&image);
    let (device, disk) = mount(image);
    let recording = Recording::new(before, super::powercut::events(device.records())).unwrap();
    let tree = Tree::read(recording.before.clone()).unwrap();
    let (new, mut seen, mut random) = (blocks(&disk), [0; 2], Random::new(1));
    // Without a flush the last windows are large too, and it is these that count.
    let end = recording.log.len() - 3;
    let (first, stride) = skipped.map_or((0, CUTS.stride), |_| (end, 1));
    let choice = Choice { skipped, cuts: Effort { stride, ..CUTS }, first, seed: 1 };
    let tried = every_state(&recording, &choice, &|_| 0, &mut |state, _| {
        judge(state, &tree, &mut seen)?;
        if random.below(MOUNT) == 0 { mount_again(state, new) } else { Ok(()) }
    })?;
    Ok((tried, seen))
}

#[test]
fn a_cut_leaves_the_old_volume_or_the_new_with_all_its_files() {
    let (tried, [old, new]) = sweep(None).unwrap_or_else(|violation| panic!("{violation:?}"));
    assert!(tried.states > 300 && old > 300 && new > 1, "{tried:?}, {old} old, {new} new");
}

#[test]
fn what_lies_behind_must_be_clear_before_it_is_taken_in() {
    let violation = sweep(Some(Site::Data)).unwrap_err();
    assert!(violation.what.contains("others' bytes"), "{violation:?}");
}
