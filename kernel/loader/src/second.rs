//! The loader in the second file, on trial: read, held to the digest in the boot-control block, and started. It boots the release that it came with, or comes back.

use alloc::format;
use alloc::string::{String, ToString};

use bootctl::Loader;
use uefi::boot::{self, LoadImageSource, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol};
use uefi::proto::device_path::LoadedImageDevicePath;
use uefi::proto::loaded_image::LoadedImage;
use uefi::{Handle, Status};

use crate::console::event;
use crate::disk::Medium;
use crate::faults::Faults;
use crate::memory::Pages;
use crate::watchdog;

/// What a loader is told that another one tries: its load options.
static ON_TRIAL: [u8; 22] = *b"swift-os loader trial\0";
/// By then it has left the firmware, which ends its watchdog, or the machine starts anew. It covers what hangs with interrupts on; an i6300esb, where there is
/// one, the rest.
const SECONDS: usize = 30;
/// What the firmware sets before it starts a boot option (UEFI 2.10, section 3.1.2).
const USUAL_SECONDS: usize = 300;
/// The smallest code that is not the firmware's own (section 7.5).
const CODE: u64 = 0x1_0000;

/// Whether another loader tries this one.
pub fn is_on_trial() -> bool {
    image(boot::image_handle()).is_ok_and(|image| image.load_options_as_bytes() == Some(&ON_TRIAL[..]))
}

/// One of the two files, when it holds this loader.
pub fn read(
    medium: &mut Medium,
    which: fn(&esp::Files) -> u64,
    loader: &Loader,
    sha256: sha256::Digest,
) -> Result<Pages, String> {
    let file = medium.loader_file(which, loader.length)?;
    if sha256(&file.as_ref()[..loader.length as usize]) != loader.digest {
        return Err("the file does not hold it: its SHA-256 is another".into());
    }
    Ok(file)
}

/// Starts a loader that was read. `release`: gives back what it will look for itself. Comes back when it has come back: why, or with nothing when it does not say.
pub fn start(file: Pages, loader: &Loader, release: impl FnOnce()) -> Result<(), String> {
    let failed = |what: &str, status: Status| format!("{what}: {status}");
    let path = boot::open_protocol_exclusive::<LoadedImageDevicePath>(boot::image_handle())
        .map_err(|error| failed("this loader's own path", error.status()))?;
    let source =
        LoadImageSource::FromBuffer { buffer: &file.as_ref()[..loader.length as usize], file_path: Some(&path) };
    let handle = boot::load_image(boot::image_handle(), source).map_err(|error| failed("load", error.status()))?;
    drop((path, file));
    let mut options = image(handle).map_err(|error| failed("load options", error.status()))?;
    // SAFETY: a static, which outlives the image.
    unsafe { options.set_load_options(ON_TRIAL.as_ptr(), ON_TRIAL.len() as u32) };
    drop(options);
    let digest = loader.digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    event!("loader.try", digest = format_args!("{digest:016x}"), security = loader.security, seconds = SECONDS);
    release();
    let faults = Faults::restart();
    watchdog::arm();
    // A firmware without one leaves such a hang to the i6300esb.
    let _ = boot::set_watchdog_timer(SECONDS, CODE, None);
    let ended = boot::start_image(handle);
    let _ = boot::set_watchdog_timer(USUAL_SECONDS, CODE, None);
    watchdog::disarm();
    drop(faults);
    ended.map_err(|error| error.status().to_string())
}

fn image(handle: Handle) -> uefi::Result<ScopedProtocol<LoadedImage>> {
    let params = OpenProtocolParams { handle, agent: boot::image_handle(), controller: None };
    // SAFETY: this program's own image, or one that it has loaded and nobody else knows.
    unsafe { boot::open_protocol(params, OpenProtocolAttributes::GetProtocol) }
}
