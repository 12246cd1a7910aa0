//! Who holds UDP sockets that another workload has made (socket activation): as with listeners, that is who serves there.

use aya_ebpf::bindings::BPF_NOEXIST;
use netcause_common::probe::open_sockets::{QueueKey, UdpHolders};

use crate::kernel::{Memory, UdpSock};
use crate::maps::UDP_HOLDERS;

/// The sweep of this number has found a process of this cgroup that holds the socket. Most sockets are held by their makers alone,
/// and have no entry.
#[inline(always)]
pub fn found<M: Memory>(sweep: u64, cgroup: u64, socket: UdpSock<M>) {
    let maker = socket.local();
    let key = QueueKey { local: maker, port: socket.common().local_port_while_hashed(), reserved: [0; 3] };
    if cgroup != maker {
        let new = UdpHolders { since: sweep, ..UdpHolders::default() };
        // The name of the maker stays if the map is full.
        let _ = UDP_HOLDERS.insert(key, new, u64::from(BPF_NOEXIST));
    }
    let Some(holders) = UDP_HOLDERS.get_ptr_mut(key) else { return };
    // SAFETY: the pointer comes from a map lookup, checked for NULL; only the sweep writes it.
    #[expect(unsafe_code, reason = "map value")]
    unsafe {
        (*holders).found(sweep, cgroup, maker);
    }
}
