//! A DNS load: a client that sends one query at a time, and a server that answers all of them alike.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use super::{
    drive::{LOST, repeat},
    serve_commands,
};

/// A query for an IPv4 address, as a pod's resolver sends it: recursion desired (RFC 1035 §4.1), then what EDNS adds, with
/// room for 1232 bytes (RFC 6891 §6.1.2).
const QUERY: &[u8] = b"\0\0\x01\0\0\x01\0\0\0\0\0\x01\
    \x09cart-0000\x04shop\x03svc\x07cluster\x05local\0\0\x01\0\x01\
    \0\0\x29\x04\xd0\0\0\0\0\0\0";
/// Length in bytes of what EDNS adds at the end.
const OPT: usize = 11;
/// Where the name's number is.
const NUMBER: std::ops::Range<usize> = 18..22;
/// The answer: the name of the question (compressed), type A, class IN, 30 seconds, an address.
const ADDRESS: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 10, 96, 7, 9];
/// The longest message that goes over UDP here.
const MOST: usize = 512;

/// Queries with an id and a name of their own each.
struct Queries {
    next: u16,
    message: Vec<u8>,
}

impl Queries {
    fn new() -> Self {
        Self { next: 0, message: QUERY.to_vec() }
    }

    fn next(&mut self) -> &[u8] {
        self.next = self.next.wrapping_add(1);
        self.message[..2].copy_from_slice(&self.next.to_be_bytes());
        self.message[NUMBER].copy_from_slice(format!("{:04}", self.next % 10_000).as_bytes());
        &self.message
    }

    /// Whether this answers the last query.
    fn answered_by(&self, message: &[u8]) -> bool {
        message.starts_with(&self.next.to_be_bytes())
    }
}

/// Builds the answer to a query; `None` for anything else.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let mut answer = query.to_vec();
    if query.len() != QUERY.len() {
        return None;
    }
    // A response, recursion available, one answer.
    answer[2] |= 0x80;
    answer[3] |= 0x80;
    answer[7] = 1;
    let end = answer.len() - OPT;
    answer.splice(end..end, ADDRESS);
    Some(answer)
}

/// Sends queries over UDP, from one socket or from a new one for each query.
pub(super) fn ask(to: SocketAddr, new_ports: bool) -> Result<()> {
    let mut queries = Queries::new();
    let mut socket = connected(to)?;
    let mut buffer = [0; MOST];
    repeat(|| {
        if new_ports {
            socket = connected(to)?;
        }
        socket.send(queries.next())?;
        loop {
            match socket.recv(&mut buffer) {
                Ok(bytes) if queries.answered_by(&buffer[..bytes]) => return Ok(1),
                // To a query that was given up.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(error) => return Err(error.into()),
            }
        }
    })
}

fn connected(to: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("binding")?;
    socket.set_read_timeout(Some(LOST))?;
    socket.connect(to)?;
    Ok(socket)
}

/// Sends queries over one TCP connection.
pub(super) fn ask_over_tcp(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut queries = Queries::new();
    repeat(|| {
        write_message(&mut stream, queries.next())?;
        let message = read_message(&mut stream)?.context("the server closed")?;
        ensure!(queries.answered_by(&message), "an answer to another query");
        Ok(1)
    })
}

/// A message over TCP has its length before it (RFC 1035 §4.2.2).
fn write_message(stream: &mut TcpStream, message: &[u8]) -> Result<()> {
    let length = u16::try_from(message.len()).context("a message too long")?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).context("sending")
}

/// The next message; none when the peer has closed.
fn read_message(stream: &mut TcpStream) -> Result<Option<Vec<u8>>> {
    let mut length = [0; 2];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(Some(message))
}

/// `netcause-lab bench generate answer`
#[derive(Args)]
pub(crate) struct Answer {
    /// Where to listen, over UDP and TCP
    listen: SocketAddr,
}

impl Answer {
    pub(super) fn run(self) -> Result<()> {
        let listening = || format!("listening on {}", self.listen);
        let socket = UdpSocket::bind(self.listen).with_context(listening)?;
        let listener = TcpListener::bind(self.listen).with_context(listening)?;
        thread::spawn(move || ended("datagrams", serve_datagrams(&socket)));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let serve = || serve_stream(stream?);
                thread::spawn(move || ended("a connection", serve()));
            }
        });
        serve_commands(|command| bail!("{command}: a server has no commands"))
    }
}

/// A failure shows at the client, as answers that do not come; this says why.
fn ended(what: &str, result: Result<()>) {
    if let Err(error) = result {
        eprintln!("serving {what}: {error:#}");
    }
}

fn serve_datagrams(socket: &UdpSocket) -> Result<()> {
    let mut buffer = [0; MOST];
    loop {
        let (bytes, from) = socket.recv_from(&mut buffer)?;
        if let Some(answer) = answer(&buffer[..bytes]) {
            socket.send_to(&answer, from)?;
        }
    }
}

fn serve_stream(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    while let Some(query) = read_message(&mut stream)? {
        write_message(&mut stream, &answer(&query).context("not a query of this benchmark")?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_question_and_an_address() {
        let mut queries = Queries::new();
        let query = queries.next().to_vec();
        assert_eq!(&query[..2], [0, 1]);
        assert_eq!(&query[13..22], b"cart-0001");
        let answer = answer(&query).unwrap();
        assert!(queries.answered_by(&answer));
        assert_eq!(answer.len(), query.len() + ADDRESS.len());
        // Flags and counts, the question, the address, and EDNS at the end.
        assert_eq!(answer[2..12], [0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 1]);
        let question = 12..query.len() - OPT;
        assert_eq!(answer[question.clone()], query[question.clone()]);
        assert!(answer[question.end..].starts_with(&ADDRESS));
        assert!(answer.ends_with(&query[question.end..]));
        assert_eq!(super::answer(&query[1..]), None);
    }
}
