//! The read-only base: an EROFS image whose every block is checked before it is used.
//!
//! - `integrity`   the dm-verity tree
//! - `source`      blocks in memory, or on a disk
//! - `unpacked`    pages of compressed files

mod integrity;
mod source;
mod unpacked;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use core::any::Any;
use core::ops::Range;

use erofs::{Error, Image, Piece};
use linux::Errno;
use linux::types::{Statfs, Timespec};
use sync::Rank;

use crate::access::Permission;
use crate::cache::{Cache, Object};
use crate::inode::{Entries, Inode, Kind, Link, Metadata, Special};
use crate::world::{Page, Spin};
use crate::{File, PAGE_SIZE, PATH_MAX, Sink, Volume, World};

pub use integrity::{Integrity, Tree};
pub use source::{Blocks, InMemory, OnDisk};
use unpacked::LastExtent;

/// `EROFS_SUPER_MAGIC_V1`.
const MAGIC: i64 = 0xe0f5_e1e2;
/// Who maps a page will want so many bytes behind it.
const MAPPED_AHEAD: u64 = 16 << 10;

/// A volume that shows the image in `blocks`. Pages that have to be made are kept in `cache`.
///
/// # Errors
/// What is wrong with the image; that it cannot be read.
pub fn volume<W: World, S: Blocks<W>>(
    source: &[u8],
    blocks: S,
    cache: &Arc<Cache<W>>,
) -> Result<Arc<Volume<W>>, Error<Errno>> {
    let image = Image::open(blocks)?;
    let root = image.inode(image.root())?;
    let base = Arc::new(Base { image, cache: cache.clone(), last: LastExtent::new() });
    let root: Arc<Node<W, S>> = Arc::new(Node::new(&base, root));
    Ok(Volume::new("erofs", source, true, root, move || Statfs {
        kind: MAGIC,
        bsize: PAGE_SIZE as i64,
        blocks: u64::from(base.image.block_count()),
        files: base.image.inode_count(),
        namelen: crate::NAME_MAX as i64,
        frsize: PAGE_SIZE as i64,
        ..Statfs::default()
    }))
}

/// What its files share.
struct Base<W: World, S> {
    image: Image<S>,
    cache: Arc<Cache<W>>,
    last: LastExtent<W>,
}

/// One file of the image.
struct Node<W: World, S> {
    base: Arc<Base<W, S>>,
    inode: erofs::Inode,
    special: Special<W>,
    /// A page of the file that is none of the image (its end, or a hole), once it was mapped.
    tail: Spin<W, Option<(u64, W::Page)>>,
    /// Of a compressed file.
    unpacked: Option<Arc<Object<W>>>,
}

impl<W: World, S: Blocks<W>> Node<W, S> {
    fn new(base: &Arc<Base<W, S>>, inode: erofs::Inode) -> Self {
        Self {
            inode,
            special: Special::new(u64::from(inode.device())),
            tail: Spin::<W, _>::new(Rank::FILE, None),
            unpacked: unpacked::pages_of(&inode, &base.cache),
            base: base.clone(),
        }
    }

    fn image(&self) -> &Image<S> {
        &self.base.image
    }

    /// A page that has to be made: filled once, and kept if it is the last that was asked for.
    fn copied_page(&self, index: u64) -> Result<W::Page, Errno> {
        if let Some((at, page)) = &*self.tail.lock()
            && *at == index
        {
            return Ok(page.clone());
        }
        let page = W::Page::zeroed().ok_or(Errno::ENOMEM)?;
        let mut result = Ok(0);
        page.change(&mut |bytes| result = self.image().read(&self.inode, index * PAGE_SIZE as u64, bytes));
        result.map_err(errno)?;
        let old = self.tail.lock().replace((index, page.clone()));
        drop(old);
        Ok(page)
    }

    fn unpacked_page(&self, index: u64) -> Result<W::Page, Errno> {
        let pages = self.unpacked.as_deref().ok_or(Errno::EIO)?;
        unpacked::page(self.image(), &self.inode, &self.base.last, pages, index)
    }
}

/// What a program is told.
fn errno(error: Error<Errno>) -> Errno {
    match error {
        Error::Fault(_) => Errno::EIO,
        Error::Source(errno) => errno,
        Error::Memory => Errno::ENOMEM,
    }
}

impl<W: World, S: Blocks<W>> Inode<W> for Node<W, S> {
    fn metadata(&self) -> Metadata {
        let (seconds, nanoseconds) = self.inode.modified.unwrap_or(self.image().build_time());
        let time = Timespec { sec: seconds.cast_signed(), nsec: i64::from(nanoseconds) };
        Metadata {
            number: self.inode.nid,
            permission: self.permission(),
            links: self.inode.nlink,
            device: self.special.device,
            size: self.inode.size,
            blocks: self.inode.size.div_ceil(512),
            accessed: time,
            modified: time,
            changed: time,
        }
    }

    fn permission(&self) -> Permission {
        Permission { mode: self.inode.mode, user: self.inode.uid, group: self.inode.gid }
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn open(self: Arc<Self>, flags: u32) -> Result<Arc<dyn File<W>>, Errno> {
        if self.kind().is_special() {
            return W::open_special(&(self as Arc<dyn Inode<W>>), flags);
        }
        Ok(self)
    }

    fn special(&self) -> Option<&Special<W>> {
        self.kind().is_special().then_some(&self.special)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode<W>>, Errno> {
        let entry = self.image().lookup(&self.inode, name).map_err(errno)?.ok_or(Errno::ENOENT)?;
        let inode = self.image().inode(entry.nid).map_err(errno)?;
        Ok(Arc::new(Self::new(&self.base, inode)))
    }

    fn entries(&self, position: u64, take: &mut Entries<'_>) -> Result<(), Errno> {
        let mut position = position;
        while let Some(entry) = self.image().entry_at(&self.inode, position).map_err(errno)? {
            position = entry.next;
            if entry.name() == b"." || entry.name() == b".." {
                continue;
            }
            if !take(entry.nid, position, kind_of(entry.kind), entry.name()) {
                break;
            }
        }
        Ok(())
    }

    fn link(&self) -> Result<Link<W>, Errno> {
        if self.kind() != Kind::Link {
            return Err(Errno::EINVAL);
        }
        let length = usize::try_from(self.inode.size).ok().filter(|&length| length < PATH_MAX).ok_or(Errno::EIO)?;
        let mut text: Box<[u8]> = vec![0; length].into();
        let count = self.image().read(&self.inode, 0, &mut text).map_err(errno)?;
        if count == length { Ok(Link::Text(text)) } else { Err(Errno::EIO) }
    }
}

/// EROFS's own numbers for types in directories (`FT_REG_FILE` …).
fn kind_of(number: u8) -> Kind {
    match number {
        2 => Kind::Directory,
        3 => Kind::Character,
        4 => Kind::Block,
        5 => Kind::Fifo,
        6 => Kind::Socket,
        7 => Kind::Link,
        _ => Kind::Regular,
    }
}

impl<W: World, S: Blocks<W>> File<W> for Node<W, S> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn read(&self, offset: u64, to: &mut dyn Sink, _flags: u32) -> Result<(), Errno> {
        let mut offset = offset;
        while to.room() > 0 {
            let count = match self.image().piece(&self.inode, offset, to.room() as u64).map_err(errno)? {
                Piece::Hole { length: 0 } => break,
                Piece::Hole { length } => to.put_zeroes(length)?,
                Piece::Data { block, range, .. } => to.put(&block[range])?,
                Piece::Packed { length } => {
                    let within = (offset % PAGE_SIZE as u64) as usize;
                    to.put(&self.unpacked_page(offset / PAGE_SIZE as u64)?.bytes()[within..within + length])?
                }
            };
            offset += count as u64;
        }
        Ok(())
    }

    fn page(&self, index: u64, write: bool) -> Result<W::Page, Errno> {
        if self.kind() != Kind::Regular || write {
            return Err(Errno::ENODEV);
        }
        let offset =
            index.checked_mul(PAGE_SIZE as u64).filter(|&offset| offset < self.inode.size).ok_or(Errno::ENXIO)?;
        match self.image().piece(&self.inode, offset, MAPPED_AHEAD).map_err(errno)? {
            Piece::Data { block, range, .. } if range.len() == PAGE_SIZE => {
                S::share(&block).map_or_else(|| self.copied_page(index), Ok)
            }
            Piece::Packed { .. } => self.unpacked_page(index),
            _ => self.copied_page(index),
        }
    }

    fn page_at_hand(&self, index: u64) -> Option<W::Page> {
        match &self.unpacked {
            Some(pages) => pages.get(index),
            None => {
                let block = self.image().page_at_hand(&self.inode, index.checked_mul(PAGE_SIZE as u64)?)?;
                S::share(&block)
            }
        }
    }

    fn is_mappable(&self) -> bool {
        self.kind() == Kind::Regular
    }

    fn sync(&self, _bytes: Range<u64>, _data_only: bool) -> Result<(), Errno> {
        Ok(())
    }
}
