//! The texts about the machine as a whole.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::Ordering;
use core::time::Duration;

use linux::Errno;
use linux::types::device_parts;

use super::super::{base, mounts};
use super::tree::Leaf;
use crate::arch::cpu::{self, Cpu};
use crate::arch::irq::{self, Trigger};
use crate::arch::{idreg, timer};
use crate::drivers::block;
use crate::mm::{self, frames, kmap};
use crate::process::table;
use crate::sync::{Mutex, Once, mutex};
use crate::{boot, clock, events, lastboot, random};

type Made = Result<Vec<u8>, Errno>;

/// Ticks per second of times that programs see (`AT_CLKTCK`).
pub const USER_HZ: u64 = 100;
/// What programs take for a Linux version: the oldest that the C libraries of today ask for is 3.7.
pub const RELEASE: &str = "6.1.0-swift";
const KIB: u64 = 1024;

/// /proc, but for processes. Leaves of one directory stand together.
pub const LEAVES: &[Leaf] = &[
    Leaf::new("boot", boot_facts),
    Leaf::new("cmdline", command_line),
    Leaf::new("cpuinfo", cpuinfo),
    Leaf::new("events", || Ok(events::text())),
    Leaf::new("filesystems", || {
        Ok(b"nodev\tproc\nnodev\tsysfs\nnodev\ttmpfs\nnodev\tdevtmpfs\nnodev\tpipefs\n\terofs\n".into())
    }),
    Leaf::new("interrupts", interrupts),
    // Root's: the console's tail may have shown a secret.
    Leaf { path: "last-boot", mode: 0o400, text: || Ok(lastboot::text().into()), store: None },
    Leaf::new("loadavg", loadavg),
    Leaf::new("meminfo", meminfo),
    Leaf::new("partitions", partitions),
    Leaf::new("release", release_area),
    Leaf::new("stat", stat),
    Leaf::new("sys/kernel/cap_last_cap", || Ok(b"40\n".into())),
    Leaf { path: "sys/kernel/hostname", mode: 0o644, text: hostname_text, store: Some(set_hostname) },
    Leaf::new("sys/kernel/ngroups_max", || Ok(b"65536\n".into())),
    Leaf::new("sys/kernel/osrelease", || Ok(format!("{RELEASE}\n").into())),
    Leaf::new("sys/kernel/ostype", || Ok(b"Linux\n".into())),
    Leaf::new("sys/kernel/pid_max", || Ok(b"32768\n".into())),
    Leaf::new("sys/kernel/random/boot_id", || Ok(format!("{}\n", boot_id()).into())),
    Leaf::new("sys/kernel/random/entropy_avail", || Ok(b"256\n".into())),
    Leaf::new("sys/kernel/random/uuid", || Ok(format!("{}\n", random_uuid()).into())),
    Leaf::new("sys/kernel/version", || Ok(format!("{}\n", version_name()).into())),
    Leaf::new("sys/net/core/somaxconn", || Ok(b"4096\n".into())),
    Leaf::new("sys/vm/overcommit_memory", || Ok(b"0\n".into())),
    Leaf::new("unknown_calls", || Ok(format!("{}\n", crate::syscall::unknown_count()).into())),
    Leaf::new("uptime", uptime),
    Leaf::new("verity", || Ok(base::text())),
    Leaf::new("version", || Ok(format!("Linux version {RELEASE} (swift-os) {}\n", version_name()).into())),
    Leaf::new("vmstat", vmstat),
];

/// /sys, as far as programs look at it.
pub const MACHINE_LEAVES: &[Leaf] = &[
    Leaf::new("devices/system/cpu/online", cpu_range),
    Leaf::new("devices/system/cpu/possible", cpu_range),
    Leaf::new("devices/system/cpu/present", cpu_range),
    Leaf::new("kernel/mm/transparent_hugepage/enabled", || Ok(b"always madvise [never]\n".into())),
];

/// What `uname` calls the version.
pub fn version_name() -> String {
    format!("#1 SMP swift-os {} {}", env!("CARGO_PKG_VERSION"), option_env!("SWIFT_BUILD").unwrap_or("unknown"))
}

/// What was booted and what the loader held it to: `KEY VALUE` lines (docs/formats/bootctl.md, "What a running system knows").
fn boot_facts() -> Made {
    let info = boot::info();
    let mut text = String::new();
    let slot = match info.slot {
        bootinfo::slot::A => "a",
        bootinfo::slot::B => "b",
        bootinfo::slot::ESP => "esp",
        _ => "initrd",
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "slot {slot}");
    let _ = writeln!(text, "recovery {}", u8::from(info.flags & bootinfo::flag::RECOVERY != 0));
    let _ = writeln!(text, "release {}", hex(&info.release_digest));
    let _ = writeln!(text, "rollback_index {}", info.rollback_index);
    let _ = writeln!(text, "rollback_floor {}", info.rollback_floor);
    let _ = writeln!(text, "key_set {}", info.key_set);
    let _ = writeln!(text, "loader_security {}", info.loader_security);
    let _ = writeln!(text, "loader_on_trial {}", u8::from(info.flags & bootinfo::flag::LOADER_ON_TRIAL != 0));
    let _ = writeln!(text, "key_set_floor {}", info.key_set_floor);
    for [threshold, members] in info.root_quorums.iter().filter(|[threshold, _]| *threshold > 0) {
        let _ = writeln!(text, "root_quorum {threshold} {members:x}");
    }
    for root in info.root_keys() {
        let _ = writeln!(text, "root {}", hex(root));
    }
    let (end, why) = lastboot::ending();
    let _ = writeln!(text, "last_boot {end}");
    if !why.is_empty() {
        let _ = writeln!(text, "last_boot_why {why}");
    }
    Ok(text.into_bytes())
}

/// Header and signature area of the release that runs, as the loader verified them.
fn release_area() -> Made {
    let start = boot::info().header_start;
    let area = if start == 0 { None } else { kmap::base_bytes(start, release::AREA_SIZE as u64) };
    area.map(Vec::from).ok_or(Errno::ENODATA)
}

fn command_line() -> Made {
    let mut text: Vec<u8> = boot::command_line().into();
    text.push(b'\n');
    Ok(text)
}

fn online() -> impl Iterator<Item = &'static Cpu> {
    cpu::all().iter().filter(|cpu| cpu.online.load(Ordering::Relaxed))
}

fn cpu_range() -> Made {
    Ok(match online().count() {
        0 | 1 => "0\n".into(),
        count => format!("0-{}\n", count - 1).into(),
    })
}

fn cpuinfo() -> Made {
    let mut text = String::new();
    let main_id = idreg::main_id();
    for cpu in online() {
        let _ = write!(
            text,
            "processor\t: {}\nBogoMIPS\t: {}.{:02}\nFeatures\t: {}\nCPU implementer\t: {:#04x}\nCPU architecture: 8\n\
             CPU variant\t: {:#x}\nCPU part\t: {:#05x}\nCPU revision\t: {}\n\n",
            cpu.index,
            // Twice the timer's frequency, as Linux derives it.
            timer::frequency() * 2 / 1_000_000,
            timer::frequency() * 2 / 10_000 % 100,
            features(super::process::hwcap()),
            main_id >> 24 & 0xff,
            main_id >> 20 & 0xf,
            main_id >> 4 & 0xfff,
            main_id & 0xf,
        );
    }
    Ok(text.into())
}

/// Names of the bits of HWCAP, from bit 0 (arch/arm64/kernel/cpuinfo.c).
const FEATURES: [&str; 32] = [
    "fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32", "atomics", "fphp", "asimdhp", "cpuid",
    "asimdrdm", "jscvt", "fcma", "lrcpc", "dcpop", "sha3", "sm3", "sm4", "asimddp", "sha512", "sve", "asimdfhm", "dit",
    "uscat", "ilrcpc", "flagm", "ssbs", "sb", "paca", "pacg",
];

fn features(bits: u64) -> String {
    let set = FEATURES.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

/// How often each CPU has taken which interrupt, in the columns of Linux.
fn interrupts() -> Made {
    let (controller, all) = irq::all();
    let mut text = String::from("      ");
    for cpu in online() {
        let _ = write!(text, "{:<11}", format!("CPU{}", cpu.index));
    }
    text.push('\n');
    for (id, handled) in all {
        let _ = write!(text, "{id:>4}: ");
        for cpu in online() {
            let _ = write!(text, "{:>10} ", handled.counts[cpu.index].load(Ordering::Relaxed));
        }
        let trigger = match handled.trigger {
            Trigger::Edge => "Edge ",
            Trigger::Level => "Level",
        };
        let _ = writeln!(text, "    {controller} {id:>4} {trigger}     {}", handled.name);
    }
    Ok(text.into())
}

/// Disks and partitions with their sizes in KiB.
fn partitions() -> Made {
    let mut text = String::from("major minor  #blocks  name\n\n");
    for part in block::parts() {
        let ((major, minor), blocks) = (device_parts(part.device_number()), part.sectors * block::SECTOR / KIB);
        let _ = writeln!(text, "{major:4}  {minor:7} {blocks:10} {}", part.name);
    }
    Ok(text.into())
}

/// Counter ticks as ticks that programs see.
fn user_ticks(ticks: u64) -> u64 {
    duration_ticks(timer::ticks_to_duration(ticks))
}

/// A span as ticks that programs see.
pub fn duration_ticks(span: Duration) -> u64 {
    span.as_secs() * USER_HZ + u64::from(span.subsec_nanos()) * USER_HZ / 1_000_000_000
}

/// `user nice system idle iowait irq softirq steal guest guest_nice` of one or all CPUs.
fn cpu_line(text: &mut String, name: &str, cpus: &[&Cpu]) {
    let [mut user, mut system, mut idle] = [0; 3];
    for spent in cpus.iter().map(|cpu| cpu.spent()) {
        user += user_ticks(spent.user);
        system += user_ticks(spent.system);
        idle += user_ticks(spent.idle);
    }
    let _ = writeln!(text, "{name} {user} 0 {system} {idle} 0 0 0 0 0 0");
}

fn stat() -> Made {
    let cpus: Vec<&Cpu> = online().collect();
    let mut text = String::new();
    cpu_line(&mut text, "cpu ", &cpus);
    for cpu in &cpus {
        cpu_line(&mut text, &format!("cpu{}", cpu.index), &[*cpu]);
    }
    let ticks: u64 = cpus.iter().map(|cpu| cpu.ticks.load(Ordering::Relaxed)).sum();
    let booted = clock::realtime().sec - timer::now().as_secs() as i64;
    let running = super::process::counts().running;
    let switches: u64 = cpus.iter().map(|cpu| cpu.switches.load(Ordering::Relaxed)).sum();
    let forks = table::lock().forks();
    let _ = write!(text, "intr {ticks}\nctxt {switches}\nbtime {booted}\nprocesses {forks}\n");
    let _ = write!(text, "procs_running {running}\nprocs_blocked 0\n");
    Ok(text.into())
}

/// Bytes that files in memory and memory that processes share take: nothing else has what they hold.
pub fn shared_bytes() -> u64 {
    (mounts::pages_in_memory() + mm::shared_pages() as u64) * vfs::PAGE_SIZE as u64
}

/// As Linux counts: what lies in memory only is cached too, but not available.
fn meminfo() -> Made {
    let (total, free) = (frames::total_bytes() / KIB, frames::free_bytes() / KIB);
    let cache = crate::fs::cache().statistics();
    let shared = shared_bytes() / KIB;
    let pages = |count: usize| count as u64 * vfs::PAGE_SIZE as u64 / KIB;
    let (cached, dirty, writing) = (pages(cache.cached), pages(cache.dirty), pages(cache.writing));
    let mut text = String::new();
    for (name, value) in [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free + cached - (dirty + writing).min(cached)),
        ("Buffers", 0),
        ("Cached", cached + shared),
        ("SwapCached", 0),
        ("Active", 0),
        ("Inactive", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", dirty),
        ("Writeback", writing),
        ("Mapped", 0),
        ("Shmem", shared),
        ("Slab", 0),
        ("CommitLimit", total),
        ("Committed_AS", total - free),
    ] {
        let _ = writeln!(text, "{:<15} {value:>8} kB", format!("{name}:"));
    }
    Ok(text.into())
}

fn uptime() -> Made {
    let now = timer::now();
    let idle: u64 = online().map(|cpu| user_ticks(cpu.spent().idle)).sum();
    let hundredths = now.subsec_millis() / 10;
    Ok(format!("{}.{hundredths:02} {}.{:02}\n", now.as_secs(), idle / USER_HZ, idle % USER_HZ).into())
}

/// Bits behind the point of a load.
const FIXED: u32 = 16;
/// Over this span a load loses so much of its past: 5 s of 1, 5 and 15 minutes, e^-1/12 and so on, with [`FIXED`] bits.
const STEP: Duration = Duration::from_secs(5);
const DECAY: [u64; 3] = [60296, 64453, 65173];

struct Load {
    /// Until when it is reckoned, and the CPUs' busy time until then.
    at: Duration,
    busy: Duration,
    average: [u64; 3],
}

static LOAD: Mutex<Load> = mutex(Load { at: Duration::ZERO, busy: Duration::ZERO, average: [0; 3] });

/// How many CPUs were busy on average over the last 1, 5 and 15 minutes. It is reckoned when asked for, so that nothing has to wake an idle machine.
pub fn load_average() -> [u64; 3] {
    /// More steps than this leave nothing of the past.
    const STEPS_MAX: u64 = 1000;
    let busy = online().map(Cpu::spent).map(|spent| spent.user + spent.system);
    let (now, busy) = (timer::now(), timer::ticks_to_duration(busy.sum()));
    let mut load = LOAD.lock();
    let span = now - load.at;
    let steps = span.as_secs() / STEP.as_secs();
    if steps > 0 {
        let share = (busy.saturating_sub(load.busy).as_micros() << FIXED) / span.as_micros();
        for (average, decay) in load.average.iter_mut().zip(DECAY) {
            for _ in 0..steps.min(STEPS_MAX) {
                *average = (*average * decay + share as u64 * ((1 << FIXED) - decay)) >> FIXED;
            }
        }
        (load.at, load.busy) = (now, busy);
    }
    load.average
}

fn loadavg() -> Made {
    let counts = super::process::counts();
    let shown = |load: u64| format!("{}.{:02}", load >> FIXED, ((load & ((1 << FIXED) - 1)) * 100) >> FIXED);
    let [one, five, fifteen] = load_average().map(shown);
    Ok(format!("{one} {five} {fifteen} {}/{} {}\n", counts.running, counts.threads, counts.newest).into())
}

fn vmstat() -> Made {
    Ok(format!("nr_free_pages {}\npgfault 0\npgmajfault 0\n", frames::free_bytes() / vfs::PAGE_SIZE as u64).into())
}

static HOSTNAME: Mutex<String> = mutex(String::new());

/// What `uname` calls this machine.
pub fn hostname() -> String {
    let name = HOSTNAME.lock();
    if name.is_empty() { "swift-os".into() } else { name.clone() }
}

/// `sethostname`; checking who asks is the caller's.
///
/// # Errors
/// `EINVAL` for a name that is too long or no text.
pub fn set_hostname(name: &[u8]) -> Result<(), Errno> {
    const HOST_NAME_MAX: usize = 64;
    let name = core::str::from_utf8(name).map_err(|_| Errno::EINVAL)?.trim_end_matches('\n');
    if name.len() > HOST_NAME_MAX {
        return Err(Errno::EINVAL);
    }
    *HOSTNAME.lock() = name.into();
    Ok(())
}

fn hostname_text() -> Made {
    Ok(format!("{}\n", hostname()).into())
}

/// A random UUID (RFC 9562, version 4).
fn random_uuid() -> String {
    let mut bytes = [0; 16];
    random::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
        let _ = write!(text, "{dash}{byte:02x}");
    }
    text
}

/// The same until the machine starts again.
fn boot_id() -> &'static str {
    static BOOT_ID: Once<String> = Once::new();
    BOOT_ID.get_or_init(random_uuid)
}
