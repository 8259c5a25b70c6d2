//! Bounded load from several clients, each request by a new visitor.

use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::thread;

use crate::http::ask;

const CLIENTS: u32 = 4;
/// The most requests per client, never reached unless the service does not stop.
const REQUESTS: u32 = 5_000;
/// The number of responses after which `stop` is called.
const BEFORE_STOP: usize = 100;

/// Posts to this path until the service is gone; `stop` makes it go while requests are in flight. Returns the visitors
/// who got a response.
pub(crate) fn until_stopped(address: SocketAddr, path: &str, stop: impl FnOnce()) -> Vec<String> {
    let (answered, answers) = channel();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let answered = answered.clone();
            scope.spawn(move || {
                for number in 0..REQUESTS {
                    let visitor = format!("visitor-{client}-{number}");
                    let Ok(answer) = ask(address, "POST", path, Some(&visitor)) else { return };
                    assert_eq!(answer.status, 200);
                    answered.send(visitor).unwrap();
                }
                unreachable!("the service did not stop");
            });
        }
        drop(answered);
        let mut visitors: Vec<String> = answers.iter().take(BEFORE_STOP).collect();
        assert_eq!(visitors.len(), BEFORE_STOP, "the service stopped by itself");
        stop();
        visitors.extend(answers);
        visitors
    })
}
