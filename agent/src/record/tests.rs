//! Recordings on disk: what is kept, what is lost and said, and those of the lab with what the agent found then.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use netcause_core::diagnose::{Diagnosis, Judged};
use netcause_core::engine::Time;
use netcause_core::recording::Origin;

use super::at::date;
use super::directory::{begin, name, segments};
use super::keeper::Counts;
use super::writer::{Limits, Message, Writing};
use super::*;
use crate::cli::TrimArguments;
use crate::expose::findings::{Answer, Query};

const WALL: u64 = 1_795_946_400;

/// A directory that goes with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("netcause-record-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn origin() -> Origin {
    Origin { agent: env!("CARGO_PKG_VERSION").to_owned(), node: "node-17".to_owned() }
}

/// What the thread does, without the thread: so many windows of five seconds from some time on.
struct Recording {
    writing: Writing,
    counts: Arc<Counts>,
    diagnosis: Diagnosis,
    segment: Duration,
    began: Option<u64>,
}

impl Recording {
    fn start(path: &Path, kept: u64, max_bytes: u64) -> Self {
        let limits = Limits { kept: Duration::from_secs(kept), max_bytes };
        let counts = Arc::new(Counts::default());
        let writing = Writing::new(path, limits, origin(), Arc::clone(&counts)).unwrap();
        Self { writing, counts, diagnosis: Diagnosis::default(), segment: limits.segment(), began: None }
    }

    fn windows(&mut self, from: u64, count: u64) {
        for wall in (from..).step_by(5).take(usize::try_from(count).unwrap()) {
            let time = Time { wall, monotonic: Duration::from_secs(wall - WALL) };
            let judged = Judged { now: time.monotonic, wall, ..Judged::default() };
            self.diagnosis.judge(&judged.windows());
            let begins = self.counts.wants_begin.swap(false, Ordering::Relaxed)
                || self.began.is_none_or(|began| wall - began >= self.segment.as_secs());
            if begins {
                self.began = Some(wall);
            }
            let begins_with = begins.then(|| Box::new(self.diagnosis.clone()));
            self.writing.take(&Message { judged: Some(Box::new(judged)), begins_with, time });
        }
    }

    fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }
}

/// The answer at that time, as JSON.
fn answer(path: &Path, at: Option<At>) -> Result<serde_json::Value, String> {
    let (lately, _) = findings_at(path, at).map_err(|error| error.to_string())?;
    Ok(serde_json::to_value(Answer::new(&lately, &Query::default())).unwrap())
}

#[test]
fn the_last_minutes_are_kept_and_each_of_their_judgements_is_found() {
    let scratch = Scratch::new("kept");
    let mut recording = Recording::start(&scratch.0, 100, 1 << 20);
    recording.windows(WALL, 100);
    let kept = segments(&scratch.0).unwrap();
    let first = begin(&kept[0].0).unwrap();
    let end = WALL + 99 * 5;
    assert!((100..=140).contains(&(end - first)), "{} s in {kept:?}", end - first);
    for wall in (first..=end).step_by(5) {
        let answer = answer(&scratch.0, Some(At::Time(wall + (wall < end) as u64 * 4))).unwrap();
        assert_eq!(answer["generated_at"], date(wall).as_str());
        assert_eq!(answer["watched"]["windows"], (wall - WALL) / 5 + 1);
        assert_eq!(answer["node"], "node-17");
    }
    assert_eq!(answer(&scratch.0, None).unwrap()["generated_at"], date(end).as_str());
    let before = answer(&scratch.0, Some("-50s".parse().unwrap())).unwrap();
    assert_eq!(before["generated_at"], date(end - 50).as_str());
    assert_eq!((recording.lost(), recording.counts.windows.load(Ordering::Relaxed)), (0, 100));
}

#[test]
fn each_error_says_what_to_do() {
    let scratch = Scratch::new("errors");
    let error = answer(&scratch.0, None).unwrap_err();
    assert!(error.contains("No such file or directory"), "{error}");
    let mut recording = Recording::start(&scratch.0, 100, 1 << 20);
    let error = answer(&scratch.0, None).unwrap_err();
    assert!(
        error.contains("there is no recording in") && error.contains("netcause agent --record"),
        "{error}"
    );
    recording.windows(WALL, 10);
    drop(recording);
    // The agent starts again five minutes later.
    Recording::start(&scratch.0, 1000, 1 << 20).windows(WALL + 300, 4);
    for outside in [WALL - 1, WALL + 46, WALL + 299, WALL + 316] {
        let error = answer(&scratch.0, Some(At::Time(outside))).unwrap_err();
        assert_eq!(
            error,
            format!(
                "nothing was recorded at {}: the recording has 2026-11-29T10:00:00Z to 2026-11-29T10:00:45Z, and \
                 2026-11-29T10:05:00Z to 2026-11-29T10:05:15Z",
                date(outside)
            )
        );
    }
    let other = scratch.0.join(name(WALL + 900, 0));
    fs::write(&other, "netcause recording 9\nwhatever").unwrap();
    let error = answer(&other, None).unwrap_err();
    assert!(error.contains("format 9, and this netcause reads format 1"), "{error}");
    // Beside those that can be read it does no harm.
    assert!(answer(&scratch.0, None).is_ok());
    assert!(commands::show(&scratch.0).unwrap().contains("cannot be read: "));
    assert!("yesterday".parse::<At>().unwrap_err().contains("2026-11-29T10:00:00Z"));
}

#[test]
fn a_torn_segment_is_read_up_to_there() {
    let scratch = Scratch::new("torn");
    let mut recording = Recording::start(&scratch.0, 1000, 1 << 20);
    recording.windows(WALL, 10);
    drop(recording);
    let (path, length) = segments(&scratch.0).unwrap().pop().unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(length - 3).unwrap();
    assert_eq!(answer(&scratch.0, None).unwrap()["generated_at"], date(WALL + 40).as_str());
    // A segment without a begin, as an agent leaves it that ends at once.
    fs::write(scratch.0.join(name(WALL + 60, 0)), "netcause rec").unwrap();
    assert_eq!(answer(&scratch.0, None).unwrap()["generated_at"], date(WALL + 40).as_str());
    let said = commands::show(&scratch.0).unwrap();
    assert!(said.contains("windows: 8") && said.contains("cut short or damaged: 1"), "{said}");
}

#[test]
fn what_exceeds_the_limit_goes_first() {
    let scratch = Scratch::new("limit");
    let mut recording = Recording::start(&scratch.0, 100_000, 64 << 10);
    for part in 0..60 {
        recording.windows(WALL + part * 50, 10);
        let bytes: u64 = segments(&scratch.0).unwrap().iter().map(|(_, bytes)| bytes).sum();
        assert!(bytes <= 64 << 10, "{bytes}");
    }
    assert_eq!(recording.lost(), 0);
    assert!(segments(&scratch.0).unwrap().len() >= 3);
    let end = answer(&scratch.0, None).unwrap();
    assert_eq!(end["generated_at"], date(WALL + 59 * 50 + 45).as_str());
}

#[test]
fn what_cannot_be_written_is_counted_and_tried_again() {
    let scratch = Scratch::new("failing");
    let mut recording = Recording::start(&scratch.0, 1000, 1 << 20);
    recording.windows(WALL, 4);
    fs::remove_dir_all(&scratch.0).unwrap();
    recording.windows(WALL + 20, 30);
    let written = recording.counts.windows.load(Ordering::Relaxed);
    assert_eq!(recording.lost() + written, 34);
    assert!(recording.lost() > 0);
    fs::create_dir(&scratch.0).unwrap();
    recording.windows(WALL + 170, 20);
    assert_eq!(answer(&scratch.0, None).unwrap()["generated_at"], date(WALL + 265).as_str());
}

#[test]
fn only_one_agent_records_into_a_directory() {
    let scratch = Scratch::new("lock");
    let limits = Limits { kept: Duration::from_secs(60), max_bytes: 1 << 20 };
    let first = Keeper::start(&scratch.0, limits, origin()).unwrap();
    let error = format!("{:#}", Keeper::start(&scratch.0, limits, origin()).unwrap_err());
    assert!(error.contains("another agent records into it"), "{error}");
    drop(first);
    drop(Keeper::start(&scratch.0, limits, origin()).unwrap());
}

#[test]
fn a_part_says_the_same_as_the_whole() {
    let (scratch, part) = (Scratch::new("trim"), Scratch::new("trimmed"));
    Recording::start(&scratch.0, 1000, 1 << 20).windows(WALL, 100);
    for (from, to) in
        [(WALL + 33, WALL + 77), (WALL, WALL + 495), (WALL + 200, WALL + 200), (WALL + 495, WALL + 495)]
    {
        let arguments = TrimArguments {
            from: Some(At::Time(from)),
            to: Some(At::Time(to)),
            strip_names: false,
            input: scratch.0.clone(),
            output: part.0.clone(),
        };
        let said = commands::trim(&arguments).unwrap();
        assert!(said.contains(" windows, "), "{said}");
        for time in from..=to {
            // Up to the last judgement of it.
            if let Ok(answer_of_part) = answer(&part.0, Some(At::Time(time))) {
                assert_eq!(answer_of_part, answer(&scratch.0, Some(At::Time(time))).unwrap());
            } else {
                assert!(time > to - 5, "{time} of {from} to {to}");
            }
        }
        let error = commands::trim(&arguments).unwrap_err().to_string();
        assert!(error.contains("has a recording already"), "{error}");
        fs::remove_dir_all(&part.0).unwrap();
    }
}

/// Recordings of the lab, without names: each is replayed, and says what is in the file beside it.
#[test]
fn golden_recordings_of_real_faults_are_found_again() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/recordings");
    let mut count = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rec") {
            continue;
        }
        let (lately, _) = findings_at(&path, None).unwrap();
        let mut said = serde_json::to_string_pretty(&Answer::new(&lately, &Query::default())).unwrap();
        said.push('\n');
        let golden = path.with_extension("json");
        if std::env::var_os("NETCAUSE_BLESS").is_some() {
            fs::write(&golden, &said).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(said, expected, "{}: NETCAUSE_BLESS=1 accepts it", path.display());
        let cause = path.file_stem().unwrap().to_str().unwrap();
        let is_named = said.contains(&format!("\"cause\": \"{cause}\""));
        assert_eq!(is_named, cause != "healthy", "{}", path.display());
        count += 1;
    }
    assert!(count >= 4, "{count} recordings");
}
