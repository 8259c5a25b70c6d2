//! The function, frozen between its invocations.

use convert_emulator::{Fault, FaultKind, RouteKind};

use crate::program::{Convert, Program, conversions_of};
use crate::runtime_api::RuntimeApi;

fn start(convert: &Convert, api: &RuntimeApi) -> Program {
    let address = api.address.to_string();
    let environment = [
        ("AWS_LAMBDA_RUNTIME_API", address.as_str()),
        ("AWS_LAMBDA_FUNCTION_NAME", "purchases"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
    ];
    convert.run(env!("CARGO_BIN_EXE_lambda"), &[], &environment)
}

#[test]
fn events_are_delivered_before_the_response() {
    let convert = Convert::start();
    let api = RuntimeApi::start();
    let program = start(&convert, &api);

    for number in 0..5 {
        let (id, visitor) = (format!("invocation-{number}"), format!("visitor-{number}"));
        api.next().invoke(&id, &format!(r#"{{"visitor_id": "{visitor}"}}"#));
        let response = api.response(&id);
        // The response has been sent and not yet accepted.
        let received = convert.received();
        assert_eq!((received.events_of(&visitor).count(), conversions_of(&received, &visitor)), (2, 1));
        let body = response.accept();
        assert!(body.contains(r#""delivered":2"#), "{body}");

        program.freeze();
        assert_eq!(convert.received().totals.events, 2 * (number + 1));
        // Idle connections do not outlive a freeze.
        convert.emulator.close_connections();
        program.thaw();
    }
    let received = convert.received();
    assert_eq!(received.requests_on(RouteKind::Config).count(), 1, "one config per cold start");
    assert_eq!((received.totals.events, received.totals.refused), (10, 0));
}

#[test]
fn failed_events_are_delivered_with_the_next_invocation() {
    let convert = Convert::start();
    let api = RuntimeApi::start();
    let _program = start(&convert, &api);

    // It is not tried again before the next flush.
    convert.emulator.inject(Fault::track(FaultKind::too_many_requests(60)).times(1));
    api.next().invoke("first", r#"{"visitor_id": "visitor-1"}"#);
    let body = api.response("first").accept();
    assert!(body.contains(r#""delivered":0"#), "the function responds anyway: {body}");
    assert_eq!(convert.received().totals.events, 0);

    api.next().invoke("second", r#"{"visitor_id": "visitor-2"}"#);
    let body = api.response("second").accept();
    assert!(body.contains(r#""delivered":4"#), "{body}");
    let received = convert.received();
    assert_eq!((conversions_of(&received, "visitor-1"), conversions_of(&received, "visitor-2")), (1, 1));
}
