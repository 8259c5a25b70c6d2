//! A proxy before Redis that holds up answers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Hands on what is asked at once, and what is answered as told.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    mood: Mutex<Mood>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Mood {
    #[default]
    AtOnce,
    /// Each piece of an answer is held for this long.
    After(Duration),
    /// Until the mood changes.
    Never,
}

impl Proxy {
    pub(crate) fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, gate) = (listener.local_addr().unwrap().port(), Arc::<Gate>::default());
        let of_threads = Arc::clone(&gate);
        // It ends with the process of the tests.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let (asks, asked) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let gate = Arc::clone(&of_threads);
                std::thread::spawn(move || hand_on(asks, asked, || {}));
                std::thread::spawn(move || hand_on(server, client, || gate.pass()));
            }
        });
        Self { port, gate }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn answers(&self, mood: Mood) {
        *self.gate.mood.lock().unwrap() = mood;
        self.gate.changed.notify_all();
    }
}

impl Gate {
    fn pass(&self) {
        let mood = self.mood.lock().unwrap();
        match *mood {
            Mood::AtOnce => {}
            Mood::After(delay) => drop(self.changed.wait_timeout(mood, delay).unwrap()),
            Mood::Never => drop(self.changed.wait_while(mood, |mood| *mood == Mood::Never).unwrap()),
        }
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, hold: impl Fn()) {
    let mut piece = [0; 65_536];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        hold();
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
