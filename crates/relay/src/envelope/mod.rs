//! A tracking request's body: validated as far as the relay needs, split into events, and put together again.
//! What the relay does not need to read reaches Convert byte for byte.

mod reading;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// A parsed body.
pub(crate) struct Envelope<'a> {
    pub(crate) summary: Summary,
    around: Around<'a>,
    visitors: Vec<VisitorPart<'a>>,
    /// The events of all visitors.
    events: Vec<EventPart<'a>>,
}

/// Whose events a body has, and of what kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) account_id: String,
    pub(crate) project_id: String,
    pub(crate) events: usize,
    pub(crate) has_conversions: bool,
}

/// The fields of an object before and after the one that was taken out.
struct Around<'a> {
    before: &'a str,
    after: &'a str,
}

/// One visitor's events.
pub(crate) struct VisitorPart<'a> {
    pub(crate) id: Cow<'a, str>,
    around: Around<'a>,
    events: Range<usize>,
}

/// One event, as received.
pub(crate) struct EventPart<'a> {
    pub(crate) text: &'a str,
    pub(crate) is_conversion: bool,
}

/// The visitor of some events.
pub(crate) struct VisitorHead {
    id: Box<str>,
    /// The fields other than the events, as JSON without braces.
    fields: Box<str>,
}

/// What is wrong with a body, and where. Contains none of its data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) path: String,
    pub(crate) error: &'static str,
}

impl<'a> Envelope<'a> {
    /// Parses a body.
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Flaw> {
        reading::read(body)
    }

    /// Refuses a body that has one visitor with different fields, which no SDK sends: each would need a request of its
    /// own.
    pub(crate) fn check_visitors(&self) -> Result<(), Flaw> {
        let mut known: HashMap<&str, &VisitorPart<'_>> = HashMap::with_capacity(self.visitors.len());
        for (index, visitor) in self.visitors.iter().enumerate() {
            let first = *known.entry(&visitor.id).or_insert(visitor);
            if (first.around.before, first.around.after) != (visitor.around.before, visitor.around.after) {
                let path = format!("visitors[{index}].visitorId");
                return Err(Flaw { path, error: "is in the body already, with other fields" });
            }
        }
        Ok(())
    }

    /// The fields other than the visitors, as JSON without braces.
    pub(crate) fn header(&self) -> Box<str> {
        self.around.text().into()
    }

    /// The visitors and their events.
    pub(crate) fn visitors(&self) -> impl Iterator<Item = (&VisitorPart<'a>, &[EventPart<'a>])> {
        self.visitors
            .iter()
            .map(|visitor| (visitor, self.events.get(visitor.events.clone()).unwrap_or_default()))
    }

    /// The body of the events that are to be kept, and their number; empty if there are none.
    pub(crate) fn of_kept(
        &self,
        mut keep: impl FnMut(&VisitorPart<'_>, &EventPart<'_>) -> bool,
    ) -> (Vec<u8>, usize) {
        let (mut visitors, mut count) = (Vec::new(), 0);
        for (visitor, events) in self.visitors() {
            let kept: Vec<&str> =
                events.iter().filter(|event| keep(visitor, event)).map(|event| event.text).collect();
            count += kept.len();
            if !kept.is_empty() {
                visitors.push(visitor.head().json(&kept));
            }
        }
        (if visitors.is_empty() { Vec::new() } else { body(&self.header(), &visitors) }, count)
    }
}

impl Around<'_> {
    fn text(&self) -> String {
        let separator = if self.before.is_empty() || self.after.is_empty() { "" } else { "," };
        format!("{}{separator}{}", self.before, self.after)
    }
}

impl VisitorPart<'_> {
    pub(crate) fn head(&self) -> VisitorHead {
        VisitorHead { id: (*self.id).into(), fields: self.around.text().into() }
    }
}

impl EventPart<'_> {
    /// The goal of a conversion without goal data. These an SDK sends once for each visitor and goal, while one
    /// with goal data may be a further purchase.
    pub(crate) fn bare_goal(&self) -> Option<&str> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(borrow)]
            data: Data<'a>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data<'a> {
            #[serde(borrow)]
            goal_id: &'a RawValue,
            goal_data: Option<IgnoredAny>,
        }
        if !self.is_conversion {
            return None;
        }
        let Data { goal_id, goal_data } = serde_json::from_str::<Wire<'_>>(self.text).ok()?.data;
        goal_data.is_none().then(|| goal_id.get().trim_matches('"'))
    }
}

impl VisitorHead {
    fn json(&self, events: &[&str]) -> String {
        format!("{{{},\"events\":[{}]}}", self.fields, events.join(","))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.id.len() + self.fields.len()
    }
}

/// A body under construction: events with one header, grouped by visitor.
pub(crate) struct Assembly<'a> {
    header: &'a str,
    visitors: Vec<(&'a VisitorHead, Vec<&'a str>)>,
    places: HashMap<&'a str, usize>,
}

impl<'a> Assembly<'a> {
    pub(crate) fn new(header: &'a str) -> Self {
        Self { header, visitors: Vec::new(), places: HashMap::new() }
    }

    /// Adds an event, and tells by how much the body grows; nothing if its visitor is already in the body with other
    /// segments.
    pub(crate) fn add(&mut self, visitor: &'a VisitorHead, event: &'a str) -> Option<usize> {
        let place = *self.places.entry(&visitor.id).or_insert(self.visitors.len());
        match self.visitors.get_mut(place) {
            None => {
                self.visitors.push((visitor, vec![event]));
                Some(visitor.fields.len() + event.len())
            }
            Some((known, events)) if known.fields == visitor.fields => {
                events.push(event);
                Some(event.len())
            }
            Some(_) => None,
        }
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let visitors: Vec<String> = self.visitors.iter().map(|(head, events)| head.json(events)).collect();
        body(self.header, &visitors)
    }
}

fn body(header: &str, visitors: &[String]) -> Vec<u8> {
    format!("{{{header},\"visitors\":[{}]}}", visitors.join(",")).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"accountId":"1","projectId":"2","enrichData":true,"source":"js-sdk","visitors":[{"visitorId":"v","segments":{"country":"DE"},"events":[{"eventType":"bucketing","data":{"experienceId":"3","variationId":"4"}},{"eventType":"conversion","data":{"goalId":"5","goalData":[{"key":"amount","value":10.50}]}}]}]}"#;

    #[test]
    fn a_body_taken_apart_and_put_together_is_the_same() {
        let envelope = Envelope::read(BODY.as_bytes()).unwrap();
        let summary = &envelope.summary;
        assert_eq!((summary.events, summary.has_conversions), (2, true));
        assert_eq!((summary.account_id.as_str(), summary.project_id.as_str()), ("1", "2"));
        let header = envelope.header();
        let heads: Vec<VisitorHead> = envelope.visitors().map(|(visitor, _)| visitor.head()).collect();
        let mut assembly = Assembly::new(&header);
        for (head, (_, events)) in heads.iter().zip(envelope.visitors()) {
            assert!(events.iter().all(|event| assembly.add(head, event.text).is_some()));
        }
        assert_eq!(String::from_utf8(assembly.body()).unwrap(), BODY);
        assert_eq!(envelope.of_kept(|_, _| true), (BODY.as_bytes().to_vec(), 2));
        assert_eq!(envelope.of_kept(|_, _| false), (Vec::new(), 0));
    }

    #[test]
    fn a_visitor_with_other_segments_needs_another_request() {
        let other = BODY.replace("DE", "FR");
        let (one, two) =
            (Envelope::read(BODY.as_bytes()).unwrap(), Envelope::read(other.as_bytes()).unwrap());
        let (one_head, two_head) = (one.visitors[0].head(), two.visitors[0].head());
        let header = one.header();
        let mut assembly = Assembly::new(&header);
        assert!(assembly.add(&one_head, "{}").is_some());
        assert!(assembly.add(&two_head, "{}").is_none());
        assert!(assembly.add(&one_head, "{}").is_some());
    }

    #[test]
    fn a_visitor_may_come_twice_only_with_the_same_segments() {
        let (start, end) = BODY.split_at(BODY.len() - 2);
        let visitor = &BODY[BODY.find("[{").unwrap() + 1..BODY.len() - 2];
        for (other, path) in
            [(visitor.replace("DE", "FR"), Some("visitors[1].visitorId")), (visitor.to_owned(), None)]
        {
            let text = format!("{start},{other}{end}");
            let flaw = Envelope::read(text.as_bytes()).unwrap().check_visitors().err();
            assert_eq!(flaw.map(|flaw| flaw.path).as_deref(), path);
        }
    }

    #[test]
    fn a_malformed_body_is_refused_with_its_path() {
        for (from, to, path) in [
            (r#""accountId":"1","#, "", "accountId"),
            (r#""projectId":"2""#, r#""projectId":null"#, "projectId"),
            (r#""visitorId":"v""#, r#""visitorId":"""#, "visitors[0].visitorId"),
            (r#""visitorId":"v","#, r#""visitorId":"v","visitorId":"w","#, "visitors[0]"),
            (r#""data":{"experienceId":"3","variationId":"4"}"#, r#""data":7"#, "visitors[0].events[0].data"),
            (r#""eventType":"conversion","#, "", "visitors[0].events[1].eventType"),
            (
                r#"{"eventType":"bucketing","#,
                r#"{"eventType":"bucketing","data":{},"#,
                "visitors[0].events[0]",
            ),
            ("}}]}]}", "}}x", "visitors[0].events[1]"),
            ("{\"accountId\"", "[\"accountId\"", ""),
        ] {
            let body = BODY.replacen(from, to, 1);
            let refused = Envelope::read(body.as_bytes()).err();
            assert_eq!(refused.as_ref().map(|flaw| flaw.path.as_str()), Some(path), "{to}");
        }
        let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert!(Envelope::read(deep.as_bytes()).is_err());
        let none = r#"{"accountId":"1","projectId":"2","visitors":[]}"#;
        assert_eq!(Envelope::read(none.as_bytes()).err().map(|flaw| flaw.path).as_deref(), Some("visitors"));
    }

    #[test]
    fn blanks_escapes_and_any_order_are_understood() {
        let text = r#" { "visitors" : [ { "events" : [ { "data" : {"events":[]} , "eventType" : "a" } ] , "visitorId" : 7 , "x" : [1] } ] , "account\u0049d" : "\u0031" , "projectId" : 2 } "#;
        let envelope = Envelope::read(text.as_bytes()).unwrap();
        let Summary { account_id, project_id, events, has_conversions } = &envelope.summary;
        assert_eq!((&**account_id, &**project_id, *events, *has_conversions), ("1", "2", 1, false));
        assert_eq!(&*envelope.header(), r#""account\u0049d" : "\u0031" , "projectId" : 2"#);
        let (visitor, events) = envelope.visitors().next().unwrap();
        assert_eq!((&*visitor.id, &*visitor.head().fields), ("7", r#""visitorId" : 7 , "x" : [1]"#));
        assert_eq!(events[0].text, r#"{ "data" : {"events":[]} , "eventType" : "a" }"#);
    }
}
