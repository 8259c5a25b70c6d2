//! A plain HTTP client whose connections can be left open.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::program::PATIENCE;

/// One connection.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) set_cookie: Option<String>,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    pub(crate) fn write(&mut self, text: &str) -> io::Result<()> {
        self.reader.get_mut().write_all(text.as_bytes())
    }

    /// Reads one response, which must have a `Content-Length`.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let line = self.line()?;
        let status =
            line.split(' ').nth(1).and_then(|it| it.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let (mut length, mut set_cookie) = (0, None);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().map_err(|_| io::ErrorKind::InvalidData)?,
                "set-cookie" => set_cookie = Some(value.to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        let body = String::from_utf8(body).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Answer { status, set_cookie, body })
    }

    /// Reads until the peer closes.
    pub(crate) fn closed(&mut self) -> io::Result<()> {
        self.reader.read_to_end(&mut Vec::new()).map(|_| ())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// Sends a request on its own connection, as this visitor if one is given.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    visitor: Option<&str>,
) -> io::Result<Answer> {
    let mut client = Client::connect(address)?;
    client.write(&head(method, path, visitor, 0))?;
    client.answer()
}

/// The head of a request with a body of this length.
pub(crate) fn head(method: &str, path: &str, visitor: Option<&str>, length: usize) -> String {
    let cookie = visitor.map(|id| format!("Cookie: convert_visitor={id}\r\n")).unwrap_or_default();
    format!("{method} {path} HTTP/1.1\r\nHost: shop\r\n{cookie}Content-Length: {length}\r\n\r\n")
}
