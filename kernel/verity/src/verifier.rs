//! Checking blocks of data.
//!
//! Invariant: a bit in `sound` says that this block of the tree led to the root when it was hashed. The tree's bytes never change, so it
//! still does, and the block is not hashed again. Several CPUs may hash the same one at the same time; they come to the same result.

use sha256::{Engine, Hasher};

use crate::{BLOCK, Bitmap, DIGEST, Error, Layout, Superblock};

/// A block is not what it was when the tree was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which block of data was to be checked.
    pub block: u64,
    /// Where the hash differs: 0 is the block itself, 1 the lowest level of the tree, and so on up.
    pub level: usize,
}

/// Checks blocks of data against a tree.
#[derive(Debug)]
pub struct Verifier<T> {
    /// Superblock and tree.
    section: T,
    layout: Layout,
    root: [u8; DIGEST],
    /// Has taken the salt.
    salted: Hasher,
    sound: Bitmap,
}

impl<T: AsRef<[u8]>> Verifier<T> {
    /// For `length` bytes of data, whose tree, with its superblock, is `section` and has the hash `root`. The bytes of the section must not change
    /// from here on.
    ///
    /// # Errors
    /// What is wrong with it. The tree itself is looked at when blocks are checked.
    pub fn new(section: T, length: u64, root: [u8; DIGEST], engine: Engine) -> Result<Self, Error> {
        let layout = Layout::over(length)?;
        let bytes = section.as_ref();
        let (found, expected) = (bytes.len() as u64, layout.section_length());
        if found != expected {
            return Err(Error::Section { length: found, expected });
        }
        let superblock = Superblock::read(bytes, layout.data_blocks())?;
        let mut salted = Hasher::new(engine);
        salted.update(superblock.salt());
        let sound = Bitmap::new(layout.tree_blocks())?;
        Ok(Self { section, layout, root, salted, sound })
    }

    /// Shape of the tree.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The hash of the whole.
    #[must_use]
    pub fn root(&self) -> &[u8; DIGEST] {
        &self.root
    }

    /// How many blocks of the tree were found sound.
    #[must_use]
    pub fn sound_tree_blocks(&self) -> u64 {
        self.sound.count()
    }

    /// Checks that `data` is block `block`. It is hashed each time; who keeps it remembers the result.
    ///
    /// # Errors
    /// Where it, or the tree on the way from it to the root, is not what it was.
    pub fn verify(&self, block: u64, data: &[u8; BLOCK]) -> Result<(), Failure> {
        let failed = |level| Failure { block, level };
        if block >= self.layout.data_blocks() {
            return Err(failed(0));
        }
        // The first level, from the data up, that is known to be sound: below it the tree is checked downwards.
        let levels = self.layout.levels();
        let known = (0..levels).find(|&level| self.sound.contains(self.layout.place(block, level).0));
        let mut expected = match known {
            Some(level) => self.digest(block, level).ok_or(failed(level + 1))?,
            None => &self.root,
        };
        for level in (0..known.unwrap_or(levels)).rev() {
            let (at, _) = self.layout.place(block, level);
            let tree = self.tree_block(at).ok_or(failed(level + 1))?;
            if self.salted.after(tree) != *expected {
                return Err(failed(level + 1));
            }
            self.sound.insert(at);
            expected = self.digest(block, level).ok_or(failed(level + 1))?;
        }
        if self.salted.after(data) == *expected { Ok(()) } else { Err(failed(0)) }
    }

    fn tree_block(&self, at: u64) -> Option<&[u8; BLOCK]> {
        let blocks = self.section.as_ref().as_chunks::<BLOCK>().0;
        blocks.get(usize::try_from(at).ok()?.checked_add(1)?)
    }

    /// The hash that `level` holds on the way to `block`.
    fn digest(&self, block: u64, level: usize) -> Option<&[u8; DIGEST]> {
        let (at, number) = self.layout.place(block, level);
        self.tree_block(at)?.as_chunks::<DIGEST>().0.get(number)
    }
}
