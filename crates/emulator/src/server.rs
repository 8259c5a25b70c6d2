//! The serving actor: two listeners, their connections, and the commands of the emulator's owner.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::StartError;
use crate::exchange::{Connection, answer};
use crate::head::{HeadWatch, Watched};
use crate::port::Port;
use crate::socket::{ResetSwitch, Socket};
use crate::state::State;

/// How long accepting pauses after the system refused a connection, for example for lack of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(20);

/// The owner's commands; dropping the sender stops the server.
pub(crate) enum Command {
    /// Refuses clients and closes every connection.
    GoOffline(SyncSender<()>),
    /// Listens again.
    GoOnline(SyncSender<Result<(), StartError>>),
    /// Closes every connection and keeps listening.
    CloseConnections(SyncSender<()>),
}

/// Everything that can happen to the server.
enum Event {
    Command(Command),
    OwnerGone,
    Accepted { stream: TcpStream, https: bool },
    AcceptFailed,
    ConnectionEnded,
}

/// Owns the listeners and every connection; dropping it closes them all.
pub(crate) struct Server {
    state: Arc<State>,
    inbox: UnboundedReceiver<Command>,
    https: Port,
    http: Port,
    connections: JoinSet<()>,
    last_connection: u64,
}

impl Server {
    pub(crate) fn new(state: Arc<State>, inbox: UnboundedReceiver<Command>, https: Port, http: Port) -> Self {
        Self { state, inbox, https, http, connections: JoinSet::new(), last_connection: 0 }
    }

    pub(crate) async fn run(mut self) {
        loop {
            match self.next_event().await {
                Event::OwnerGone => return,
                Event::Command(Command::GoOffline(reply)) => {
                    self.https.close();
                    self.http.close();
                    self.connections.shutdown().await;
                    let _ = reply.send(());
                }
                Event::Command(Command::GoOnline(reply)) => {
                    let _ = reply.send(self.https.open().and_then(|()| self.http.open()));
                }
                Event::Command(Command::CloseConnections(reply)) => {
                    self.connections.shutdown().await;
                    let _ = reply.send(());
                }
                Event::Accepted { stream, https } => self.serve(stream, https),
                Event::AcceptFailed => tokio::time::sleep(ACCEPT_REST).await,
                Event::ConnectionEnded => {}
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        tokio::select! {
            biased;
            command = self.inbox.recv() => command.map_or(Event::OwnerGone, Event::Command),
            Some(_) = self.connections.join_next() => Event::ConnectionEnded,
            accepted = self.https.accept() => accepted_event(accepted, true),
            accepted = self.http.accept() => accepted_event(accepted, false),
        }
    }

    fn serve(&mut self, stream: TcpStream, https: bool) {
        self.last_connection += 1;
        let switch = ResetSwitch::default();
        let connection = Connection {
            number: self.last_connection,
            https,
            switch: switch.clone(),
            head: HeadWatch::default(),
        };
        let state = Arc::clone(&self.state);
        self.connections.spawn(async move {
            // Whoever only looks whether the port is open sends nothing, and does not fail at TLS.
            if https && matches!(stream.peek(&mut [0]).await, Ok(0)) {
                return;
            }
            let socket = Socket::new(stream, switch);
            if !https {
                return speak_http(state, connection, socket).await;
            }
            match TlsAcceptor::from(state.tls()).accept(socket).await {
                Ok(stream) => speak_http(state, connection, stream).await,
                Err(error) => {
                    state.recorder.handshake_failed();
                    state.log(&format!("warning: TLS handshake failed: {error}"));
                }
            }
        });
    }
}

fn accepted_event(accepted: io::Result<TcpStream>, https: bool) -> Event {
    match accepted {
        Ok(stream) => Event::Accepted { stream, https },
        Err(_) => Event::AcceptFailed,
    }
}

async fn speak_http<S>(state: Arc<State>, connection: Connection, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = Watched::new(stream, connection.head.clone());
    let service = service_fn(move |request| answer(Arc::clone(&state), connection.clone(), request));
    // A connection ends because the client or a fault ended it, so its error is no news.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
