//! ID registers as user programs see them. HWCAP_CPUID promises that EL0 may read them; the reads trap, and what they get are only
//! features whose state the kernel keeps for each thread: no SVE, SME, pointer authentication, memory tagging
//! (Linux, Documentation/arch/arm64/cpu-feature-registers.rst).

use super::trap::TrapFrame;
use super::{sysreg, user};

/// A read of the identification space (op0 3, op1 0, CRn 0): CRm, op2 and Rt.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    crm: u64,
    op2: u64,
    rt: usize,
}

/// The read that trapped as exception class 0x18, from its ISS (Arm ARM, D19.2.37).
fn from_syndrome(esr: u64) -> Option<Read> {
    let iss = esr & 0x1ff_ffff;
    let is_read = iss & 1 == 1;
    let (op0, op1, crn) = (iss >> 20 & 3, iss >> 14 & 7, iss >> 10 & 15);
    (is_read && op0 == 3 && op1 == 0 && crn == 0).then_some(Read {
        crm: iss >> 1 & 15,
        op2: iss >> 17 & 7,
        rt: (iss >> 5 & 31) as usize,
    })
}

/// The read that was undefined, as it is without FEAT_IDST: from the instruction (Arm ARM, C6.2.228).
fn from_instruction(word: u32) -> Option<Read> {
    const MRS_ID_SPACE: u32 = 0xd538_0000;
    (word & 0xffff_f000 == MRS_ID_SPACE).then_some(Read {
        crm: u64::from(word >> 8 & 15),
        op2: u64::from(word >> 5 & 7),
        rt: (word & 31) as usize,
    })
}

/// Keeps the 4-bit fields at these bit positions.
fn fields(value: u64, positions: &[u32]) -> u64 {
    positions.iter().fold(0, |kept, position| kept | value & 15 << position)
}

/// MIDR_EL1: who made this CPU, and which it is.
#[must_use]
pub fn main_id() -> u64 {
    sysreg::read!(MIDR_EL1)
}

/// ID_AA64ISAR0_EL1: AES, SHA1, SHA2, CRC32, atomics, RDM, SHA3, SM3, SM4, DP, FHM, TS.
#[must_use]
pub fn isar0() -> u64 {
    fields(sysreg::read!(ID_AA64ISAR0_EL1), &[4, 8, 12, 16, 20, 28, 32, 36, 40, 44, 48, 52])
}

/// ID_AA64ISAR1_EL1: DPB, JSCVT, FCMA, LRCPC, FRINTTS, SB, BF16, DGH, I8MM.
#[must_use]
pub fn isar1() -> u64 {
    fields(sysreg::read!(ID_AA64ISAR1_EL1), &[0, 12, 16, 20, 32, 36, 44, 48, 52])
}

/// ID_AA64PFR0_EL1: FP and AdvSIMD as they are, EL0 and EL1 AArch64 only, DIT.
#[must_use]
pub fn pfr0() -> u64 {
    fields(sysreg::read!(ID_AA64PFR0_EL1), &[16, 20, 48]) | 0x11
}

/// Answers the read that trapped. False: it is none that a user may do.
pub fn emulate(frame: &mut TrapFrame, esr: u64) -> bool {
    let is_undefined = esr >> 26 == 0;
    let read = if is_undefined { user::load_word(frame.pc).and_then(from_instruction) } else { from_syndrome(esr) };
    let Some(read) = read else { return false };
    let value = match (read.crm, read.op2) {
        (0, 0) => sysreg::read!(MIDR_EL1),
        (0, 5) => 0x8000_0000,
        (0, 6) => sysreg::read!(REVIDR_EL1),
        (4, 0) => pfr0(),
        (6, 0) => isar0(),
        (6, 1) => isar1(),
        (1..=7, _) => 0,
        _ => return false,
    };
    if let Some(register) = frame.x.get_mut(read.rt) {
        *register = value;
    }
    frame.pc += 4;
    true
}
