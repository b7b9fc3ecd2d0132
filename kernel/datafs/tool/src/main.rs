//! `datatool`: makes, reads, changes and describes volumes in files. Trees come and go as tar archives, descriptions as one JSON document
//! each; `swiftbuild data` is the face for people.
//!
//! Exit status: 0 done; 1 not done, with one line on stderr that says why; 2 wrong usage; 6 the volume is damaged.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

use datafs::{BLOCK, Format, New, Options};
use datatool::manifest::Manifest;
use datatool::sweep::cut::Effort;
use datatool::sweep::log::{Look, show, sweep_log};
use datatool::sweep::record::Event;
use datatool::sweep::states::Recording;
use datatool::sweep::writelog::{self, Log, Mark};
use datatool::{Device, Failure, FileDevice, MemoryDevice, Mounted, check_device, describe, mounted, tree};
use serde_json::Value;

const USAGE: &str = "\
datatool COMMAND FILE ... [--offset BYTES --length BYTES]: a datafs volume in a file, or in a part of it
  make FILE TAR --uuid HEX --hash-key HEX --time SECONDS [--label TEXT]   a new volume with an archive's tree
  list FILE PATH [--recursive]       JSON: a directory's entries, or one file
  read FILE PATH TAR                 a file or a tree, into a new archive
  write FILE PATH TAR --time SECONDS   an archive's members, below a directory
  check FILE                         JSON: all that is wrong
  facts FILE                         JSON: superblocks, log, space
  cuts FILE LOG ...                  JSON: every way in which a recording (dm-log-writes) that began with FILE can end, tried
    --disk            FILE is a disk: its volume is the partition that its table, as a cut leaves it, calls data
    --seed NUMBER     for what is sampled
    --more NUMBER     so many times the usual samples
    --first NUMBER    without the cuts before so many events
    --one-in NUMBER   only one of so many states, beside those in which a flush or mark has just ended
    --to FOLDER       what the states hold, in the files `states` and `blocks`
  leave FILE LOG --state NUMBER ...   makes of FILE what `cuts`, with the same options, saw as the state of this number
";
const DAMAGED: u8 = 6;
const CUTS: Effort = Effort { window_max: 8, subsets: 24, sectors: 2, torn: 4, stride: 1 };

fn main() -> ExitCode {
    let request = match Request::parse(lexopt::Parser::from_env()) {
        Ok(request) => request,
        Err(error) => {
            eprint!("datatool: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match request.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            if failure.is_damage() { ExitCode::from(DAMAGED) } else { ExitCode::FAILURE }
        }
    }
}

/// The command line.
#[derive(Debug)]
struct Request {
    command: String,
    file: PathBuf,
    path: Vec<u8>,
    /// The last word: an archive, or a recording.
    archive: PathBuf,
    offset: u64,
    length: Option<u64>,
    recursive: bool,
    label: String,
    uuid: Option<[u8; 16]>,
    hash_key: Option<[u8; 16]>,
    seconds: Option<i64>,
    is_disk: bool,
    look: Look,
    to: Option<PathBuf>,
    state: usize,
}

impl Request {
    fn new() -> Self {
        let look = Look { cuts: CUTS, first: 0, one_in: 1, seed: 0 };
        Self {
            command: String::new(),
            file: PathBuf::new(),
            path: Vec::new(),
            archive: PathBuf::new(),
            offset: 0,
            length: None,
            recursive: false,
            label: String::new(),
            uuid: None,
            hash_key: None,
            seconds: None,
            is_disk: false,
            look,
            to: None,
            state: 0,
        }
    }

    fn parse(mut words: lexopt::Parser) -> Result<Self, lexopt::Error> {
        use lexopt::prelude::{Long, Value, ValueExt};
        let mut request = Self::new();
        let mut plain: Vec<OsString> = Vec::new();
        while let Some(word) = words.next()? {
            match word {
                Long("offset") => request.offset = words.value()?.parse()?,
                Long("length") => request.length = Some(words.value()?.parse()?),
                Long("recursive") => request.recursive = true,
                Long("label") => request.label = words.value()?.string()?,
                Long("uuid") => request.uuid = Some(words.value()?.parse_with(hexadecimal)?),
                Long("hash-key") => request.hash_key = Some(words.value()?.parse_with(hexadecimal)?),
                Long("disk") => request.is_disk = true,
                Long("seed") => request.look.seed = words.value()?.parse()?,
                Long("more") => request.look.cuts = more(words.value()?.parse()?),
                Long("first") => request.look.first = words.value()?.parse()?,
                Long("one-in") => request.look.one_in = words.value()?.parse()?,
                Long("to") => request.to = Some(words.value()?.into()),
                Long("state") => request.state = words.value()?.parse()?,
                Long("time") => request.seconds = Some(words.value()?.parse()?),
                Value(value) => plain.push(value),
                _ => return Err(word.unexpected()),
            }
        }
        let command = plain.first().and_then(|word| word.to_str()).unwrap_or_default();
        let words = match command {
            "check" | "facts" => 2,
            "make" | "list" | "cuts" | "leave" => 3,
            "read" | "write" => 4,
            _ => return Err("name a command".into()),
        };
        if plain.len() != words {
            return Err(format!("{command} takes {} words", words - 1).into());
        }
        request.command = command.into();
        request.file = PathBuf::from(&plain[1]);
        request.path = if command == "make" { b"/".to_vec() } else { plain.get(2).map_or(Vec::new(), bytes) };
        request.archive = plain.last().map(PathBuf::from).unwrap_or_default();
        Ok(request)
    }

    fn run(&self) -> mounted::Result<()> {
        match self.command.as_str() {
            "make" => self.make(),
            "list" => print(&describe::list(&mut self.open(true)?, &self.path, self.recursive)?),
            "check" => print(&describe::report(&check_device(&self.device(false)?))),
            "cuts" => self.cuts(),
            "leave" => self.leave(),
            "facts" => print(&describe::facts(&self.device(false)?)?),
            "read" => {
                let mut volume = self.open(true)?;
                let mut out = BufWriter::new(File::create(&self.archive)?);
                tree::export(&mut volume, &self.path, &mut out)?;
                Ok(out.flush()?)
            }
            _ => {
                let volume = self.open(false)?;
                self.import(volume)
            }
        }
    }

    /// What a recorded run may leave; the last word is the recording's file.
    fn cuts(&self) -> mounted::Result<()> {
        let (recording, marks) = self.recording()?;
        let mut manifest = self.to.as_deref().map(Manifest::new).transpose()?;
        let counts = sweep_log(&recording, &marks, &self.look, &mut |seen| {
            manifest.as_mut().map_or(Ok(()), |manifest| manifest.add(seen)).map_err(|error| error.to_string())
        })
        .map_err(|violation| invalid(format!("at {:?}: {}", violation.cut, violation.what)))?;
        manifest.map_or(Ok(()), Manifest::finish)?;
        print(&describe::counts(recording.log.len(), marks.len(), &counts))
    }

    /// One of the states, into the file.
    fn leave(&self) -> mounted::Result<()> {
        let (recording, marks) = self.recording()?;
        let mut device = self.device(true)?;
        let mut written = Ok(());
        let is_there = show(&recording, &marks, &self.look, self.state, &mut |state| {
            let blocks: BTreeSet<u64> = recording.log.iter().filter_map(block_of).collect();
            written = blocks.into_iter().try_for_each(|block| {
                let mut bytes = [0; BLOCK];
                state.read(block, &mut bytes)?;
                device.write(block, &bytes)
            });
        });
        written?;
        if is_there { Ok(()) } else { Err(invalid(format!("there is no state {}", self.state)).into()) }
    }

    fn recording(&self) -> mounted::Result<(Recording, Vec<Mark>)> {
        let before = MemoryDevice::copy_of(&self.device(false)?)?;
        let log = std::fs::read(&self.archive)?;
        let Log { events, marks } = writelog::events(&log, self.offset, before.blocks()).map_err(invalid)?;
        let recording = if self.is_disk { Recording::of_disk(before, events) } else { Recording::new(before, events)? };
        Ok((recording, marks))
    }

    fn make(&self) -> mounted::Result<()> {
        let device = self.device(true)?;
        let time = self.time()?;
        let format = Format {
            blocks: device.blocks(),
            uuid: self.uuid.ok_or_else(|| missing("--uuid"))?,
            label: self.label.as_bytes(),
            hash_key: self.hash_key.ok_or_else(|| missing("--hash-key"))?,
            created: time,
            log_blocks: None,
            inodes_per_group: None,
        };
        let root = New { mode: 0o755, user: 0, group: 0, device: 0, target: b"", time };
        self.import(Mounted::format(device, &format, &root)?)
    }

    fn import(&self, mut volume: Mounted<FileDevice>) -> mounted::Result<()> {
        let archive = BufReader::new(File::open(&self.archive)?);
        tree::import(&mut volume, &self.path, archive, self.time()?)?;
        volume.checkpoint()
    }

    fn open(&self, read_only: bool) -> mounted::Result<Mounted<FileDevice>> {
        let device = self.device(!read_only)?;
        let options = Options { read_only, ..mounted::options(device.blocks()) };
        let volume = Mounted::open_with(device, options)?;
        if !read_only && volume.volume.is_read_only() {
            return Err(Failure::Volume(datafs::Error::ReadOnly));
        }
        Ok(volume)
    }

    fn device(&self, writable: bool) -> mounted::Result<FileDevice> {
        let file = OpenOptions::new().read(true).write(writable).open(&self.file)?;
        let whole = file.metadata()?.len();
        let length = self.length.unwrap_or(whole.saturating_sub(self.offset));
        if self.offset.checked_add(length).is_none_or(|end| end > whole) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the file ends before the volume does").into());
        }
        Ok(FileDevice::new(file, self.offset, length / BLOCK as u64))
    }

    fn time(&self) -> mounted::Result<i64> {
        self.seconds.map(|seconds| seconds.saturating_mul(1_000_000_000)).ok_or_else(|| missing("--time"))
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Samples, so many times as usual.
const fn more(times: u16) -> Effort {
    let times = times as usize;
    Effort { subsets: CUTS.subsets * times, sectors: CUTS.sectors * times, torn: CUTS.torn * times, ..CUTS }
}

fn block_of(event: &Event) -> Option<u64> {
    match event {
        Event::Write { block, .. } => Some(*block),
        Event::Flush => None,
    }
}

fn bytes(word: &OsString) -> Vec<u8> {
    word.as_bytes().to_vec()
}

fn missing(option: &str) -> Failure {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{option} is missing")).into()
}

fn hexadecimal(text: &str) -> Result<[u8; 16], &'static str> {
    let digits: String = text.chars().filter(|&c| c != '-').collect();
    let wrong = "32 hexadecimal digits are wanted";
    let is_right = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_right { u128::from_str_radix(&digits, 16).map(u128::to_be_bytes).map_err(|_| wrong) } else { Err(wrong) }
}

fn print(document: &Value) -> mounted::Result<()> {
    Ok(writeln!(io::stdout().lock(), "{document}")?)
}
