//! From a segment to what the agent found.

use netcause_common::flow::TcpCounters;
use thiserror::Error;

use super::frame::{self, Bad};
use super::layout::Translation;
use super::part::PartReader;
use super::pseudonyms::Pseudonyms;
use super::{Begin, Origin, TITLE, VERSION, Window};
use crate::aggregate::Edge;
use crate::aggregate::peer_nodes::Row;
use crate::aggregate::places::{Counted, Place};
use crate::aggregate::totals::Totals;
use crate::diagnose::state::known;
use crate::diagnose::{Diagnosis, Judged};
use crate::enrich::objects::Seconds;

/// Why a segment cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// Something else.
    #[error("this is no recording of netcause")]
    NotARecording,
    /// Of another version.
    #[error(
        "format {found}, and this netcause reads format {VERSION}: use the version that recorded it, or a later one"
    )]
    Version {
        /// Which.
        found: u32,
    },
    /// Its begin is cut short or damaged, so that nothing of it can be read.
    #[error("its begin is cut short or damaged")]
    Torn,
    /// It is whole, but has something that this version does not know.
    #[error(
        "it has something that this version of netcause does not know ({0}): use the version that recorded it, or a later one"
    )]
    Unknown(String),
}

/// A segment that is read, from judgement to judgement.
#[derive(Debug)]
pub struct Replay<'a> {
    /// Where it comes from.
    pub origin: Origin,
    /// What is known after the judgement at [`Self::wall`].
    pub diagnosis: Diagnosis,
    /// When the last judgement that was read ended, seconds since 1970.
    pub wall: Seconds,
    /// How many were read.
    pub windows: u64,
    /// True where the last frame was cut short or damaged.
    pub is_torn: bool,
    rest: &'a [u8],
    translation: Option<Translation>,
    edges: PartReader<Edge, Totals>,
    listeners: PartReader<Place, Counted>,
    node: PartReader<Place, Counted>,
    peer_nodes: PartReader<Row, TcpCounters>,
}

impl<'a> Replay<'a> {
    /// Reads the begin, with other names if there are any.
    ///
    /// # Errors
    ///
    /// When it is no segment, of another version, or damaged.
    pub fn begin(bytes: &'a [u8], names: Option<&mut Pseudonyms>) -> Result<Self, Error> {
        let mut rest = bytes.strip_prefix(TITLE.as_bytes()).ok_or(Error::NotARecording)?;
        let length = rest.iter().take(11).position(|byte| *byte == b'\n').ok_or(Error::NotARecording)?;
        let (version, frames) = rest.split_at(length);
        let version = std::str::from_utf8(version).ok().and_then(|version| version.parse().ok());
        match version.ok_or(Error::NotARecording)? {
            VERSION => rest = frames.get(1..).unwrap_or_default(),
            found => return Err(Error::Version { found }),
        }
        let mut begin: Begin = frame::take(&mut rest).map_err(|bad| match bad {
            Bad::End | Bad::Torn => Error::Torn,
            Bad::Unknown(what) => Error::Unknown(what),
        })?;
        if let Some(names) = names {
            begin.origin.node = names.word(&begin.origin.node);
            begin.edges.iter_mut().for_each(|edge| *edge = names.edge(edge));
            names.state(&mut begin.state);
        }
        let Begin { origin, layout, wall, edges: known_edges, state } = begin;
        let edges = PartReader::new(known_edges.into_iter());
        let diagnosis = state.restore(|number| edges.name(number)).ok_or(Error::Torn)?;
        Ok(Self {
            origin,
            diagnosis,
            wall,
            windows: 0,
            is_torn: false,
            rest,
            translation: Translation::from(layout),
            edges,
            listeners: PartReader::new(std::iter::empty()),
            node: PartReader::new(std::iter::empty()),
            peer_nodes: PartReader::new(std::iter::empty()),
        })
    }

    /// What the next judgement was given; `None` at the end, and before a frame that is cut short or damaged.
    ///
    /// # Errors
    ///
    /// When there is something that this version does not know.
    pub fn next(&mut self, names: Option<&mut Pseudonyms>) -> Result<Option<Judged>, Error> {
        let window: Window = match frame::take(&mut self.rest) {
            Ok(window) => window,
            Err(Bad::End) => return Ok(None),
            Err(Bad::Torn) => return Ok(self.end_torn()),
            Err(Bad::Unknown(what)) => return Err(Error::Unknown(what)),
        };
        let Window { now, wall, missing, edges, listeners, node, peer_nodes } = window;
        let Self {
            translation,
            edges: edge_reader,
            listeners: listener_reader,
            node: node_reader,
            peer_nodes: peer_reader,
            ..
        } = self;
        let mut names = names;
        let edges = edge_reader.read(edges, translation.as_mut(), |edge| match names.as_deref_mut() {
            Some(names) => names.edge(&edge),
            None => edge,
        });
        let mut place = |place: Place| match names.as_deref_mut() {
            Some(names) => names.place(&place),
            None => place,
        };
        let listeners = listener_reader.read(listeners, translation.as_mut(), &mut place);
        let node = node_reader.read(node, translation.as_mut(), &mut place);
        let peer_nodes =
            peer_reader.read(peer_nodes, translation.as_mut(), |row| match names.as_deref_mut() {
                Some(names) => names.row(&row),
                None => row,
            });
        let (Some(edges), Some(listeners), Some(node), Some(peer_nodes)) =
            (edges, listeners, node, peer_nodes)
        else {
            return Ok(self.end_torn());
        };
        (self.wall, self.windows) = (wall, self.windows + 1);
        let missing = missing.map(|missing| {
            missing.into_iter().filter_map(|(signal, why)| Some((known(&signal)?, why))).collect()
        });
        Ok(Some(Judged { edges, listeners, node, peer_nodes, now, wall, missing }))
    }

    /// Judges again, as the agent did.
    pub fn judge(&mut self, judged: &Judged) {
        if let Some(missing) = &judged.missing {
            self.diagnosis.set_missing(missing.clone());
        }
        self.diagnosis.judge(&judged.windows());
    }

    fn end_torn(&mut self) -> Option<Judged> {
        (self.is_torn, self.rest) = (true, &[]);
        None
    }
}
