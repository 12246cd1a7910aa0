//! Which types a fixture keeps.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};

use super::types::{Cell, Type, kind};

/// What is asked of the fixture later.
pub(super) struct Wanted<'a> {
    /// Structs, with everything in them.
    pub structs: &'a BTreeSet<String>,
    /// Functions and typedefs of functions, with the names of the structs that are passed by pointer.
    pub prototypes: &'a BTreeSet<String>,
    /// Enums, with the names of their values.
    pub enums: &'a BTreeSet<String>,
}

/// Cuts BTF down to what is wanted, in the order it had.
///
/// Members held by value are kept whole. A pointer points to nothing unless what it points to is kept for another
/// reason. A struct that only a prototype names keeps its name and loses its members.
pub(super) fn reduce(types: &[Type], wanted: &Wanted<'_>) -> Result<Vec<Type>> {
    let (mut whole, mut named) = (BTreeSet::new(), BTreeSet::new());
    for (id, one) in (1..).zip(types) {
        let is_wanted = match one.kind() {
            kind::STRUCT => wanted.structs.contains(&one.name),
            kind::ENUM => wanted.enums.contains(&one.name),
            _ => false,
        };
        if is_wanted {
            follow(types, id, Follow::Values, &mut whole)?;
        }
        if matches!(one.kind(), kind::TYPEDEF | kind::FUNC) && wanted.prototypes.contains(&one.name) {
            follow(types, id, Follow::Names, &mut named)?;
        }
    }
    let kept: BTreeSet<u32> = whole.union(&named).copied().collect();
    // Type 0 is void, what is not kept becomes it.
    let numbers: BTreeMap<u32, u32> = kept.iter().copied().zip(1..).collect();
    let number = |id: &u32| numbers.get(id).copied().unwrap_or(0);
    kept.iter()
        .map(|id| {
            let mut one = get(types, *id)?.clone();
            let is_stub = is_compound(&one) && !whole.contains(id);
            // The names of most enums' values are no answer to any question here, and many.
            let is_enum = matches!(one.kind(), kind::ENUM | kind::ENUM64);
            if is_stub || (is_enum && !wanted.enums.contains(&one.name)) {
                one.clear();
            }
            if one.refers() {
                one.reference = number(&one.reference);
            }
            for cell in &mut one.cells {
                if let Cell::Type(id) = cell {
                    *id = number(id);
                }
            }
            Ok(one)
        })
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Follow {
    /// Into members, not through pointers.
    Values,
    /// Through pointers, not into members.
    Names,
}

fn follow(types: &[Type], start: u32, how: Follow, seen: &mut BTreeSet<u32>) -> Result<()> {
    let mut open = vec![start];
    while let Some(id) = open.pop() {
        if id == 0 || !seen.insert(id) {
            continue;
        }
        let one = get(types, id)?;
        let stops = match how {
            Follow::Values => one.kind() == kind::PTR,
            Follow::Names => is_compound(one),
        };
        if stops {
            continue;
        }
        if one.refers() {
            open.push(one.reference);
        }
        let is_type = |cell: &Cell| if let Cell::Type(id) = cell { Some(*id) } else { None };
        open.extend(one.cells.iter().filter_map(is_type));
    }
    Ok(())
}

fn is_compound(one: &Type) -> bool {
    matches!(one.kind(), kind::STRUCT | kind::UNION)
}

fn get(types: &[Type], id: u32) -> Result<&Type> {
    let index = (id as usize).checked_sub(1);
    index.and_then(|index| types.get(index)).with_context(|| format!("there is no type {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, of: u32) -> Vec<Cell> {
        vec![Cell::Name(name.to_owned()), Cell::Type(of), Cell::Number(0)]
    }

    #[test]
    fn values_stay_and_pointers_end() {
        let types = [
            Type::new(kind::STRUCT, "inner", 4, Vec::new()),
            Type::new(kind::STRUCT, "far", 4, member("x", 1)),
            Type::new(kind::PTR, "", 2, Vec::new()),
            Type::new(kind::STRUCT, "wanted", 8, [member("value", 1), member("pointer", 3)].concat()),
            Type::new(kind::PTR, "", 4, Vec::new()),
            Type::new(
                kind::FUNC_PROTO,
                "",
                0,
                [3, 5].map(|of| [Cell::Name("".into()), Cell::Type(of)]).concat(),
            ),
            Type::new(kind::PTR, "", 6, Vec::new()),
            Type::new(kind::TYPEDEF, "f", 7, Vec::new()),
        ];
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        let enums = &BTreeSet::new();
        let only = |structs, prototypes| reduce(&types, &Wanted { structs, prototypes, enums }).unwrap();
        let (none, wanted, f) = (BTreeSet::new(), set("wanted"), set("f"));

        let found = only(&wanted, &none);
        assert_eq!(found.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["inner", "", "wanted"]);
        assert_eq!((found[1].kind(), found[1].reference), (kind::PTR, 0));
        assert_eq!(found[2].cells, [member("value", 1), member("pointer", 2)].concat());

        // The prototype's structs are named, and whole only when wanted for themselves.
        let found = only(&wanted, &f);
        let members = |name| found.iter().find(|one| one.name == name).map(|one| one.cells.len());
        assert_eq!((members("far"), members("wanted")), (Some(0), Some(6)));
        assert_eq!(found.len(), types.len());
    }

    #[test]
    fn damage_is_an_error() {
        let types = [Type::new(kind::STRUCT, "wanted", 8, member("value", 9))];
        let (structs, prototypes) = (BTreeSet::from(["wanted".to_owned()]), BTreeSet::new());
        let wanted = Wanted { structs: &structs, prototypes: &prototypes, enums: &BTreeSet::new() };
        assert!(reduce(&types, &wanted).is_err());
    }
}
