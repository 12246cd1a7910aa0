//! Measures what a judgement costs at ten thousand edges that all count in every window: time, and bytes beside the windows.
//!
//!     cargo bench -p netcause-core --bench diagnose
//!
//! Bytes are counted at the allocator, and may be compared between machines. Times are CPU times of one machine.

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use netcause_common::flow::{RetransmitKind, TcpCounters};
use netcause_core::aggregate::model::{Counting, EdgeWindows, WINDOWS_BYTES};
use netcause_core::aggregate::peer_nodes::PeerNodeWindows;
use netcause_core::aggregate::places::Readings;
use netcause_core::aggregate::totals::Totals;
use netcause_core::aggregate::turn::{On, Waits};
use netcause_core::aggregate::windows::WIDTH;
use netcause_core::aggregate::{Edge, Reporter, Via};
use netcause_core::diagnose::cause::Family;
use netcause_core::diagnose::{Diagnosis, Windows};
use netcause_core::enrich::Workload;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const EDGES: usize = 10_000;
const WINDOWS: u32 = 60;
/// The most that all of it may keep beside the windows.
const MAX_BYTES: usize = 4 << 20;
/// The most that a judgement may take on average.
const MAX_TIME: Duration = Duration::from_millis(20);

fn main() {
    for (what, bad) in [("all healthy", usize::MAX), ("every hundredth loses", 100), ("all lose", 1)] {
        measure(what, bad);
    }
}

/// Five minutes of windows, in which one of so many edges loses.
fn measure(what: &str, bad: usize) {
    let names: Vec<Arc<Edge>> = (0..EDGES).map(|number| Arc::new(edge(number))).collect();
    let mut windows = EdgeWindows::new(WINDOWS_BYTES);
    let places = Readings::<u32>::new(1 << 16);
    let peer_nodes = PeerNodeWindows::new(1 << 16);
    let mut now = Duration::from_secs(1);
    windows.end_reading(now);
    let mut diagnosis = Diagnosis::new(Family::ALL.map(|(_, family)| family).to_vec());
    let (mut took, mut longest, mut kept, mut most) = (Duration::ZERO, Duration::ZERO, 0, 0);
    for round in 0..WINDOWS {
        for (number, name) in names.iter().enumerate() {
            windows.count(Counting::Edge(number), name, &traffic(round >= WINDOWS / 2 && number % bad == 0));
        }
        now += WIDTH;
        windows.end_reading(now);
        let recent = windows.recent();
        let region = Region::new(ALLOCATOR);
        let begin = cpu_time();
        diagnosis.judge(&Windows {
            edges: &recent,
            listeners: &places.recent(),
            node: &places.recent(),
            peer_nodes: &peer_nodes.recent(),
            now,
            wall: 1_800_000_000 + now.as_secs(),
        });
        let time = cpu_time() - begin;
        took += time;
        longest = longest.max(time);
        let change = region.change();
        most = most.max(change.bytes_allocated);
        kept += change.bytes_allocated as isize - change.bytes_deallocated as isize;
    }
    let mean = took / WINDOWS;
    let dated = diagnosis.findings().len();
    println!(
        "{what}: {:.1} ms a judgement ({:.1} ms at most), {:.2} MiB kept, {:.1} MiB passed through at most, {dated} findings",
        mean.as_secs_f64() * 1e3,
        longest.as_secs_f64() * 1e3,
        kept as f64 / f64::from(1 << 20),
        most as f64 / f64::from(1 << 20),
    );
    assert!(kept <= MAX_BYTES as isize, "{what}: more than {MAX_BYTES} bytes are kept");
    if mean > MAX_TIME {
        println!("{what}: more than {} ms", MAX_TIME.as_millis());
    }
}

/// A hundred workloads with a hundred servers each.
fn edge(number: usize) -> Edge {
    Edge {
        reporter: Reporter::Source,
        source: Workload::plain(&format!("client-{}", number / 100)),
        destination: Workload::plain(&format!("server-{}", number % 100)),
        service: None,
        port: Some(8080),
        via: Via::Direct,
    }
}

fn traffic(is_lossy: bool) -> Totals {
    let mut tcp = TcpCounters {
        opened: 5,
        sent_segments: 1000,
        received_segments: 1000,
        sent_bytes: 1_000_000,
        received_bytes: 100_000,
        ..TcpCounters::ZERO
    };
    tcp.rtt.buckets[4] = 10;
    tcp.rtt.sum = 8_000;
    tcp.min_rtt = tcp.rtt;
    if is_lossy {
        tcp.retransmitted_segments[RetransmitKind::Fast as usize] = 30;
    }
    let mut waits = Waits::ZERO;
    waits.waited_us[On::PeerApplication as usize] = 700_000;
    waits.waited_us[On::Idle as usize] = 4_000_000;
    waits.responses.buckets[3] = 4;
    waits.responses.sum = 100;
    Totals { tcp, waits, ..Totals::ZERO }
}

/// The CPU time of this thread so far, as the scheduler has it (Documentation/scheduler/sched-stats.rst).
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}
