//! The order in which the kernel comes up.

use bootinfo::{BootInfo, MemoryMap, Region, RegionKind};
use release::{Header, SectionKind};

use crate::arch::{cpu, entry, smp, timer};
use crate::drivers::{console, rtc};
use crate::mm::kmap;
use crate::sync::Once;
use crate::{drivers, event, fs, lastboot, mm, panic, platform, process, sched};

/// Where the early console is until the firmware's tables have been read: QEMU's virt board.
const EARLY_UART: u64 = 0x0900_0000;
/// The most regions in the memory map.
const REGIONS_MAX: usize = frames::REGIONS_MAX;

static INFO: Once<BootInfo> = Once::new();

/// What the loader said; after a direct boot, what it would have said.
#[must_use]
pub fn info() -> &'static BootInfo {
    INFO.get().expect("filled at boot")
}

/// The first code in the high half, on the CPU that booted: way in (0 = flat image with an FDT, 1 = our loader), what x0 held, where the image lies,
/// and the exception level at entry.
pub extern "C" fn main(way: u64, argument: u64, physical_base: u64, level: u64) -> ! {
    cpu::init(0);
    kmap::init(physical_base);
    console::init_early(EARLY_UART);
    event!(
        "kernel.entry",
        way = if way == 0 { "image" } else { "loader" },
        el = level,
        version = env!("CARGO_PKG_VERSION"),
        build = option_env!("SWIFT_BUILD").unwrap_or("unknown")
    );
    take_memory(way, argument);
    prepare_panic();
    lastboot::announce();
    smp::start_this_cpu();
    drivers::init_interrupts();
    smp::register_interrupts();
    smp::announce();
    sched::spawn_kernel("boot", bring_up);
    sched::become_idle()
}

/// Fills the boot-info block and takes the memory that it names. This stack is the idle thread's later: what lies on it here must go.
#[inline(never)]
fn take_memory(way: u64, argument: u64) {
    let mut storage = [Region::default(); REGIONS_MAX];
    let regions = if way == 0 { direct_boot(argument, &mut storage) } else { loader_boot(argument, &mut storage) };
    mm::init(regions);
}

/// What a panic wants to know while everything still works: names of functions, and what the command line says.
fn prepare_panic() {
    let info = info();
    if info.symbols_length > 0
        && let Some(symbols) = kmap::map_bytes(info.symbols_start, info.symbols_length)
    {
        panic::set_symbols(symbols);
    }
    panic::set_policy(command_line(), is_from_slot(info));
}

fn is_from_slot(info: &BootInfo) -> bool {
    matches!(info.slot, bootinfo::slot::A | bootinfo::slot::B)
}

/// What the loader, or else the firmware's tables, told the kernel to do.
#[must_use]
pub fn command_line() -> &'static str {
    static LINE: Once<&'static str> = Once::new();
    LINE.get_or_init(|| {
        let info = info();
        let given = kmap::map_bytes(info.command_line, info.command_line_length).filter(|line| !line.is_empty());
        given.and_then(|line| core::str::from_utf8(line).ok()).unwrap_or(&platform::get().bootargs)
    })
}

/// What the command line says after `KEY=`; the first time that it names the key counts.
#[must_use]
pub fn option(key: &str) -> Option<&'static str> {
    command_line().split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

/// Mounts the base and what goes on top of it but persistent data, and gives the console to programs. What it needs of the stack is not held while drivers start.
#[inline(never)]
fn open_files() {
    let base = match fs::base::volume() {
        Ok(base) => base,
        Err(error) => {
            event!("base.failed", what = "base", why = error);
            return panic::restart_by_policy();
        }
    };
    match fs::mounts::mount_all(base) {
        Ok(()) => fs::tty::start_console(),
        Err(error) => {
            event!("base.failed", what = "mount", why = error);
            panic::restart_by_policy();
        }
    }
}

/// The rest of the boot, in a thread, with this CPU running threads and taking interrupts.
fn bring_up() {
    smp::start_others();
    drivers::init();
    panic::test();
    open_files();
    // Without persistent data the system is up all the same; who repairs it wants none.
    if info().flags & bootinfo::flag::RECOVERY == 0 {
        fs::data::mount();
    } else {
        event!("data.none", why = "recovery");
    }
    // What is left of the boot may take as long as what came before.
    drivers::watchdog::feed_for_boot();
    process::start_init();
}

/// Entered by the Linux boot protocol: fill the block that our loader would have made.
#[inline(never)]
fn direct_boot(fdt: u64, storage: &mut [Region]) -> &[Region] {
    let blob = platform::map_fdt(fdt).expect("x0 holds the address of an FDT");
    let machine = platform::init_fdt(blob);
    let mut info = BootInfo::empty();
    info.fdt = fdt;
    info.fdt_length = blob.len() as u64;
    info.kernel_start = kmap::physical_base();
    info.kernel_length = entry::image_size();
    (info.time, info.time_ticks) = (machine.rtc.map_or(0, rtc::seconds), timer::ticks());
    let seed = machine.rng_seed.as_slice();
    info.entropy[..seed.len()].copy_from_slice(seed);
    info.entropy_length = seed.len() as u32;
    let mut map = MemoryMap::new(storage);
    let mut set = |start, length, kind| map.set(start, length, kind).expect("room in the memory map");
    machine.memory.iter().for_each(|part| set(part.base, part.length, RegionKind::Usable));
    machine.reserved.iter().for_each(|part| set(part.base, part.length, RegionKind::Reserved));
    set(info.kernel_start, info.kernel_length, RegionKind::Kernel);
    if let Some(initrd) = machine.initrd {
        find_sections(&mut info, initrd.base, initrd.length);
        // The rest of a slot image, the kernel's ELF and the loader, is free memory now, as the FDT is.
        let kept = [
            (info.header_start, release::AREA_SIZE as u64),
            (info.erofs_start, info.erofs_length),
            (info.verity_start, info.verity_length),
            (info.symbols_start, info.symbols_length),
        ];
        kept.into_iter()
            .filter(|(start, _)| *start != 0)
            .for_each(|(start, length)| set(start, length, RegionKind::Base));
    }
    let _ = INFO.set(info);
    let count = map.regions().len();
    &storage[..count]
}

/// The parts of a slot image in RAM.
fn find_sections(info: &mut BootInfo, start: u64, length: u64) {
    let bytes = kmap::map_bytes(start, release::HEADER_SIZE as u64).expect("room for a window");
    let header = match Header::parse(bytes) {
        Ok(header) => header,
        Err(error) => return event!("base.error", what = "initrd is no slot image", why = error),
    };
    info.header_start = start;
    let place = |kind| {
        let section = header.section(kind).filter(|section| section.offset + section.length <= length)?;
        Some((start + section.offset, section.length))
    };
    if let Some((start, length)) = place(SectionKind::Erofs) {
        (info.erofs_start, info.erofs_length) = (start, length);
    }
    if let Some((start, length)) = place(SectionKind::Verity) {
        (info.verity_start, info.verity_length) = (start, length);
    }
    if let Some((start, length)) = place(SectionKind::Symbols) {
        (info.symbols_start, info.symbols_length) = (start, length);
    }
}

/// Entered by our loader, with its block.
#[inline(never)]
fn loader_boot(block: u64, storage: &mut [Region]) -> &[Region] {
    let bytes = |start, length| kmap::map_bytes(start, length as u64).expect("room for a window");
    let mut info: BootInfo = kmap::read_plain(bytes(block, size_of::<BootInfo>()), 0).expect("a whole block");
    info.keep_known();
    info.check().unwrap_or_else(|error| panic!("boot-info block at {block:#x}: {error}"));
    // A panic from here on starts the machine again as soon as it is known how; the command line may say otherwise later.
    panic::set_policy("", is_from_slot(&info));
    let count = info.memory_map_count as usize;
    assert!(count <= storage.len(), "memory map of {count} regions; {} are the most", storage.len());
    let map = bytes(info.memory_map, count * size_of::<Region>());
    for (index, region) in storage[..count].iter_mut().enumerate() {
        *region = kmap::read_plain(map, index).expect("inside the map");
    }
    bootinfo::check_memory_map(&storage[..count]).unwrap_or_else(|error| panic!("memory map: {error}"));
    lastboot::begin(&info, &storage[..count]);
    if info.rsdp != 0 && info.fdt == 0 {
        platform::init_acpi(info.rsdp, &storage[..count]);
    } else {
        let blob = platform::map_fdt(info.fdt).expect("the boot-info block names an FDT or the ACPI tables");
        platform::init_fdt(blob);
    }
    let _ = INFO.set(info);
    &storage[..count]
}
