//! Rules of the configuration that name cgroups by path patterns.

use std::str;
use std::sync::Arc;

use thiserror::Error;

/// Limit on the number of rules.
pub const MAX_RULES: usize = 1000;
/// Limit on the length of a path pattern in bytes.
pub const MAX_PATH: usize = 1024;

/// The workload that a rule names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Configured {
    /// The namespace, if the rule has one.
    pub namespace: Option<Arc<str>>,
    /// The name of the workload.
    pub workload: Arc<str>,
}

/// Rules in order: the first that matches applies. At most [`MAX_RULES`].
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

/// Names the cgroups that match a path pattern.
#[derive(Clone, Debug)]
pub struct Rule {
    path: Vec<Part>,
    workload: Arc<Configured>,
}

/// One component of a path pattern.
#[derive(Clone, Debug)]
enum Part {
    /// `**`: any number of directories, also none.
    Any,
    /// A directory's name, in which `*` stands for any number of characters.
    Name(Box<[u8]>),
}

/// Why a rule is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// The path pattern is empty.
    #[error("the path is empty")]
    Empty,
    /// The path pattern is longer than [`MAX_PATH`].
    #[error("the path is longer than {MAX_PATH} bytes")]
    TooLong,
    /// A component of the path cannot be a directory's name: it is empty, `.` or `..`.
    #[error("{0:?} is not a valid directory name")]
    NoName(Box<str>),
    /// A component contains `**` and something else.
    #[error("in {0:?}: ** must be a whole path component; use * within a name")]
    Stars(Box<str>),
    /// The workload's name is empty.
    #[error("the workload is empty")]
    NoWorkload,
    /// There are more than [`MAX_RULES`].
    #[error("there are more than {MAX_RULES} rules")]
    TooMany,
}

impl Rule {
    /// Names the cgroups that match this path below the mount point, and all cgroups below them. `*` stands for any characters
    /// within a component, and `**` as a whole component for any number of directories. A leading slash is optional.
    ///
    /// # Errors
    ///
    /// When the pattern cannot match anything or is too long, or the workload's name is empty.
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
        Ok(Self { path, workload: Arc::new(Configured { namespace, workload: workload.into() }) })
    }

    fn matches(&self, path: &[&[u8]]) -> bool {
        // Cgroups below a match match too, as if the pattern ended in `**`.
        let parts: Vec<_> = self.path.iter().chain([&Part::Any]).collect();
        glob(
            &parts,
            path,
            |part| matches!(part, Part::Any),
            |part, name| match part {
                Part::Any => true,
                Part::Name(pattern) => {
                    glob(pattern, name, |character| *character == b'*', |character, byte| character == byte)
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
    /// These rules in this order.
    ///
    /// # Errors
    ///
    /// When there are more than [`MAX_RULES`].
    pub fn new(rules: Vec<Rule>) -> Result<Self, RuleError> {
        if rules.len() > MAX_RULES { Err(RuleError::TooMany) } else { Ok(Self(rules)) }
    }

    /// The workload of the first rule that matches this path below the mount point; the root's is empty.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<&Arc<Configured>> {
        if self.0.is_empty() {
            return None;
        }
        let parts: Vec<_> = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
        self.0.iter().find(|rule| rule.matches(&parts)).map(|rule| &rule.workload)
    }
}

/// Whether a pattern with stars matches a whole text. A star matches as little as it can, and only the last star is extended
/// on a mismatch, so the number of steps is at most the product of both lengths.
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
