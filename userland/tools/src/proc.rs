//! The texts of /proc that `top` reads; proc(5) is their description. What is not well formed is left out.

use alloc::{string::String, vec::Vec};

/// Clock ticks per second in these files (USER_HZ).
pub const TICKS_PER_SECOND: u64 = 100;

/// Ticks that one CPU, or all, has spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// In programs.
    pub user: u64,
    /// In the kernel, interrupts included.
    pub system: u64,
    /// With nothing to do.
    pub idle: u64,
}

impl CpuTimes {
    /// What passed between two readings.
    pub fn since(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
            idle: self.idle.saturating_sub(before.idle),
        }
    }

    /// All of it.
    pub fn total(self) -> u64 {
        self.user.saturating_add(self.system).saturating_add(self.idle)
    }
}

/// The lines `cpuN user nice system idle iowait irq softirq steal …` of /proc/stat: number and times, in order.
pub fn cpus(stat: &str) -> Vec<(u32, CpuTimes)> {
    let line = |line: &str| {
        let (name, numbers) = line.split_once(' ')?;
        let cpu = name.strip_prefix("cpu")?.parse().ok()?;
        let mut fields = numbers.split_ascii_whitespace().map(str::parse::<u64>);
        let mut next = || fields.next().unwrap_or(Ok(0)).ok();
        let [user, nice, system, idle, wait, irq, soft, steal] =
            [next()?, next()?, next()?, next()?, next()?, next()?, next()?, next()?];
        let sum = |parts: &[u64]| parts.iter().fold(0u64, |a, &b| a.saturating_add(b));
        let system = sum(&[system, irq, soft, steal]);
        Some((cpu, CpuTimes { user: sum(&[user, nice]), system, idle: sum(&[idle, wait]) }))
    };
    stat.lines().filter_map(line).collect()
}

/// One process of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// The file that it runs, as far as the kernel keeps the name.
    pub name: String,
    /// R, S, Z, T …
    pub state: char,
    /// Its parent's id.
    pub parent: u32,
    /// Ticks spent, in programs and in the kernel.
    pub ticks: u64,
    /// Threads.
    pub threads: u32,
    /// Bytes of address space.
    pub size: u64,
    /// Pages in memory.
    pub resident_pages: u64,
    /// Whose it is; not in this text.
    pub uid: u32,
}

/// /proc/PID/stat. The name stands in parentheses and may hold any character, parentheses too: the last one ends it.
pub fn process(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Process {
        pid: pid.parse().ok()?,
        name: name.chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
        state: fields.first()?.chars().next()?,
        parent: number(4)?.try_into().ok()?,
        ticks: number(14)?.saturating_add(number(15)?),
        threads: number(20)?.try_into().ok()?,
        size: number(23)?,
        resident_pages: number(24)?,
        uid: 0,
    })
}

/// A line `Key:   1234 kB` of /proc/meminfo, in KiB.
pub fn memory(meminfo: &str, key: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.trim().parse().ok();
    meminfo.lines().find_map(value)
}

/// Whole seconds of /proc/uptime's first field.
pub fn uptime(text: &str) -> Option<u64> {
    text.split(['.', ' ']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cpu_lines_are_read_and_the_sum_is_not_a_cpu() {
        let text = "cpu  9 9 9 9\ncpu0 100 5 30 1000 20 1 2 3 0 0\ncpu1 1 2 3 4\nintr 5\ncpuX 1 2 3 4\ncpu2 1 x 3 4\n";
        let first = CpuTimes { user: 105, system: 36, idle: 1020 };
        assert_eq!(cpus(text), [(0, first), (1, CpuTimes { user: 3, system: 3, idle: 4 })]);
        assert_eq!(first.since(CpuTimes { user: 5, system: 40, idle: 20 }).total(), 100 + 1000);
    }

    #[test]
    fn a_process_may_have_any_name() {
        let text = "42 (a) b (c)\n) S 1 42 42 1025 42 4194560 100 0 0 0 7 8 0 0 20 0 3 0 55 4096000 120 184467 0";
        let found = process(text).unwrap();
        assert_eq!((found.pid, found.name.as_str(), found.state, found.parent), (42, "a) b (c)?", 'S', 1));
        assert_eq!((found.ticks, found.threads, found.size, found.resident_pages), (15, 3, 4_096_000, 120));
        assert_eq!(process("42 (x) S 1"), None);
        assert_eq!(process(""), None);
    }

    #[test]
    fn memory_and_uptime() {
        let text = "MemTotal:        1015000 kB\nMemFree:          900000 kB\nMemFreeze: 1 kB\n";
        assert_eq!(memory(text, "MemFree"), Some(900_000));
        assert_eq!(memory(text, "Mem"), None);
        assert_eq!(uptime("83.25 160.00\n"), Some(83));
        assert_eq!(uptime(""), None);
    }

    /// The oracle: Linux's own files for this very process.
    #[cfg(target_os = "linux")]
    #[test]
    fn linux_files_are_read() {
        let own = process(&std::fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
        assert_eq!(own.pid, std::process::id());
        assert!(own.threads >= 1 && own.resident_pages > 0);
        assert!(!cpus(&std::fs::read_to_string("/proc/stat").unwrap()).is_empty());
        let info = std::fs::read_to_string("/proc/meminfo").unwrap();
        assert!(memory(&info, "MemTotal") >= memory(&info, "MemFree"));
        assert!(uptime(&std::fs::read_to_string("/proc/uptime").unwrap()).is_some());
    }

    proptest! {
        #[test]
        fn no_text_harms(text in "[ -~\n]{0,200}") {
            cpus(&text);
            process(&text);
            memory(&text, "MemFree");
            uptime(&text);
        }
    }
}
