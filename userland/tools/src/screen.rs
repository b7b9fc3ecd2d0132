//! The picture of `top`: two readings in, lines out.

use crate::proc::{CpuTimes, Process, TICKS_PER_SECOND};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// One reading of the system.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// When, in milliseconds since the start.
    pub at_ms: u64,
    /// Every CPU's number and times.
    pub cpus: Vec<(u32, CpuTimes)>,
    /// Every process.
    pub processes: Vec<Process>,
    /// KiB in all, and free.
    pub memory: (u64, u64),
}

/// A part of a whole as `12.5`, rounded to the nearest tenth.
fn percent(part: u64, whole: u64) -> String {
    let tenths = (part.saturating_mul(2000) / whole.max(1)).div_ceil(2);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// KiB as MiB with a tenth.
fn mebibytes(kib: u64) -> String {
    let tenths = kib.saturating_mul(10) / 1024;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn duration(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days == 0 { clock } else { format!("{days} d {clock}") }
}

/// Ticks that a process spent since `before`; all of them if it was not there.
fn spent(process: &Process, before: &Reading) -> u64 {
    let earlier = before.processes.iter().find(|p| p.pid == process.pid).map_or(0, |p| p.ticks);
    process.ticks.checked_sub(earlier).unwrap_or(process.ticks)
}

/// All lines: a head, one line per CPU, memory, and the processes, the busiest first. An empty `before` shows the time
/// since the start. `name_of` gives the user's name.
pub fn picture(before: &Reading, now: &Reading, name_of: impl Fn(u32) -> Option<String>) -> Vec<String> {
    let running = now.processes.iter().filter(|p| p.state == 'R').count();
    let (processes, cpus) = (now.processes.len(), now.cpus.len());
    let mut lines = alloc::vec![format!(
        "up {}, {processes} processes, {running} running, {cpus} CPU{}",
        duration(now.at_ms / 1000),
        if cpus == 1 { "" } else { "s" },
    )];
    for (cpu, times) in &now.cpus {
        let earlier = before.cpus.iter().find(|(n, _)| n == cpu).map_or(CpuTimes::default(), |(_, t)| *t);
        let passed = times.since(earlier);
        let share = |part| percent(part, passed.total());
        lines.push(format!(
            "cpu{cpu:<3} {:>5}% user {:>5}% system {:>5}% idle",
            share(passed.user),
            share(passed.system),
            share(passed.idle)
        ));
    }
    let (total, free) = now.memory;
    lines.push(format!(
        "memory {} MiB: {} in use, {} free",
        mebibytes(total),
        mebibytes(total.saturating_sub(free)),
        mebibytes(free)
    ));
    lines.push(String::new());
    lines.push(format!(
        "{:>5} {:>5} {:<8} S {:>3} {:>9} {:>9} {:>5} {:>8} COMMAND",
        "PID", "PPID", "USER", "THR", "SIZE/KiB", "RES/KiB", "CPU%", "TIME"
    ));
    let interval_ticks = now.at_ms.saturating_sub(before.at_ms) * TICKS_PER_SECOND / 1000;
    for process in by_use(before, now) {
        let (seconds, hundredths) = (process.ticks / TICKS_PER_SECOND, process.ticks % TICKS_PER_SECOND);
        lines.push(format!(
            "{:>5} {:>5} {:<8} {} {:>3} {:>9} {:>9} {:>5} {:>8} {}",
            process.pid,
            process.parent,
            name_of(process.uid).unwrap_or_else(|| process.uid.to_string()),
            process.state,
            process.threads,
            process.size / 1024,
            process.resident_pages * 4,
            percent(spent(process, before), interval_ticks),
            format!("{}:{:02}.{hundredths:02}", seconds / 60, seconds % 60),
            process.name,
        ));
    }
    lines
}

/// The busiest first; of the same use, the oldest first.
fn by_use<'a>(before: &Reading, now: &'a Reading) -> Vec<&'a Process> {
    let mut sorted: Vec<(u64, &Process)> = Vec::with_capacity(now.processes.len());
    for process in &now.processes {
        let ticks = spent(process, before);
        let place = sorted.partition_point(|(other, p)| *other > ticks || (*other == ticks && p.pid < process.pid));
        sorted.insert(place, (ticks, process));
    }
    sorted.into_iter().map(|(_, process)| process).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, ticks: u64, name: &str) -> Process {
        Process {
            pid,
            ticks,
            name: name.into(),
            state: 'S',
            parent: 1,
            threads: 1,
            size: 2 << 20,
            resident_pages: 16,
            uid: pid % 2,
        }
    }

    fn times(user: u64, system: u64, idle: u64) -> CpuTimes {
        CpuTimes { user, system, idle }
    }

    #[test]
    fn the_picture_shows_what_passed_between_two_readings() {
        let before = Reading {
            at_ms: 10_000,
            cpus: alloc::vec![(0, times(100, 50, 850)), (1, times(0, 0, 1000))],
            processes: alloc::vec![process(1, 10, "init"), process(7, 500, "sh")],
            memory: (1024, 1024),
        };
        let now = Reading {
            at_ms: 12_000,
            cpus: alloc::vec![(0, times(150, 75, 975)), (1, times(0, 0, 1200))],
            processes: alloc::vec![process(1, 10, "init"), process(7, 501, "sh"), process(9, 50, "yes")],
            memory: (1_048_576, 1_044_480),
        };
        let lines = picture(&before, &now, |uid| (uid == 0).then(|| "root".into()));
        assert_eq!(
            lines,
            [
                "up 0:00:12, 3 processes, 0 running, 2 CPUs",
                "cpu0    25.0% user  12.5% system  62.5% idle",
                "cpu1     0.0% user   0.0% system 100.0% idle",
                "memory 1024.0 MiB: 4.0 in use, 1020.0 free",
                "",
                "  PID  PPID USER     S THR  SIZE/KiB   RES/KiB  CPU%     TIME COMMAND",
                "    9     1 1        S   1      2048        64  25.0  0:00.50 yes",
                "    7     1 1        S   1      2048        64   0.5  0:05.01 sh",
                "    1     1 1        S   1      2048        64   0.0  0:00.10 init",
            ]
        );
    }

    #[test]
    fn the_first_picture_shows_the_time_since_the_start() {
        let now = Reading { at_ms: 90_061_000, cpus: alloc::vec![(0, times(1, 0, 3))], ..Reading::default() };
        let lines = picture(&Reading::default(), &now, |_| None);
        assert_eq!(lines[0], "up 1 d 1:01:01, 0 processes, 0 running, 1 CPU");
        assert_eq!(lines[1], "cpu0    25.0% user   0.0% system  75.0% idle");
    }

    #[test]
    fn a_reused_process_id_is_a_new_process() {
        let at = |ticks| Reading { processes: alloc::vec![process(4, ticks, "x")], ..Reading::default() };
        assert_eq!(spent(&at(3).processes[0], &at(9)), 3);
    }

    #[test]
    fn nothing_passed_is_no_division_by_zero() {
        assert_eq!(percent(0, 0), "0.0");
        assert_eq!(percent(1, 3), "33.3");
    }
}
