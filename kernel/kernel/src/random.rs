//! The kernel's random numbers: sources at boot, a generator for each CPU (crate `entropy`).

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use entropy::{Generator, Pool};

use crate::arch::cpu::{self, CPUS_MAX};
use crate::arch::rndr;
use crate::sched::{WaitError, WaitQueue};
use crate::sync::{Rank, SpinLock};
use crate::{boot, event, platform};

static POOL: SpinLock<Pool> = SpinLock::new(Rank::RANDOM, Pool::new());
static SEEDED: AtomicBool = AtomicBool::new(false);
static SEED_WAITERS: WaitQueue = WaitQueue::new();
/// Grows with each source: a generator keyed in an older epoch takes a new key first.
static EPOCH: AtomicU64 = AtomicU64::new(1);
static GENERATORS: [SpinLock<Keyed>; CPUS_MAX] = [const { SpinLock::new(Rank::RANDOM, Keyed::new()) }; CPUS_MAX];

struct Keyed {
    generator: Generator,
    epoch: u64,
}

impl Keyed {
    const fn new() -> Self {
        Self { generator: Generator::unkeyed(), epoch: 0 }
    }
}

/// Mix in what a source delivered: all of its bits are believed to be random.
pub fn add_source(source: &str, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let bits = u32::try_from(bytes.len()).unwrap_or(u32::MAX).saturating_mul(8);
    let (became_seeded, all_bits) = {
        let mut pool = POOL.lock_irq();
        (pool.absorb(source, bytes, bits), pool.bits())
    };
    EPOCH.fetch_add(1, Ordering::Relaxed);
    event!("entropy.source", source = source, bytes = bytes.len());
    if became_seeded {
        SEEDED.store(true, Ordering::Release);
        SEED_WAITERS.wake_all();
        event!("entropy.ready", bits = all_bits);
    }
}

/// What is there without any driver: the firmware's seed, the CPU's own generator, and the time, which counts for nothing.
pub fn add_early_sources() {
    let tables = platform::get();
    add_source("fdt", &tables.rng_seed);
    // A direct boot's block repeats the FDT's seed.
    let info = boot::info();
    if info.entropy() != tables.rng_seed.as_slice() {
        add_source("efi", info.entropy());
    }
    let mut words = [0; 4];
    if rndr::fill(&mut words) {
        add_source("rndr", words.map(u64::to_le_bytes).as_flattened());
    }
    let ticks = crate::arch::timer::ticks().to_le_bytes();
    POOL.lock_irq().absorb("time", &ticks, 0);
}

/// All sources have been asked: says so where they were not enough.
pub fn finish_sources() {
    if !is_seeded() {
        event!("entropy.none", bits = POOL.lock_irq().bits());
    }
}

/// Whether what [`fill`] gives is unpredictable.
#[must_use]
pub fn is_seeded() -> bool {
    SEEDED.load(Ordering::Acquire)
}

/// Sleeps until [`is_seeded`].
///
/// # Errors
/// A signal came first.
pub fn wait_seeded() -> Result<(), WaitError> {
    SEED_WAITERS.wait_until(|| is_seeded().then_some(()), None, true)
}

/// Fills `out` with random bytes. Before [`is_seeded`] they are good enough to spread hash tables, and for nothing else.
pub fn fill(out: &mut [u8]) {
    let epoch = EPOCH.load(Ordering::Relaxed);
    let index = cpu::this().index;
    if GENERATORS[index].lock_irq().epoch != epoch {
        let key = POOL.lock_irq().key();
        *GENERATORS[index].lock_irq() = Keyed { generator: Generator::new(key), epoch };
    }
    GENERATORS[index].lock_irq().generator.fill(out);
}
