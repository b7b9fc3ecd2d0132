//! Signals: numbers, sets, actions, `siginfo`, and the frame that a handler runs on.
//!
//! The frame (arch/arm64/kernel/signal.c, include/uapi/asm/{sigcontext,ucontext}.h), from sp upwards:
//! `siginfo` 128 bytes, `ucontext` 4560 bytes whose last 4096 hold tagged records (`fpsimd`, `esr`, terminator), and at its end
//! a frame record {fp, lr}, so that unwinders can walk through it.

use crate::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A signal number, 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Signal(u8);

/// What a signal does when the program has not said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// Ends the process.
    Terminate,
    /// Ends the process; Linux would also write a core file.
    Core,
    /// Nothing.
    Ignore,
    /// Stops the process.
    Stop,
    /// Resumes a stopped process.
    Continue,
}

macro_rules! signals {
    ($($name:ident = $number:literal;)*) => {
        #[allow(missing_docs)]
        impl Signal {
            $(pub const $name: Self = Self($number);)*
        }
    };
}

signals! {
    HUP = 1; INT = 2; QUIT = 3; ILL = 4; TRAP = 5; ABRT = 6; BUS = 7; FPE = 8; KILL = 9; USR1 = 10; SEGV = 11; USR2 = 12;
    PIPE = 13; ALRM = 14; TERM = 15; STKFLT = 16; CHLD = 17; CONT = 18; STOP = 19; TSTP = 20; TTIN = 21; TTOU = 22; URG = 23;
    XCPU = 24; XFSZ = 25; VTALRM = 26; PROF = 27; WINCH = 28; IO = 29; PWR = 30; SYS = 31;
}

impl Signal {
    /// The first real-time signal; from here on signals queue.
    pub const RTMIN: u8 = 32;

    /// The signal of this number, if there is one.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        if number >= 1 && number <= 64 { Some(Self(number as u8)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// As an index from 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }

    /// What happens by default.
    #[must_use]
    pub const fn default_action(self) -> Default {
        match self {
            Self::CHLD | Self::URG | Self::WINCH => Default::Ignore,
            Self::CONT => Default::Continue,
            Self::STOP | Self::TSTP | Self::TTIN | Self::TTOU => Default::Stop,
            Self::QUIT
            | Self::ILL
            | Self::TRAP
            | Self::ABRT
            | Self::BUS
            | Self::FPE
            | Self::SEGV
            | Self::XCPU
            | Self::XFSZ
            | Self::SYS => Default::Core,
            _ => Default::Terminate,
        }
    }
}

/// A set of signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct SigSet(pub u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// The two that cannot be caught, blocked or ignored.
    pub const UNMASKABLE: Self = Self::of(Signal::KILL).with(Signal::STOP);
    /// The signals whose default is to stop.
    pub const STOPS: Self = Self::of(Signal::STOP).with(Signal::TSTP).with(Signal::TTIN).with(Signal::TTOU);
    /// Faults of the program itself: delivered before others.
    pub const SYNCHRONOUS: Self = Self::of(Signal::SEGV)
        .with(Signal::BUS)
        .with(Signal::ILL)
        .with(Signal::TRAP)
        .with(Signal::FPE)
        .with(Signal::SYS);

    /// The set of one.
    #[must_use]
    pub const fn of(signal: Signal) -> Self {
        Self(1 << signal.index())
    }

    /// This set and `signal`.
    #[must_use]
    pub const fn with(self, signal: Signal) -> Self {
        Self(self.0 | 1 << signal.index())
    }

    /// Those in this set and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether `signal` is in it.
    #[must_use]
    pub const fn contains(self, signal: Signal) -> bool {
        self.0 & 1 << signal.index() != 0
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The next to deliver: the program's own faults first, then the smallest number.
    #[must_use]
    pub const fn first(self) -> Option<Signal> {
        let urgent = self.0 & Self::SYNCHRONOUS.0;
        let from = if urgent != 0 { urgent } else { self.0 };
        if from == 0 { None } else { Some(Signal(from.trailing_zeros() as u8 + 1)) }
    }
}

/// `sa_flags` and `how` of `rt_sigprocmask`, `ss_flags`, `si_code`.
#[allow(missing_docs)]
pub mod flags {
    pub const SA_NOCLDSTOP: u64 = 1;
    pub const SA_NOCLDWAIT: u64 = 2;
    pub const SA_SIGINFO: u64 = 4;
    pub const SA_RESTORER: u64 = 0x0400_0000;
    pub const SA_ONSTACK: u64 = 0x0800_0000;
    pub const SA_RESTART: u64 = 0x1000_0000;
    pub const SA_NODEFER: u64 = 0x4000_0000;
    pub const SA_RESETHAND: u64 = 0x8000_0000;
    pub const SIG_BLOCK: u64 = 0;
    pub const SIG_UNBLOCK: u64 = 1;
    pub const SIG_SETMASK: u64 = 2;
    pub const SIG_DFL: u64 = 0;
    pub const SIG_IGN: u64 = 1;
    pub const SS_ONSTACK: u32 = 1;
    pub const SS_DISABLE: u32 = 2;
    pub const SS_AUTODISARM: u32 = 1 << 31;
    pub const MINSIGSTKSZ: u64 = 5120;
    pub const SI_USER: i32 = 0;
    pub const SI_KERNEL: i32 = 0x80;
    pub const SI_QUEUE: i32 = -1;
    pub const SI_TIMER: i32 = -2;
    pub const SI_TKILL: i32 = -6;
    pub const CLD_EXITED: i32 = 1;
    pub const CLD_KILLED: i32 = 2;
    pub const CLD_DUMPED: i32 = 3;
    pub const CLD_STOPPED: i32 = 5;
    pub const CLD_CONTINUED: i32 = 6;
    pub const SEGV_MAPERR: i32 = 1;
    pub const SEGV_ACCERR: i32 = 2;
    pub const BUS_ADRALN: i32 = 1;
    pub const BUS_ADRERR: i32 = 2;
    pub const ILL_ILLOPC: i32 = 1;
    pub const TRAP_BRKPT: i32 = 1;
    pub const FPE_INTDIV: i32 = 1;
    pub const FPE_FLTUNK: i32 = 14;
}

/// The kernel's `struct sigaction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SigAction {
    /// Address, or `SIG_DFL`, or `SIG_IGN`.
    pub handler: u64,
    /// `SA_*`
    pub flags: u64,
    /// Where the handler returns to when `SA_RESTORER` is set.
    pub restorer: u64,
    /// Blocked while the handler runs.
    pub mask: SigSet,
}

/// `stack_t`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SigStack {
    /// Lowest address.
    pub base: u64,
    /// `SS_*`
    pub flags: u32,
    /// Padding.
    pub pad: u32,
    /// Bytes.
    pub size: u64,
}

impl SigStack {
    /// No alternate stack.
    pub const DISABLED: Self = Self { base: 0, flags: flags::SS_DISABLE, pad: 0, size: 0 };

    /// Whether `sp` lies on it.
    #[must_use]
    pub const fn holds(&self, sp: u64) -> bool {
        sp > self.base && sp - self.base <= self.size
    }
}

/// Who or what sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The kernel, without details.
    Kernel,
    /// A process.
    Process {
        /// its id
        pid: u32,
        /// its real user
        uid: u32,
        /// `sigqueue`'s value
        value: u64,
    },
    /// A child that changed state.
    Child {
        /// its id
        pid: u32,
        /// its real user
        uid: u32,
        /// exit code or signal number
        status: i32,
        /// user time in clock ticks
        user_ticks: i64,
        /// system time in clock ticks
        system_ticks: i64,
    },
    /// The program itself, at this address.
    Fault {
        /// data or instruction address
        address: u64,
    },
}

/// A signal with its particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigInfo {
    /// Which.
    pub signal: Signal,
    /// `si_code`
    pub code: i32,
    /// From where.
    pub origin: Origin,
}

/// Size of `siginfo_t`.
pub const SIGINFO_SIZE: usize = 128;

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

fn get_u64(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

impl SigInfo {
    /// One that the kernel sends.
    #[must_use]
    pub const fn kernel(signal: Signal) -> Self {
        Self { signal, code: flags::SI_KERNEL, origin: Origin::Kernel }
    }

    /// `siginfo_t`
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SIGINFO_SIZE] {
        let mut bytes = [0; SIGINFO_SIZE];
        put(&mut bytes, 0, u32::from(self.signal.number()).to_le_bytes());
        put(&mut bytes, 8, self.code.to_le_bytes());
        match self.origin {
            Origin::Kernel => {}
            Origin::Process { pid, uid, value } => {
                put(&mut bytes, 16, pid.to_le_bytes());
                put(&mut bytes, 20, uid.to_le_bytes());
                put(&mut bytes, 24, value.to_le_bytes());
            }
            Origin::Child { pid, uid, status, user_ticks, system_ticks } => {
                put(&mut bytes, 16, pid.to_le_bytes());
                put(&mut bytes, 20, uid.to_le_bytes());
                put(&mut bytes, 24, status.to_le_bytes());
                put(&mut bytes, 32, user_ticks.to_le_bytes());
                put(&mut bytes, 40, system_ticks.to_le_bytes());
            }
            Origin::Fault { address } => put(&mut bytes, 16, address.to_le_bytes()),
        }
        bytes
    }

    /// What a program passes to `rt_sigqueueinfo`: only codes that a program may send.
    #[must_use]
    pub fn queued(signal: Signal, bytes: &[u8; SIGINFO_SIZE]) -> Option<Self> {
        let code = get_u32(bytes, 8) as i32;
        if code >= 0 || code == flags::SI_TKILL {
            return None;
        }
        let origin = Origin::Process { pid: get_u32(bytes, 16), uid: get_u32(bytes, 20), value: get_u64(bytes, 24) };
        Some(Self { signal, code, origin })
    }
}

/// The interrupted program's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// x0 to x30
    pub regs: [u64; 31],
    /// Stack pointer.
    pub sp: u64,
    /// Program counter.
    pub pc: u64,
    /// Processor state.
    pub pstate: u64,
    /// Address of the fault that caused the signal, or 0.
    pub fault_address: u64,
    /// Syndrome of that fault, or 0.
    pub esr: u64,
}

/// The interrupted program's vector registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vectors {
    /// Status register.
    pub fpsr: u32,
    /// Control register.
    pub fpcr: u32,
    /// v0 to v31
    pub v: [u128; 32],
}

const UCONTEXT: usize = SIGINFO_SIZE;
const MASK: usize = UCONTEXT + 40;
const MCONTEXT: usize = UCONTEXT + 176;
const SP: usize = MCONTEXT + 256;
const RECORDS: usize = MCONTEXT + 288;
/// Bytes from sp to the frame record.
pub const FRAME_SIZE: usize = RECORDS + 4096;
/// The part of it that is written and read: up to the records' terminator. The rest is room for records that we never make.
pub const FRAME_USED: usize = RECORDS + FPSIMD_SIZE + ESR_SIZE + 16;
const FPSIMD_MAGIC: u32 = 0x4650_8001;
const FPSIMD_SIZE: usize = 528;
const ESR_MAGIC: u32 = 0x4553_5201;
const ESR_SIZE: usize = 16;

/// Where the pieces of a frame lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The handler's stack pointer; `siginfo` lies here.
    pub sp: u64,
    /// `ucontext`
    pub ucontext: u64,
    /// The frame record {fp, lr}.
    pub record: u64,
}

/// Places a frame under `stack`; `None` when there is no room below it.
#[must_use]
pub fn place(stack: u64) -> Option<Placement> {
    let record = stack.checked_sub(16)? & !15;
    let sp = record.checked_sub(FRAME_SIZE as u64)? & !15;
    Some(Placement { sp, ucontext: sp + UCONTEXT as u64, record })
}

/// Everything that a frame holds.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The signal.
    pub info: SigInfo,
    /// Mask to restore on return.
    pub mask: SigSet,
    /// Alternate stack as set.
    pub stack: SigStack,
    /// Registers to restore.
    pub context: Context,
    /// Vector registers to restore.
    pub vectors: &'a Vectors,
}

impl Frame<'_> {
    /// The bytes from sp upwards.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; FRAME_USED] {
        let mut bytes = [0; FRAME_USED];
        put(&mut bytes, 0, self.info.to_bytes());
        bytes[UCONTEXT + 16..UCONTEXT + 40].copy_from_slice(self.stack.as_bytes());
        put(&mut bytes, MASK, self.mask.0.to_le_bytes());
        put(&mut bytes, MCONTEXT, self.context.fault_address.to_le_bytes());
        bytes[MCONTEXT + 8..SP].copy_from_slice(self.context.regs.as_bytes());
        put(&mut bytes, SP, self.context.sp.to_le_bytes());
        put(&mut bytes, SP + 8, self.context.pc.to_le_bytes());
        put(&mut bytes, SP + 16, self.context.pstate.to_le_bytes());
        put(&mut bytes, RECORDS, FPSIMD_MAGIC.to_le_bytes());
        put(&mut bytes, RECORDS + 4, (FPSIMD_SIZE as u32).to_le_bytes());
        put(&mut bytes, RECORDS + 8, self.vectors.fpsr.to_le_bytes());
        put(&mut bytes, RECORDS + 12, self.vectors.fpcr.to_le_bytes());
        bytes[RECORDS + 16..RECORDS + FPSIMD_SIZE].copy_from_slice(self.vectors.v.as_bytes());
        let esr = RECORDS + FPSIMD_SIZE;
        put(&mut bytes, esr, ESR_MAGIC.to_le_bytes());
        put(&mut bytes, esr + 4, (ESR_SIZE as u32).to_le_bytes());
        put(&mut bytes, esr + 8, self.context.esr.to_le_bytes());
        bytes
    }
}

/// What `rt_sigreturn` restores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Registers; `pstate` is as the program left it and must be sanitised.
    pub context: Context,
    /// Vector registers.
    pub vectors: Vectors,
    /// Signal mask.
    pub mask: SigSet,
    /// Alternate stack.
    pub stack: SigStack,
}

/// Reads a frame back; the program may have written anything into it.
///
/// # Errors
/// `EINVAL` when the records are malformed or the vector registers are missing.
pub fn restore(bytes: &[u8; FRAME_USED]) -> Result<Restored, Errno> {
    let mut regs = [0; 31];
    for (index, reg) in regs.iter_mut().enumerate() {
        *reg = get_u64(bytes, MCONTEXT + 8 + index * 8);
    }
    let context = Context {
        regs,
        sp: get_u64(bytes, SP),
        pc: get_u64(bytes, SP + 8),
        pstate: get_u64(bytes, SP + 16),
        fault_address: 0,
        esr: 0,
    };
    let stack = SigStack {
        base: get_u64(bytes, UCONTEXT + 16),
        flags: get_u32(bytes, UCONTEXT + 24),
        pad: 0,
        size: get_u64(bytes, UCONTEXT + 32),
    };
    let vectors = vectors_of(&bytes[RECORDS..])?;
    Ok(Restored { context, vectors, mask: SigSet(get_u64(bytes, MASK)), stack })
}

fn vectors_of(records: &[u8]) -> Result<Vectors, Errno> {
    let mut found = None;
    let mut at = 0;
    while at + 8 <= records.len() {
        let (magic, size) = (get_u32(records, at), get_u32(records, at + 4) as usize);
        if magic == 0 && size == 0 {
            return found.ok_or(Errno::EINVAL);
        }
        if size < 16 || size % 16 != 0 || size > records.len() - at {
            return Err(Errno::EINVAL);
        }
        match magic {
            FPSIMD_MAGIC if size == FPSIMD_SIZE && found.is_none() => {
                let mut v = [0; 32];
                for (index, register) in v.iter_mut().enumerate() {
                    let base = at + 16 + index * 16;
                    *register = u128::from(get_u64(records, base)) | u128::from(get_u64(records, base + 8)) << 64;
                }
                found = Some(Vectors { fpsr: get_u32(records, at + 8), fpcr: get_u32(records, at + 12), v });
            }
            ESR_MAGIC => {}
            _ => return Err(Errno::EINVAL),
        }
        at += size;
    }
    Err(Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(seed: u64) -> (Context, Vectors) {
        let mut regs = [0; 31];
        for (index, reg) in regs.iter_mut().enumerate() {
            *reg = seed.wrapping_mul(index as u64 + 3);
        }
        let mut v = [0; 32];
        for (index, register) in v.iter_mut().enumerate() {
            *register = u128::from(seed) << 64 | index as u128;
        }
        let context = Context { regs, sp: 0x7fff_0000, pc: 0x40_1000, pstate: 0x6000_0000, fault_address: 0, esr: 0 };
        (context, Vectors { fpsr: 0x10, fpcr: 0x20, v })
    }

    #[test]
    fn layout_is_linux() {
        // offsetof() values of <ucontext.h> on arm64, siginfo first.
        assert_eq!((MASK, MCONTEXT, RECORDS, FRAME_SIZE), (128 + 40, 128 + 176, 128 + 464, 128 + 4560));
        let placement = place(0x8000_0008).unwrap();
        assert_eq!(placement.sp % 16, 0);
        assert_eq!(placement.record, 0x7fff_fff0);
        assert!(place(100).is_none());
        let (context, vectors) = sample(5);
        let info =
            SigInfo { signal: Signal::SEGV, code: flags::SEGV_MAPERR, origin: Origin::Fault { address: 0x1234 } };
        let frame = Frame { info, mask: SigSet(0xf0), stack: SigStack::DISABLED, context, vectors: &vectors };
        let bytes = frame.to_bytes();
        assert_eq!(get_u32(&bytes, 0), 11);
        assert_eq!(get_u64(&bytes, 16), 0x1234);
        assert_eq!(get_u32(&bytes, RECORDS), FPSIMD_MAGIC);
    }

    #[test]
    fn children_and_senders_are_told() {
        let origin = Origin::Child { pid: 7, uid: 1000, status: 3, user_ticks: 1, system_ticks: 2 };
        let bytes = SigInfo { signal: Signal::CHLD, code: flags::CLD_EXITED, origin }.to_bytes();
        assert_eq!((get_u32(&bytes, 0), get_u32(&bytes, 8), get_u32(&bytes, 16), get_u32(&bytes, 24)), (17, 1, 7, 3));
        let origin = Origin::Process { pid: 9, uid: 1, value: 0xdead };
        let sent = SigInfo { signal: Signal::USR1, code: flags::SI_QUEUE, origin };
        assert_eq!(SigInfo::queued(Signal::USR1, &sent.to_bytes()), Some(sent));
        let forged = SigInfo { signal: Signal::USR1, code: flags::SI_USER, origin };
        assert_eq!(SigInfo::queued(Signal::USR1, &forged.to_bytes()), None, "a program may not pose as the kernel");
    }

    #[test]
    fn a_frame_without_vectors_is_refused() {
        let (context, vectors) = sample(1);
        let frame = Frame {
            info: SigInfo::kernel(Signal::INT),
            mask: SigSet::EMPTY,
            stack: SigStack::DISABLED,
            context,
            vectors: &vectors,
        };
        let mut bytes = frame.to_bytes();
        put(&mut bytes, RECORDS, [0; 8]);
        assert_eq!(restore(&bytes), Err(Errno::EINVAL));
    }

    #[test]
    fn sets() {
        let set = SigSet::of(Signal::TERM).with(Signal::HUP).with(Signal::SEGV);
        assert_eq!(set.first(), Some(Signal::SEGV), "own faults go first");
        assert_eq!(set.without(SigSet::SYNCHRONOUS).first(), Some(Signal::HUP));
        assert_eq!(SigSet::EMPTY.first(), None);
        assert!(Signal::new(0).is_none() && Signal::new(65).is_none());
        assert_eq!(Signal::new(64).unwrap().index(), 63);
    }

    proptest! {
        #[test]
        fn frames_round_trip(seed in any::<u64>(), mask in any::<u64>(), esr in any::<u64>()) {
            let (mut context, vectors) = sample(seed);
            context.esr = esr;
            let stack = SigStack { base: seed, flags: 0, pad: 0, size: 8192 };
            let frame = Frame { info: SigInfo::kernel(Signal::INT), mask: SigSet(mask), stack, context, vectors: &vectors };
            let back = restore(&frame.to_bytes()).unwrap();
            context.esr = 0;
            prop_assert_eq!(back, Restored { context, vectors, mask: SigSet(mask), stack });
        }

        #[test]
        fn any_bytes_are_survived(noise in prop::collection::vec(any::<u8>(), FRAME_USED - RECORDS), seed in any::<u64>()) {
            let (context, vectors) = sample(seed);
            let info = SigInfo::kernel(Signal::INT);
            let mut bytes = Frame { info, mask: SigSet::EMPTY, stack: SigStack::DISABLED, context, vectors: &vectors }.to_bytes();
            bytes[RECORDS..].copy_from_slice(&noise);
            let _ = restore(&bytes);
        }
    }
}
