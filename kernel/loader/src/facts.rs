//! What the firmware knows and the kernel is told.

use bootinfo::{Date, Framebuffer, MapFull, MemoryMap, RegionKind};
use uefi::boot::{self, MemoryAttribute, MemoryDescriptor, MemoryType, OpenProtocolAttributes, OpenProtocolParams};
use uefi::proto::console::gop::{GraphicsOutput, PixelFormat};
use uefi::proto::rng::Rng;
use uefi::table::cfg::ConfigTableEntry;
use uefi::{Guid, guid, runtime, system};

/// Flattened device tree (Embedded Base Boot Requirements 2.1, section 2.4.1).
const FDT_GUID: Guid = guid!("b1b621d5-f19c-41a5-830b-d9152c69aae0");
/// First four bytes of an FDT, and the largest one believed (Devicetree Specification 0.4, section 5.2).
const FDT_MAGIC: u32 = 0xd00d_feed;
const FDT_BYTES_MAX: u32 = 2 << 20;

/// The firmware's tables: 0 when absent.
#[derive(Default)]
pub struct Tables {
    /// ACPI 2.0 root pointer.
    pub rsdp: u64,
    /// Flattened device tree.
    pub fdt: u64,
    /// Bytes of it.
    pub fdt_length: u64,
}

impl Tables {
    /// From the configuration table.
    pub fn find() -> Self {
        let find = |guid: Guid| {
            system::with_config_table(|entries: &[ConfigTableEntry]| {
                entries.iter().find(|entry| entry.guid == guid).map_or(0, |entry| entry.address as u64)
            })
        };
        let (rsdp, fdt) = (find(ConfigTableEntry::ACPI2_GUID), find(FDT_GUID));
        let fdt_length = fdt_length(fdt);
        Self { rsdp, fdt: if fdt_length > 0 { fdt } else { 0 }, fdt_length }
    }
}

/// What the tree's header says; 0 when there is no tree that can be believed.
fn fdt_length(address: u64) -> u64 {
    if address == 0 || !address.is_multiple_of(8) {
        return 0;
    }
    // SAFETY: the firmware says that a tree lies here, in memory that is mapped at its physical address; its header has 40 bytes
    // and nothing writes to it.
    let [magic, length] = unsafe { (address as *const [u32; 2]).read() }.map(u32::from_be);
    if magic == FDT_MAGIC && length <= FDT_BYTES_MAX { u64::from(length) } else { 0 }
}

/// The screen as the firmware set it, when it can be written to directly.
pub fn framebuffer() -> Framebuffer {
    let Ok(handle) = boot::get_handle_for_protocol::<GraphicsOutput>() else { return Framebuffer::default() };
    let params = OpenProtocolParams { handle, agent: boot::image_handle(), controller: None };
    // SAFETY: read only, beside the console driver, and closed before anything could remove the device.
    let Ok(mut gop) = (unsafe { boot::open_protocol::<GraphicsOutput>(params, OpenProtocolAttributes::GetProtocol) })
    else {
        return Framebuffer::default();
    };
    let mode = gop.current_mode_info();
    let format = match mode.pixel_format() {
        PixelFormat::Rgb => 1,
        PixelFormat::Bgr => 2,
        PixelFormat::Bitmask | PixelFormat::BltOnly => return Framebuffer::default(),
    };
    let (width, height) = mode.resolution();
    let mut memory = gop.frame_buffer();
    Framebuffer {
        base: memory.as_mut_ptr() as u64,
        size: memory.size() as u64,
        width: width as u32,
        height: height as u32,
        stride: mode.stride() as u32,
        format,
    }
}

/// Random bytes from EFI_RNG_PROTOCOL. How many came: all or none.
pub fn entropy(into: &mut [u8; 64]) -> u32 {
    let source = boot::get_handle_for_protocol::<Rng>().and_then(boot::open_protocol_exclusive::<Rng>);
    match source.and_then(|mut rng| rng.get_rng(None, into)) {
        Ok(()) => into.len() as u32,
        Err(_) => 0,
    }
}

/// What the firmware's clock shows, in seconds since 1970; 0: it has none, or shows no date.
pub fn time() -> u64 {
    let Ok(time) = runtime::get_time() else { return 0 };
    let date = Date {
        year: time.year(),
        month: time.month(),
        day: time.day(),
        hour: time.hour(),
        minute: time.minute(),
        second: time.second(),
        // Local time = UTC - zone (UEFI 2.10, section 8.3.1). A clock of no zone is taken to show UTC.
        offset_minutes: time.time_zone().unwrap_or(0),
    };
    date.seconds().unwrap_or(0)
}

/// Enters the firmware's regions into a map (UEFI 2.10, section 7.2.3; what may be done with each after the exit: table 7.10).
pub fn add_regions<'a>(
    map: &mut MemoryMap<'_>,
    descriptors: impl Iterator<Item = &'a MemoryDescriptor>,
) -> Result<(), MapFull> {
    for descriptor in descriptors {
        let length = descriptor.page_count.saturating_mul(bootinfo::PAGE);
        map.set(descriptor.phys_start, length, kind_of(descriptor))?;
    }
    Ok(())
}

fn kind_of(descriptor: &MemoryDescriptor) -> RegionKind {
    match descriptor.ty {
        // Memory that cannot be cached is not memory for us.
        MemoryType::CONVENTIONAL if descriptor.att.contains(MemoryAttribute::WRITE_BACK) => RegionKind::Usable,
        MemoryType::LOADER_CODE
        | MemoryType::LOADER_DATA
        | MemoryType::BOOT_SERVICES_CODE
        | MemoryType::BOOT_SERVICES_DATA => RegionKind::Loader,
        MemoryType::ACPI_RECLAIM => RegionKind::AcpiTables,
        MemoryType::ACPI_NON_VOLATILE => RegionKind::AcpiNvs,
        MemoryType::RUNTIME_SERVICES_CODE | MemoryType::RUNTIME_SERVICES_DATA => RegionKind::RuntimeServices,
        MemoryType::MMIO | MemoryType::MMIO_PORT_SPACE => RegionKind::Device,
        _ => RegionKind::Reserved,
    }
}
