//! The image as an archive: a layout of the Open Container Initiative in a tar (image-spec v1.1, image-layout.md), with the file that
//! `docker load` wants beside it (`manifest.json`, as `docker save` writes it), so that every engine can load it.

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::containerfile::Start;
use crate::ship::{
    Origin, VERSION, architecture,
    archive::{Tree, gzip, rfc3339, sha256},
};

/// The name that the manifests give the image (deploy/kubernetes/daemonset.yaml).
const NAME: &str = "netcause";

/// A blob of the layout: its bytes under their hash.
struct Blob {
    kind: &'static str,
    bytes: Vec<u8>,
}

impl Blob {
    fn json(kind: &'static str, value: &Value) -> Result<Self> {
        Ok(Self { kind, bytes: serde_json::to_vec(value).context("writing JSON")? })
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", sha256(&self.bytes))
    }

    /// How other blobs point at it.
    fn descriptor(&self) -> Value {
        let digest = format!("sha256:{}", sha256(&self.bytes));
        json!({"mediaType": self.kind, "digest": digest, "size": self.bytes.len()})
    }
}

/// The one layer, compressed.
pub(super) fn layer(files: &Tree, origin: &Origin) -> Result<Vec<u8>> {
    gzip(&files.tar(origin.epoch)?)
}

/// The whole archive.
pub(super) fn archive(files: &Tree, start: &Start, origin: &Origin) -> Result<Vec<u8>> {
    let uncompressed = sha256(&files.tar(origin.epoch)?);
    let layer = Blob { kind: "application/vnd.oci.image.layer.v1.tar+gzip", bytes: layer(files, origin)? };
    let labels = labels(origin);
    let config = config(start, &labels, &uncompressed, origin)?;
    let config = Blob::json("application/vnd.oci.image.config.v1+json", &config)?;
    let manifest = Blob::json(
        MANIFEST,
        &json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
            "annotations": labels,
        }),
    )?;
    let mut descriptor = manifest.descriptor();
    // The tag, for skopeo and podman; and the whole name, as containerd completes it, which is what the kubelet asks for.
    descriptor["annotations"] = json!({
        "org.opencontainers.image.ref.name": VERSION,
        "io.containerd.image.name": format!("docker.io/library/{NAME}:{VERSION}"),
    });
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor]});
    let of_docker = json!([{
        "Config": config.path(), "RepoTags": [format!("{NAME}:{VERSION}")], "Layers": [layer.path()],
    }]);
    let mut whole = Tree::default();
    let mut add = |path: &str, bytes: Vec<u8>| whole.file(path, 0o644, bytes);
    add("oci-layout", serde_json::to_vec(&json!({"imageLayoutVersion": "1.0.0"}))?);
    add("index.json", serde_json::to_vec(&index)?);
    add("manifest.json", serde_json::to_vec(&of_docker)?);
    for blob in [layer, config, manifest] {
        add(&blob.path(), blob.bytes);
    }
    whole.tar(origin.epoch)
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn config(start: &Start, labels: &Value, layer: &str, origin: &Origin) -> Result<Value> {
    let ports: Map<String, Value> =
        start.ports.iter().map(|port| (format!("{port}/tcp"), json!({}))).collect();
    let created = rfc3339(origin.epoch);
    Ok(json!({
        "created": created,
        "architecture": architecture()?,
        "os": "linux",
        "config": {
            "User": start.user,
            "ExposedPorts": ports,
            "Env": ["PATH=/usr/bin"],
            "Entrypoint": start.entrypoint,
            "Cmd": start.args,
            "WorkingDir": "/",
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
        "history": [{"created": created, "created_by": "cargo xtask image"}],
    }))
}

/// The predefined keys (image-spec v1.1, annotations.md).
fn labels(origin: &Origin) -> Value {
    let mut labels = json!({
        "org.opencontainers.image.title": NAME,
        "org.opencontainers.image.description": "A node agent that says why the network is slow or failing.",
        "org.opencontainers.image.version": VERSION,
        "org.opencontainers.image.created": rfc3339(origin.epoch),
        "org.opencontainers.image.licenses": "Apache-2.0",
    });
    if let Some(revision) = &origin.revision {
        labels["org.opencontainers.image.revision"] = json!(revision);
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, io::Read as _};

    /// Each descriptor leads to a blob of its size and hash, down to the files of the layer.
    #[test]
    fn descriptors_lead_to_their_blobs() {
        let mut files = Tree::default();
        files.file("usr/bin/x", 0o755, b"program".to_vec());
        let start = Start {
            user: "0:0".into(),
            ports: vec![9779],
            entrypoint: vec!["/usr/bin/x".into()],
            args: vec!["agent".into()],
        };
        let origin = Origin { epoch: 1_700_000_000, revision: None };
        let archive = archive(&files, &start, &origin).unwrap();
        let mut entries: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            entries.insert(entry.path().unwrap().display().to_string(), bytes);
        }
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        let follow = |descriptor: &Value| {
            let hash = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
            let bytes = &entries[&format!("blobs/sha256/{hash}")];
            assert_eq!(sha256(bytes), hash);
            assert_eq!(descriptor["size"], json!(bytes.len()));
            bytes.clone()
        };
        let manifest = json(&follow(&json(&entries["index.json"])["manifests"][0]));
        let config = json(&follow(&manifest["config"]));
        assert_eq!(config["config"]["Entrypoint"], json!(["/usr/bin/x"]));
        assert_eq!(config["config"]["Cmd"], json!(["agent"]));
        assert_eq!(config["config"]["User"], "0:0");
        assert_eq!(config["created"], "2023-11-14T22:13:20Z");
        let mut layer = Vec::new();
        flate2::read::GzDecoder::new(&follow(&manifest["layers"][0])[..]).read_to_end(&mut layer).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"], json!([format!("sha256:{}", sha256(&layer))]));
        assert!(layer.windows(7).any(|bytes| bytes == b"program"));
        let of_docker = &json(&entries["manifest.json"])[0];
        assert!(entries.contains_key(of_docker["Config"].as_str().unwrap()));
        assert!(entries.contains_key(of_docker["Layers"][0].as_str().unwrap()));
        assert_eq!(of_docker["RepoTags"], json!([format!("netcause:{VERSION}")]));
    }
}
