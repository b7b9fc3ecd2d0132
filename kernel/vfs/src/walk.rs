//! From a path's bytes to a place (Linux `fs/namei.c`).

use alloc::borrow::Cow;
use alloc::vec::Vec;

use linux::Errno;

use crate::access::EXECUTE;
use crate::inode::{Kind, Link};
use crate::{Credentials, LINKS_MAX, PATH_MAX, Path, World};

/// Where a process stands in the tree, and who it is.
pub struct PathContext<W: World> {
    /// Its `/`.
    pub root: Path<W>,
    /// Its working directory.
    pub cwd: Path<W>,
    /// Who it is.
    pub credentials: Credentials,
    /// Permission bits that new files do not get.
    pub umask: u32,
}

impl<W: World> Clone for PathContext<W> {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
            cwd: self.cwd.clone(),
            credentials: self.credentials.clone(),
            umask: self.umask,
        }
    }
}

/// A path, and the directory that it starts from when it is relative.
#[derive(Clone, Copy)]
pub struct At<'a, W: World> {
    /// `None`: the working directory.
    pub base: Option<&'a Path<W>>,
    /// Its bytes, without NUL.
    pub path: &'a [u8],
}

impl<'a, W: World> At<'a, W> {
    /// From the working directory.
    #[must_use]
    pub fn cwd(path: &'a [u8]) -> Self {
        Self { base: None, path }
    }
}

/// What a path ends with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Last<'a> {
    /// A name, not yet looked up.
    Name(Cow<'a, [u8]>),
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// Nothing but slashes.
    Root,
}

/// A text that is walked along, and how far.
struct Text<'a> {
    bytes: Cow<'a, [u8]>,
    at: usize,
}

impl<'a> Text<'a> {
    fn skip_slashes(&mut self) -> bool {
        let start = self.at;
        while self.bytes.get(self.at) == Some(&b'/') {
            self.at += 1;
        }
        self.at > start
    }

    fn component(&mut self) -> Option<Cow<'a, [u8]>> {
        let start = self.at;
        let length = self.bytes[start..].iter().position(|&byte| byte == b'/').unwrap_or(self.bytes.len() - start);
        self.at += length;
        let range = start..self.at;
        (length > 0).then(|| match &self.bytes {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[range]),
            Cow::Owned(bytes) => Cow::Owned(bytes[range].to_vec()),
        })
    }
}

/// A walk under way. Texts of symbolic links are walked without recursion, for a kernel stack is short.
pub(crate) struct Walk<'a, W: World> {
    context: &'a PathContext<W>,
    /// How far it has come.
    pub(crate) directory: Path<W>,
    current: Text<'a>,
    /// Texts with components left, of which `current` is a link's.
    outer: Vec<Text<'a>>,
    links: u32,
    /// A slash stands behind the last component: it has to be a directory.
    pub(crate) slash: bool,
}

impl<'a, W: World> Walk<'a, W> {
    pub(crate) fn new(context: &'a PathContext<W>, at: &At<'a, W>) -> Result<Self, Errno> {
        if at.path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if at.path.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let directory = if at.path[0] == b'/' { &context.root } else { at.base.unwrap_or(&context.cwd) };
        if !directory.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let current = Text { bytes: Cow::Borrowed(at.path), at: 0 };
        Ok(Self { context, directory: directory.clone(), current, outer: Vec::new(), links: 0, slash: false })
    }

    /// Goes on to the last component, which it does not look up.
    pub(crate) fn go_to_last(&mut self) -> Result<Last<'a>, Errno> {
        loop {
            self.current.skip_slashes();
            let Some(name) = self.current.component() else {
                let Some(outer) = self.outer.pop() else { return Ok(Last::Root) };
                self.current = outer;
                continue;
            };
            let permission = self.directory.inode().permission();
            if !permission.is_directory() {
                return Err(Errno::ENOTDIR);
            }
            permission.check(&self.context.credentials, EXECUTE)?;
            let slashes = self.current.skip_slashes();
            let ends = self.current.at == self.current.bytes.len() && self.outer.is_empty();
            if ends {
                self.slash |= slashes;
            }
            match (&name[..], ends) {
                (b".", true) => return Ok(Last::Dot),
                (b"..", true) => return Ok(Last::DotDot),
                (_, true) => return Ok(Last::Name(name)),
                (b".", false) => {}
                (b"..", false) => self.up(),
                (_, false) => {
                    let child = self.child(&name)?;
                    if child.inode().kind() == Kind::Link {
                        self.follow(&child)?;
                    } else {
                        self.directory = child;
                    }
                }
            }
        }
    }

    /// `..`, but not above the process's root.
    pub(crate) fn up(&mut self) {
        self.directory = self.directory.parent(Some(&self.context.root));
    }

    /// What `name` is in the directory where the walk stands.
    pub(crate) fn child(&self, name: &[u8]) -> Result<Path<W>, Errno> {
        let dentry = self.directory.dentry().child(name)?;
        Ok(Path::new(self.directory.mount().clone(), dentry).top())
    }

    /// Puts a link's text before what is left to walk. True when the link led to a place without a text: `directory` is that place.
    pub(crate) fn follow(&mut self, link: &Path<W>) -> Result<bool, Errno> {
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Errno::ELOOP);
        }
        match link.inode().link()? {
            Link::Place(place) => {
                self.directory = place;
                Ok(true)
            }
            Link::Text(text) => {
                if text.is_empty() {
                    return Err(Errno::ENOENT);
                }
                if text[0] == b'/' {
                    self.directory = self.context.root.clone();
                }
                let outer = core::mem::replace(&mut self.current, Text { bytes: Cow::Owned(text.into_vec()), at: 0 });
                if outer.at < outer.bytes.len() {
                    self.outer.push(outer);
                }
                Ok(false)
            }
        }
    }
}

/// Finds the place that a path leads to. With `follow`, a symbolic link at its end is followed.
///
/// # Errors
/// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`.
pub fn lookup<W: World>(context: &PathContext<W>, at: &At<'_, W>, follow: bool) -> Result<Path<W>, Errno> {
    let mut walk = Walk::new(context, at)?;
    loop {
        match walk.go_to_last()? {
            Last::Name(name) => {
                let child = walk.child(&name)?;
                let link = child.inode().kind() == Kind::Link;
                if !link || !(follow || walk.slash) {
                    return finish(&walk, child);
                }
                if walk.follow(&child)? {
                    let place = walk.directory.clone();
                    return finish(&walk, place);
                }
            }
            Last::DotDot => {
                walk.up();
                return Ok(walk.directory);
            }
            Last::Dot | Last::Root => return Ok(walk.directory),
        }
    }
}

fn finish<W: World>(walk: &Walk<'_, W>, place: Path<W>) -> Result<Path<W>, Errno> {
    if walk.slash && !place.is_directory() { Err(Errno::ENOTDIR) } else { Ok(place) }
}
