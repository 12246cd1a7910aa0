//! Role of the local end of UDP.
//!
//! UDP has no handshake to infer it from. Where only the peer's port is one that the kernel chooses for clients (an ephemeral
//! port), the local end is the server. Else the end that speaks first is the client, and a port that was spoken to first is a
//! service's, whichever its number: so no peer can choose the port that a flow is counted under.

use netcause_common::flow::{ROLE_CLIENT, ROLE_SERVER, UdpService, UdpSpeaker};

use crate::kernel::first_ephemeral_port;
use crate::maps::{UDP_SERVICES, UDP_SPEAKERS};
use crate::packet::{Direction, Ends, Packet};

/// Role of the socket of a packet.
#[inline(always)]
pub fn of_packet(packet: Packet, is_connected: bool, local: u64, ends: Ends, direction: Direction) -> u8 {
    let Ends { local_port, remote_port, .. } = ends;
    if is_connected {
        return of_connected(local, local_port, remote_port);
    }
    if is_plain_server(local_port, remote_port) {
        return ROLE_SERVER;
    }
    let Some(speaker) = packet.storage(&UDP_SPEAKERS) else {
        return if local_port >= remote_port { ROLE_CLIENT } else { ROLE_SERVER };
    };
    // SAFETY: the pointer comes from the storage of a socket that the packet holds. Packets of one socket on two CPUs may
    // both be its first; then either is as good.
    #[expect(unsafe_code, reason = "map value")]
    let speaker = unsafe { &mut *speaker };
    let is_received = direction == Direction::Received;
    let is_service = match speaker.state {
        UdpSpeaker::NEW => is_received,
        // A socket that is older than the agent may have been seen first with a response.
        UdpSpeaker::CLIENT if remote_port != speaker.remote_port => {
            if !is_received {
                speaker.state = UdpSpeaker::CLIENT_OF_SEVERAL;
            }
            is_received && remote_port >= first_ephemeral_port()
        }
        UdpSpeaker::SERVER => return ROLE_SERVER,
        _ => return ROLE_CLIENT,
    };
    if is_service {
        speaker.state = UdpSpeaker::SERVER;
        // For the sockets that the service connects to its clients, and for what is dropped. Not essential: the map may be full.
        let _ = UDP_SERVICES.insert(UdpService::new(local, local_port), 0, 0);
        return ROLE_SERVER;
    }
    if speaker.state == UdpSpeaker::NEW {
        *speaker = UdpSpeaker { state: UdpSpeaker::CLIENT, remote_port };
    }
    ROLE_CLIENT
}

/// Role of a socket that is connected to one peer: a client's, unless a service makes one for each of its clients.
#[inline(always)]
pub fn of_connected(local: u64, local_port: u16, remote_port: u16) -> u8 {
    let first = first_ephemeral_port();
    let is_service = remote_port >= first && (local_port < first || is_service(local, local_port));
    if is_service { ROLE_SERVER } else { ROLE_CLIENT }
}

/// Role of a socket without a peer that was sent a datagram, which [`of_packet`] has seen before.
#[inline(always)]
pub fn of_receiver(local: u64, local_port: u16, remote_port: u16) -> u8 {
    let is_server = is_plain_server(local_port, remote_port) || is_service(local, local_port);
    if is_server { ROLE_SERVER } else { ROLE_CLIENT }
}

/// True where only the peer's port is ephemeral. Runs for most packets of servers.
#[inline(always)]
fn is_plain_server(local_port: u16, remote_port: u16) -> bool {
    let first = first_ephemeral_port();
    local_port < first && first <= remote_port
}

#[inline(always)]
fn is_service(local: u64, port: u16) -> bool {
    UDP_SERVICES.get_ptr(UdpService::new(local, port)).is_some()
}
