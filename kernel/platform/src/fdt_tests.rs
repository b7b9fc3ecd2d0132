//! The vectors are QEMU 7.2's own DTBs (`-M virt,…,dumpdtb=`), repacked by dtc without their padding.
use super::*;
use crate::MsiMap;
use proptest::prelude::*;
use std::boxed::Box;
use std::string::ToString;
use std::vec::Vec;

const GIC2_1: &[u8] = include_bytes!("../../../tests/vectors/platform/gic2-1.dtb");
const GIC2_8: &[u8] = include_bytes!("../../../tests/vectors/platform/gic2-8.dtb");
const GIC3_2: &[u8] = include_bytes!("../../../tests/vectors/platform/gic3-2.dtb");
const GIC3_8: &[u8] = include_bytes!("../../../tests/vectors/platform/gic3-8.dtb");
const GIC3_EL2_2: &[u8] = include_bytes!("../../../tests/vectors/platform/gic3-el2-2.dtb");

fn read(blob: &[u8]) -> Result<Box<Platform>, Error> {
    let mut platform = Box::new(Platform::new());
    platform.read_fdt(blob).map(|()| platform)
}

/// `blob` with the first occurrence of `from` replaced by as many bytes.
fn patched(blob: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = blob.windows(from.len()).position(|window| window == from).expect("the vector has these bytes");
    let mut blob = blob.to_vec();
    blob[at..at + to.len()].copy_from_slice(to);
    blob
}

#[test]
fn gic_v2_board() {
    let platform = read(GIC2_1).unwrap();
    let gic = platform.gic.unwrap();
    assert_eq!((gic.version, gic.distributor, gic.cpu_interface), (GicVersion::V2, 0x800_0000, Some(0x801_0000)));
    assert_eq!(gic.v2m, Some(GicV2m { base: 0x802_0000, spis: None }));
    assert!(gic.redistributors.is_empty() && gic.its.is_empty());
    assert_eq!(platform.cpus.len(), 1);
    assert_eq!(read(GIC2_8).unwrap().cpus.len(), 8);
}

#[test]
fn gic_v3_board() {
    let platform = read(GIC3_8).unwrap();
    let gic = platform.gic.unwrap();
    assert_eq!((gic.version, gic.distributor, gic.cpu_interface), (GicVersion::V3, 0x800_0000, None));
    assert_eq!(gic.redistributors.as_slice(), [Region { base: 0x80a_0000, length: 0xf6_0000 }]);
    assert_eq!(gic.its.as_slice(), [0x808_0000]);
    let mpidrs: Vec<u64> = platform.cpus.iter().map(|cpu| cpu.mpidr).collect();
    assert_eq!(mpidrs, (0..8).collect::<Vec<u64>>());
    assert!(platform.cpus.iter().all(|cpu| cpu.enabled));
}

#[test]
fn devices_of_the_board() {
    let platform = read(GIC3_2).unwrap();
    let level = |intid| Interrupt { intid, trigger: Trigger::Level };
    assert_eq!(platform.uart, Some(Uart { kind: UartKind::Pl011, base: 0x900_0000, interrupt: Some(level(33)) }));
    assert_eq!(platform.rtc, Some(0x901_0000));
    assert_eq!(platform.timer, Some(Timer { physical: level(30), virtual_: level(27) }));
    assert_eq!(platform.psci, Some(Psci { conduit: Conduit::Hvc, version: Some((1, 0)) }));
    assert_eq!(platform.virtio_mmio.len(), 32);
    let slot = platform.virtio_mmio[31];
    assert_eq!(slot.registers, Region { base: 0xa00_3e00, length: 0x200 });
    assert_eq!(slot.interrupt, Interrupt { intid: 79, trigger: Trigger::Edge });
    assert_eq!(platform.memory.as_slice(), [Region { base: 0x4000_0000, length: 0x4000_0000 }]);
    assert_eq!(platform.rng_seed.len(), 32);
    assert_eq!((platform.initrd, platform.bootargs.as_str(), platform.ignored), (None, "", 0));
}

#[test]
fn pcie_host_bridge() {
    let platform = read(GIC3_2).unwrap();
    let ecam = &platform.ecams[0];
    assert_eq!((ecam.base, ecam.segment, ecam.bus_start, ecam.bus_end), (0x40_1000_0000, 0, 0, 255));
    let window = |space, pci_base, cpu_base, length| PciWindow { space, pci_base, cpu_base, length };
    assert_eq!(
        ecam.windows.as_slice(),
        [
            window(PciSpace::Io, 0, 0x3eff_0000, 0x1_0000),
            window(PciSpace::Memory32, 0x1000_0000, 0x1000_0000, 0x2eff_0000),
            window(PciSpace::Memory64, 0x80_0000_0000, 0x80_0000_0000, 0x80_0000_0000),
        ]
    );
}

#[test]
fn el2_board_calls_psci_by_smc() {
    let platform = read(GIC3_EL2_2).unwrap();
    assert_eq!(platform.psci.unwrap().conduit, Conduit::Smc);
}

#[test]
fn refuses_a_machine_without_a_known_gic() {
    let blob = patched(GIC3_2, b"arm,gic-v3\0", b"arm,gic-v9\0");
    assert_eq!(read(&blob).unwrap_err().to_string(), "the firmware's tables describe no interrupt controller");
}

#[test]
fn refuses_a_truncated_blob() {
    for length in [0, 3, 39, 40, 1000, GIC3_2.len() - 1] {
        assert!(matches!(read(&GIC3_2[..length]), Err(Error::Fdt(_))), "{length} bytes were accepted");
    }
}

#[test]
fn unknown_psci_method_is_no_psci() {
    assert_eq!(read(&patched(GIC3_2, b"hvc\0", b"abc\0")).unwrap().psci, None);
}

proptest! {
    /// Whatever bytes are altered, reading ends without a panic.
    #[test]
    fn altered_blobs_never_panic(edits in prop::collection::vec((0..GIC3_2.len(), any::<u8>()), 1..24)) {
        for vector in [GIC3_2, GIC2_1] {
            let mut blob = vector.to_vec();
            for (at, byte) in &edits {
                if let Some(target) = blob.get_mut(*at) { *target = *byte; }
            }
            let _ = read(&blob);
        }
    }

    /// Cells replaced by extreme values reach the arithmetic that byte noise rarely does.
    #[test]
    fn extreme_cells_never_panic(
        cell in 10..GIC3_2.len() / 4,
        value in prop::sample::select(std::vec![0_u32, 1, 2, 3, 4, 9, 0x7fff_ffff, 0x8000_0000, u32::MAX]),
    ) {
        let mut blob = GIC3_2.to_vec();
        blob[cell * 4..cell * 4 + 4].copy_from_slice(&value.to_be_bytes());
        let _ = read(&blob);
    }

    #[test]
    fn noise_never_panics(mut blob in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&blob);
        if blob.len() >= 40 {
            let total = u32::try_from(blob.len()).unwrap();
            blob[..8].copy_from_slice(&[0xd0, 0x0d, 0xfe, 0xed, 0, 0, 0, 0]);
            blob[4..8].copy_from_slice(&total.to_be_bytes());
            blob[20..28].copy_from_slice(&[0, 0, 0, 17, 0, 0, 0, 16]);
            let _ = read(&blob);
        }
    }
}

#[test]
fn messages_and_lines_of_pci_functions() {
    let platform = read(GIC3_2).unwrap();
    assert_eq!(platform.msi_maps.as_slice(), [MsiMap { segment: 0, first: 0, last: 0xffff, output: 0 }]);
    assert_eq!(platform.pci_lines.len(), 16);
    let level = |intid| Some(Interrupt { intid, trigger: Trigger::Level });
    // QEMU: SPI 3 + (device + pin - 1) mod 4, for any bus and function.
    for (device, pin, intid) in [(0, 1, 35), (1, 1, 36), (1, 4, 35), (2, 3, 35), (3, 4, 37), (31, 1, 38)] {
        assert_eq!(platform.pci_line(0, device << 11 | 7 << 8, pin), level(intid), "{device} {pin}");
    }
    assert_eq!(platform.pci_line(0, 0, 0), None);
    assert_eq!(platform.pci_line(1, 0, 1), None);
    assert_eq!(read(GIC2_1).unwrap().msi_maps, platform.msi_maps, "it names the GICv2m, which asks for no identity");
    assert_eq!(platform.ignored, 0);
}

#[test]
fn a_map_of_lines_that_makes_no_sense_is_counted() {
    // The first entry's pin and its controller's phandle.
    let blob = patched(GIC3_2, b"\0\0\0\x01\0\0\x80\x03\0\0\0\0", b"\0\0\0\x01\0\0\x80\x09\0\0\0\0");
    let platform = read(&blob).unwrap();
    assert_eq!((platform.pci_lines.len(), platform.ignored), (0, 1));
}
