//! Random operations on a tree, against a plain model of it: the tree afterwards is the model's, whatever failed on the way.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::data::Disk;
use super::*;
use crate::create::link;
use crate::remove::{rmdir, unlink};
use crate::rename::rename;

/// Paths of a few names, up to three deep.
fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4).prop_map(|parts| parts.join("/"))
}

#[derive(Clone, Debug)]
enum Step {
    Mkdir(String),
    Write(String, u8),
    Unlink(String),
    Rmdir(String),
    Rename(String, String, u32),
    Link(String, String),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => path().prop_map(Step::Mkdir),
        3 => (path(), any::<u8>()).prop_map(|(path, byte)| Step::Write(path, byte)),
        1 => path().prop_map(Step::Unlink),
        1 => path().prop_map(Step::Rmdir),
        4 => (path(), path(), 0u32..3).prop_map(|(from, to, flags)| Step::Rename(from, to, flags)),
        2 => (path(), path()).prop_map(|(from, to)| Step::Link(from, to)),
    ]
}

/// `None` for a directory, a number for the file of that number.
type Tree = BTreeMap<String, Option<usize>>;

#[derive(Default)]
struct Model {
    names: Tree,
    files: Vec<u8>,
}

fn parent(path: &str) -> &str {
    path.rfind('/').map_or("", |slash| &path[..slash])
}

impl Model {
    fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || self.names.get(path) == Some(&None)
    }

    fn is_empty(&self, path: &str) -> bool {
        !self.names.keys().any(|name| name.starts_with(&std::format!("{path}/")))
    }

    fn free(&self, path: &str) -> bool {
        self.is_directory(parent(path)) && !self.names.contains_key(path)
    }

    /// Takes a name and all below it out, as (rest of the path, what).
    fn lift(&mut self, path: &str) -> Tree {
        let below = std::format!("{path}/");
        let names: Vec<String> =
            self.names.keys().filter(|name| *name == path || name.starts_with(&below)).cloned().collect();
        names.into_iter().map(|name| (name[path.len()..].into(), self.names.remove(&name).unwrap())).collect()
    }

    fn put(&mut self, path: &str, tree: Tree) {
        self.names.extend(tree.into_iter().map(|(rest, what)| (std::format!("{path}{rest}"), what)));
    }

    /// True when the step can be done; then it is.
    fn apply(&mut self, step: &Step) -> bool {
        match step {
            Step::Mkdir(path) => {
                let can = self.free(path);
                if can {
                    self.names.insert(path.clone(), None);
                }
                can
            }
            Step::Write(path, byte) => match self.names.get(path) {
                Some(Some(file)) => {
                    self.files[*file] = *byte;
                    true
                }
                Some(None) => false,
                None if self.free(path) => {
                    self.names.insert(path.clone(), Some(self.files.len()));
                    self.files.push(*byte);
                    true
                }
                None => false,
            },
            Step::Unlink(path) => {
                let can = matches!(self.names.get(path), Some(Some(_)));
                if can {
                    self.names.remove(path);
                }
                can
            }
            Step::Rmdir(path) => {
                let can = self.names.get(path) == Some(&None) && self.is_empty(path);
                if can {
                    self.names.remove(path);
                }
                can
            }
            Step::Link(from, to) => match self.names.get(from) {
                Some(Some(file)) if self.free(to) => {
                    self.names.insert(to.clone(), Some(*file));
                    true
                }
                _ => false,
            },
            Step::Rename(from, to, flags) => self.rename(from, to, *flags),
        }
    }

    fn rename(&mut self, from: &str, to: &str, flags: u32) -> bool {
        let (Some(&source), target) = (self.names.get(from), self.names.get(to).copied()) else { return false };
        if !self.is_directory(parent(to)) || to.starts_with(&std::format!("{from}/")) {
            return false;
        }
        match (flags, target) {
            (RENAME_NOREPLACE, Some(_)) | (RENAME_EXCHANGE, None) => return false,
            _ if from == to => return true,
            (RENAME_EXCHANGE, Some(_)) => {
                if from.starts_with(&std::format!("{to}/")) {
                    return false;
                }
                let (one, other) = (self.lift(from), self.lift(to));
                self.put(from, other);
                self.put(to, one);
                return true;
            }
            (_, Some(target)) => {
                if source.is_some() && source == target {
                    return true;
                }
                let fits = source.is_some() == target.is_some() && self.is_empty(to);
                if !fits || from.starts_with(&std::format!("{to}/")) {
                    return false;
                }
                self.names.remove(to);
            }
            (_, None) => {}
        }
        let lifted = self.lift(from);
        self.put(to, lifted);
        true
    }
}

fn apply(context: &PathContext<Host>, step: &Step) -> Result<(), Errno> {
    match step {
        Step::Mkdir(path) => mkdir(context, &at(path), 0o755),
        Step::Write(path, byte) => write(context, path, &[*byte]),
        Step::Unlink(path) => unlink(context, &at(path)),
        Step::Rmdir(path) => rmdir(context, &at(path)),
        Step::Rename(from, to, flags) => rename(context, &at(from), &at(to), *flags),
        Step::Link(from, to) => link(context, &lookup(context, &at(from), false)?, &at(to)),
    }
}

/// The tree as `find` would see it, and the counts of links.
fn check(context: &PathContext<Host>, model: &Model, directory: &str) {
    let shown = if directory.is_empty() { "." } else { directory };
    let mut names = list(context, shown, 200).unwrap();
    names.retain(|name| name != "." && name != "..");
    names.sort();
    let wanted: Vec<String> =
        model.names.keys().filter(|name| parent(name) == directory && !name.is_empty()).cloned().collect();
    let full: Vec<String> = names
        .iter()
        .map(|name| if directory.is_empty() { name.clone() } else { std::format!("{directory}/{name}") })
        .collect();
    assert_eq!(full, wanted);
    let mut directories = 0;
    for name in &full {
        match model.names[name] {
            None => {
                directories += 1;
                check(context, model, name);
            }
            Some(file) => {
                assert_eq!(read(context, name).unwrap(), [model.files[file]]);
                let links = model.names.values().filter(|&&other| other == Some(file)).count();
                assert_eq!(stat(context, name).unwrap().links as usize, links, "{name}");
            }
        }
    }
    assert_eq!(stat(context, shown).unwrap().links, 2 + directories, "{shown}");
    let place = lookup(context, &at(shown), true).unwrap();
    assert_eq!(place.text(&context.root).0, std::format!("/{directory}").as_bytes());
}

/// Applies the steps to a tree and gives what it has to be then.
fn run(context: &PathContext<Host>, steps: &[Step]) -> Result<Model, TestCaseError> {
    let mut model = Model::default();
    for (number, step) in steps.iter().enumerate() {
        if number % 5 == 4 {
            context.root.dentry().prune_unused();
        }
        let done = apply(context, step);
        prop_assert_eq!(done.is_ok(), model.apply(step), "{:?} gave {:?}", step, done);
    }
    check(context, &model, "");
    Ok(model)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_tree_is_the_models(steps in prop::collection::vec(step(), 1..40)) {
        run(&tree(), &steps)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn a_persistent_tree_is_the_models_also_when_it_is_found_again(steps in prop::collection::vec(step(), 1..40)) {
        let disk = Disk::new();
        let model = run(&disk.context, &steps)?;
        let again = disk.again();
        check(&again.context, &model, "");
        again.check();
    }
}

/// Threads that move, make and remove the same few names: nothing deadlocks, no lock is taken out of order, and the tree stays a tree.
#[test]
fn many_threads_in_one_tree() {
    many_threads(tree());
    let disk = Disk::new();
    many_threads(disk.context.clone());
    disk.again().check();
}

fn many_threads(context: PathContext<Host>) {
    let context = Arc::new(context);
    let threads: Vec<_> = (0..4u32)
        .map(|number| {
            let context = context.clone();
            std::thread::spawn(move || {
                let mut runner = proptest::test_runner::TestRunner::deterministic();
                for round in 0..300 + number {
                    let step = step().new_tree(&mut runner).unwrap().current();
                    if round % 4 != number || round % 3 == 0 {
                        let _ = apply(&context, &step);
                    } else {
                        context.root.dentry().prune_unused();
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let mut left = vec![String::from(".")];
    let mut seen = 0;
    while let Some(directory) = left.pop() {
        let mut subdirectories = 0;
        for name in list(&context, &directory, 300).unwrap() {
            let path = std::format!("{directory}/{name}");
            if name != "." && name != ".." && stat(&context, &path).unwrap().permission.is_directory() {
                subdirectories += 1;
                left.push(path);
            }
        }
        assert_eq!(stat(&context, &directory).unwrap().links, 2 + subdirectories);
        seen += 1;
        assert!(seen < 100, "a directory inside itself");
    }
}
