//! A way to Redis that falls silent, or leads elsewhere.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::SeqCst};

pub(crate) struct Proxy {
    pub(crate) port: u16,
    target: Arc<AtomicU16>,
    swallows: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (target, swallows) = (Arc::new(AtomicU16::new(server)), Arc::new(AtomicBool::new(false)));
        let proxy = Self { port, target: Arc::clone(&target), swallows: Arc::clone(&swallows) };
        // Lives until the test process ends.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let port = target.load(SeqCst);
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || forward(from_client, to_server, || false));
                // Only connections opened before the change fall silent.
                let (target, swallows) = (Arc::clone(&target), Arc::clone(&swallows));
                let is_silent = move || swallows.load(SeqCst) && target.load(SeqCst) != port;
                std::thread::spawn(move || forward(server, client, is_silent));
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Leads new connections to another server. Connections to the earlier one stay open; with `swallows`, they
    /// never reply again.
    pub(crate) fn lead_to(&self, server: u16, swallows: bool) {
        self.swallows.store(swallows, SeqCst);
        self.target.store(server, SeqCst);
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, is_silent: impl Fn() -> bool) {
    let mut piece = [0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        if !is_silent() && to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
