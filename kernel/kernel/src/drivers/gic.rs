//! The interrupt controller: GICv2 and GICv3 behind one face, whichever the firmware describes.

use platform::{GicVersion, Trigger};

use super::gic2::Gic2;
use super::gic3::Gic3;
use crate::arch::cpu::Cpu;
use crate::arch::irq::Controller;
use crate::sync::Once;

/// The GIC of this machine.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one, in a static")]
enum AnyGic {
    V2(Gic2),
    V3(Gic3),
}

static GIC: Once<AnyGic> = Once::new();

/// Set up the distributor of the GIC that the firmware's tables describe. Panics where it cannot be mapped.
pub fn init() -> &'static dyn Controller {
    GIC.get_or_init(|| {
        let platform = crate::platform::get();
        let gic = platform.gic.as_ref().expect("a platform that was read has a GIC");
        match gic.version {
            GicVersion::V2 => Gic2::new(gic).map(AnyGic::V2),
            GicVersion::V3 => Gic3::new(platform, gic).map(AnyGic::V3),
        }
        .expect("no room to map the GIC")
    })
}

/// The GICv3 of this machine, if it has one.
pub(super) fn v3() -> Option<&'static Gic3> {
    match GIC.get() {
        Some(AnyGic::V3(gic)) => Some(gic),
        Some(AnyGic::V2(_)) | None => None,
    }
}

/// Before a software interrupt: what this CPU wrote is visible to the CPU that is interrupted.
pub(super) fn order_before_sgi() {
    // SAFETY: a barrier only.
    unsafe { core::arch::asm!("dsb ish", options(nostack)) };
}

impl Controller for AnyGic {
    fn name(&self) -> &'static str {
        match self {
            Self::V2(_) => "GICv2",
            Self::V3(_) => "GICv3",
        }
    }

    fn init_cpu(&self) {
        match self {
            Self::V2(gic) => gic.init_cpu(),
            Self::V3(gic) => gic.init_cpu(),
        }
    }

    fn acknowledge(&self) -> Option<u32> {
        match self {
            Self::V2(gic) => gic.acknowledge(),
            Self::V3(gic) => gic.acknowledge(),
        }
    }

    fn end(&self, id: u32) {
        match self {
            Self::V2(gic) => gic.end(id),
            Self::V3(gic) => gic.end(id),
        }
    }

    fn enable(&self, id: u32, trigger: Trigger) {
        match self {
            Self::V2(gic) => gic.enable(id, trigger),
            Self::V3(gic) => gic.enable(id, trigger),
        }
    }

    fn send(&self, cpu: &Cpu, sgi: u32) {
        match self {
            Self::V2(gic) => gic.send(cpu, sgi),
            Self::V3(gic) => gic.send(cpu, sgi),
        }
    }
}
