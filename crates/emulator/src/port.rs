//! One loopback port: listening, or closed but reserved.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::StartError;

/// The backlog of connections waiting to be accepted.
const BACKLOG: u32 = 1024;

/// A port with its listener while it is open.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    listener: Option<TcpListener>,
    /// Bound but not listening: the system refuses clients, and gives the port to no other program.
    reserved: Option<TcpSocket>,
}

impl Port {
    /// Binds a port without listening on it yet; 0 picks a free one.
    pub(crate) fn reserve(port: u16) -> Result<Self, StartError> {
        let asked = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let taken = reserve(asked).and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (address, socket) = taken.map_err(|cause| StartError::Bind { address: asked, cause })?;
        Ok(Self { address, listener: None, reserved: Some(socket) })
    }

    pub(crate) fn number(&self) -> u16 {
        self.address.port()
    }

    /// Starts or resumes listening; does nothing if already listening. Must be called within the runtime.
    pub(crate) fn open(&mut self) -> Result<(), StartError> {
        if self.listener.is_none() {
            let socket = self.reserved.take().map_or_else(|| reserve(self.address), Ok);
            let listener = socket.and_then(|socket| socket.listen(BACKLOG));
            self.listener =
                Some(listener.map_err(|cause| StartError::Bind { address: self.address, cause })?);
        }
        Ok(())
    }

    /// Refuses clients until it is opened again.
    pub(crate) fn close(&mut self) {
        if self.listener.take().is_some() {
            // If another program takes the port first, opening retries and reports it.
            self.reserved = reserve(self.address).ok();
        }
    }

    /// The next client; pending for ever while the port is closed.
    pub(crate) async fn accept(&self) -> io::Result<TcpStream> {
        match &self.listener {
            Some(listener) => listener.accept().await.map(|(stream, _)| stream),
            None => pending().await,
        }
    }
}

fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Previous connections may still be closing.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
