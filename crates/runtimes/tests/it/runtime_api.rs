//! A local Lambda Runtime API: the function asks for invocations and posts its responses here.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::program::PATIENCE;

const NEXT: &str = "/2018-06-01/runtime/invocation/next";

/// The API; serves each connection on a thread until the test process ends.
pub(crate) struct RuntimeApi {
    pub(crate) address: SocketAddr,
    calls: Receiver<Call>,
}

/// A call of the function, which waits until the test responds.
pub(crate) struct Call {
    method: String,
    path: String,
    body: String,
    answer: Sender<String>,
}

impl RuntimeApi {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, calls) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                thread::spawn(move || serve(stream, &sender));
            }
        });
        Self { address, calls }
    }

    /// The function is ready for an invocation.
    pub(crate) fn next(&self) -> Call {
        let call = self.calls.recv_timeout(PATIENCE).expect("the function should ask for an invocation");
        assert_eq!((call.method.as_str(), call.path.as_str()), ("GET", NEXT), "{}", call.body);
        call
    }

    /// The function has responded to the invocation with this id.
    pub(crate) fn response(&self, id: &str) -> Call {
        let call = self.calls.recv_timeout(PATIENCE).expect("the function should respond");
        let path = format!("/2018-06-01/runtime/invocation/{id}/response");
        assert_eq!((call.method.as_str(), &call.path), ("POST", &path), "{}", call.body);
        call
    }
}

impl Call {
    /// Hands an invocation to the function.
    pub(crate) fn invoke(self, id: &str, event: &str) {
        let length = event.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: {id}\r\n\
             lambda-runtime-deadline-ms: 4102444800000\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        );
        self.answer.send(head + event).unwrap();
    }

    /// Accepts the function's response, and returns it.
    pub(crate) fn accept(self) -> String {
        self.answer.send("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned()).unwrap();
        self.body
    }
}

fn serve(stream: TcpStream, calls: &Sender<Call>) {
    let mut reader = BufReader::new(stream);
    while let Ok((method, path, body)) = request(&mut reader) {
        let (answer, given) = channel();
        let Ok(()) = calls.send(Call { method, path, body, answer }) else { return };
        let Ok(answer) = given.recv() else { return };
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Method, path and body of the next request.
fn request(reader: &mut BufReader<TcpStream>) -> io::Result<(String, String, String)> {
    let mut line = String::new();
    let mut next_line = |reader: &mut BufReader<TcpStream>| -> io::Result<String> {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    };
    let first = next_line(reader)?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut length = 0;
    loop {
        let header = next_line(reader)?;
        let Some((name, value)) = header.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((method, path, String::from_utf8_lossy(&body).into_owned()))
}
