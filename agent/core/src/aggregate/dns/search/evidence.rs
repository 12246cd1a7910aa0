//! Compares two names that one client queried: whether one is the other with a search domain. Names are in presentation format.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

/// How a name relates to one that is answered later.
pub(super) enum Relation<'a> {
    /// It is the later name with this domain behind it.
    Expansion(&'a str),
    /// The later name is this one with a domain behind it.
    Base,
    /// Both may be the same name with different domains: every way to split them so. There may be none.
    Steps(Steps<'a>),
    /// None, or they are the same.
    None,
}

/// One name with two domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step<'a> {
    /// The earlier name's domain.
    pub earlier: &'a str,
    /// The later name's domain.
    pub later: &'a str,
}

impl Step<'_> {
    /// Whether the later domain is a parent of the earlier one. A parent of one label only proves nothing: `www.a.com`
    /// and `www.com` are two names.
    pub fn is_nested(&self) -> bool {
        let parent = self.earlier.strip_suffix(self.later).is_some_and(|child| child.ends_with('.'));
        parent && self.later.contains('.') && is_domain(self.earlier)
    }
}

/// The ways to split two names into a common one and a domain each: see [`Relation::Steps`].
pub(super) struct Steps<'a> {
    earlier: &'a str,
    later: &'a str,
}

impl<'a> Steps<'a> {
    /// Whether one of the splits satisfies a condition.
    pub fn any(self, is: impl FnMut(Step<'a>) -> bool) -> bool {
        dots(self.later)
            .map_while(|dot| {
                let (base, later) = self.later.split_at(dot + 1);
                Some(Step { earlier: self.earlier.strip_prefix(base)?, later })
            })
            .any(is)
    }
}

/// How an earlier name relates to a later one.
pub(super) fn relation<'a>(earlier: &'a str, later: &'a str) -> Relation<'a> {
    let behind = |long: &'a str, short: &str| long.strip_prefix(short)?.strip_prefix('.');
    if earlier == later {
        Relation::None
    } else if let Some(domain) = behind(earlier, later) {
        if is_domain(domain) { Relation::Expansion(domain) } else { Relation::None }
    } else if let Some(domain) = behind(later, earlier) {
        if is_domain(domain) { Relation::Base } else { Relation::None }
    } else {
        Relation::Steps(Steps { earlier, later })
    }
}

/// Whether this may be a search domain: the domain of a host (RFC 1123 §2.1). A label that begins with an underscore belongs
/// to a service (RFC 8552), which has fallbacks of its own: `_ldap._tcp.site._sites.example.com` to
/// `_ldap._tcp.example.com`.
pub(super) fn is_domain(text: &str) -> bool {
    !text.contains('\\') && text.split('.').all(|label| !label.is_empty() && !label.starts_with('_'))
}

/// The hash of the first label, which all steps of a lookup have in common.
pub(super) fn stem(name: &str) -> u64 {
    let label = dots(name).next().map_or(name, |dot| &name[..dot]);
    // A collision costs one comparison, so the hash needs no secret key.
    BuildHasherDefault::<DefaultHasher>::default().hash_one(label)
}

/// Where labels end; a dot behind a backslash is part of one (RFC 1035 §5.1).
fn dots(name: &str) -> impl Iterator<Item = usize> {
    let mut is_escaped = false;
    name.bytes().enumerate().filter_map(move |(place, byte)| {
        let is_dot = byte == b'.' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_dot.then_some(place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(earlier: &str, later: &str) -> Vec<(String, String, bool)> {
        let Relation::Steps(steps) = relation(earlier, later) else { return Vec::new() };
        let found = std::cell::RefCell::new(Vec::new());
        steps.any(|step| {
            found.borrow_mut().push((step.earlier.to_owned(), step.later.to_owned(), step.is_nested()));
            false
        });
        found.into_inner()
    }

    #[test]
    fn labels_end_at_dots_that_are_not_escaped() {
        assert_eq!(dots(r"a.b\.c.d\\.e").collect::<Vec<_>>(), [1, 6, 10]);
        assert_eq!(stem("db.lan"), stem("db"));
        assert_ne!(stem(r"d\.b.lan"), stem(r"d\"));
    }

    #[test]
    fn a_name_and_an_expansion_of_it_are_known() {
        assert!(matches!(relation("db.svc.lan", "db"), Relation::Expansion("svc.lan")));
        assert!(matches!(relation("db", "db.lan"), Relation::Base));
        assert!(matches!(relation("db.lan", "d"), Relation::Steps(_)));
        for (a, b) in [("db", "db"), ("example.com._report._dmarc.example.net", "example.com")] {
            assert!(matches!(relation(a, b), Relation::None), "{a} {b}");
            assert!(matches!(relation(b, a), Relation::None), "{b} {a}");
        }
    }

    #[test]
    fn parents_are_told_from_other_domains() {
        let of = |earlier: &str, later: &str, is| (earlier.to_owned(), later.to_owned(), is);
        assert_eq!(steps("db.prod.svc.lan", "db.svc.lan"), [of("prod.svc.lan", "svc.lan", true)]);
        assert_eq!(
            steps("a.b.prod.lan", "a.b.lan"),
            [of("b.prod.lan", "b.lan", false), of("prod.lan", "lan", false)]
        );
        assert_eq!(steps("db.svc.lan", "db.prod.svc.lan"), [of("svc.lan", "prod.svc.lan", false)]);
        assert_eq!(steps("db.xsvc.lan", "db.svc.lan"), [of("xsvc.lan", "svc.lan", false)]);
        let fallback = steps("_ldap._tcp.a._sites.x.lan", "_ldap._tcp.x.lan");
        assert!(!fallback.is_empty() && fallback.iter().all(|step| !step.2), "{fallback:?}");
    }
}
