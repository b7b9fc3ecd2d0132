//! The vectors are QEMU 7.2's own tables, linked as a firmware links them (tests/system/hardwaremap/firmware.py), as
//! they lie at 0x4100_0000 with the RSDP first.
use super::*;
use proptest::prelude::*;
use std::boxed::Box;
use std::string::ToString;
use std::vec::Vec;

const GIC2_4: &[u8] = include_bytes!("../../../tests/vectors/platform/gic2-4.acpi");
const GIC3_2: &[u8] = include_bytes!("../../../tests/vectors/platform/gic3-2.acpi");
const GIC3_EL2_8: &[u8] = include_bytes!("../../../tests/vectors/platform/gic3-el2-8.acpi");
const BASE: u64 = 0x4100_0000;

struct Image<'a>(&'a [u8]);

impl PhysicalMemory for Image<'_> {
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        let start = usize::try_from(address.checked_sub(BASE)?).ok()?;
        self.0.get(start..start.checked_add(length)?)
    }
}

fn read(image: &[u8]) -> Result<Box<Platform>, Error> {
    let mut platform = Box::new(Platform::new());
    platform.read_acpi(BASE, &Image(image)).map(|()| platform)
}

fn find(image: &[u8], signature: &[u8; 4]) -> usize {
    let is_table = |at: usize| {
        let length = Fields(image).u32(at + 4).unwrap_or(0) as usize;
        image.get(at..at + length).is_some_and(|table| length >= HEADER_LENGTH && sum(table) == 0)
    };
    (0..image.len() - 4).find(|at| image[*at..].starts_with(signature) && is_table(*at)).expect("the vector has it")
}

/// The image with `edit` applied to one table, its checksum made right again.
fn altered(image: &[u8], signature: &[u8; 4], edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut image = image.to_vec();
    let start = find(&image, signature);
    let length = Fields(&image).u32(start + 4).unwrap() as usize;
    let table = &mut image[start..start + length];
    edit(table);
    table[9] = table[9].wrapping_sub(sum(table));
    image
}

#[test]
fn gic_v3_machine() {
    let platform = read(GIC3_2).unwrap();
    let gic = platform.gic.unwrap();
    assert_eq!((gic.version, gic.distributor, gic.cpu_interface), (GicVersion::V3, 0x800_0000, None));
    assert_eq!(gic.redistributors.as_slice(), [Region { base: 0x80a_0000, length: 0xf6_0000 }]);
    assert_eq!(gic.its.as_slice(), [0x808_0000]);
    assert_eq!(platform.cpus.iter().map(|cpu| cpu.mpidr).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(platform.source, Source::Acpi);
}

#[test]
fn gic_v2_machine() {
    let platform = read(GIC2_4).unwrap();
    let gic = platform.gic.unwrap();
    assert_eq!((gic.version, gic.distributor, gic.cpu_interface), (GicVersion::V2, 0x800_0000, Some(0x801_0000)));
    assert_eq!(gic.v2m, Some(GicV2m { base: 0x802_0000, spis: Some((80, 64)) }));
    assert_eq!(platform.cpus.len(), 4);
}

#[test]
fn devices_of_the_machine() {
    let platform = read(GIC3_2).unwrap();
    let level = |intid| Interrupt { intid, trigger: Trigger::Level };
    assert_eq!(platform.uart, Some(Uart { kind: UartKind::Pl011, base: 0x900_0000, interrupt: Some(level(33)) }));
    assert_eq!(platform.timer, Some(Timer { physical: level(30), virtual_: level(27) }));
    assert_eq!(platform.psci, Some(Psci { conduit: Conduit::Hvc, version: None }));
    assert!(platform.virtio_mmio.is_empty(), "only AML describes these");
    let ecam = &platform.ecams[0];
    assert_eq!((ecam.base, ecam.segment, ecam.bus_start, ecam.bus_end), (0x40_1000_0000, 0, 0, 255));
    assert_eq!(platform.ignored, 0);
}

#[test]
fn el2_machine_calls_psci_by_smc() {
    let platform = read(GIC3_EL2_8).unwrap();
    assert_eq!(platform.psci.unwrap().conduit, Conduit::Smc);
    assert_eq!(platform.cpus.len(), 8);
}

#[test]
fn ecam_that_starts_at_a_later_bus() {
    let image = altered(GIC3_2, b"MCFG", |table| table[44 + 10] = 2);
    let platform = read(&image).unwrap();
    assert_eq!((platform.ecams[0].base, platform.ecams[0].bus_start), (0x40_1020_0000, 2));
}

#[test]
fn gicc_redistributors_when_there_is_no_gicr() {
    let image = altered(GIC3_2, b"APIC", |table| {
        for (cpu, entry) in [(0_u64, 0x44), (1, 0x94)] {
            table[entry + 60..entry + 68].copy_from_slice(&(0x80a_0000 + cpu * 0x2_0000).to_le_bytes());
        }
        table[0xe4] = 0x7f; // the GICR structure becomes one that nobody knows
    });
    let platform = read(&image).unwrap();
    assert!(platform.gic.unwrap().redistributors.is_empty());
    assert_eq!(platform.cpus[1].redistributor, Some(0x80c_0000));
}

#[test]
fn disabled_cpu_is_listed_and_not_enabled() {
    let platform = read(&altered(GIC3_2, b"APIC", |table| table[0x94 + 12] = 0)).unwrap();
    assert_eq!(platform.cpus.iter().map(|cpu| cpu.enabled).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn every_checksum_is_verified() {
    for signature in [b"XSDT", b"APIC", b"GTDT", b"FACP", b"SPCR", b"MCFG"] {
        let mut image = GIC3_2.to_vec();
        let at = find(&image, signature);
        image[at + 10] ^= 1;
        assert_eq!(read(&image).unwrap_err(), Error::Malformed { table: *signature, why: "checksum" });
    }
    for (at, why) in [(9, "checksum"), (24, "extended checksum")] {
        let mut image = GIC3_2.to_vec();
        image[at] ^= 1;
        assert_eq!(read(&image).unwrap_err(), Error::Malformed { table: *b"RSDP", why });
    }
}

#[test]
fn names_what_it_could_not_reach() {
    let error = read(&GIC3_2[..64]).unwrap_err().to_string();
    assert!(error.starts_with("ACPI XSDT: 0x410018fb is not readable memory"), "{error}");
    let mut platform = Platform::new();
    assert!(matches!(platform.read_acpi(u64::MAX - 8, &Image(GIC3_2)), Err(Error::Unreachable { .. })));
}

#[test]
fn madt_entry_that_overruns_the_table_is_refused() {
    let image = altered(GIC3_2, b"APIC", |table| table[0xf5] = 0xff);
    assert!(matches!(read(&image), Err(Error::Malformed { table: [b'A', b'P', b'I', b'C'], .. })));
}

#[test]
fn madt_entry_of_no_length_ends() {
    let image = altered(GIC3_2, b"APIC", |table| table[0xe4..0xe6].copy_from_slice(&[0x7f, 0]));
    let _ = read(&image);
}

proptest! {
    #[test]
    fn altered_tables_never_panic(
        table in prop::sample::select(std::vec![b"XSDT", b"APIC", b"GTDT", b"FACP", b"SPCR", b"MCFG"]),
        edits in prop::collection::vec((36_usize..800, any::<u8>()), 1..16),
    ) {
        let image = altered(GIC3_EL2_8, table, |table| {
            for (at, byte) in &edits {
                if let Some(target) = table.get_mut(*at) { *target = *byte; }
            }
        });
        let _ = read(&image);
    }

    #[test]
    fn noise_never_panics(edits in prop::collection::vec((0..GIC2_4.len(), any::<u8>()), 1..64)) {
        let mut image = GIC2_4.to_vec();
        for (at, byte) in &edits { image[*at] = *byte; }
        let _ = read(&image);
    }
}

#[test]
fn requesters_of_the_machine() {
    let platform = read(GIC3_2).unwrap();
    assert_eq!(platform.msi_maps.as_slice(), [crate::MsiMap { segment: 0, first: 0, last: 0xffff, output: 0 }]);
    assert!(platform.pci_lines.is_empty(), "only AML describes these");
}
