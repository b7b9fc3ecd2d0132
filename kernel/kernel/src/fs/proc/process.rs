//! A directory for each process (proc(5)).

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::Ordering;
use core::time::Duration;

use linux::Errno;
use linux::flags::{O_ACCMODE, O_RDONLY, O_WRONLY, RLIMIT_STACK};
use vfs::Link;
use vfs::inode::{Entries, Kind};

use super::super::{Kernel, Mount, Path};
use super::system::duration_ticks;
use super::tree::{Body, Directory, Node};
use super::{number as parse_number, tree::Text};
use crate::arch::trap::Access;
use crate::mm::{Backing, Sharing};
use crate::process::task::{Process, Task};
use crate::process::{current, table};

const PAGE: u64 = vfs::PAGE_SIZE as u64;

type Made = Result<Vec<u8>, Errno>;

/// From the number of a process's directory on, its files have numbers.
const NUMBER_SHIFT: u32 = 16;
/// Its threads' and descriptors' have these.
const FIRST_TASK: u64 = 0x100;
const FIRST_DESCRIPTOR: u64 = 0x1000;

/// Number of a process's directory.
pub fn number(pid: u32) -> u64 {
    u64::from(pid) << NUMBER_SHIFT
}

/// Bits of `AT_HWCAP`.
pub use crate::process::exec::hwcap;

/// How many threads there are.
pub struct Counts {
    /// That run or could.
    pub running: usize,
    /// In all.
    pub threads: usize,
    /// The last process made.
    pub newest: u32,
}

/// Counts the threads of all processes.
pub fn counts() -> Counts {
    let processes: Vec<Arc<Process>> = table::lock().iter().map(|(_, entry)| entry.process.clone()).collect();
    let mut counts =
        Counts { running: 0, threads: 0, newest: processes.iter().map(|process| process.pid).max().unwrap_or(0) };
    for process in &processes {
        for member in &process.signals.lock().members {
            counts.threads += 1;
            counts.running += usize::from(thread_state(&member.task) == 'R');
        }
    }
    counts
}

/// What a file of the directory is made by.
enum Maker {
    Text(fn(&Arc<Process>) -> Made),
    /// Only for those who may look into the process.
    Private(fn(&Arc<Process>) -> Made),
    Link(fn(&Process) -> Result<Path, Errno>),
    Descriptors,
    Threads,
}

const FILES: &[(&str, Maker)] = &[
    ("cgroup", Maker::Text(|_| Ok(b"0::/\n".into()))),
    ("cmdline", Maker::Text(|process| memory(process, |process| process.fields.lock().program.arguments.clone()))),
    ("comm", Maker::Text(|process| Ok(format!("{}\n", name_of(process)).into()))),
    ("cwd", Maker::Link(|process| Ok(process.paths().cwd))),
    ("environ", Maker::Private(|process| memory(process, |process| process.fields.lock().program.environment.clone()))),
    ("exe", Maker::Link(|process| process.fields.lock().program.file.clone().ok_or(Errno::ENOENT))),
    ("fd", Maker::Descriptors),
    ("maps", Maker::Private(maps)),
    ("mountinfo", Maker::Text(mount_info)),
    ("mounts", Maker::Text(mounts)),
    ("oom_score_adj", Maker::Text(|_| Ok(b"0\n".into()))),
    ("root", Maker::Link(|process| Ok(process.paths().root))),
    ("stat", Maker::Text(|process| stat(process, None))),
    ("statm", Maker::Text(statm)),
    ("status", Maker::Text(status)),
    ("task", Maker::Threads),
];

/// The directory of a process.
pub fn directory(process: Arc<Process>) -> Node {
    let who = process.credentials();
    Node { owner: (who.euid, who.egid), ..Node::directory(number(process.pid), Files(Arc::downgrade(&process))) }
}

struct Files(Weak<Process>);

impl Directory for Files {
    fn find(&self, name: &[u8]) -> Result<Node, Errno> {
        let process = alive(&self.0)?;
        let index = FILES.iter().position(|(file, _)| file.as_bytes() == name).ok_or(Errno::ENOENT)?;
        let who = process.credentials();
        Ok(Node {
            owner: (who.euid, who.egid),
            ..node(&process, number(process.pid) + index as u64 + 1, &FILES[index].1)
        })
    }

    fn list(&self, position: u64, take: &mut Entries<'_>) {
        let Ok(process) = alive(&self.0) else { return };
        for (index, (name, maker)) in FILES.iter().enumerate().skip(position as usize) {
            let kind = match maker {
                Maker::Text(_) | Maker::Private(_) => Kind::Regular,
                Maker::Link(_) => Kind::Link,
                Maker::Descriptors | Maker::Threads => Kind::Directory,
            };
            let next = index as u64 + 1;
            if !take(number(process.pid) + next, next, kind, name.as_bytes()) {
                return;
            }
        }
    }
}

fn alive(process: &Weak<Process>) -> Result<Arc<Process>, Errno> {
    process.upgrade().ok_or(Errno::ESRCH)
}

/// Whether the caller may look into a process: its own, or one of its user's.
fn check_private(process: &Process) -> Result<(), Errno> {
    let (who, whose) = (current().process.credentials(), process.credentials());
    let same = [whose.uid, whose.euid, whose.suid].iter().all(|&user| user == who.fsuid);
    if same || who.is_privileged() { Ok(()) } else { Err(Errno::EACCES) }
}

fn node(process: &Arc<Process>, number: u64, maker: &'static Maker) -> Node {
    let weak = Arc::downgrade(process);
    match maker {
        Maker::Text(text) => Node::text(number, move || text(&alive(&weak)?)),
        Maker::Private(text) => {
            let text: Text = Box::new(move || {
                let process = alive(&weak)?;
                check_private(&process)?;
                text(&process)
            });
            Node::new(number, 0o400, Body::Text(text, None))
        }
        Maker::Link(target) => Node::link(number, move || {
            let process = alive(&weak)?;
            check_private(&process)?;
            target(&process).map(Link::Place)
        }),
        Maker::Descriptors => Node::new(number, 0o500, Body::Directory(Box::new(Descriptors(weak)))),
        Maker::Threads => Node::directory(number, Threads(weak)),
    }
}

/// `fd`: a link for each descriptor.
struct Descriptors(Weak<Process>);

impl Directory for Descriptors {
    fn find(&self, name: &[u8]) -> Result<Node, Errno> {
        let process = alive(&self.0)?;
        let fd = parse_number(name).ok_or(Errno::ENOENT)?;
        let (file, _) = process.file(u64::from(fd)).map_err(|_| Errno::ENOENT)?;
        let mode = match file.flags() & O_ACCMODE {
            O_RDONLY => 0o500,
            O_WRONLY => 0o300,
            _ => 0o700,
        };
        let (place, who) = (file.path().clone(), process.credentials());
        let weak = self.0.clone();
        let target = move || {
            check_private(&*alive(&weak)?)?;
            Ok(Link::<Kernel>::Place(place.clone()))
        };
        let number = number(process.pid) + FIRST_DESCRIPTOR + u64::from(fd);
        Ok(Node { mode, owner: (who.euid, who.egid), ..Node::link(number, target) })
    }

    fn list(&self, position: u64, take: &mut Entries<'_>) {
        let Ok(process) = alive(&self.0) else { return };
        let descriptors: Vec<usize> = process.files.lock().iter().map(|(fd, _)| fd).collect();
        for fd in descriptors.into_iter().filter(|&fd| fd as u64 >= position) {
            let name = format!("{fd}");
            if !take(number(process.pid) + FIRST_DESCRIPTOR + fd as u64, fd as u64 + 1, Kind::Link, name.as_bytes()) {
                return;
            }
        }
    }
}

/// `task`: a directory for each thread.
struct Threads(Weak<Process>);

impl Directory for Threads {
    fn find(&self, name: &[u8]) -> Result<Node, Errno> {
        let process = alive(&self.0)?;
        let tid = parse_number(name).ok_or(Errno::ENOENT)?;
        let task = process
            .signals
            .lock()
            .members
            .iter()
            .find(|member| member.task.tid == tid)
            .map(|member| member.task.clone());
        let task = task.ok_or(Errno::ENOENT)?;
        Ok(Node::directory(thread_number(&process, tid), Thread(Arc::downgrade(&task))))
    }

    fn list(&self, position: u64, take: &mut Entries<'_>) {
        let Ok(process) = alive(&self.0) else { return };
        let mut threads: Vec<u32> = process.signals.lock().members.iter().map(|member| member.task.tid).collect();
        threads.sort_unstable();
        for tid in threads.into_iter().filter(|&tid| u64::from(tid) >= position) {
            if !take(thread_number(&process, tid), u64::from(tid) + 1, Kind::Directory, format!("{tid}").as_bytes()) {
                return;
            }
        }
    }
}

fn thread_number(process: &Process, tid: u32) -> u64 {
    number(process.pid) + FIRST_TASK + u64::from(tid % 0xf00)
}

/// A thread's directory.
struct Thread(Weak<Task>);

impl Directory for Thread {
    fn find(&self, name: &[u8]) -> Result<Node, Errno> {
        let weak = self.0.clone();
        let task = move || weak.upgrade().ok_or(Errno::ESRCH);
        let here = thread_number(&task()?.process, task()?.tid);
        match name {
            b"stat" => Ok(Node::text(here, move || {
                let task = task()?;
                stat(&task.process.clone(), Some(&task))
            })),
            b"comm" => Ok(Node::text(here, move || Ok(format!("{}\n", name_of(&task()?.process)).into()))),
            _ => Err(Errno::ENOENT),
        }
    }

    fn list(&self, position: u64, take: &mut Entries<'_>) {
        for (at, name) in ["comm", "stat"].iter().enumerate().skip(position as usize) {
            if !take(FIRST_TASK, at as u64 + 1, Kind::Regular, name.as_bytes()) {
                return;
            }
        }
    }
}

/// What lies in a range of the process's memory.
fn memory(process: &Process, range: fn(&Process) -> core::ops::Range<u64>) -> Made {
    /// More than a program can be given.
    const LENGTH_MAX: u64 = 4 << 20;
    let range = range(process);
    let Ok(space) = process.space() else { return Ok(Vec::new()) };
    let mut bytes = alloc::vec![0; (range.end - range.start).min(LENGTH_MAX) as usize];
    let mut done = 0;
    while done < bytes.len() {
        let address = range.start + done as u64;
        let within = (address % PAGE) as usize;
        let count = (PAGE as usize - within).min(bytes.len() - done);
        let part = &mut bytes[done..done + count];
        if space.with_page(address, Access::Read, |page| page.read(within, part)).is_err() {
            // The program has unmapped it.
            return Ok(Vec::new());
        }
        done += count;
    }
    Ok(bytes)
}

fn name_of(process: &Process) -> String {
    let name = process.fields.lock().program.name;
    let length = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..length]).into_owned()
}

fn thread_state(task: &Task) -> char {
    match task.thread.get().and_then(Weak::upgrade) {
        Some(thread) if thread.is_sleeping() => 'S',
        Some(_) => 'R',
        None => 'X',
    }
}

/// What the table knows, and the state of the process.
struct Facts {
    group: u32,
    session: u32,
    terminal: u64,
    foreground: i64,
    state: char,
    threads: usize,
}

fn facts(process: &Process) -> Result<Facts, Errno> {
    let (group, session, ended, terminal) = {
        let table = table::lock();
        let entry = table.get(process.pid).ok_or(Errno::ESRCH)?;
        (entry.group, entry.session, entry.report.ended.is_some(), table.terminal(entry.session).cloned())
    };
    let foreground = terminal.as_ref().and_then(|terminal| terminal.foreground(session)).map_or(-1, i64::from);
    let signals = process.signals.lock();
    let runs = signals.members.iter().any(|member| thread_state(&member.task) == 'R');
    let state = match signals.stopped {
        _ if ended || signals.members.is_empty() => 'Z',
        Some(_) => 'T',
        None if runs => 'R',
        None => 'S',
    };
    let threads = signals.members.len();
    Ok(Facts { group, session, terminal: terminal.map_or(0, |terminal| terminal.device), foreground, state, threads })
}

/// `stat` of a process, or of one of its threads.
fn stat(process: &Arc<Process>, task: Option<&Task>) -> Made {
    let facts = facts(process)?;
    let ticks = |nanos: u64| duration_ticks(Duration::from_nanos(nanos));
    let (user, system) = match task.and_then(|task| task.thread.get()).and_then(Weak::upgrade) {
        Some(thread) => (duration_ticks(thread.user_time()), duration_ticks(thread.system_time())),
        None => {
            let (user, system) = process.processor_time();
            (ticks(user), ticks(system))
        }
    };
    let children = |time: &core::sync::atomic::AtomicU64| ticks(time.load(Ordering::Relaxed));
    let (mapped, resident) = sizes(process);
    let program = process.fields.lock().program.clone();
    let cpu = task.and_then(|task| task.thread.get()).and_then(Weak::upgrade).map_or(0, |thread| thread.last_cpu());
    let mut text = format!(
        "{} ({}) {} {} {} {} {} {} 0 0 0 0 0 {user} {system} {} {} 20 0 {} 0 {} {} {resident} {}",
        task.map_or(process.pid, |task| task.tid),
        name_of(process),
        task.map_or(facts.state, thread_state),
        process.parent.load(Ordering::Relaxed),
        facts.group,
        facts.session,
        facts.terminal,
        facts.foreground,
        children(&process.times.children_user),
        children(&process.times.children_system),
        facts.threads,
        duration_ticks(process.started),
        mapped * PAGE,
        u64::MAX,
    );
    // startcode endcode startstack kstkesp kstkeip signal blocked sigignore sigcatch wchan nswap cnswap exit_signal processor rt_priority
    // policy delayacct_blkio_ticks guest_time cguest_time start_data end_data start_brk arg_start arg_end env_start env_end exit_code
    let _ = writeln!(
        text,
        " 0 0 {} 0 0 0 0 0 0 0 0 0 17 {cpu} 0 0 0 0 0 0 0 0 {} {} {} {} 0",
        program.stack,
        program.arguments.start,
        program.arguments.end,
        program.environment.start,
        program.environment.end,
    );
    Ok(text.into())
}

/// Pages mapped and resident.
fn sizes(process: &Process) -> (u64, u64) {
    let Ok(space) = process.space() else { return (0, 0) };
    (space.mapped_bytes() / PAGE, space.resident_pages())
}

fn statm(process: &Arc<Process>) -> Made {
    let (mapped, resident) = sizes(process);
    Ok(format!("{mapped} {resident} 0 0 0 {mapped} 0\n").into())
}

fn status(process: &Arc<Process>) -> Made {
    let facts = facts(process)?;
    let (mapped, resident) = sizes(process);
    let who = process.credentials();
    let kib = PAGE / 1024;
    let state = match facts.state {
        'R' => "R (running)",
        'S' => "S (sleeping)",
        'T' => "T (stopped)",
        _ => "Z (zombie)",
    };
    let umask = process.paths().umask;
    let descriptors = process.files.lock().extent();
    let groups: Vec<String> = who.groups.iter().map(|group| format!("{group}")).collect();
    let mut text = format!(
        "Name:\t{}\nUmask:\t{umask:04o}\nState:\t{state}\nTgid:\t{}\nNgid:\t0\n",
        name_of(process),
        process.pid
    );
    let _ = write!(text, "Pid:\t{}\nPPid:\t{}\nTracerPid:\t0\n", process.pid, process.parent.load(Ordering::Relaxed));
    let _ = writeln!(text, "Uid:\t{}\t{}\t{}\t{}", who.uid, who.euid, who.suid, who.fsuid);
    let _ = writeln!(text, "Gid:\t{}\t{}\t{}\t{}", who.gid, who.egid, who.sgid, who.fsgid);
    let _ = write!(text, "FDSize:\t{descriptors}\nGroups:\t{} \n", groups.join(" "));
    let _ = write!(text, "VmPeak:\t{0:>8} kB\nVmSize:\t{0:>8} kB\n", mapped * kib);
    let _ = write!(
        text,
        "VmRSS:\t{:>8} kB\nVmStk:\t{:>8} kB\n",
        resident * kib,
        process.limit(RLIMIT_STACK).min(1 << 30) / 1024
    );
    let privileges: u64 = if who.is_privileged() { (1 << 41) - 1 } else { 0 };
    let _ = write!(text, "Threads:\t{}\n{}", facts.threads, signal_lines(process));
    let _ = write!(text, "CapInh:\t{:016x}\nCapPrm:\t{privileges:016x}\nCapEff:\t{privileges:016x}\n", 0);
    let _ = write!(text, "CapBnd:\t{:016x}\nCapAmb:\t{:016x}\n", (1u64 << 41) - 1, 0);
    let _ = writeln!(text, "NoNewPrivs:\t{}", u8::from(process.fields.lock().no_new_privileges));
    Ok(text.into())
}

fn signal_lines(process: &Process) -> String {
    use linux::signal::flags::{SIG_DFL, SIG_IGN};
    let signals = process.signals.lock();
    let (mut ignored, mut caught) = (0u64, 0u64);
    for (index, action) in signals.actions.iter().enumerate() {
        match action.handler {
            SIG_IGN => ignored |= 1 << index,
            SIG_DFL => {}
            _ => caught |= 1 << index,
        }
    }
    let first = signals.members.first();
    let (own, blocked) = first.map_or((0, 0), |member| (member.pending.set().0, member.task.mask().0));
    format!(
        "SigPnd:\t{own:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n",
        signals.pending.set().0
    )
}

fn maps(process: &Arc<Process>) -> Made {
    let space = process.space()?;
    let (heap, stack) = (space.heap(), process.fields.lock().program.stack);
    let mut text = String::new();
    for area in space.areas() {
        let (offset, shared, (name, device, number)) = match &area.backing {
            Backing::Anonymous => (0, false, (String::new(), 0, 0)),
            Backing::Object { source, first_page, sharing } => {
                (first_page * PAGE, *sharing == Sharing::Shared, source.describe())
            }
        };
        let bit = |set: bool, letter: char| if set { letter } else { '-' };
        let start = text.len();
        let _ = write!(
            text,
            "{:08x}-{:08x} {}{}{}{} {offset:08x} {:02x}:{:02x} {number}",
            area.start,
            area.end,
            bit(area.protection.read, 'r'),
            bit(area.protection.write, 'w'),
            bit(area.protection.execute, 'x'),
            if shared { 's' } else { 'p' },
            device >> 8,
            device & 0xff,
        );
        let name = match name.as_str() {
            "" if (area.start..area.end).contains(&stack) => "[stack]",
            "" if area.start < heap.end && heap.start < area.end => "[heap]",
            name => name,
        };
        if !name.is_empty() {
            // The column at which Linux begins the name.
            let column = (start + 73).max(text.len() + 1);
            text.extend(core::iter::repeat_n(' ', column - text.len()));
            text.push_str(name);
        }
        text.push('\n');
    }
    Ok(text.into())
}

/// The mounts that a process sees, with the paths at which it does.
fn visible(process: &Process) -> Vec<(Arc<Mount>, Vec<u8>)> {
    let root = process.paths().root;
    let mut top = root.mount().clone();
    while let Some(above) = top.above() {
        top = above.mount().clone();
    }
    let shown = top.all().into_iter().filter_map(|mount| {
        let (text, within) = Path::root_of(&mount).text(&root);
        within.then_some((mount, text))
    });
    shown.collect()
}

/// Spaces and the like in a field, as getmntent(3) reads them.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => drop(write!(text, "\\{byte:03o}")),
            _ => text.push(char::from(byte)),
        }
    }
    text
}

fn access_of(mount: &Mount) -> &'static str {
    if mount.is_read_only() { "ro" } else { "rw" }
}

fn mounts(process: &Arc<Process>) -> Made {
    let mut text = String::new();
    for (mount, path) in visible(process) {
        let volume = mount.volume();
        let _ = writeln!(
            text,
            "{} {} {} {},relatime 0 0",
            escaped(&volume.source),
            escaped(&path),
            volume.kind,
            access_of(&mount)
        );
    }
    Ok(text.into())
}

fn mount_info(process: &Arc<Process>) -> Made {
    let mut text = String::new();
    for (mount, path) in visible(process) {
        let volume = mount.volume();
        let above = mount.above().map_or(mount.id, |above| above.mount().id);
        let shown = mount.shown();
        let access = access_of(&mount);
        let _ = writeln!(
            text,
            "{} {above} {}:{} {} {} {access},relatime - {} {} {}",
            mount.id,
            volume.device >> 8 & 0xfff,
            volume.device & 0xff,
            escaped(&shown),
            escaped(&path),
            volume.kind,
            escaped(&volume.source),
            if volume.is_read_only() { "ro" } else { "rw" },
        );
    }
    Ok(text.into())
}
