//! Carries the requests of a pump by the built-in client.

use ureq::Body;
use ureq::http::Response;

use super::{Failed, HttpsClient, read, text_header};
use crate::http::HttpRequest;
use crate::ports::TransportError;
use crate::turns::{Answer, Request};

impl HttpsClient {
    /// Carries a request, and returns once it has ended.
    pub(crate) fn carry(&self, request: Request) -> Answer {
        let Request { method, url, headers, body, timeout, .. } = request;
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.into())).collect();
        let asked = HttpRequest::new(url, headers, timeout);
        if method == "POST" {
            return match self.post(&asked, &body) {
                Ok(response) => answer(&response),
                Err(Failed::NotSent(error)) => Answer::not_sent(error),
                Err(Failed::Lost(error)) => Answer::lost(error),
            };
        }
        self.fetch(&asked).unwrap_or_else(Answer::lost)
    }

    fn fetch(&self, asked: &HttpRequest<'_>) -> Result<Answer, TransportError> {
        let mut response = self.get(asked)?;
        let answer = answer(&response);
        // Of other responses only the status matters.
        if response.status() != 200 {
            return Ok(answer);
        }
        Ok(answer.body(read(&mut response, self.config.max_response_bytes)?))
    }
}

/// The response without its body.
fn answer(response: &Response<Body>) -> Answer {
    let answer = Answer::response(response.status().as_u16());
    ["etag", "retry-after", "date"].into_iter().fold(answer, |answer, name| {
        match text_header(response.headers(), name) {
            Some(value) => answer.header(name, &value),
            None => answer,
        }
    })
}
