//! How a server stops; whole processes with signals are tested in `convert-runtimes`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{App, HttpServer, web};
use convert_sdk_actix::{Convert, ConvertMiddleware, Visitor, VisitorCookie, serve};
use tokio::sync::oneshot;

use crate::deliveries;

const SHOP: &str = include_str!("../../../../examples/shop.json");

async fn buy(visitor: Visitor) -> &'static str {
    visitor.track_conversion("purchase");
    ""
}

async fn endless(begun: web::Data<mpsc::Sender<()>>) -> &'static str {
    begun.send(()).unwrap();
    std::future::pending().await
}

/// A server on a free port, and a signal that an endless request has started.
fn server(convert: &Convert) -> (Server, SocketAddr, mpsc::Receiver<()>) {
    let (begun, waiting) = mpsc::channel();
    let (around, begun) = (ConvertMiddleware::new(convert), web::Data::new(begun));
    let app = move || {
        App::new()
            .app_data(begun.clone())
            .route("/buy", web::get().to(buy))
            .route("/endless", web::get().to(endless))
            .wrap(around.clone())
    };
    let server = HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    (server.run(), address, waiting)
}

fn send(address: SocketAddr, path: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    write!(client, "GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").unwrap();
    client
}

#[actix_web::test]
async fn an_endless_request_does_not_hold_up_a_stop() {
    let (core, deliveries) = deliveries::core(SHOP).unwrap();
    let convert = Convert::new(core, VisitorCookie::plain());
    let (server, address, begun) = server(&convert);
    let (stop, stopped) = oneshot::channel::<()>();
    let client = thread::spawn(move || {
        let mut answer = String::new();
        send(address, "/buy").read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        let open = send(address, "/endless");
        begun.recv().unwrap();
        // The stop's sender is gone, so it panics, which also stops the server.
        drop(stop);
        open
    });
    let stopped = async { stopped.await.unwrap() };
    let report = serve(server, &convert, stopped, Duration::from_secs(2)).await.unwrap();
    assert_eq!((report.stats.delivered, deliveries.requests().len()), (1, 1));
    drop(client.join().unwrap());
}
