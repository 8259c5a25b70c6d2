//! A client's way to the relays, which can be cut: whole connections go to one relay after another.

use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub(crate) struct Network {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    open: Vec<TcpStream>,
    /// The relay that the next connection tries first.
    next: usize,
}

impl Network {
    pub(crate) fn to(relays: [u16; 2]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, state) = (listener.local_addr().unwrap().port(), Arc::<Mutex<State>>::default());
        let shared = Arc::clone(&state);
        // Lives until the program ends.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let mut state = shared.lock().unwrap();
                if state.is_cut {
                    continue;
                }
                state.next += 1;
                let mut ports = [relays[state.next % 2], relays[(state.next + 1) % 2]].into_iter();
                let relay = ports.find_map(|port| TcpStream::connect(("127.0.0.1", port)).ok());
                let Some(relay) = relay else { continue };
                for (from, to) in [(&client, &relay), (&relay, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = copy(&mut from, &mut to);
                        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                    });
                }
                // Only what may still be open is kept.
                state.open.retain(|stream| stream.peer_addr().is_ok());
                state.open.extend([client, relay]);
            }
        });
        Self { port, state }
    }

    /// Drops every connection, and any new one at once.
    pub(crate) fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_cut = true;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn mend(&self) {
        self.state.lock().unwrap().is_cut = false;
    }
}
