/// Where a lock stands in the order in which locks are taken: a CPU that holds a lock may only take one of a higher rank.
///
/// Locks that interrupt handlers take stand above all that are held with interrupts enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(u8);

impl Rank {
    /// Process table, process groups, sessions.
    pub const PROCESS: Rank = Rank(4);
    /// One process's fields.
    pub const PROCESS_FIELDS: Rank = Rank(6);
    /// A handle table.
    pub const HANDLES: Rank = Rank(8);
    /// A mount table or directory tree.
    pub const TREE: Rank = Rank(10);
    /// One file system object's fields.
    pub const FILE: Rank = Rank(12);
    /// Signal state of a process or thread.
    pub const SIGNALS: Rank = Rank(14);
    /// Futex table.
    pub const FUTEX: Rank = Rank(16);
    /// A thread's own fields.
    pub const THREAD: Rank = Rank(18);
    /// Pages of shared memory.
    pub const SHARED_MEMORY: Rank = Rank(19);
    /// An address space's identifier.
    pub const CONTEXT: Rank = Rank(20);
    /// Who holds which address space identifier.
    pub const ASIDS: Rank = Rank(21);
    /// The pages of an object in the page cache.
    pub const PAGES: Rank = Rank(24);
    /// The page cache's lists over all objects.
    pub const PAGE_LISTS: Rank = Rank(25);
    /// A terminal; taken by its interrupt handler.
    pub const TERMINAL: Rank = Rank(30);
    /// A device driver's own state; taken by its interrupt handler.
    pub const DEVICE: Rank = Rank(32);
    /// The random generator.
    pub const RANDOM: Rank = Rank(34);
    /// The date.
    pub const CLOCK: Rank = Rank(35);
    /// A wait queue.
    pub const WAIT_QUEUE: Rank = Rank(36);
    /// The stacks that no thread uses.
    pub const STACKS: Rank = Rank(37);
    /// A CPU's timers.
    pub const TIMERS: Rank = Rank(38);
    /// A CPU's run queue.
    pub const RUN_QUEUE: Rank = Rank(40);
    /// Interrupt controller and handler table.
    pub const INTERRUPTS: Rank = Rank(42);
    /// The kernel heap.
    pub const HEAP: Rank = Rank(50);
    /// The kernel's own mappings.
    pub const KERNEL_MAP: Rank = Rank(52);
    /// A CPU's own free pages.
    pub const FRAME_CACHE: Rank = Rank(53);
    /// Physical pages.
    pub const FRAMES: Rank = Rank(54);
    /// The ring of events.
    pub const EVENTS: Rank = Rank(60);
    /// The console's transmitter.
    pub const CONSOLE: Rank = Rank(62);
    /// What this boot leaves for the next one.
    pub const LAST_BOOT: Rank = Rank(63);

    /// A rank for a test.
    #[cfg(test)]
    pub(crate) const fn test(value: u8) -> Rank {
        assert!(value < 64);
        Rank(value)
    }

    pub(crate) const fn bit(self) -> u64 {
        1 << self.0
    }

    /// No lock of this rank or above is in the set.
    pub(crate) const fn above_all(self, held: u64) -> bool {
        held >> self.0 == 0
    }
}
