//! Work for a disk, the same on every kernel with the Linux ABI: what benchmarks measure and power cuts interrupt.
//!
//! Each piece of work waits for a line on standard input before it starts and after it has ended, so that whoever looks at the disk from
//! outside knows what belongs to it. In between it says how long it took and how long all CPUs idled meanwhile.
#![cfg_attr(swift_os, no_std, no_main)]

extern crate alloc;

mod disk;
mod measure;
mod random;

use alloc::vec::Vec;
use core::ffi::CStr;

use disk::Failed;

rt::entry!(run);

const HELP: &str = "usage: workload WORK
  run PROGRAM ARGUMENT...              a program, to its end
  write-sequential FILE MIB            a new file, in pieces of 64 KiB, then fsync
  read-sequential FILE                 all of it, in pieces of 64 KiB
  write-random FILE COUNT EVERY        overwrites blocks of 4 KiB, fdatasync after every EVERYth
  read-random FILE COUNT               blocks of 4 KiB
  names FOLDER COUNT                   creates, renames and removes that many files; fsync of the folder at the end of each round
  replace FILE COUNT                   rename-replaces a file that holds a rising number, with fsync, and notes in FILE.mark what is done
";

fn run(arguments: &[&'static CStr]) -> i32 {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str().ok()).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    let work: Result<(), Failed> = match (words.get(1).copied(), words.get(2).copied(), number(3), number(4)) {
        (Some("run"), Some(program), _, _) => measure::measured(|| disk::program(program, &words[2..])),
        (Some("write-sequential"), Some(file), Some(mib), _) => measure::measured(|| disk::write_sequential(file, mib)),
        (Some("read-sequential"), Some(file), _, _) => measure::measured(|| disk::read_sequential(file)),
        (Some("write-random"), Some(file), Some(count), Some(every)) => {
            measure::measured(|| disk::write_random(file, count, every))
        }
        (Some("read-random"), Some(file), Some(count), _) => measure::measured(|| disk::read_random(file, count)),
        (Some("names"), Some(folder), Some(count), _) => measure::measured(|| disk::names(folder, count)),
        (Some("replace"), Some(file), Some(count), _) => measure::measured(|| disk::replace(file, count)),
        _ => {
            rt::errln!("{HELP}");
            return 2;
        }
    };
    match work {
        Ok(()) => 0,
        Err(failed) => {
            rt::errln!("workload: {failed}");
            1
        }
    }
}
