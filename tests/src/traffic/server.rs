//! The server: one thread per connection, one mode for all its clients.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use rustix::net::{
    AddressFamily, SocketType, bind, ipproto, listen, socket,
    sockopt::{set_ipv6_v6only, set_socket_linger, set_socket_recv_buffer_size, set_socket_reuseaddr},
};
use serde_json::json;

use super::{CHUNK, Listen, receive, send};

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// Send back what comes, after --think-ms
    Echo,
    /// Send back what comes first, then something unasked every --think-ms until the client closes
    Push,
    /// Read to the end, then close
    Sink,
    /// Send --bytes bytes, then close when the client has
    Source,
    /// Read to the end, send --bytes bytes, and close when standard input does
    Answer,
    /// Read nothing, and close when standard input does
    NeverRead,
    /// Answer one HTTP request, then close
    Http,
    /// Close at once
    Close,
    /// Reset at once
    Reset,
    /// Read once, then reset
    ResetAfterRead,
    /// Listen, and accept nothing
    NeverAccept,
}

/// `netcause-lab traffic server`
#[derive(Args)]
pub(crate) struct Server {
    #[command(flatten)]
    listen: Listen,
    #[arg(long, value_enum, default_value = "sink")]
    mode: Mode,
    /// How many bytes --mode source and --mode answer send
    #[arg(long, default_value_t = 0)]
    bytes: u64,
    /// How long --mode echo takes for an answer, and --mode push between two words
    #[arg(long, default_value_t = 0)]
    think_ms: u64,
    /// Answer so many requests of each connection at once, before --think-ms begins
    #[arg(long, default_value_t = 0)]
    quick: u64,
    /// The limit of the queue of connections not yet accepted
    #[arg(long, default_value_t = 1024)]
    backlog: i32,
    /// Accept so many connections on each port, then stop listening
    #[arg(long, default_value_t = u64::MAX)]
    accept: u64,
    /// Speak MPTCP where the client does
    #[arg(long)]
    mptcp: bool,
    /// Listen, and let a process in this cgroup accept, as a service manager does
    #[arg(long)]
    hand_to: Option<PathBuf>,
    /// Accept at the socket that is standard input, without an end
    #[arg(long)]
    inherited: bool,
}

#[derive(Default)]
struct Totals {
    accepted: AtomicU64,
    finished: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    /// Standard input has closed.
    ending: Mutex<bool>,
    changed: Condvar,
}

impl Totals {
    /// Waits until standard input closes.
    fn wait_for_the_end(&self) {
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(ending, |ending| !*ending));
    }

    fn end(&self) {
        *self.ending.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

impl Server {
    pub(crate) fn run(self) -> Result<()> {
        let totals = Arc::new(Totals::default());
        let mut listeners = Vec::new();
        if self.inherited {
            let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
            let service = self.service();
            accept(&TcpListener::from(socket), self.accept, service, &totals);
            return Ok(());
        }
        for address in self.listen.addresses() {
            listeners.push(self.open(address).with_context(|| format!("listening on {address}"))?);
        }
        let mut handed = Vec::new();
        if let Some(cgroup) = &self.hand_to {
            for listener in &listeners {
                handed.push(hand(listener, cgroup)?);
            }
        } else if !matches!(self.mode, Mode::NeverAccept) {
            for listener in &listeners {
                let (listener, totals) = (listener.try_clone()?, Arc::clone(&totals));
                let service = self.service();
                let most = self.accept;
                thread::spawn(move || accept(&listener, most, service, &totals));
            }
        }
        if self.accept != u64::MAX {
            // The threads have one each, and close it.
            listeners.clear();
        }
        self.listen.print_ready();
        std::io::stdin().read_to_end(&mut Vec::new()).context("waiting for the lab")?;
        totals.end();
        for mut child in handed {
            child.kill().and_then(|()| child.wait()).context("ending who accepts")?;
        }
        // Connections that are about to end may do so in order.
        for _ in 0..200 {
            if totals.finished.load(Ordering::SeqCst) == totals.accepted.load(Ordering::SeqCst) {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        println!(
            "{}",
            json!({
                "accepted": totals.accepted.load(Ordering::SeqCst),
                "bytes_received": totals.received.load(Ordering::SeqCst),
                "bytes_sent": totals.sent.load(Ordering::SeqCst),
            })
        );
        Ok(())
    }

    fn service(&self) -> Service {
        Service {
            mode: self.mode,
            bytes: self.bytes,
            think: Duration::from_millis(self.think_ms),
            quick: self.quick,
        }
    }

    fn open(&self, address: SocketAddr) -> Result<TcpListener> {
        let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let socket = socket(family, SocketType::STREAM, self.mptcp.then_some(ipproto::MPTCP))?;
        set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            set_ipv6_v6only(&socket, false)?;
        }
        if let Some(bytes) = self.listen.receive_buffer {
            set_socket_recv_buffer_size(&socket, bytes)?;
        }
        bind(&socket, &address)?;
        listen(&socket, self.backlog)?;
        Ok(TcpListener::from(socket))
    }
}

/// Starts an echo server in another cgroup that accepts at this socket.
fn hand(listener: &TcpListener, cgroup: &Path) -> Result<Child> {
    let socket = OwnedFd::from(listener.try_clone()?);
    let mut command = Command::new("sh");
    command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(cgroup.join("cgroup.procs"));
    command.arg(std::env::current_exe()?).args(["traffic", "server", "--inherited", "--mode", "echo"]);
    command.args(["--listen", "[::]:0"]).stdin(Stdio::from(socket));
    command.spawn().context("starting who accepts")
}

/// What it does for each client.
#[derive(Clone, Copy)]
struct Service {
    mode: Mode,
    bytes: u64,
    think: Duration,
    quick: u64,
}

fn accept(listener: &TcpListener, most: u64, service: Service, totals: &Arc<Totals>) {
    for _ in 0..most {
        let Ok((stream, _)) = listener.accept() else { return };
        totals.accepted.fetch_add(1, Ordering::SeqCst);
        match service.mode {
            Mode::Close => drop(stream),
            Mode::Reset => reset(stream),
            _ => {
                let totals = Arc::clone(totals);
                thread::spawn(move || {
                    // A client that goes away ends its connection; the totals have what came before.
                    let _ = serve(stream, service, &totals);
                    totals.finished.fetch_add(1, Ordering::SeqCst);
                });
                continue;
            }
        }
        totals.finished.fetch_add(1, Ordering::SeqCst);
    }
}

fn reset(stream: TcpStream) {
    // A linger time of zero makes close(2) send a reset.
    let _ = set_socket_linger(&stream, Some(Duration::ZERO));
    drop(stream);
}

fn serve(mut stream: TcpStream, service: Service, totals: &Totals) -> std::io::Result<()> {
    let Service { mode, bytes, think, mut quick } = service;
    let mut buffer = vec![0; CHUNK];
    match mode {
        Mode::Echo => loop {
            let got = stream.read(&mut buffer)?;
            if got == 0 {
                return Ok(());
            }
            totals.received.fetch_add(got as u64, Ordering::SeqCst);
            if quick == 0 {
                thread::sleep(think);
            }
            quick = quick.saturating_sub(1);
            stream.write_all(&buffer[..got])?;
            totals.sent.fetch_add(got as u64, Ordering::SeqCst);
        },
        Mode::Push => {
            let got = stream.read(&mut buffer)?;
            totals.received.fetch_add(got as u64, Ordering::SeqCst);
            // Until the client has closed, and a write fails.
            loop {
                stream.write_all(&buffer[..got])?;
                totals.sent.fetch_add(got as u64, Ordering::SeqCst);
                thread::sleep(think);
            }
        }
        Mode::Sink => receive(&mut stream, u64::MAX, &totals.received).map(drop),
        Mode::Source => {
            send(&mut stream, bytes, &totals.sent)?;
            stream.shutdown(Shutdown::Write)?;
            receive(&mut stream, u64::MAX, &totals.received).map(drop)
        }
        Mode::Answer => {
            receive(&mut stream, u64::MAX, &totals.received)?;
            send(&mut stream, bytes, &totals.sent)?;
            totals.wait_for_the_end();
            Ok(())
        }
        Mode::NeverRead => {
            totals.wait_for_the_end();
            Ok(())
        }
        Mode::Http => {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let got = stream.read(&mut buffer)?;
                if got == 0 {
                    return Ok(());
                }
                request.extend_from_slice(&buffer[..got]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")
        }
        Mode::ResetAfterRead => {
            totals.received.fetch_add(stream.read(&mut buffer)? as u64, Ordering::SeqCst);
            reset(stream);
            Ok(())
        }
        Mode::Close | Mode::Reset | Mode::NeverAccept => Ok(()),
    }
}
