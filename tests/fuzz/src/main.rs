#![no_main]
//! Coverage-guided fuzzing of the pure crates, by libFuzzer. One program, so that it is built once; the environment variable
//! FUZZ_TARGET names what is fuzzed. `tests/integration/test_fuzz.py` builds it with coverage and runs each target a bounded number of
//! times from a fixed seed; by hand, for longer:
//!
//!     FUZZ_TARGET=gpt build/fuzz/…/swift-fuzz -max_total_time=600 CORPUS
//!
//! A target feeds bytes and checks what the crate promises, computed another way. Where a checksum would turn nearly every input away,
//! the target makes it right first.

mod formats;
mod hardware;
mod state;
mod storage;
mod texts;

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

type Target = fn(&[u8]);

/// Every target by name; the runner reads the names from here.
const TARGETS: [(&str, Target); 27] = [
    ("accounts", formats::accounts),
    ("acpi", hardware::acpi),
    ("bootctl", formats::bootctl),
    ("datafs", storage::datafs),
    ("elfload", formats::elfload),
    ("erofs", formats::erofs),
    ("esp", formats::esp),
    ("fdt", hardware::fdt),
    ("frames", state::frames),
    ("gpt", formats::gpt),
    ("handles", state::handles),
    ("health", texts::health),
    ("image", formats::image),
    ("key_set", formats::key_set),
    ("ksyms", formats::ksyms),
    ("lastboot", texts::lastboot),
    ("ldisc", state::ldisc),
    ("lz4", formats::lz4),
    ("memory_map", state::memory_map),
    ("pci", hardware::pci),
    ("release", formats::release),
    ("scsi", hardware::scsi),
    ("signal", formats::signal),
    ("verity", formats::verity),
    ("virtio", hardware::virtio),
    ("vmmap", state::vmmap),
    ("writelog", storage::writelog),
];

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    if wanted == "control" {
        return control;
    }
    let found = TARGETS.iter().find(|(name, _)| *name == wanted);
    let (_, target) = found.unwrap_or_else(|| {
        let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        panic!("FUZZ_TARGET={wanted:?}, expected one of {}", names.join(", "))
    });
    *target
});

fuzz_target!(|data: &[u8]| TARGET(data));

/// Panics on five bytes that only coverage leads to: shows that the runs are guided.
fn control(data: &[u8]) {
    let mut right = 0;
    for (byte, wanted) in data.iter().zip(b"fuzz!") {
        if byte != wanted {
            return;
        }
        right += 1;
    }
    assert!(right < 5, "the control is found");
}
