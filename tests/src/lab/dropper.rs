//! BPF programs that drop every packet of a device.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};

use super::{
    bpf,
    namespace::{Namespace, within},
};

// `enum bpf_prog_type` and `enum bpf_attach_type`, include/uapi/linux/bpf.h.
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
/// `TC_ACT_SHOT`, include/uapi/linux/pkt_cls.h.
const TC_ACT_SHOT: u32 = 2;
/// `XDP_DROP`, include/uapi/linux/bpf.h.
const XDP_DROP: u32 = 1;
/// `XDP_FLAGS_SKB_MODE`, include/uapi/linux/if_link.h: after the packet has become a buffer of the kernel.
const XDP_FLAGS_SKB_MODE: u32 = 2;

/// A program that drops all that a device receives or sends, until it is dropped itself.
pub(crate) struct Dropper {
    _link: OwnedFd,
}

impl Dropper {
    /// By XDP in generic mode, on what the device receives.
    pub(crate) fn xdp(at: &Namespace, device: &str) -> Result<Self> {
        Self::attach(at, device, (BPF_PROG_TYPE_XDP, BPF_XDP, XDP_DROP), XDP_FLAGS_SKB_MODE)
    }

    /// By TC, on what the device receives; needs Linux 6.6, as the next one.
    pub(crate) fn tc_ingress(at: &Namespace, device: &str) -> Result<Self> {
        Self::attach(at, device, (BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_INGRESS, TC_ACT_SHOT), 0)
    }

    /// By TC, on what the device sends.
    pub(crate) fn tc_egress(at: &Namespace, device: &str) -> Result<Self> {
        Self::attach(at, device, (BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_EGRESS, TC_ACT_SHOT), 0)
    }

    fn attach(at: &Namespace, device: &str, program: (u32, u32, u32), flags: u32) -> Result<Self> {
        let (kind, place, verdict) = program;
        let shown = at.run("ip", &["-o", "link", "show", "dev", device], "")?;
        let index = shown.split(':').next().unwrap_or_default().parse().context("the index of a device")?;
        let program = bpf::load(kind, place, verdict)?;
        let link = within(&at.open()?, || bpf::link(&program, index, place, flags))
            .with_context(|| format!("a program that drops at {device}"))?;
        Ok(Self { _link: link })
    }
}
