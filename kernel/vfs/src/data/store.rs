//! A volume and its device.
//!
//! Invariants: the lock of `volume` is not held during input or output; one plan of the volume is out at a time, that of the round that runs; `written` counts
//! writes of data that have ended, `flushed` is what it was when the last good flush began; `changed` holds the files with something that the volume does not have yet.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt::Display;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use datafs::{Block, InodeNumber, Missing, Plan, Step, Stop};
use linux::Errno;
use linux::types::Statfs;
use sync::Rank;

use super::body::Body;
use super::rounds::Rounds;
use super::table::Entry;
use super::{MAGIC, block_of};
use crate::cache::Cache;
use crate::device::{Device, Run};
use crate::world::{Mutex, Page, Spin, mutex};
use crate::{PAGE_SIZE, World};

/// Pages that are kept for writing metadata. A plan that was made has to be carried out, for a volume whose log cannot be written is read-only from
/// then on; so that must not take a page that may not be there. One would do: blocks beyond those there are pages for are written in a further turn, when
/// the device is done with these. With so many the usual commit, of few blocks, takes none from elsewhere.
const STAGING_KEPT: usize = 4;
/// Pages that metadata are written through at once, as long as there is memory.
const STAGING_MAX: usize = 64;
/// How often an operation may stop for something before it is given up: far more than any needs.
const STOPS_MAX: usize = 100_000;
/// Failures of one volume that are reported.
const REPORTS_MAX: usize = 16;

/// A mounted volume.
pub struct Store<W: World> {
    pub(super) this: Weak<Self>,
    source: Box<[u8]>,
    device: Arc<dyn Device<W>>,
    cache: Arc<Cache<W>>,
    volume: Mutex<W, datafs::Volume>,
    /// It was mounted so.
    read_only: bool,
    /// A write of the log failed: nothing more is written.
    has_failed: AtomicBool,
    rounds: Rounds<W>,
    flushes: Rounds<W>,
    /// Somebody needs the next round to be a checkpoint.
    wants_checkpoint: AtomicBool,
    staging: Mutex<W, Vec<W::Page>>,
    written: AtomicU64,
    flushed: AtomicU64,
    pub(super) nodes: Spin<W, BTreeMap<InodeNumber, Entry<W>>>,
    pub(super) changed: Spin<W, BTreeMap<InodeNumber, Arc<Body<W>>>>,
    /// Files without a name that nobody uses any more.
    pub(super) gone: Spin<W, Vec<Arc<Body<W>>>>,
    failures: AtomicU64,
    /// Those that leave it open what of all that was written lasts.
    unstable: AtomicU64,
    reports: AtomicUsize,
    abandoned: AtomicBool,
}

/// The errno that stands for an error of the crate.
pub(super) fn errno(error: datafs::Error) -> Errno {
    use datafs::Error as E;
    match error {
        E::NotFound => Errno::ENOENT,
        E::Exists => Errno::EEXIST,
        E::NotDirectory => Errno::ENOTDIR,
        E::IsDirectory => Errno::EISDIR,
        E::NotEmpty => Errno::ENOTEMPTY,
        E::Invalid => Errno::EINVAL,
        E::NameTooLong => Errno::ENAMETOOLONG,
        E::FileTooBig => Errno::EFBIG,
        E::TooManyLinks => Errno::EMLINK,
        E::NoSpace | E::NoInodes => Errno::ENOSPC,
        E::Quota => Errno::EDQUOT,
        E::OtherQuota => Errno::EXDEV,
        E::NoAttribute => Errno::ENODATA,
        E::Stale => Errno::ESTALE,
        E::ReadOnly => Errno::EROFS,
        E::NoMemory => Errno::ENOMEM,
        E::Failed | E::Damaged(_) => Errno::EIO,
    }
}

/// Takes pages until there are so many, or no memory.
fn take_pages<W: World>(pages: &mut Vec<W::Page>, wanted: usize) {
    while pages.len() < wanted {
        let Some(page) = W::Page::zeroed() else { break };
        pages.push(page);
    }
}

impl<W: World> Store<W> {
    pub(super) fn new(
        source: &[u8],
        device: Arc<dyn Device<W>>,
        cache: &Arc<Cache<W>>,
        volume: datafs::Volume,
    ) -> Result<Arc<Self>, Errno> {
        let mut staging = Vec::with_capacity(STAGING_MAX);
        take_pages::<W>(&mut staging, STAGING_KEPT);
        if staging.len() < STAGING_KEPT {
            return Err(Errno::ENOMEM);
        }
        Ok(Arc::new_cyclic(|this| Self {
            this: this.clone(),
            source: source.into(),
            device,
            cache: cache.clone(),
            read_only: volume.is_read_only(),
            has_failed: AtomicBool::new(false),
            volume: mutex::<W, _>(volume),
            rounds: Rounds::new(),
            flushes: Rounds::new(),
            wants_checkpoint: AtomicBool::new(false),
            staging: mutex::<W, _>(staging),
            written: AtomicU64::new(0),
            flushed: AtomicU64::new(0),
            nodes: Spin::<W, _>::new(Rank::FILE, BTreeMap::new()),
            changed: Spin::<W, _>::new(Rank::FILE, BTreeMap::new()),
            gone: Spin::<W, _>::new(Rank::FILE, Vec::new()),
            failures: AtomicU64::new(0),
            unstable: AtomicU64::new(0),
            reports: AtomicUsize::new(0),
            abandoned: AtomicBool::new(false),
        }))
    }

    pub(super) fn cache(&self) -> &Arc<Cache<W>> {
        &self.cache
    }

    pub(super) fn device(&self) -> &dyn Device<W> {
        &*self.device
    }

    /// What was mounted: the device's name.
    #[must_use]
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// Nothing can be changed.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only || self.has_failed()
    }

    /// A write of the log failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Whether anything may be changed.
    ///
    /// # Errors
    /// `EROFS`.
    pub(super) fn check_writable(&self) -> Result<(), Errno> {
        if self.is_read_only() { Err(Errno::EROFS) } else { Ok(()) }
    }

    /// What is to be made lasting: nothing on a volume that was mounted to be read; after a failure nothing can be.
    fn check_stable(&self) -> Result<bool, Errno> {
        if self.has_failed() { Err(Errno::EIO) } else { Ok(!self.read_only) }
    }

    /// Number of the last failure to write something.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    /// Number of the last failure that concerns every file of the volume.
    pub(super) fn unstable(&self) -> u64 {
        self.unstable.load(Ordering::Acquire)
    }

    /// No mount shows it, and nobody has anything open in it: it is to be closed.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        W::write_back_wanted();
    }

    pub(super) fn statistics(&self) -> Statfs {
        // What was removed is no longer counted.
        self.reap();
        let volume = self.volume.lock();
        let (statistics, uuid) = (volume.statistics(), volume.uuid());
        drop(volume);
        let word = |at: usize| i32::from_le_bytes([uuid[at], uuid[at + 1], uuid[at + 2], uuid[at + 3]]);
        Statfs {
            kind: MAGIC,
            bsize: PAGE_SIZE as i64,
            blocks: statistics.blocks,
            bfree: statistics.free,
            bavail: statistics.free,
            files: statistics.inodes,
            ffree: statistics.inodes_free,
            fsid: [word(0) ^ word(8), word(4) ^ word(12)],
            namelen: datafs::NAME_MAX as i64,
            frsize: PAGE_SIZE as i64,
            ..Statfs::default()
        }
    }
}

/// Operations.
impl<W: World> Store<W> {
    /// Does something with the volume, with as many blocks, commits and checkpoints in between as it asks for.
    ///
    /// # Errors
    /// What the operation says; `EIO` when a block cannot be read.
    pub(super) fn run<T>(&self, mut operation: impl FnMut(&mut datafs::Volume) -> Result<T, Stop>) -> Result<T, Errno> {
        for _ in 0..STOPS_MAX {
            let mut volume = self.volume.lock();
            let stop = match operation(&mut volume) {
                Ok(value) => return Ok(value),
                Err(stop) => stop,
            };
            drop(volume);
            match stop {
                Stop::Missing(missing) => self.read_metadata(missing)?,
                Stop::Commit => self.commit(false)?,
                Stop::Checkpoint => self.commit(true)?,
                Stop::Error(error) => return Err(self.failed(error)),
            }
        }
        self.report(&"an operation does not come to an end");
        Err(Errno::EIO)
    }

    /// As [`Store::run`], for what takes room: before it is refused for want of it, files that are gone give theirs back.
    ///
    /// # Errors
    /// As [`Store::run`].
    pub(super) fn run_with_room<T>(
        &self,
        mut operation: impl FnMut(&mut datafs::Volume) -> Result<T, Stop>,
    ) -> Result<T, Errno> {
        match self.run(&mut operation) {
            Err(Errno::ENOSPC | Errno::EDQUOT) if self.reap() => self.run(operation),
            result => result,
        }
    }

    /// What never stops.
    pub(super) fn now<T>(&self, operation: impl FnOnce(&mut datafs::Volume) -> T) -> T {
        operation(&mut self.volume.lock())
    }

    fn failed(&self, error: datafs::Error) -> Errno {
        if let datafs::Error::Damaged(damage) = error {
            self.report(&damage);
        }
        errno(error)
    }

    pub(super) fn report(&self, why: &dyn Display) {
        if self.reports.fetch_add(1, Ordering::Relaxed) < REPORTS_MAX {
            W::report(&self.source, why);
        }
    }

    /// Something was not written.
    pub(super) fn note_failure(&self, what: &str, error: Errno) {
        self.failures.fetch_add(1, Ordering::AcqRel);
        self.report(&format!("{what}: {error}"));
    }

    fn read_metadata(&self, missing: Missing) -> Result<(), Errno> {
        let page = W::Page::zeroed().ok_or(Errno::ENOMEM)?;
        if let Err(error) = self.device.read(missing.block, core::slice::from_ref(&page)) {
            self.report(&format!("metadata block {}: {error}", missing.block));
            return Err(error);
        }
        self.volume.lock().supply(missing, block_of(&page)).map_err(|error| self.failed(error))
    }
}

/// What lasts.
impl<W: World> Store<W> {
    /// Writes of data have ended; the next flush covers them.
    pub(super) fn note_written(&self) {
        self.written.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns when every write of data that had ended is on stable media, and the transaction is too.
    ///
    /// # Errors
    /// `EIO`: it may not be.
    pub(super) fn make_stable(&self, transaction: u64) -> Result<(), Errno> {
        if !self.check_stable()? {
            return Ok(());
        }
        if self.now(|volume| volume.durable()) < transaction {
            return self.commit(false);
        }
        let is_flushed = || self.flushed.load(Ordering::Acquire) >= self.written.load(Ordering::Acquire);
        if is_flushed() { Ok(()) } else { self.flushes.serve(|| self.flush()) }
    }

    /// Every write of data that has ended is on stable media afterwards.
    fn flush(&self) -> Result<(), Errno> {
        let written = self.written.load(Ordering::Acquire);
        if self.flushed.load(Ordering::Acquire) < written {
            self.device.flush().inspect_err(|error| {
                self.unstable.fetch_add(1, Ordering::AcqRel);
                self.note_failure("a flush", *error);
            })?;
            self.flushed.fetch_max(written, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Waits for a round that begins now or later.
    pub(super) fn commit(&self, checkpoint: bool) -> Result<(), Errno> {
        if checkpoint {
            self.wants_checkpoint.store(true, Ordering::Release);
        }
        self.rounds.serve(|| self.round())
    }

    /// Makes everything stable that the volume holds and every write of data that has ended. One at a time.
    fn round(&self) -> Result<(), Errno> {
        let checkpoint = self.wants_checkpoint.swap(false, Ordering::AcqRel);
        let written = self.written.load(Ordering::Acquire);
        let Some(plan) = self.plan(checkpoint)? else { return self.flush() };
        let result = self.execute(&plan);
        let mut volume = self.volume.lock();
        match result {
            Ok(()) => volume.done(plan),
            Err(_) => volume.failed(plan),
        }
        drop(volume);
        match result {
            // A plan ends with a flush.
            Ok(()) => {
                self.flushed.fetch_max(written, Ordering::AcqRel);
            }
            Err(error) => {
                self.has_failed.store(true, Ordering::Release);
                self.unstable.fetch_add(1, Ordering::AcqRel);
                self.note_failure("the log cannot be written; the volume is read-only from here on", error);
            }
        }
        result
    }

    /// The next plan.
    fn plan(&self, mut checkpoint: bool) -> Result<Option<Plan>, Errno> {
        for _ in 0..STOPS_MAX {
            let mut volume = self.volume.lock();
            let plan = if checkpoint { volume.checkpoint() } else { volume.commit() };
            drop(volume);
            match plan {
                Ok(plan) => return Ok(plan),
                Err(Stop::Missing(missing)) => self.read_metadata(missing)?,
                Err(Stop::Checkpoint) => checkpoint = true,
                Err(Stop::Error(error)) => return Err(self.failed(error)),
                // Another plan would have to be out, and there is one round at a time.
                Err(Stop::Commit) => break,
            }
        }
        self.report(&"a commit does not come to an end");
        Err(Errno::EIO)
    }

    fn execute(&self, plan: &Plan) -> Result<(), Errno> {
        let mut staging = self.staging.lock();
        let result = plan.steps().iter().try_for_each(|step| match step {
            Step::Flush => self.device.flush(),
            Step::Write(writes) => {
                take_pages::<W>(&mut staging, writes.len().min(STAGING_MAX));
                writes.chunks(staging.len()).try_for_each(|writes| self.write_blocks(writes, &staging))
            }
        });
        staging.truncate(STAGING_KEPT);
        result
    }

    /// Writes blocks, consecutive ones together.
    fn write_blocks(&self, writes: &[(u64, Block)], staging: &[W::Page]) -> Result<(), Errno> {
        let mut runs: Vec<Run<'_, W>> = Vec::new();
        for (at, (block, bytes)) in writes.iter().enumerate() {
            staging[at].change(&mut |into| into.copy_from_slice(&bytes[..]));
            match runs.last_mut() {
                Some((first, pages)) if *first + pages.len() as u64 == *block => {
                    *pages = &staging[at - pages.len()..=at];
                }
                _ => runs.push((*block, &staging[at..=at])),
            }
        }
        self.device.write_runs(&runs)
    }

    /// Everything written so far lasts when it returns.
    ///
    /// # Errors
    /// The first failure.
    pub fn sync(&self) -> Result<(), Errno> {
        if !self.check_stable()? {
            return Ok(());
        }
        let result = self.clean_all();
        self.reap();
        let (running, is_changed) = self.now(|volume| (volume.running(), volume.is_changed()));
        // A transaction that is being committed by somebody has the number before the running one.
        let last = if is_changed { running } else { running - 1 };
        result.and(self.make_stable(last))
    }

    /// Hands all that is in memory of files to the volume.
    fn clean_all(&self) -> Result<(), Errno> {
        let changed: Vec<InodeNumber> = self.changed.lock().keys().copied().collect();
        let mut result = Ok(());
        for number in changed {
            let body = self.changed.lock().get(&number).cloned();
            result = result.and(body.map_or(Ok(()), |body| body.clean(false)));
        }
        result
    }

    /// What is to be done every few seconds: everything that changed is made to last, and the log is emptied when it fills.
    ///
    /// # Errors
    /// As [`Store::sync`].
    pub fn work(&self) -> Result<(), Errno> {
        if self.is_read_only() {
            return Ok(());
        }
        self.sync()?;
        if self.now(|volume| volume.wants_checkpoint()) { self.commit(true) } else { Ok(()) }
    }

    /// Whether [`Store::work`] has anything to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let nothing = self.changed.lock().is_empty() && self.gone.lock().is_empty();
        nothing && (self.is_read_only() || self.now(|volume| !volume.is_changed()))
    }

    /// Leaves the volume with everything at its place and an empty log.
    ///
    /// # Errors
    /// As [`Store::sync`].
    pub fn close(&self) -> Result<(), Errno> {
        if !self.check_stable()? {
            return Ok(());
        }
        self.sync()?;
        self.commit(true)
    }

    /// Frees up to `count` clean blocks of metadata, if the volume is not in use just now; says how many.
    pub fn shrink(&self, count: usize) -> usize {
        self.volume.try_lock().map_or(0, |mut volume| volume.shrink(count))
    }

    /// Blocks of metadata in memory, if the volume is not in use just now.
    #[must_use]
    pub fn metadata_blocks(&self) -> usize {
        self.volume.try_lock().map_or(0, |volume| volume.cached())
    }
}
