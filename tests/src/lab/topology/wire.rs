//! Bridges of different nodes, with a path between them.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::Command,
    sync::Arc,
};

use anyhow::Result;

use super::{Holders, Net};
use crate::{
    lab::{path::NodePath, process::Process},
    traffic::path::DEVICE,
};

impl Net {
    /// The bridge of another node, with the same network behind a path that is a program; see [`NodePath`].
    pub(crate) fn beyond(&self) -> Result<(Self, NodePath)> {
        let address = (self.network, self.bridge + 100);
        let far = Self::numbered(&self.scenario, "far-switch", address, Arc::clone(&self.holders))?;
        let path = NodePath::between(&self.switch, &far.switch)?;
        self.plug_path()?;
        far.plug_path()?;
        // Both bridges have found the cable plugged in when packets pass.
        self.switch.reach(IpAddr::V4(Ipv4Addr::new(10, 77, far.network, far.bridge)))?;
        Ok((far, path))
    }

    /// The bridge of a node that is a whole machine: its network card `device`, which the path ends at, becomes a port of the
    /// bridge, and the bridge has this last byte of its address.
    pub(crate) fn of_machine(scenario: &str, device: &str, bridge: u8) -> Result<Self> {
        let net = Self::numbered(scenario, "switch", (0, bridge), Holders::default())?;
        let pid = net.switch.pid().to_string();
        let args = ["link", "set", device, "name", DEVICE, "netns", &pid];
        Process::run("ip", Command::new("ip").args(args), "")?.success()?;
        net.plug_path()?;
        Ok(net)
    }

    /// Makes the path's device a port of the bridge. What waits there for the program on a busy machine is not dropped.
    fn plug_path(&self) -> Result<()> {
        let script = format!(
            "link set {DEVICE} addrgenmode none\nlink set {DEVICE} txqueuelen 5000\n\
             link set {DEVICE} master br0\nlink set {DEVICE} up\n"
        );
        self.switch.run("ip", &["-batch", "-"], &script).map(drop)
    }

    /// Waits until the bridge at this last byte of its address answers.
    pub(crate) fn reach_bridge(&self, bridge: u8) -> Result<()> {
        self.switch.reach(IpAddr::V4(Ipv4Addr::new(10, 77, self.network, bridge)))
    }
}
