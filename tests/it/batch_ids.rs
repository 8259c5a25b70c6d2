//! Batch ids: sent only by choice, stable for as long as a batch is sent again, and never used twice.

use convert_emulator::{Fault, FaultKind, RouteKind};
use convert_sdk::config::TransportConfig;
use convert_sdk::http::BATCH_ID;
use convert_sdk::ports::{DeliveryFailure, TransportError};

use crate::support::{
    PATIENCE, capacity, convert, direct, keyed, keyed_over, network, serve, start, start_scripted, until,
};

#[test]
fn requests_have_no_batch_id_unless_it_is_wanted() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    convert(&core, 0..1);
    core.flush(PATIENCE).unwrap();
    assert!(emulator.received().requests.iter().all(|request| request.header(BATCH_ID).is_none()));
}

#[test]
fn a_request_whose_answer_is_lost_goes_again_under_its_id() {
    let emulator = serve();
    let core = start(keyed_over(network(&emulator).batch_ids(true)));
    // The endpoint has the events by then.
    emulator.inject(Fault::track(FaultKind::Reset).times(1));
    for visitor in 0..2 {
        convert(&core, visitor..visitor + 1);
        core.flush(PATIENCE).unwrap();
    }
    let received = emulator.received();
    let sent: Vec<_> =
        received.requests_on(RouteKind::Track).map(|it| (it.header(BATCH_ID), &it.body)).collect();
    let [first, again, other] = sent[..] else { panic!("{} requests", sent.len()) };
    assert_eq!(first, again);
    let (Some(id), Some(next)) = (first.0, other.0) else { panic!("they have ids") };
    assert!(id != next && id.len() <= 128 && id.is_ascii() && !id.contains(' '));
    assert!(received.requests_on(RouteKind::Config).all(|request| request.header(BATCH_ID).is_none()));
}

#[test]
fn a_sink_can_use_the_id_as_an_idempotency_key() {
    let network = TransportConfig::builder().batch_ids(true).build().unwrap();
    let (core, script) = start_scripted(direct().transport(network).batch_size(1).delivery(capacity(100)));
    convert(&core, 0..1);
    let first = script.posted();
    convert(&core, 1..3);
    until(&core, |stats| stats.recorded == 3);
    script.answers.send(Err(DeliveryFailure::Unknown(TransportError::Interrupted))).unwrap();
    (0..2).for_each(|_| script.answer(200));
    assert_eq!(core.flush(PATIENCE).unwrap().delivered, 3);
    let (again, rest) = (script.posted(), script.posted());
    assert_eq!((&again.id, &again.body), (&first.id, &first.body));
    assert_eq!(rest.visitors(), ["visitor-1", "visitor-2"]);
    assert!(first.id.is_some() && rest.id.is_some() && rest.id != first.id);
}
