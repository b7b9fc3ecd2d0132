//! What the states of a recording hold, in files: `blocks`, every different block of files once, and `states`, for each state a line of JSON.
//!
//! States that hold the same, with the same marks before them, have one line.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use datafs::BLOCK;
use serde_json::{Map, Value, json};

use crate::sweep::log::Seen;

/// The two files, being written.
pub struct Manifest {
    blocks: BufWriter<File>,
    states: BufWriter<File>,
    /// Numbers of blocks by two hashes of their bytes.
    numbers: HashMap<(u64, u64), usize>,
    seen: HashSet<u64>,
}

impl Manifest {
    /// In a folder that is there.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let file = |name| Ok::<_, io::Error>(BufWriter::new(File::create(folder.join(name))?));
        Ok(Self { blocks: file("blocks")?, states: file("states")?, numbers: HashMap::new(), seen: HashSet::new() })
    }

    /// A further state.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, seen: &Seen<'_>) -> io::Result<()> {
        let content = (seen.marks, seen.device_blocks, seen.blocks, &seen.tree.paths, &seen.tree.files);
        if !self.seen.insert(hash(&content)) {
            return Ok(());
        }
        let mut files = Map::new();
        for (path, inode) in &seen.tree.paths {
            let file = match seen.tree.files.get(inode) {
                Some(bytes) => json!({ "size": bytes.len(), "blocks": self.add_blocks(bytes)? }),
                None => Value::Null,
            };
            files.insert(path.clone(), file);
        }
        let line = json!({ "number": seen.number, "time": seen.time, "marks": seen.marks,
                           "device_blocks": seen.device_blocks, "blocks": seen.blocks, "files": files });
        writeln!(self.states, "{line}")
    }

    fn add_blocks(&mut self, bytes: &[u8]) -> io::Result<Vec<usize>> {
        bytes.chunks(BLOCK).map(|block| self.add_block(block)).collect()
    }

    fn add_block(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut block = [0; BLOCK];
        block[..bytes.len()].copy_from_slice(bytes);
        let next = self.numbers.len();
        let number = *self.numbers.entry((hash(&block), hash(&(1, &block)))).or_insert(next);
        if number == next {
            self.blocks.write_all(&block)?;
        }
        Ok(number)
    }

    /// No more come.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.blocks.flush()?;
        self.states.flush()
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
