//! The reader of an iterator.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_seq_write;
use netcause_common::probe::open_sockets::OpenConnection;

use super::memory::Typed;

/// Who reads what an iterator writes: `struct bpf_iter_meta { struct seq_file *seq; u64 session_id; u64 seq_num; }`, an interface
/// of the kernel to its programs (include/linux/bpf.h).
#[derive(Clone, Copy)]
pub struct Reader(Typed);

impl Reader {
    /// From the first member of an iterator's argument.
    #[inline(always)]
    pub fn from_argument(meta: *const c_void) -> Self {
        Self(Typed(meta))
    }

    /// Writes a record; false when the buffer is full. Then the kernel drops what this call of the program has written, lets the
    /// reader empty the buffer, and calls the program again with the same object (`bpf_seq_read`, kernel/bpf/bpf_iter.c).
    #[inline(always)]
    pub fn write(self, record: &OpenConnection) -> bool {
        let file = self.0.follow_known(0).0;
        #[expect(clippy::cast_possible_truncation, reason = "records have some hundred bytes")]
        let length = size_of::<OpenConnection>() as u32;
        // SAFETY: the helper takes the iterator's typed file (5.8 on), and as many bytes as the record has.
        unsafe { bpf_seq_write(file.cast_mut().cast(), (&raw const *record).cast(), length) == 0 }
    }
}
