//! A proxy in front of Redis that delays replies.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Forwards requests at once, and replies as configured.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    replies: Mutex<Replies>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Replies {
    #[default]
    AtOnce,
    /// Each piece of a reply is delayed by this much.
    After(Duration),
    /// Holds replies back until the setting changes.
    Never,
}

impl Proxy {
    pub(crate) fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, gate) = (listener.local_addr().unwrap().port(), Arc::<Gate>::default());
        let shared = Arc::clone(&gate);
        // Lives until the test process ends.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let gate = Arc::clone(&shared);
                std::thread::spawn(move || forward(from_client, to_server, || {}));
                std::thread::spawn(move || forward(server, client, || gate.pass()));
            }
        });
        Self { port, gate }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn set_replies(&self, replies: Replies) {
        *self.gate.replies.lock().unwrap() = replies;
        self.gate.changed.notify_all();
    }
}

impl Gate {
    fn pass(&self) {
        let replies = self.replies.lock().unwrap();
        match *replies {
            Replies::AtOnce => {}
            Replies::After(delay) => drop(self.changed.wait_timeout(replies, delay).unwrap()),
            Replies::Never => {
                drop(self.changed.wait_while(replies, |replies| *replies == Replies::Never).unwrap())
            }
        }
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, hold: impl Fn()) {
    let mut piece = [0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        hold();
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
