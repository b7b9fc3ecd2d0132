//! Executing programs: `execve`.
//!
//! Everything that can fail is done on a new address space; only then the old one is left. What fails after that ends the process.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use elfload::{ElfError, Kind, Plan};
use linux::Errno;
use linux::flags::{O_RDONLY, RLIMIT_STACK, S_ISGID, S_ISUID};
use linux::signal::{SigAction, SigStack, flags};
use linux::stack::{Contents, Image, MINSIGSTKSZ, Strings, aux};

use vfs::access::EXECUTE;
use vfs::inode::Kind as FileKind;
use vfs::{At, SliceMut};

use super::credentials::Credentials;
use super::task::{Program, Task};
use super::{current, vdso};
use crate::arch::fp::FpState;
use crate::arch::idreg;
use crate::arch::thread;
use crate::arch::trap::TrapFrame;
use crate::fs::{self, OpenFile, PathContext, locks};
use crate::mm::layout::USER_END;
use crate::mm::{AddressSpace, Backing, PageSource, Place, Protection, Sharing, user};
use crate::{random, sched};

/// Bytes that arguments and environment may take: a quarter of the stack's limit, as on Linux.
pub const ARGUMENTS_MAX: usize = 2 << 20;
/// One of them (MAX_ARG_STRLEN).
const STRING_MAX: usize = 128 << 10;
/// Interpreters of interpreters.
const SCRIPTS_MAX: usize = 4;
/// Bytes of a script's first line that count.
const SCRIPT_LINE_MAX: usize = 256;
/// Lowest address that a program may use.
const USER_START: u64 = 0x1_0000;
/// Where a static-PIE program goes, plus a random part; as on Linux two thirds up.
const PIE_BASE: u64 = 0xaaaa_aaaa_0000;
/// Pages of random distance between the stack and the end of the address space.
const STACK_SHIFT_PAGES: u64 = 1 << 14;
const PIE_SHIFT_PAGES: u64 = 1 << 18;
const PAGE: u64 = 4096;
static ZEROES: [u8; PAGE as usize] = [0; PAGE as usize];
/// Nothing is placed this close under the stack (stack_guard_gap).
const STACK_GAP: u64 = 256 * PAGE;
/// The longest stack that is reserved, whatever the limit.
const STACK_MAX: u64 = 1 << 30;

/// What programs may use.
pub fn hwcap() -> u64 {
    linux::hwcap::hwcap(&linux::hwcap::Registers { isar0: idreg::isar0(), isar1: idreg::isar1(), pfr0: idreg::pfr0() })
}

/// What is to be executed.
pub struct Request {
    /// The file.
    pub file: Arc<OpenFile>,
    /// Its path as the caller gave it.
    pub path: Vec<u8>,
    /// Arguments.
    pub arguments: Strings,
    /// Environment.
    pub environment: Strings,
}

/// A program ready to run in a space of its own.
struct Loaded {
    space: Arc<AddressSpace>,
    entry: u64,
    vdso: u64,
    image: Image,
}

/// What the program's file asks for besides its own segments.
struct Facts {
    plan: Box<Plan>,
    bias: u64,
    interpreter: Option<(u64, u64)>,
}

/// What a program is told of a file that is no program: damaged and unknown ones are not executable at all, forbidden ones not for us.
fn elf_error(error: &ElfError) -> Errno {
    match error {
        ElfError::WritableAndExecutable { .. } => Errno::EACCES,
        _ => Errno::ENOEXEC,
    }
}

fn read(file: &Arc<OpenFile>, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
    file.read_at(offset, &mut SliceMut::new(into))
}

/// The program at `path`, if the caller may execute it. Being read by the caller is another matter, so it is opened past that check.
pub fn find(paths: &PathContext, path: &[u8]) -> Result<Arc<OpenFile>, Errno> {
    open_program(paths, &vfs::walk::lookup(paths, &At::cwd(path), true)?)
}

/// The program at a place.
pub fn open_program(paths: &PathContext, place: &fs::Path) -> Result<Arc<OpenFile>, Errno> {
    let inode = place.inode();
    if inode.kind() != FileKind::Regular {
        return Err(Errno::EACCES);
    }
    inode.permission().check(&paths.credentials, EXECUTE)?;
    let file = inode.clone().open(O_RDONLY)?;
    Ok(OpenFile::new(place.clone(), Some(file), O_RDONLY))
}

/// `#!interpreter [argument]`: turns the request into one for the interpreter.
fn follow_script(request: &mut Request, first: &[u8], paths: &PathContext) -> Result<bool, Errno> {
    let Some(line) = first.strip_prefix(b"#!") else { return Ok(false) };
    let line = &line[..line.len().min(SCRIPT_LINE_MAX - 2)];
    let end = line.iter().position(|byte| *byte == b'\n');
    let line = &line[..end.unwrap_or(line.len())];
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let trimmed = line.trim_ascii();
    let split = trimmed.iter().position(is_space).unwrap_or(trimmed.len());
    let (interpreter, argument) = (trimmed[..split].to_vec(), trimmed[split..].trim_ascii());
    if interpreter.is_empty() || end.is_none() && split == trimmed.len() && line.len() >= SCRIPT_LINE_MAX - 2 {
        return Err(Errno::ENOEXEC);
    }
    let mut arguments = Strings::default();
    arguments.push(&interpreter);
    if !argument.is_empty() {
        arguments.push(argument);
    }
    arguments.push(&request.path);
    request.arguments.iter().skip(1).for_each(|argument| arguments.push(argument));
    request.arguments = arguments;
    request.file = find(paths, &interpreter)?;
    request.path = interpreter;
    Ok(true)
}

fn protection_of(segment: &elfload::Segment) -> Protection {
    let p = segment.protection;
    Protection { read: p.read, write: p.write, execute: p.execute }
}

/// Maps one file's segments, moved by `bias`.
fn map_segments(space: &AddressSpace, file: &Arc<OpenFile>, plan: &Plan, bias: u64) -> Result<(), Errno> {
    let source: Arc<dyn PageSource> = fs::page_source(file)?;
    for segment in &plan.segments {
        let protection = protection_of(segment);
        let (start, end) = (segment.pages().start, segment.pages().end);
        let file_end =
            if segment.file_size == 0 { start } else { (segment.vaddr + segment.file_size).next_multiple_of(PAGE) };
        let map = |from: u64, to: u64, backing: Backing| -> Result<(), Errno> {
            if from < to {
                space.map(Place::Fixed(from + bias), to - from, protection, backing)?;
            }
            Ok(())
        };
        // The plan has file offset and address congruent, so the segment's first page begins on a page of the file.
        let first_page = segment.file_offset / PAGE;
        let object = Backing::Object { source: source.clone(), first_page, sharing: Sharing::Private };
        map(start, file_end, object)?;
        map(file_end, end, Backing::Anonymous)?;
        // The rest of the last file page is the start of the zeroed part.
        let tail = segment.vaddr + segment.file_size;
        if segment.memory_size > segment.file_size && tail < file_end && protection.write {
            space.write_bytes(tail + bias, &ZEROES[..(file_end - tail) as usize])?;
        }
    }
    Ok(())
}

fn plan_of(file: &Arc<OpenFile>) -> Result<Box<Plan>, Errno> {
    let mut prefix = alloc::vec![0; elfload::PREFIX];
    let length = read(file, 0, &mut prefix)?;
    plan(&prefix[..length], file.metadata().size)
}

/// A plan is large: it is on the stack here, where nothing is read, and nowhere else.
#[inline(never)]
fn plan(prefix: &[u8], size: u64) -> Result<Box<Plan>, Errno> {
    elfload::plan(prefix, size, 0..USER_END).map(Box::new).map_err(|error| elf_error(&error))
}

fn random_pages(limit: u64) -> u64 {
    let mut bytes = [0; 8];
    random::fill(&mut bytes);
    u64::from_le_bytes(bytes) % limit * PAGE
}

/// Maps the program, and its dynamic linker if it names one. Files are read under it, so it has a frame of its own.
#[inline(never)]
fn map_program(space: &AddressSpace, request: &Request, paths: &PathContext) -> Result<Facts, Errno> {
    let plan = plan_of(&request.file)?;
    if plan.pages().start < USER_START && plan.kind == Kind::Fixed {
        return Err(Errno::ENOEXEC);
    }
    let bias = match plan.kind {
        Kind::Fixed => 0,
        Kind::Relocatable => (PIE_BASE + random_pages(PIE_SHIFT_PAGES)) & !(plan.align - 1),
    };
    map_segments(space, &request.file, &plan, bias)?;
    space.set_heap_start(plan.pages().end + bias);
    let mut interpreter = None;
    if let Some(range) = plan.interpreter.clone() {
        let mut name = alloc::vec![0; (range.end - range.start) as usize];
        read(&request.file, range.start, &mut name)?;
        let path = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let file = find(paths, path)?;
        let linker = plan_of(&file)?;
        if linker.kind != Kind::Relocatable || linker.interpreter.is_some() {
            return Err(Errno::ELIBBAD);
        }
        let pages = linker.pages();
        let nothing = Protection { read: false, write: false, execute: false };
        let room = space.map(Place::Anywhere, pages.end - pages.start, nothing, Backing::Anonymous)?;
        let base = room - pages.start;
        map_segments(space, &file, &linker, base)?;
        interpreter = Some((base, linker.entry + base));
    }
    Ok(Facts { plan, bias, interpreter })
}

fn load(request: &Request, paths: &PathContext, new: &Credentials, stack_limit: u64) -> Result<Loaded, Errno> {
    let space = AddressSpace::new()?;
    let top = USER_END - PAGE - random_pages(STACK_SHIFT_PAGES);
    let length = stack_limit.clamp(ARGUMENTS_MAX as u64 + PAGE, STACK_MAX).next_multiple_of(PAGE);
    // Its pages come when they are touched.
    let writable = Protection { read: true, write: true, execute: false };
    space.map(Place::Fixed(top - length), length, writable, Backing::Anonymous)?;
    space.set_ceiling(top - length - STACK_GAP);
    let facts = map_program(&space, request, paths)?;
    let vdso = vdso::map(&space)?;
    let plan = &facts.plan;
    let secure = new.uid != new.euid || new.gid != new.egid;
    let auxv = [
        (aux::SYSINFO_EHDR, vdso),
        (aux::MINSIGSTKSZ, MINSIGSTKSZ),
        (aux::HWCAP, hwcap()),
        (aux::PAGESZ, PAGE),
        (aux::CLKTCK, 100),
        (aux::PHDR, plan.program_headers.map_or(0, |address| address + facts.bias)),
        (aux::PHENT, elfload::program_header_size()),
        (aux::PHNUM, u64::from(plan.program_header_count)),
        (aux::BASE, facts.interpreter.map_or(0, |(base, _)| base)),
        (aux::FLAGS, 0),
        (aux::ENTRY, plan.entry + facts.bias),
        (aux::UID, u64::from(new.uid)),
        (aux::EUID, u64::from(new.euid)),
        (aux::GID, u64::from(new.gid)),
        (aux::EGID, u64::from(new.egid)),
        (aux::SECURE, u64::from(secure)),
        (aux::HWCAP2, 0),
    ];
    let mut random = [0; 16];
    random::fill(&mut random);
    let contents = Contents {
        arguments: &request.arguments,
        environment: &request.environment,
        path: &request.path,
        random,
        auxv: &auxv,
    };
    let image = linux::stack::build(top, ARGUMENTS_MAX, &contents).ok_or(Errno::E2BIG)?;
    space.write_bytes(image.sp, &image.bytes)?;
    let entry = facts.interpreter.map_or(plan.entry + facts.bias, |(_, entry)| entry);
    Ok(Loaded { space, entry, vdso, image })
}

/// What set-user-ID and set-group-ID bits of the file make of the caller.
fn new_credentials(task: &Task, file: &Arc<OpenFile>) -> Credentials {
    let (old, locked) = {
        let fields = task.process.fields.lock();
        (fields.credentials.clone(), fields.no_new_privileges)
    };
    let permission = file.path().inode().permission();
    let user = (permission.mode & S_ISUID != 0 && !locked).then_some(permission.user);
    // Without group execution the bit means something else (mandatory locking).
    let set_group = S_ISGID | 0o010;
    let group = (permission.mode & set_group == set_group && !locked).then_some(permission.group);
    old.after_exec(user, group)
}

/// Follows scripts to a program.
#[inline(never)]
fn follow_scripts(request: &mut Request, paths: &PathContext) -> Result<(), Errno> {
    let mut first = alloc::vec![0; SCRIPT_LINE_MAX];
    for _ in 0..=SCRIPTS_MAX {
        let length = read(&request.file, 0, &mut first)?;
        if !follow_script(request, &first[..length], paths)? {
            return Ok(());
        }
    }
    Err(Errno::ELOOP)
}

fn load_for(task: &Task, request: &mut Request) -> Result<(Loaded, Credentials), Errno> {
    let process = &task.process;
    let paths = process.paths();
    follow_scripts(request, &paths)?;
    let new = new_credentials(task, &request.file);
    let loaded = load(request, &paths, &new, process.limit(RLIMIT_STACK))?;
    Ok((loaded, new))
}

/// Replaces the caller's program.
pub fn execute(mut request: Request, frame: &mut TrapFrame) -> Result<(), Errno> {
    let task = current();
    let (loaded, new) = load_for(&task, &mut request)?;
    stop_other_threads(&task)?;
    let space = loaded.space.clone();
    *frame = commit(&task, request, loaded, new);
    drop(sched::current().set_space(Some(space)));
    task.release_vfork();
    thread::set_tpidr(0);
    thread::set_fp_state(&FpState::default());
    Ok(())
}

/// Gives the first process, which does not run yet, its program.
pub fn prepare_first(task: &Arc<Task>, mut request: Request) -> Result<(TrapFrame, Arc<AddressSpace>), Errno> {
    let (loaded, new) = load_for(task, &mut request)?;
    let space = loaded.space.clone();
    Ok((commit(task, request, loaded, new), space))
}

/// Ends all other threads of the process and waits until they are gone.
fn stop_other_threads(task: &Arc<Task>) -> Result<(), Errno> {
    let process = &task.process;
    {
        let mut signals = process.signals.lock();
        if signals.ending.is_some() || signals.executing.is_some() {
            return Err(Errno::ERESTARTNOHAND);
        }
        if signals.members.len() == 1 {
            return Ok(());
        }
        signals.executing = Some(task.tid);
        signals.members.iter().filter(|member| member.task.tid != task.tid).for_each(|member| member.task.interrupt());
    }
    let alone = || (process.signals.lock().members.len() == 1).then_some(());
    let _ = process.changed.wait_until(alone, None, false);
    process.signals.lock().executing = None;
    Ok(())
}

/// From here on the process is the new program.
fn commit(task: &Arc<Task>, request: Request, loaded: Loaded, new: Credentials) -> TrapFrame {
    let process = &task.process;
    let program = Program {
        file: Some(request.file.path().clone()),
        name: short_name(&request.path),
        arguments: loaded.image.arguments.clone(),
        environment: loaded.image.environment.clone(),
        vdso: loaded.vdso,
        stack: loaded.image.sp,
    };
    let old = {
        let mut fields = process.fields.lock();
        fields.credentials = Arc::new(new);
        let old = core::mem::replace(&mut fields.program, program);
        (old, fields.space.replace(loaded.space))
    };
    drop(old);
    loop {
        // Closing may sleep, so each goes without the lock.
        let closed = process.files.lock().remove_first(0..usize::MAX, |entry| entry.close_on_exec);
        let Some(closed) = closed else { break };
        locks::descriptor_closed(&process.files, &closed.object);
    }
    {
        // Handlers were in the old program; what was ignored stays so (execve(2)).
        let mut signals = process.signals.lock();
        for action in signals.actions.iter_mut() {
            let handler = if action.handler == flags::SIG_IGN { flags::SIG_IGN } else { flags::SIG_DFL };
            *action = SigAction { handler, ..SigAction::default() };
        }
    }
    task.own.lock().stack = SigStack::DISABLED;
    task.clear_child_tid.store(0, Ordering::Relaxed);
    task.robust_list.store(0, Ordering::Relaxed);
    process.has_executed.store(true, Ordering::Relaxed);
    TrapFrame { sp: loaded.image.sp, pc: loaded.entry, ..TrapFrame::default() }
}

/// The last part of a path, cut to what `prctl(PR_GET_NAME)` gives.
fn short_name(path: &[u8]) -> [u8; 16] {
    let mut name = [0; 16];
    let base = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let length = base.len().min(15);
    name[..length].copy_from_slice(&base[..length]);
    name
}

/// Reads a vector of strings that ends in a null pointer.
pub fn strings_of(address: u64) -> Result<Strings, Errno> {
    let mut strings = Strings::default();
    if address == 0 {
        return Ok(strings);
    }
    let mut at = address;
    loop {
        let pointer: u64 = user::read(at)?;
        if pointer == 0 {
            return Ok(strings);
        }
        let string = match user::read_cstr(pointer, STRING_MAX) {
            Err(Errno::ENAMETOOLONG) => return Err(Errno::E2BIG),
            other => other?,
        };
        strings.push(&string);
        if strings.bytes().len() + strings.count() * 8 > ARGUMENTS_MAX {
            return Err(Errno::E2BIG);
        }
        at = at.checked_add(8).ok_or(Errno::EFAULT)?;
    }
}
