//! A client that knows no more of HTTP than it must.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

use super::Lab;

/// A connection, and the answers that come over it.
pub(super) struct Client(BufReader<TcpStream>);

/// A head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

impl Client {
    pub(super) fn of(lab: &Lab) -> Self {
        let stream = TcpStream::connect(lab.0.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(BufReader::new(stream))
    }

    pub(super) fn ask(&mut self, target: &str, headers: &str) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
    }

    /// The head of the next answer; `None` if the connection ends instead.
    pub(super) fn head(&mut self) -> Option<Head> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(Head { status, headers });
            }
            let (name, value) = line.split_once(": ").unwrap();
            headers.push((name.to_lowercase(), value.to_owned()));
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let got = self.0.read_line(&mut line).unwrap_or(0);
        (got > 0).then(|| line.trim_end().to_owned())
    }

    /// One chunk: empty at the end of the answer, `None` if the connection ends before.
    pub(super) fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = usize::from_str_radix(&self.line()?, 16).ok()?;
        let mut chunk = vec![0; length + 2];
        self.0.read_exact(&mut chunk).ok()?;
        chunk.truncate(length);
        Some(chunk)
    }

    /// The whole body; `None` if the connection ends before it does.
    pub(super) fn body(&mut self, head: &Head) -> Option<Vec<u8>> {
        if let Some(length) = head.header("content-length") {
            let mut body = vec![0; length.parse().unwrap()];
            return self.0.read_exact(&mut body).ok().map(|()| body);
        }
        assert_eq!(head.header("transfer-encoding"), Some("chunked"));
        let mut body = Vec::new();
        loop {
            match self.chunk()? {
                chunk if chunk.is_empty() => return Some(body),
                chunk => body.extend(chunk),
            }
        }
    }

    /// The next event of a watch; `None` at its end, which `Err` says was none.
    pub(super) fn event(&mut self) -> Result<Option<Value>, ()> {
        let chunk = self.chunk().ok_or(())?;
        if chunk.is_empty() {
            return Ok(None);
        }
        assert_eq!(chunk.last(), Some(&b'\n'), "a line");
        serde_json::from_slice(&chunk).map(Some).map_err(|_| ())
    }

    /// The next event, as `TYPE name`.
    pub(super) fn told(&mut self) -> String {
        match self.event() {
            Ok(Some(event)) => {
                let name = event.pointer("/object/metadata/name").and_then(Value::as_str).unwrap_or("-");
                format!("{} {name}", event["type"].as_str().unwrap())
            }
            end => format!("{end:?}"),
        }
    }
}

/// Asks once and reads JSON.
pub(super) fn get(lab: &Lab, target: &str) -> (u16, Value) {
    get_with(lab, target, "")
}

/// As [`get`], with headers.
pub(super) fn get_with(lab: &Lab, target: &str, headers: &str) -> (u16, Value) {
    let mut client = Client::of(lab);
    client.ask(target, headers);
    let head = client.head().unwrap();
    let body = client.body(&head).unwrap();
    (head.status, serde_json::from_slice(&body).unwrap())
}

/// Begins a watch that must be answered with 200.
pub(super) fn watch(lab: &Lab, target: &str) -> Client {
    let mut client = Client::of(lab);
    client.ask(target, "");
    assert_eq!(client.head().unwrap().status, 200);
    client
}
