//! The network namespaces of this node in which something runs, each with a process through which its files are read.
//!
//! They are found by the cgroups: the first process of each stands for all of it. What a namespace is called is not read
//! (`/proc/PID/ns/net` wants CAP_SYS_PTRACE); that two processes share one shows in the inode number of their
//! `/proc/PID/net/dev`, which the kernel gives once per namespace (`proc_create_net`). It gives the number of one that is
//! gone to the next; that one has other cgroups.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io::Read as _};

use netcause_core::node::{Failure, Found, Reason};

use crate::kernel::cgroups::Tree;

/// Namespaces read in one pass; of more, those with the highest numbers are left out.
const MAX_NAMESPACES: usize = 1024;
/// Bytes read of a list of processes: those of some hundred.
const PROCESSES: u64 = 1024;
/// Processes tried of one cgroup: one may end meanwhile.
const TRIES: usize = 3;

/// Finds namespaces.
pub(super) struct Namespaces {
    /// The mount of cgroup v2.
    root: Option<PathBuf>,
    /// The process that stood for a cgroup in the last pass, and its namespace.
    known: HashMap<u64, (u32, u64)>,
    /// The namespaces of the last passes, by the number of their file.
    lives: HashMap<u64, Life>,
    /// Namespaces found so far.
    count: u64,
}

/// A namespace that was found.
struct Life {
    /// Its number among all.
    id: u64,
    cgroups: Vec<u64>,
    /// Passes that have not found it.
    missed: u8,
}

/// Passes that may not find a namespace before it has ended.
const MISSABLE: u8 = 2;

/// The namespaces of one pass.
pub(super) struct All {
    /// Those beside the agent's own.
    pub pods: Vec<Namespace>,
    /// How many there are beside these.
    pub left_out: u64,
}

/// A network namespace.
pub(super) struct Namespace {
    /// A number that no other has.
    pub id: u64,
    /// A process in it.
    pub process: u32,
    /// The cgroups with a process in it, by their ids.
    pub cgroups: Vec<u64>,
}

impl Namespaces {
    pub fn new(root: Option<PathBuf>) -> Self {
        Self { root, known: HashMap::new(), lives: HashMap::new(), count: 0 }
    }

    /// All that there are now.
    pub fn find(&mut self) -> Found<All> {
        let Some(root) = &self.root else {
            return Err(Failure::new(Reason::Cgroup2NotMounted, "cgroup v2 is not mounted here"));
        };
        let own =
            namespace("self").ok_or_else(|| Failure::new(Reason::Other, "/proc/self/net/dev: not there"))?;
        let tree = Tree::walk(root);
        let mut before = std::mem::take(&mut self.known);
        let mut found: BTreeMap<u64, Namespace> = BTreeMap::new();
        let mut sees_others = false;
        for id in tree.ids() {
            let known = before
                .remove(&id)
                .filter(|(process, known)| namespace(process) == Some(*known))
                .or_else(|| first_process(&root.join(PathBuf::from(OsString::from_vec(tree.path(id)?)))));
            let Some((process, namespace)) = known else { continue };
            sees_others |= process != std::process::id();
            self.known.insert(id, (process, namespace));
            if namespace != own {
                let entry = Namespace { id: namespace, process, cgroups: Vec::new() };
                found.entry(namespace).or_insert(entry).cgroups.push(id);
            }
        }
        if !sees_others {
            let message = "no process of another cgroup can be seen: the agent is not in the host's PID namespace (hostPID)";
            return Err(Failure::new(Reason::NotInHostPidNamespace, message));
        }
        for (file, namespace) in &mut found {
            namespace.id = self.number(*file, &namespace.cgroups);
        }
        self.lives.retain(|file, life| {
            life.missed = if found.contains_key(file) { 0 } else { life.missed + 1 };
            life.missed <= MISSABLE
        });
        let left_out = found.len().saturating_sub(MAX_NAMESPACES) as u64;
        Ok(All { pods: found.into_values().take(MAX_NAMESPACES).collect(), left_out })
    }
}

impl Namespaces {
    /// The number of the namespace with this number of its file: another one if none of its cgroups is known of it.
    fn number(&mut self, file: u64, cgroups: &[u64]) -> u64 {
        let before = self.lives.remove(&file);
        let same = before.filter(|life| life.cgroups.iter().any(|cgroup| cgroups.contains(cgroup)));
        let id = same.map_or_else(
            || {
                self.count += 1;
                self.count
            },
            |life| life.id,
        );
        self.lives.insert(file, Life { id, cgroups: cgroups.to_vec(), missed: 0 });
        id
    }
}

/// The first process of a cgroup that is alive, and its network namespace.
fn first_process(cgroup: &Path) -> Option<(u32, u64)> {
    let mut text = Vec::new();
    // A threaded cgroup has no list of processes.
    fs::File::open(cgroup.join("cgroup.procs")).ok()?.take(PROCESSES).read_to_end(&mut text).ok()?;
    // Those of another PID namespace are 0. The last one may be cut.
    let processes = text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| {
        let number = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
        number.parse::<u32>().ok().filter(|process| *process != 0)
    });
    processes.take(TRIES).find_map(|process| Some((process, namespace(process)?)))
}

/// What stands for the network namespace of a process; `None` when it has ended.
fn namespace(process: impl std::fmt::Display) -> Option<u64> {
    Some(fs::metadata(format!("/proc/{process}/net/dev")).ok()?.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_and_its_threads_are_in_one_namespace() {
        assert_eq!(namespace("self"), namespace(std::process::id()));
        assert!(namespace("self").is_some() && namespace(u32::MAX).is_none());
    }

    #[test]
    fn processes_of_other_pid_namespaces_are_passed_over() {
        let directory = std::env::temp_dir().join(format!("netcause-namespaces-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let own = std::process::id();
        for (text, right) in [
            (format!("0\n0\n{own}\n"), Some(own)),
            (format!("{}\n{own}\n", u32::MAX), Some(own)),
            ("0\n0\n".to_owned(), None),
            (own.to_string(), None),
            ("\u{fffd}\n".to_owned(), None),
        ] {
            fs::write(directory.join("cgroup.procs"), &text).unwrap();
            assert_eq!(first_process(&directory).map(|(process, _)| process), right, "{text:?}");
        }
        fs::remove_dir_all(&directory).unwrap();
        assert!(first_process(&directory).is_none());
    }

    #[test]
    fn a_number_that_is_used_again_is_another_namespace() {
        let mut namespaces = Namespaces::new(None);
        let first = namespaces.number(7, &[1, 2]);
        assert_eq!(namespaces.number(7, &[2, 3]), first);
        let second = namespaces.number(7, &[4]);
        assert_ne!(second, first);
        assert_ne!(namespaces.number(8, &[5]), second);
    }

    #[test]
    fn without_cgroups_the_reason_is_said() {
        let found = Namespaces::new(None).find();
        assert_eq!(found.err().map(|failure| failure.reason), Some(Reason::Cgroup2NotMounted));
        // A tree without processes is what another PID namespace looks like.
        let empty = std::env::temp_dir().join(format!("netcause-empty-{}", std::process::id()));
        fs::create_dir_all(&empty).unwrap();
        let found = Namespaces::new(Some(empty.clone())).find();
        assert_eq!(found.err().map(|failure| failure.reason), Some(Reason::NotInHostPidNamespace));
        fs::remove_dir_all(&empty).unwrap();
    }
}
