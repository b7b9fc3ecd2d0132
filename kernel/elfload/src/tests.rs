//! Files are built here field by field, so that each test changes exactly one thing.

use super::*;
use proptest::prelude::*;

const USER: Range<u64> = 0x1000..0x1_0000_0000_0000;

#[derive(Clone)]
struct Load {
    kind: u32,
    flags: u32,
    offset: u64,
    vaddr: u64,
    paddr: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

/// Text and data as GNU ld lays out Debian's busybox-static: 64 KiB alignment, data at an odd offset.
fn text() -> Load {
    Load {
        kind: PT_LOAD,
        flags: PF_R | PF_X,
        offset: 0,
        vaddr: 0x40_0000,
        paddr: 0x40_0000,
        file_size: 0x1_e000,
        memory_size: 0x1_e000,
        align: 0x1_0000,
    }
}

fn data() -> Load {
    Load {
        flags: PF_R | PF_W,
        offset: 0x1_fe10,
        vaddr: 0x42_fe10,
        paddr: 0x42_fe10,
        file_size: 0x200,
        memory_size: 0x8000,
        ..text()
    }
}

fn special(kind: u32, base: Load) -> Load {
    Load { kind, align: 8, ..base }
}

fn file(loads: &[Load]) -> Vec<u8> {
    let mut out = vec![0; HEADER_SIZE];
    out[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x00");
    out[16..18].copy_from_slice(&ET_EXEC.to_le_bytes());
    out[18..20].copy_from_slice(&EM_AARCH64.to_le_bytes());
    out[24..32].copy_from_slice(&0x40_0400u64.to_le_bytes());
    out[32..40].copy_from_slice(&64u64.to_le_bytes());
    out[54..56].copy_from_slice(&56u16.to_le_bytes());
    out[56..58].copy_from_slice(&(loads.len() as u16).to_le_bytes());
    for load in loads {
        out.extend(load.kind.to_le_bytes());
        out.extend(load.flags.to_le_bytes());
        for field in [load.offset, load.vaddr, load.paddr, load.file_size, load.memory_size, load.align] {
            out.extend(field.to_le_bytes());
        }
    }
    out
}

fn plan_of(loads: &[Load]) -> Result<Plan, ElfError> {
    plan(&file(loads), 0x4_0000, USER)
}

#[test]
fn a_static_program_with_64_kib_segments_has_a_plan() {
    let tls = Load { file_size: 0x10, memory_size: 0x40, ..special(PT_TLS, data()) };
    let stack = Load { flags: PF_R | PF_W, ..special(PT_GNU_STACK, text()) };
    let plan = plan_of(&[text(), data(), tls, stack]).unwrap();
    assert_eq!(plan.kind, Kind::Fixed);
    assert_eq!(plan.segments.len(), 2);
    assert_eq!(plan.segments[1].pages(), 0x42_f000..0x43_8000);
    assert_eq!(plan.pages(), 0x40_0000..0x43_8000);
    assert_eq!(plan.program_headers, Some(0x40_0040));
    assert_eq!(plan.program_header_count, 4);
    assert_eq!(plan.tls, Some(Tls { vaddr: 0x42_fe10, file_size: 0x10, memory_size: 0x40, align: 8 }));
    assert!(!plan.executable_stack && plan.interpreter.is_none());
    assert_eq!(plan.align, 0x1_0000);
}

#[test]
fn interpreter_stack_and_program_headers_are_reported() {
    let interp = Load { offset: 0x300, file_size: 27, ..special(PT_INTERP, text()) };
    let phdr = Load { offset: 64, vaddr: 0x40_0040, ..special(PT_PHDR, text()) };
    let stack = Load { flags: PF_R | PF_W | PF_X, ..special(PT_GNU_STACK, text()) };
    let mut bytes = file(&[phdr, interp, text(), stack]);
    bytes[16..18].copy_from_slice(&ET_DYN.to_le_bytes());
    let plan = plan(&bytes, 0x4_0000, USER).unwrap();
    assert_eq!(plan.kind, Kind::Relocatable);
    assert_eq!(plan.interpreter, Some(0x300..0x31b));
    assert!(plan.executable_stack);
}

#[test]
fn each_wrong_byte_of_the_header_is_named() {
    let table: [(usize, u8, ElfError); 9] = [
        (0, 0, ElfError::Magic([0, b'E', b'L', b'F'])),
        (4, 1, ElfError::Class(1)),
        (5, 2, ElfError::ByteOrder(2)),
        (6, 0, ElfError::Version(0)),
        (7, 9, ElfError::OsAbi(9)),
        (16, 1, ElfError::Type(1)),
        (18, 62, ElfError::Machine(62)),
        (54, 55, ElfError::ProgramHeaders { count: 1, size: 55 }),
        (56, 65, ElfError::ProgramHeaders { count: 65, size: 56 }),
    ];
    for (at, value, error) in table {
        let mut bytes = file(&[text()]);
        bytes[at] = value;
        assert_eq!(plan(&bytes, 0x4_0000, USER), Err(error));
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn a_file_cut_anywhere_is_truncated() {
    let bytes = file(&[text(), data()]);
    for length in 0..bytes.len() {
        let result = plan(&bytes[..length], 0x4_0000, USER);
        assert!(matches!(result, Err(ElfError::Truncated { .. })), "{length}: {result:?}");
    }
    let short = plan(&bytes, 0x1_0000, USER);
    assert!(matches!(short, Err(ElfError::BeyondFile { index: 0, .. })), "{short:?}");
}

#[test]
fn unsound_segments_are_refused_by_kind() {
    let wx = Load { flags: PF_R | PF_W | PF_X, ..data() };
    assert_eq!(plan_of(&[text(), wx]), Err(ElfError::WritableAndExecutable { index: 1, vaddr: 0x42_fe10 }));
    let wraps = Load { vaddr: 0xffff_ffff_ffff_fe10, memory_size: 0x8000, ..data() };
    assert!(matches!(plan_of(&[text(), wraps]), Err(ElfError::OutOfRange { index: 1, .. })));
    let wraps_physically = Load { paddr: 0xffff_ffff_ffff_fe10, ..data() };
    assert!(matches!(plan_of(&[text(), wraps_physically]), Err(ElfError::OutOfRange { index: 1, .. })));
    let low = Load { vaddr: 0, ..text() };
    assert!(matches!(plan_of(&[low]), Err(ElfError::OutOfRange { index: 0, .. })));
    let overlaps = Load { vaddr: 0x40_fe10, paddr: 0x40_fe10, ..data() };
    assert_eq!(plan_of(&[text(), overlaps]), Err(ElfError::Overlap { index: 1, vaddr: 0x40_fe10 }));
    // Not one byte in common, but one page.
    let same_page = Load { offset: 0x1_e800, vaddr: 0x41_e800, paddr: 0x41_e800, align: 0x1000, ..data() };
    assert!(plan_of(&[text(), same_page.clone()]).is_ok());
    let longer = Load { file_size: 0x1_e100, memory_size: 0x1_e100, ..text() };
    assert_eq!(plan_of(&[longer, same_page]), Err(ElfError::Overlap { index: 1, vaddr: 0x41_e800 }));
    assert_eq!(plan_of(&[data(), text()]), Err(ElfError::Order { index: 1, vaddr: 0x40_0000 }));
    let shrinks = Load { memory_size: 0x1ff, ..data() };
    assert!(matches!(plan_of(&[text(), shrinks]), Err(ElfError::LargerInFile { index: 1, .. })));
    let odd = Load { align: 3, ..data() };
    assert_eq!(plan_of(&[text(), odd]), Err(ElfError::Alignment { index: 1, align: 3 }));
    let skewed = Load { offset: 0x1_fe18, ..data() };
    assert!(matches!(plan_of(&[text(), skewed]), Err(ElfError::NotCongruent { index: 1, .. })));
    let huge = Load { offset: u64::MAX - 0xf_ffff, file_size: u64::MAX, memory_size: u64::MAX, ..text() };
    assert!(matches!(plan_of(&[huge]), Err(ElfError::BeyondFile { index: 0, .. })));
}

#[test]
fn the_entry_must_be_an_instruction_of_an_executable_segment() {
    let entry_at = |entry: u64| {
        let mut bytes = file(&[text(), data()]);
        bytes[24..32].copy_from_slice(&entry.to_le_bytes());
        plan(&bytes, 0x4_0000, USER)
    };
    assert!(entry_at(0x40_0000).is_ok());
    assert!(entry_at(0x41_dffc).is_ok());
    for entry in [0, 0x3f_fffc, 0x40_0002, 0x41_e000, 0x42_fe10, u64::MAX - 3] {
        assert_eq!(entry_at(entry), Err(ElfError::Entry(entry)));
    }
    assert_eq!(plan_of(&[special(PT_GNU_STACK, text())]), Err(ElfError::NothingToLoad));
}

#[test]
fn special_headers_are_checked_too() {
    let interp = Load { offset: 0x300, file_size: 27, ..special(PT_INTERP, text()) };
    assert_eq!(
        plan_of(&[interp.clone(), interp.clone(), text()]),
        Err(ElfError::Twice { index: 1, what: "PT_INTERP" })
    );
    let long = Load { file_size: 4097, ..interp };
    assert_eq!(plan_of(&[long, text()]), Err(ElfError::InterpreterLength { index: 0, size: 4097 }));
    let tls = special(PT_TLS, data());
    assert_eq!(plan_of(&[text(), tls.clone()]), Err(ElfError::TlsNotLoaded { vaddr: 0x42_fe10, size: 0x200 }));
    let wide = Load { align: 0x2000, ..tls };
    assert_eq!(plan_of(&[text(), wide]), Err(ElfError::Alignment { index: 1, align: 0x2000 }));
    let phdr = Load { vaddr: 0x40_0048, ..special(PT_PHDR, text()) };
    assert_eq!(plan_of(&[phdr, text()]), Err(ElfError::ProgramHeadersElsewhere { index: 0, vaddr: 0x40_0048 }));
    let many: Vec<_> = (0..17)
        .map(|i| Load { vaddr: 0x40_0000 + i * 0x10_0000, paddr: 0x40_0000 + i * 0x10_0000, ..text() })
        .collect();
    assert_eq!(plan_of(&many), Err(ElfError::TooManySegments { index: 16 }));
}

#[test]
fn a_kernel_plan_is_bounded_by_its_own_range() {
    let high = 0xffff_8000_0000_0000;
    let load = Load { vaddr: high, paddr: 0x4000_0000, ..text() };
    let mut bytes = file(&[load]);
    bytes[24..32].copy_from_slice(&high.to_le_bytes());
    assert!(plan(&bytes, 0x4_0000, high..high + 0x10_0000).is_ok());
    assert!(matches!(plan(&bytes, 0x4_0000, USER), Err(ElfError::OutOfRange { .. })));
}

/// What the crate's first page promises, checked without looking at how it was reached.
fn promises_hold(plan: &Plan, file_length: u64, allowed: &Range<u64>) {
    let mut free_from = 0;
    for segment in &plan.segments {
        assert!(segment.file_offset + segment.file_size <= file_length);
        assert!(segment.memory_size >= segment.file_size && segment.memory_size > 0);
        assert!(segment.pages().start >= allowed.start && segment.pages().end <= allowed.end);
        assert!(segment.pages().start >= free_from);
        assert!(!(segment.protection.write && segment.protection.execute));
        assert_eq!(segment.vaddr % PAGE, segment.file_offset % PAGE);
        free_from = segment.pages().end;
    }
    assert!(plan.segments.iter().any(|s| s.protection.execute && s.range().contains(&plan.entry)));
}

proptest! {
    #[test]
    fn any_change_of_a_good_file_keeps_the_promises_or_is_refused(
        changes in prop::collection::vec((0usize..400, any::<u8>()), 1..6), file_length in 0u64..0x5_0000
    ) {
        let tls = Load { file_size: 0x10, ..special(PT_TLS, data()) };
        let interp = Load { offset: 0x300, file_size: 27, ..special(PT_INTERP, text()) };
        let mut bytes = file(&[text(), data(), tls, interp]);
        for (at, value) in changes {
            let length = bytes.len();
            bytes[at % length] = value;
        }
        if let Ok(plan) = plan(&bytes, file_length, USER) {
            promises_hold(&plan, file_length, &USER);
        }
    }
}
