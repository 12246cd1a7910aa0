//! Tasks as iterators pass them.

use core::ffi::c_void;

use super::layout::layout;
use super::memory::{Memory, Typed};

/// A thread: `struct task_struct`.
#[derive(Clone, Copy)]
pub struct Task(Typed);

impl Task {
    /// From a `struct task_struct *` argument.
    #[inline(always)]
    pub fn from_argument(pointer: *const c_void) -> Option<Self> {
        (!pointer.is_null()).then_some(Self(Typed(pointer)))
    }

    /// Its id in the initial PID namespace.
    #[inline(always)]
    pub fn id(self) -> u32 {
        self.0.read(layout!(task_pid))
    }

    /// The id of its cgroup v2.
    #[inline(always)]
    pub fn cgroup(self) -> u64 {
        let cgroup = self.0.follow(layout!(task_cgroups)).follow(layout!(css_set_dfl_cgrp));
        cgroup.follow(layout!(cgroup_kn)).read(layout!(kernfs_node_id))
    }

    /// Inode number of its network namespace; 0 when it has ended.
    #[inline(always)]
    pub fn namespace(self) -> u32 {
        self.0.follow(layout!(task_nsproxy)).follow(layout!(nsproxy_net)).read(layout!(net_inum))
    }
}
