//! The BTF inside a compressed kernel.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::exec;

/// A compression that the kernel's build knows and Debian has used: how the payload begins, what unpacks it.
struct Packing {
    magic: &'static [u8],
    program: &'static str,
    /// The build appends the unpacked size as four bytes, which the program would take for damage. gzip has its own.
    has_size_appended: bool,
}

const PACKINGS: &[Packing] = &[
    Packing { magic: &[0x1f, 0x8b], program: "gzip", has_size_appended: false },
    Packing { magic: &[0xfd, b'7', b'z', b'X', b'Z', 0], program: "xz", has_size_appended: true },
    Packing { magic: &[0x02, 0x21, 0x4c, 0x18], program: "lz4", has_size_appended: true },
    Packing { magic: &[0x28, 0xb5, 0x2f, 0xfd], program: "zstd", has_size_appended: true },
];

/// Takes the BTF out of a kernel image into a file in `directory`.
pub(super) fn extract(image: &Path, directory: &Path) -> Result<PathBuf> {
    let data = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let (packing, payload) = payload(&data).with_context(|| format!("cannot unpack {}", image.display()))?;
    let [packed, kernel, btf] = ["payload", "vmlinux", "btf"].map(|name| directory.join(name));
    fs::write(&packed, payload).with_context(|| format!("cannot write {}", packed.display()))?;
    unpack(packing.program, &packed, &kernel)?;
    // Without an output file objcopy would write the kernel again.
    exec::output(
        Command::new("objcopy")
            .arg("--dump-section")
            .arg(format!(".BTF={}", btf.display()))
            .arg(&kernel)
            .arg("/dev/null"),
        "taking the section .BTF out of the kernel",
    )?;
    Ok(btf)
}

fn unpack(program: &str, from: &Path, to: &Path) -> Result<()> {
    let input = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
    let output = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    let done = Command::new(program)
        .args(["-d", "-c"])
        .stdin(input)
        .stdout(output)
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("cannot start `{program}`"))?;
    if !done.status.success() {
        bail!("`{program}` failed ({}): {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

/// The compressed kernel within a bzImage. Offsets: `Documentation/arch/x86/boot.rst`, kernel v6.18.
fn payload(image: &[u8]) -> Result<(&'static Packing, &[u8])> {
    if image.get(0x202..0x206) != Some(b"HdrS") {
        bail!("no boot header of x86");
    }
    // 0 stands for 4; one more sector is the boot sector. The payload's offset counts from the end of these.
    let sectors = match image.get(0x1f1) {
        Some(0) | None => 4,
        Some(sectors) => usize::from(*sectors),
    };
    let field = |at: usize| {
        let bytes = image.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map(|bytes| u32::from_le_bytes(*bytes) as usize).context("cut short")
    };
    let start = (sectors + 1) * 512 + field(0x248)?;
    let payload = image.get(start..start + field(0x24c)?).context("the payload reaches beyond the end")?;
    let packing = PACKINGS.iter().find(|packing| payload.starts_with(packing.magic));
    let packing = packing.with_context(|| {
        let programs: Vec<&str> = PACKINGS.iter().map(|packing| packing.program).collect();
        format!("its payload is packed by none of {}", programs.join(", "))
    })?;
    let end = payload.len().saturating_sub(if packing.has_size_appended { 4 } else { 0 });
    Ok((packing, &payload[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(content: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 0x400];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248] = 8;
        image[0x24c] = u8::try_from(content.len()).unwrap();
        image.extend([0; 8]);
        image.extend(content);
        image
    }

    #[test]
    fn the_payload_is_where_the_header_says() {
        let image = image(&[0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3, 0, 0, 0, 9]);
        let (packing, payload) = payload(&image).unwrap();
        assert_eq!((packing.program, payload), ("zstd", [0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3].as_slice()));
    }

    #[test]
    fn what_is_not_known_is_said() {
        assert!(payload(b"MZ").is_err());
        assert!(payload(&image(b"unpacked")).is_err());
        let mut cut = image(&[0x1f, 0x8b, 1]);
        cut.pop();
        assert!(payload(&cut).is_err());
    }
}
