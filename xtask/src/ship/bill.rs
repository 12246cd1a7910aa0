//! The bill of materials: what the program is made of, in CycloneDX 1.6 (cyclonedx.org/docs/1.6/json), which scanners read.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Origin, VERSION, archive, crates::Crate};
use crate::{exec, linked::Library};

/// The reference of the program itself.
const AGENT: &str = "netcause";

/// The document. Its number (`serialNumber`) follows from its content, so that the same content is the same document.
pub(crate) fn json(crates: &[Crate], libraries: &[Library], origin: &Origin) -> Result<String> {
    let rust = exec::output(Command::new("rustc").arg("--version"), "asking rustc for its version")?;
    let rust = rust.split(' ').nth(1).context("rustc has no version")?;
    let document = document(crates, libraries, rust, origin);
    let text = serde_json::to_string(&document).context("writing the bill of materials")?;
    let hash = archive::sha256(text.as_bytes());
    // A UUID of version 8 (RFC 9562): its bits are ours to choose but for these two digits.
    let number =
        format!("{}-{}-8{}-8{}-{}", &hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32]);
    let mut document = document;
    document["serialNumber"] = json!(format!("urn:uuid:{number}"));
    serde_json::to_string_pretty(&document).map(|text| text + "\n").context("writing the bill of materials")
}

fn document(crates: &[Crate], libraries: &[Library], rust: &str, origin: &Origin) -> Value {
    let standard = format!("pkg:generic/rust-std@{rust}");
    let mut components: Vec<Value> = crates.iter().map(component).collect();
    components.push(json!({
        "type": "library", "bom-ref": standard, "name": "rust-std", "version": rust, "purl": standard,
        "description": "Rust's standard library",
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
    }));
    components.extend(libraries.iter().map(shared));
    let mut dependencies: Vec<Value> =
        crates.iter().map(|one| json!({"ref": one.reference(), "dependsOn": one.uses})).collect();
    let own =
        |one: &&Crate| !one.is_foreign() && one.name != "netcause-core" && one.name != "netcause-common";
    let mut of_agent: Vec<String> = crates.iter().filter(own).map(Crate::reference).collect();
    of_agent.push(standard);
    of_agent.extend(libraries.iter().map(Library::reference));
    dependencies.push(json!({"ref": AGENT, "dependsOn": of_agent}));
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": archive::rfc3339(origin.epoch),
            "tools": {"components": [{"type": "application", "name": "cargo xtask", "version": VERSION}]},
            "component": {
                "type": "application", "bom-ref": AGENT, "name": AGENT, "version": VERSION,
                "licenses": [{"expression": "Apache-2.0"}],
            },
        },
        "components": components,
        "dependencies": dependencies,
    })
}

fn component(one: &Crate) -> Value {
    let mut component = json!({
        "type": "library", "bom-ref": one.reference(), "name": one.name, "version": one.version,
    });
    // Of our own there is none in the registry, and another's may have the name.
    if one.is_foreign() {
        component["purl"] = json!(one.reference());
    }
    if let Some(license) = one.expression() {
        component["licenses"] = json!([{"expression": license}]);
    }
    if let Some(description) = &one.description {
        component["description"] = json!(description.trim());
    }
    if let Some(checksum) = &one.checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    if let Some(url) = &one.repository {
        component["externalReferences"] = json!([{"type": "vcs", "url": url}]);
    }
    component
}

/// A file that the program is linked with when it starts.
fn shared(library: &Library) -> Value {
    json!({
        "type": "library", "bom-ref": library.reference(), "name": library.package, "version": library.version,
        "purl": library.reference(),
        "description": format!("shared libraries: {}", library.files().collect::<Vec<_>>().join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ship::crates;
    use std::collections::BTreeSet;

    /// Of the real graph: each reference is of one component, everything is reached from the program, and the same content has the same
    /// number.
    #[test]
    fn everything_is_reached_from_the_program() {
        let crates = crates::linked().unwrap();
        let library = Library {
            package: "libc6".into(),
            version: "2.36-9".into(),
            paths: vec!["/lib/libc.so.6".into()],
        };
        let text = |epoch| {
            let origin = Origin { epoch, revision: None };
            json(&crates, std::slice::from_ref(&library), &origin).unwrap()
        };
        assert_eq!(text(1), text(1));
        let bill: Value = serde_json::from_str(&text(1)).unwrap();
        let other: Value = serde_json::from_str(&text(2)).unwrap();
        assert_ne!(bill["serialNumber"], other["serialNumber"]);
        assert_eq!(bill["serialNumber"].as_str().unwrap().len(), "urn:uuid:".len() + 36);

        let names = |value: &Value| value.as_str().unwrap().to_owned();
        let components = bill["components"].as_array().unwrap();
        let mut all: BTreeSet<String> = components.iter().map(|one| names(&one["bom-ref"])).collect();
        assert_eq!(all.len(), components.len());
        let dependencies = bill["dependencies"].as_array().unwrap();
        let mut next = vec![AGENT.to_owned()];
        let mut reached = BTreeSet::new();
        while let Some(one) = next.pop() {
            if reached.insert(one.clone()) {
                let found = dependencies.iter().find(|links| links["ref"] == one);
                next.extend(found.iter().flat_map(|links| links["dependsOn"].as_array().unwrap()).map(names));
            }
        }
        all.insert(AGENT.to_owned());
        assert_eq!(reached, all);
    }
}
