//! The pages of compressed files. They are made an extent at a time and kept in the page cache.

use alloc::sync::Arc;
use alloc::vec::Vec;

use erofs::{Image, Inode};
use linux::Errno;
use sync::Rank;

use super::{Blocks, errno};
use crate::cache::Object;
use crate::world::Spin;
use crate::{PAGE_SIZE, Page, World};

/// The extent of an image that was unpacked last: who reads on begins in the middle of it.
pub struct LastExtent<W: World>(Spin<W, Option<Unpacked>>);

struct Unpacked {
    nid: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Unpacked {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl<W: World> LastExtent<W> {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Spin::<W, _>::new(Rank::FILE, None))
    }

    /// The extent that covers `offset`: the last one, or one that is unpacked now.
    fn take<S: Blocks<W>>(&self, image: &Image<S>, inode: &Inode, offset: u64) -> Result<Unpacked, Errno> {
        let last = self.0.lock().take();
        if let Some(last) = last
            && last.nid == inode.nid
            && (last.start..last.end()).contains(&offset)
        {
            return Ok(last);
        }
        let extent = image.extent(inode, offset).map_err(errno)?;
        let bytes = image.unpack(inode, &extent).map_err(errno)?;
        Ok(Unpacked { nid: inode.nid, start: extent.start, bytes })
    }

    fn put(&self, extent: Unpacked) {
        let before = self.0.lock().replace(extent);
        drop(before);
    }
}

/// The page `index` of a compressed file, which begins before the file's end.
///
/// # Errors
/// `EIO` when what it is made of is damaged, `ENOMEM`; what the source says.
pub fn page<W: World, S: Blocks<W>>(
    image: &Image<S>,
    inode: &Inode,
    last: &LastExtent<W>,
    pages: &Object<W>,
    index: u64,
) -> Result<W::Page, Errno> {
    if let Some(page) = pages.get(index) {
        return Ok(page);
    }
    let start = index * PAGE_SIZE as u64;
    let end = (start + PAGE_SIZE as u64).min(inode.size);
    // The pages behind it that this extent covers cost no more than a copy.
    let extent = image.extent(inode, end - 1).map_err(errno)?;
    let covered = extent.start + extent.length as u64;
    let behind = if covered == inode.size { covered.div_ceil(PAGE_SIZE as u64) } else { covered / PAGE_SIZE as u64 };
    let count = behind.saturating_sub(index).max(1) as usize;
    pages.get_or_fill(index, count, &mut |index, pages| fill(image, inode, last, index, pages))
}

fn fill<W: World, S: Blocks<W>>(
    image: &Image<S>,
    inode: &Inode,
    last: &LastExtent<W>,
    index: u64,
    pages: &[W::Page],
) -> Result<(), Errno> {
    let mut extent: Option<Unpacked> = None;
    for (start, page) in (index * PAGE_SIZE as u64..).step_by(PAGE_SIZE).zip(pages) {
        let end = (start + PAGE_SIZE as u64).min(inode.size);
        let mut at = start;
        while at < end {
            let current = match extent.take().filter(|extent| (extent.start..extent.end()).contains(&at)) {
                Some(current) => current,
                None => last.take(image, inode, at)?,
            };
            let count = (current.end().min(end) - at) as usize;
            let bytes = &current.bytes[(at - current.start) as usize..][..count];
            let within = (at - start) as usize;
            page.change(&mut |page| page[within..within + count].copy_from_slice(bytes));
            at += count as u64;
            extent = Some(current);
        }
        let used = (end - start) as usize;
        page.change(&mut |page| page[used..].fill(0));
    }
    if let Some(extent) = extent {
        last.put(extent);
    }
    Ok(())
}

/// The pages of a file, if it is compressed.
pub fn pages_of<W: World>(inode: &Inode, cache: &Arc<crate::cache::Cache<W>>) -> Option<Arc<Object<W>>> {
    inode.is_packed().then(|| Object::new(cache, None))
}
