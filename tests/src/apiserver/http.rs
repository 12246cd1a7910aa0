//! HTTP/1.1, as much of it as is needed and no less (RFC 9112): requests with or without a body, connections that stay,
//! answers with a length or in chunks, and answers that are slow or never end as they should.

use std::{
    io::{self, BufRead, BufReader, Error, ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use super::{
    query::{Parameters, split},
    state::Shared,
    status::Status,
    time,
};

/// The longest head of a request, in octets.
const LONGEST_HEAD: u64 = 64 * 1024;
/// The longest body of a request: objects that a scenario puts.
const LONGEST_BODY: usize = 256 * 1024 * 1024;
/// Answers longer than this go in chunks, as with Go's `net/http`.
const IN_ONE: usize = 2048;
/// Octets of a chunk.
const CHUNK: usize = 32 * 1024;

/// A request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) parameters: Parameters,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Reads the next one; `None` at the end of the connection.
    pub(crate) fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let bad = |what: &str| Error::new(ErrorKind::InvalidData, what.to_owned());
        let mut head = reader.by_ref().take(LONGEST_HEAD);
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(target), Some("HTTP/1.1")) = (words.next(), words.next(), words.next())
        else {
            return Err(bad("no request line"));
        };
        let (method, (path, parameters)) = (method.to_owned(), split(target));
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            if !(head.read_line(&mut line)? > 0 && line.ends_with('\n')) {
                return Err(bad("the head does not end"));
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("a header without a colon"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request = Self { method, path, parameters, headers, body: Vec::new() };
        if request.header("transfer-encoding").is_some() {
            return Err(bad("a body in chunks"));
        }
        let length =
            request.header("content-length").map_or(Ok(0), str::parse).map_err(|_| bad("no length"))?;
        if length > LONGEST_BODY {
            return Err(bad("too long a body"));
        }
        request.body.resize(length, 0);
        reader.read_exact(&mut request.body)?;
        Ok(Some(request))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The token, where there is one.
    pub(crate) fn token(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }
}

/// How an answer is spoilt.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spoil {
    /// Octets of the body per second, at most.
    pub(crate) bytes_per_second: Option<u64>,
    /// Octets of the body after which the connection ends.
    pub(crate) cut_after: Option<u64>,
}

/// The way back to the client.
pub(crate) struct Answer<'a> {
    stream: &'a TcpStream,
    spoil: Spoil,
    sent: u64,
    /// Where the status is noted before it goes: who has the answer finds it there.
    note: Option<(&'a Shared, usize)>,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(stream: &'a TcpStream) -> Self {
        Self { stream, spoil: Spoil::default(), sent: 0, note: None }
    }

    /// Has the status noted with the request of this number.
    pub(crate) fn note(&mut self, shared: &'a Shared, number: usize) {
        self.note = Some((shared, number));
    }

    /// Spoils what comes from now on.
    pub(crate) fn spoil(&mut self, spoil: Spoil) {
        self.spoil = spoil;
    }

    fn head(&mut self, status: u16, content_type: &str, rest: &str) -> io::Result<()> {
        if let Some((shared, number)) = self.note {
            shared.state().answered(number, status);
        }
        let reason = match status {
            200 => "OK",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            406 => "Not Acceptable",
            410 => "Gone",
            422 => "Unprocessable Entity",
            429 => "Too Many Requests",
            500 => "Internal Server Error",
            503 => "Service Unavailable",
            504 => "Gateway Timeout",
            _ => "Unknown",
        };
        let head = format!(
            "HTTP/1.1 {status} {reason}\r\nAudit-Id: {}\r\nCache-Control: no-cache, private\r\n\
             Content-Type: {content_type}\r\nDate: {}\r\n{rest}\r\n",
            "1d6ad6f6-3f0c-4e0b-9d6c-6c7f0d0b8a11",
            time::http_date(),
        );
        self.stream.write_all(head.as_bytes())
    }

    /// A whole answer.
    pub(crate) fn whole(
        &mut self,
        status: u16,
        content_type: &str,
        more: &str,
        body: &[u8],
    ) -> io::Result<()> {
        if body.len() <= IN_ONE {
            self.head(status, content_type, &format!("{more}Content-Length: {}\r\n", body.len()))?;
            return self.body(body);
        }
        self.begin(status, content_type, more)?;
        for part in body.chunks(CHUNK) {
            self.chunk(part)?;
        }
        self.end()
    }

    /// A whole answer of JSON.
    pub(crate) fn json(&mut self, body: &[u8]) -> io::Result<()> {
        self.whole(200, "application/json", "", body)
    }

    /// A failure.
    pub(crate) fn failure(&mut self, status: &Status) -> io::Result<()> {
        let wait = status.retry_after_seconds().map(|seconds| format!("Retry-After: {seconds}\r\n"));
        let body = format!("{}\n", status.body);
        self.whole(status.code, "application/json", &wait.unwrap_or_default(), body.as_bytes())
    }

    /// The head of an answer that goes in chunks.
    pub(crate) fn begin(&mut self, status: u16, content_type: &str, more: &str) -> io::Result<()> {
        self.head(status, content_type, &format!("{more}Transfer-Encoding: chunked\r\n"))
    }

    /// One chunk.
    pub(crate) fn chunk(&mut self, part: &[u8]) -> io::Result<()> {
        if part.is_empty() {
            return Ok(());
        }
        let mut framed = format!("{:x}\r\n", part.len()).into_bytes();
        framed.extend_from_slice(part);
        framed.extend_from_slice(b"\r\n");
        self.body(&framed)
    }

    /// The end of an answer that goes in chunks.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.body(b"0\r\n\r\n")
    }

    /// Ends the connection where it is.
    pub(crate) fn cut(&mut self) -> Error {
        // It may be gone already.
        let _ = self.stream.shutdown(Shutdown::Both);
        Error::new(ErrorKind::ConnectionAborted, "cut by a scenario")
    }

    fn body(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut part = bytes.len();
            if let Some(rate) = self.spoil.bytes_per_second {
                // Ten parts a second.
                part = part.min(usize::try_from(rate.div_ceil(10)).unwrap_or(part).max(1));
            }
            if let Some(cut) = self.spoil.cut_after {
                let left = cut.saturating_sub(self.sent);
                if left == 0 {
                    return Err(self.cut());
                }
                part = part.min(usize::try_from(left).unwrap_or(part));
            }
            self.stream.write_all(&bytes[..part])?;
            self.sent += part as u64;
            bytes = &bytes[part..];
            if self.spoil.bytes_per_second.is_some() {
                thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    }

    /// Whether the client is still there, as far as one can know without writing.
    pub(crate) fn has_client(&self) -> bool {
        let mut byte = [0];
        if self.stream.set_nonblocking(true).is_err() {
            return false;
        }
        let peeked = self.stream.peek(&mut byte);
        let back = self.stream.set_nonblocking(false);
        let is_there = match peeked {
            Ok(count) => count > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        back.is_ok() && is_there
    }
}
