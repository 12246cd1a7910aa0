//! `netcause record`: what a recording has, and a part of it to be passed on.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, OpenOptions};
use std::hash::RandomState;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use netcause_core::recording::{Pseudonyms, Replay, Writer};

use super::at::date;
use super::directory::{RecordingError, name, segments};
use super::reader::{Recording, Stored};
use crate::cli::TrimArguments;

/// What a recording has, in words.
///
/// # Errors
///
/// When there is none, or none that can be read.
pub fn show(path: &Path) -> Result<String, RecordingError> {
    let recording = Recording::open(path)?;
    let (mut windows, mut edges, mut bytes, mut torn) = (0, 0, 0, 0);
    let (mut nodes, mut agents) = (BTreeSet::new(), BTreeSet::new());
    for stored in &recording.segments {
        let mut replay = stored.begin(None)?;
        while let Some(judged) = replay.next(None).map_err(|error| stored.error(error))? {
            let mut count = 0;
            judged.edges.each(netcause_core::diagnose::LATELY, |_, _| count += 1);
            edges = edges.max(count);
        }
        windows += replay.windows;
        bytes += stored.bytes.len();
        torn += usize::from(replay.is_torn);
        nodes.insert(replay.origin.node);
        agents.insert(replay.origin.agent);
    }
    let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
    let mut text = format!("node: {}\nrecorded by: netcause {}\n", list(nodes), list(agents));
    for (from, to) in recording.spans()? {
        text.push_str(&format!("span: {} to {}\n", date(from), date(to)));
    }
    text.push_str(&format!(
        "windows: {windows}\npairs of workloads: {edges} at most in one judgement\nsize: {} KiB in {} segments\n",
        bytes.div_ceil(1024),
        recording.segments.len()
    ));
    if torn > 0 {
        text.push_str(&format!("cut short or damaged: {torn} segments, read up to there\n"));
    }
    for (path, error) in &recording.unreadable {
        text.push_str(&format!("cannot be read: {}: {error}\n", path.display()));
    }
    Ok(text)
}

/// Cuts a recording to a time; what was done, in words.
///
/// # Errors
///
/// When there is none, it has nothing of that time, or the output cannot be written.
pub fn trim(arguments: &TrimArguments) -> Result<String, RecordingError> {
    let TrimArguments { from, to, strip_names, input, output } = arguments;
    let recording = Recording::open(input)?;
    let end = recording.end()?;
    let first = recording.segments.first().map_or(0, |stored| stored.begin);
    let from = from.map_or(first, |from| from.of_end(end));
    let to = to.map_or(end, |to| to.of_end(end));
    if from > to {
        return Err(RecordingError::Backwards { from, to });
    }
    DirBuilder::new().recursive(true).mode(0o700).create(output).map_err(RecordingError::io(output))?;
    if !segments(output).map_err(RecordingError::io(output))?.is_empty() {
        return Err(RecordingError::Exists(output.clone()));
    }
    let mut names = strip_names.then(|| Pseudonyms::new(RandomState::new()));
    // The segment that the time begins in; where it begins before all of them, or in a gap, the next one.
    let skipped = recording.segments.iter().rposition(|stored| stored.begin <= from).unwrap_or_default();
    let mut cuts = Vec::new();
    for stored in recording.segments.iter().skip(skipped).take_while(|stored| stored.begin <= to) {
        cuts.extend(cut(stored, from, to, names.as_mut())?);
    }
    if cuts.is_empty() {
        return Err(recording.outside(from));
    }
    let mut bytes = 0;
    for Cut { wall, bytes: cut, .. } in &cuts {
        let path = output.join(name(*wall, 0));
        bytes += cut.len();
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(cut)).map_err(RecordingError::io(&path))?;
    }
    let windows: u64 = cuts.iter().map(|cut| cut.windows).sum();
    let begin = cuts.first().map_or(from, |cut| cut.wall);
    let until = cuts.last().map_or(to, |cut| cut.end);
    let kib = bytes.div_ceil(1024);
    let stripped = names.map_or_else(String::new, |names| {
        format!(
            "{} names and addresses have others; nobody can tell which, and the key is not kept.\n",
            names.names().count()
        )
    });
    Ok(format!(
        "{}: {} to {}, {windows} windows, {kib} KiB\n{stripped}",
        output.display(),
        date(begin),
        date(until)
    ))
}

/// A part of a segment.
struct Cut {
    wall: u64,
    end: u64,
    windows: u64,
    bytes: Vec<u8>,
}

/// The part of a segment between two times. It begins with what is known at the first: the windows before that are judged for it.
fn cut(
    stored: &Stored,
    from: u64,
    to: u64,
    mut names: Option<&mut Pseudonyms>,
) -> Result<Option<Cut>, RecordingError> {
    let mut replay = stored.begin(names.as_deref_mut())?;
    // Where the segment begins later than asked for, with all of it.
    let mut cut = (replay.wall >= from).then(|| Cut::begin(&replay, replay.wall));
    loop {
        let last = replay.wall;
        let Some(judged) = replay.next(names.as_deref_mut()).map_err(|error| stored.error(error))? else {
            break;
        };
        // The answer at a time between two judgements is that of the first.
        if cut.is_none() && judged.wall > from {
            cut = Some(Cut::begin(&replay, last));
        }
        if judged.wall > to {
            break;
        }
        if let Some((writer, cut)) = &mut cut {
            cut.bytes.extend(writer.window(&judged));
            (cut.end, cut.windows) = (judged.wall, cut.windows + 1);
        }
        replay.judge(&judged);
    }
    if cut.is_none() && replay.wall == from {
        cut = Some(Cut::begin(&replay, from));
    }
    Ok(cut.map(|(_, cut)| cut))
}

impl Cut {
    /// Begins with what is known by now, by the last judgement.
    fn begin(replay: &Replay<'_>, wall: u64) -> (Writer, Self) {
        let (writer, bytes) = Writer::begin(&replay.origin, &replay.diagnosis, wall);
        (writer, Self { wall, end: wall, windows: 0, bytes })
    }
}
