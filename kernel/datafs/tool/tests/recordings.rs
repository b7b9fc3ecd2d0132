//! `datatool cuts`: recordings that others made, from their files to the verdict.

use std::path::{Path, PathBuf};
use std::process::Command;

use datafs::BLOCK;
use datatool::sweep::record::{Event, Site, sites};
use datatool::sweep::run::Run;
use datatool::sweep::witness::Tree;
use datatool::sweep::workloads;
use datatool::{Device, MemoryDevice};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const SECTOR: usize = 512;
const FLUSH: u64 = 1;
/// The volume lies behind another part of the disk.
const OFFSET: u64 = 3 * BLOCK as u64;

fn sector(words: [u64; 4]) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    for (at, word) in words.into_iter().enumerate() {
        bytes[at * 8..][..8].copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The log as dm-log-writes has it.
fn log(events: &[Event]) -> Vec<u8> {
    let mut log = sector([MAGIC, 1, events.len() as u64, SECTOR as u64]).to_vec();
    for event in events {
        match event {
            Event::Flush => log.extend(sector([0, 0, FLUSH, 0])),
            Event::Write { block, bytes, .. } => {
                let sectors = BLOCK / SECTOR;
                let first = OFFSET / SECTOR as u64 + block * sectors as u64;
                log.extend(sector([first, sectors as u64, 0, 0]));
                log.extend(&bytes[..]);
            }
        }
    }
    log
}

/// Disk and log of a run, in files.
fn files(name: &str, run: &Run) -> (PathBuf, PathBuf) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (disk, recording) = (folder.join(format!("{name}.img")), folder.join(format!("{name}.log")));
    let mut image = vec![0xee; OFFSET as usize];
    for block in 0..run.recording.before.blocks() {
        let mut bytes = [0; BLOCK];
        run.recording.before.read(block, &mut bytes).unwrap();
        image.extend(bytes);
    }
    std::fs::write(&disk, image).unwrap();
    std::fs::write(&recording, log(&run.recording.log)).unwrap();
    (disk, recording)
}

/// Whether nothing was wrong, and what was said.
fn cuts(name: &str, run: &Run, more: &[&str]) -> (bool, String) {
    let (disk, recording) = files(name, run);
    datatool("cuts", [&disk, &recording], run, more)
}

fn datatool(command: &str, files: [&PathBuf; 2], run: &Run, more: &[&str]) -> (bool, String) {
    let length = (run.recording.before.blocks() * BLOCK as u64).to_string();
    let mut words = Command::new(env!("CARGO_BIN_EXE_datatool"));
    words.arg(command).args(files).args(["--offset", &OFFSET.to_string(), "--length", &length, "--seed", "4"]);
    let done = words.args(more).output().unwrap();
    let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    (done.status.success(), said)
}

#[test]
fn every_end_of_a_recording_is_tried() {
    let run = workloads::storm(3);
    let (is_right, said) = cuts("right", &run, &[]);
    assert!(is_right, "{said}");
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(found["events"], run.recording.log.len());
    assert!(found["states"].as_u64() > Some(100) && found["second_cuts"].as_u64() > Some(0), "{said}");
}

#[test]
fn a_recording_that_ends_badly_is_named() {
    let mut run = workloads::replace(2);
    let flush =
        sites(&run.recording.log, &run.recording.geometry.unwrap()).into_iter().find(|flush| flush.1 == Site::Homes);
    let Event::Write { bytes, .. } = &mut run.recording.log[flush.unwrap().0 - 1] else { panic!("no write") };
    std::sync::Arc::make_mut(bytes)[300] ^= 1;
    let (is_right, said) = cuts("wrong", &run, &[]);
    assert!(!is_right && said.contains("Cut { time"), "{said}");
}

/// Each line of what the states hold is what the state of its number holds when it is made.
#[test]
fn what_the_states_hold_is_told_and_can_be_made() {
    let run = workloads::storm(8);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("told");
    std::fs::create_dir_all(&folder).unwrap();
    let (is_right, said) = cuts("told", &run, &["--to", folder.to_str().unwrap(), "--first", "10"]);
    assert!(is_right, "{said}");
    let (blocks, lines) = (std::fs::read(folder.join("blocks")).unwrap(), folder.join("states"));
    let lines = std::fs::read_to_string(lines).unwrap();
    assert!(lines.lines().count() > 3, "{lines}");
    for line in lines.lines() {
        let told: serde_json::Value = serde_json::from_str(line).unwrap();
        let (disk, recording) = files("made", &run);
        let (is_right, said) =
            datatool("leave", [&disk, &recording], &run, &["--first", "10", "--state", &told["number"].to_string()]);
        assert!(is_right, "{said}");
        let image = std::fs::read(&disk).unwrap();
        let mut device = MemoryDevice::new(run.recording.before.blocks());
        for (block, bytes) in image[OFFSET as usize..].as_chunks::<BLOCK>().0.iter().enumerate() {
            device.write(block as u64, bytes).unwrap();
        }
        let tree = Tree::read(device).unwrap();
        for (path, inode) in &tree.paths {
            let Some(bytes) = tree.files.get(inode) else { continue };
            let numbers = told["files"][path]["blocks"].as_array().unwrap();
            let block = |number: &serde_json::Value| &blocks[number.as_u64().unwrap() as usize * BLOCK..][..BLOCK];
            let found: Vec<u8> = numbers.iter().flat_map(block).copied().take(bytes.len()).collect();
            assert!(found == *bytes && told["files"][path]["size"] == bytes.len(), "{path}");
        }
        assert_eq!(told["files"].as_object().unwrap().len(), tree.paths.len());
    }
    let (disk, recording) = files("made", &run);
    let (is_right, said) = datatool("leave", [&disk, &recording], &run, &["--state", "1000000"]);
    assert!(!is_right && said.contains("no state"), "{said}");
    let (is_right, said) = cuts("table", &run, &["--disk"]);
    assert!(!is_right && said.contains("no partition table"), "{said}");
}
