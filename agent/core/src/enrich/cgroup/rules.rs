//! Names that the configuration gives to cgroups.

use std::str;
use std::sync::Arc;

use thiserror::Error;

/// Rules that are taken.
pub const MAX_RULES: usize = 1000;
/// Octets of a rule's path.
pub const MAX_PATH: usize = 1024;

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Configured {
    /// Beside which others of the same name may be.
    pub namespace: Option<Arc<str>>,
    /// The name.
    pub workload: Arc<str>,
}

/// Rules in their order: the first that matches counts.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

/// What cgroups of some paths are.
#[derive(Clone, Debug)]
pub struct Rule {
    path: Vec<Part>,
    says: Arc<Configured>,
}

/// Between two slashes.
#[derive(Clone, Debug)]
enum Part {
    /// `**`: any number of directories, none too.
    Any,
    /// A name in which `*` stands for any number of characters.
    Name(Box<[u8]>),
}

/// Why a rule is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// There is no path.
    #[error("the path is empty")]
    Empty,
    /// The path is too long.
    #[error("the path is longer than {MAX_PATH} octets")]
    TooLong,
    /// A name between slashes can be no directory's.
    #[error("no directory is called {0:?}")]
    NoName(Box<str>),
    /// `**` stands between slashes.
    #[error("in {0:?}: ** stands for whole directories, between slashes; within a name it is *")]
    Stars(Box<str>),
    /// There is no name.
    #[error("the workload is empty")]
    NoWorkload,
    /// There are too many.
    #[error("more than {MAX_RULES} rules")]
    TooMany,
}

impl Rule {
    /// Cgroups at a path below the mount, and all below them, are this workload. `*` stands for any characters within one
    /// name, `**` as a whole name for any number of directories. A slash before it all may be there.
    ///
    /// # Errors
    ///
    /// When the path can match nothing or is too long, or there is no name.
    pub fn new(path: &str, namespace: Option<&str>, workload: &str) -> Result<Self, RuleError> {
        if path.len() > MAX_PATH {
            return Err(RuleError::TooLong);
        }
        if workload.is_empty() {
            return Err(RuleError::NoWorkload);
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        if path.is_empty() {
            return Err(RuleError::Empty);
        }
        let path = path.split('/').map(Part::new).collect::<Result<_, _>>()?;
        let namespace = namespace.filter(|namespace| !namespace.is_empty()).map(Into::into);
        Ok(Self { path, says: Arc::new(Configured { namespace, workload: workload.into() }) })
    }

    fn matches(&self, path: &[&[u8]]) -> bool {
        // What is below a place is the place: as if there were a `**` at the end.
        let parts: Vec<_> = self.path.iter().chain([&Part::Any]).collect();
        glob(
            &parts,
            path,
            |part| matches!(part, Part::Any),
            |part, name| match part {
                Part::Any => true,
                Part::Name(pattern) => {
                    glob(pattern, name, |character| *character == b'*', |character, octet| character == octet)
                }
            },
        )
    }
}

impl Part {
    fn new(part: &str) -> Result<Self, RuleError> {
        match part {
            "" | "." | ".." => Err(RuleError::NoName(part.into())),
            "**" => Ok(Self::Any),
            part if part.contains("**") => Err(RuleError::Stars(part.into())),
            part => Ok(Self::Name(part.as_bytes().into())),
        }
    }
}

impl Rules {
    /// These, in this order.
    ///
    /// # Errors
    ///
    /// When there are too many.
    pub fn new(rules: Vec<Rule>) -> Result<Self, RuleError> {
        if rules.len() > MAX_RULES { Err(RuleError::TooMany) } else { Ok(Self(rules)) }
    }

    /// What the first rule that matches says of the cgroup at this path below the mount; the root's is empty.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<&Arc<Configured>> {
        if self.0.is_empty() {
            return None;
        }
        let parts: Vec<_> = path.split(|octet| *octet == b'/').filter(|part| !part.is_empty()).collect();
        self.0.iter().find(|rule| rule.matches(&parts)).map(|rule| &rule.says)
    }
}

/// Whether a pattern with stars matches all of a text. A star takes as little as it can, and only the last one is ever
/// asked to take more, so that it needs no more steps than there are pairs of both.
fn glob<P, T>(
    pattern: &[P],
    text: &[T],
    is_star: impl Fn(&P) -> bool,
    matches: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut taken) = (0, 0);
    // What follows the last star, and where in the text the star ends.
    let mut last_star = None;
    while let Some(this) = text.get(taken) {
        match pattern.get(at) {
            Some(star) if is_star(star) => {
                at += 1;
                last_star = Some((at, taken));
            }
            Some(one) if matches(one, this) => {
                at += 1;
                taken += 1;
            }
            _ => {
                let Some((after, end)) = &mut last_star else { return false };
                *end += 1;
                (at, taken) = (*after, *end);
            }
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(is_star))
}

#[cfg(test)]
mod tests;
