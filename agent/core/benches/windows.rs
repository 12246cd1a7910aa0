//! Measures what windows cost at ten thousand edges that all count in every window: bytes, and the time at the end of a window.
//!
//!     cargo bench -p netcause-core --bench windows
//!
//! Bytes are counted at the allocator, and may be compared between machines. Times are CPU times of one machine.

use std::alloc::System;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use netcause_common::flow::TcpCounters;
use netcause_core::aggregate::model::{Counting, EdgeWindows, WINDOWS_BYTES};
use netcause_core::aggregate::totals::Totals;
use netcause_core::aggregate::windows::{KEPT, WIDTH};
use netcause_core::aggregate::{Edge, Reporter};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const EDGES: usize = 10_000;
/// The most that all of it may take, without the edges' names, which the model has anyway.
const MAX_BYTES: usize = 8 << 20;
/// The most that the end of a window may take on average.
const MAX_TIME: Duration = Duration::from_millis(20);

fn main() {
    for (what, share) in [("all edges count", 1), ("every tenth edge counts", 10), ("none counts", EDGES)] {
        measure(what, share);
    }
}

/// Twenty minutes of windows, in which one of so many edges counts.
fn measure(what: &str, share: usize) {
    let names: Vec<Arc<Edge>> = (0..EDGES).map(|_| Arc::new(Edge::other(Reporter::Source))).collect();
    let all = Region::new(ALLOCATOR);
    let mut windows = EdgeWindows::new(WINDOWS_BYTES);
    let (mut now, mut random) = (Duration::from_secs(1), 1_u64);
    windows.end_reading(now);
    let (mut most, mut counting, mut ending, mut longest) =
        (0, Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let rounds = 2 * KEPT.as_secs() / WIDTH.as_secs();
    for round in 0..rounds {
        let begin = cpu_time();
        for (edge, name) in names.iter().enumerate().filter(|(edge, _)| round == 0 || edge % share == 0) {
            windows.count(Counting::Edge(edge), name, &traffic(&mut random));
        }
        counting += cpu_time() - begin;
        now += WIDTH;
        most = most.max(held(&all));
        let begin = cpu_time();
        windows.end_reading(now);
        ending += cpu_time() - begin;
        longest = longest.max(cpu_time() - begin);
        most = most.max(held(&all));
    }
    let statistics = windows.statistics();
    let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
    println!("{what}: {} KiB at most, of them {} KiB in steps", most / 1024, statistics.bytes / 1024);
    println!("  reaches back {} s; {} steps dropped early", statistics.reach.as_secs(), statistics.dropped);
    println!("  counting: {:.2?} a window", counting / rounds);
    println!("  the end of a window: {:.2?} on average, {longest:.2?} at most", ending / rounds);
    let begin = cpu_time();
    let recent = windows.recent();
    let made = cpu_time() - begin;
    for seconds in [10, 60, 600] {
        let begin = cpu_time();
        let mut edges = 0;
        recent.each(Duration::from_secs(seconds), |_, totals| {
            edges += usize::from(black_box(totals).tcp.opened > 0);
        });
        println!("  {edges} edges of {seconds} s are read in {:.2?}, after {made:.2?}", cpu_time() - begin);
    }
    assert!(most <= MAX_BYTES, "more than {MAX_BYTES} bytes");
    assert!(ending / rounds <= MAX_TIME, "a window took longer than {MAX_TIME:?}");
}

/// The CPU time of this thread so far, as the scheduler has it (Documentation/scheduler/sched-stats.rst).
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn held(region: &Region<'_, System>) -> usize {
    let change = region.change();
    (change.bytes_allocated).saturating_sub(change.bytes_deallocated)
}

/// What an edge of a busy service counts in five seconds: some hundred requests on a few connections.
fn traffic(random: &mut u64) -> Totals {
    let mut up_to = |most: u64| {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        1 + (*random >> 33) % most
    };
    let mut tcp = TcpCounters { opened: up_to(10), ..TcpCounters::ZERO };
    tcp.closed[0] = up_to(10);
    tcp.sent_bytes = up_to(1_000_000);
    tcp.received_bytes = up_to(1_000_000);
    tcp.sent_segments = up_to(1000);
    tcp.received_segments = up_to(1000);
    tcp.limited_ticks[0] = up_to(1000);
    for histogram in [&mut tcp.rtt, &mut tcp.min_rtt] {
        histogram.buckets[2] = up_to(10);
        histogram.buckets[3] = up_to(10);
        histogram.sum = up_to(10_000);
    }
    tcp.connect_duration.buckets[3] = up_to(10);
    tcp.connect_duration.sum = up_to(10_000_000);
    if up_to(10) == 1 {
        tcp.retransmitted_segments[0] = up_to(20);
    }
    Totals { tcp, ..Totals::ZERO }
}
