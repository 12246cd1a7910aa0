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
use netcause_core::aggregate::windows::{Recent, WIDTH};
use netcause_core::aggregate::{Edge, Reporter, Via};
use netcause_core::diagnose::cause::Family;
use netcause_core::diagnose::{Diagnosis, Judged, Windows};
use netcause_core::enrich::Workload;
use netcause_core::recording::{Origin, Writer};

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
    record();
}

/// What a recording costs at ten thousand edges: on the thread that judges, on the one that writes, and on the disk.
fn record() {
    let names: Vec<Arc<Edge>> = (0..EDGES).map(|number| Arc::new(edge(number))).collect();
    let mut windows = EdgeWindows::new(WINDOWS_BYTES);
    let places = Readings::<u32>::new(1 << 16);
    let mut now = Duration::from_secs(1);
    windows.end_reading(now);
    let mut diagnosis = Diagnosis::new(Family::ALL.map(|(_, family)| family).to_vec());
    let origin = Origin::default();
    let (mut writer, mut begins, mut bytes) = (None::<Writer>, Vec::new(), Vec::new());
    let (mut copied, mut begun, mut written) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for round in 0..WINDOWS {
        for (number, name) in names.iter().enumerate() {
            // Edges do not all do the same, and none does the same again.
            let mut counted = traffic(number.is_multiple_of(100) && round > WINDOWS / 2);
            let odd = (number as u64 * 2_654_435_761 + u64::from(round) * 40_503) % 1021;
            counted.tcp.sent_segments += odd;
            counted.tcp.received_segments += odd / 2;
            counted.tcp.sent_bytes += odd * 1448;
            counted.tcp.received_bytes += odd * 77;
            counted.tcp.rtt.sum += odd * 3;
            counted.waits.waited_us[On::Idle as usize] += odd * 977;
            windows.count(Counting::Edge(number), name, &counted);
        }
        now += WIDTH;
        windows.end_reading(now);
        let judged = Judged {
            edges: windows.recent(),
            listeners: places.recent(),
            node: places.recent(),
            peer_nodes: Recent::default(),
            now,
            wall: 1_800_000_000 + now.as_secs(),
            missing: None,
        };
        diagnosis.judge(&judged.windows());
        let begin = cpu_time();
        if let Some(writer) = &mut writer {
            bytes.push(writer.window(&judged).len());
            written += cpu_time() - begin;
        }
        if round % (WINDOWS / 2) == WINDOWS / 4 {
            let begin = cpu_time();
            let copy = diagnosis.clone();
            copied += cpu_time() - begin;
            let begin = cpu_time();
            let (next, first) = Writer::begin(&origin, &copy, judged.wall);
            begun += cpu_time() - begin;
            (writer, begins) = (Some(next), [begins, vec![first.len()]].concat());
        }
    }
    let mean = |lengths: &[usize]| lengths.iter().sum::<usize>() as f64 / lengths.len().max(1) as f64;
    let ms = |time: Duration, count: usize| time.as_secs_f64() * 1e3 / count.max(1) as f64;
    println!(
        "recording: {:.1} ms a segment to copy what is known, on the thread that judges; on its own thread {:.1} ms to write that, and \
         {:.1} ms a window; {:.2} MiB a segment and {:.0} KiB a window",
        ms(copied, begins.len()),
        ms(begun, begins.len()),
        ms(written, bytes.len()),
        mean(&begins) / f64::from(1 << 20),
        mean(&bytes) / 1024.0,
    );
    assert!(ms(copied, begins.len()) < 20.0, "what is known takes too long to copy");
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
