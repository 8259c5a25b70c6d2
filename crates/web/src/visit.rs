//! The visitor of one request.

use std::sync::OnceLock;

use convert_sdk::{Context, SmolStr};

use crate::cookie::acceptable;
use crate::{Convert, Framework, VisitorError};

/// The visitor of one request, found out when first asked and the same from then on, so that a
/// middleware and a handler of the request see one visitor. A helper keeps one for each request.
#[derive(Default)]
pub struct Visit {
    visitor: OnceLock<Visitor>,
}

struct Visitor {
    id: SmolStr,
    set_cookie: Option<String>,
}

impl Visit {
    /// Knows nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { visitor: OnceLock::new() }
    }

    /// A context for the visitor of this request, with its attributes and location.
    ///
    /// # Errors
    /// The core is not ready or closed, or there are no random bits for a new visitor's id.
    pub fn context<F: Framework>(
        &self,
        convert: &Convert<F>,
        request: &F::Request<'_>,
    ) -> Result<Context, VisitorError> {
        let visitor = match self.visitor.get() {
            Some(visitor) => visitor,
            None => {
                let found = find(convert, request)?;
                self.visitor.get_or_init(|| found)
            }
        };
        let attributes = convert.attributes_of(request);
        let context = convert.core().create_context(&visitor.id, attributes)?;
        Ok(context.with_location(convert.location_of(request)))
    }

    /// The `Set-Cookie` header that the response must have: where the visitor was asked for, is new,
    /// and cookies are in use.
    #[must_use]
    pub fn set_cookie(&self) -> Option<&str> {
        self.visitor.get()?.set_cookie.as_deref()
    }
}

impl std::fmt::Debug for Visit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visit").field("known", &self.visitor.get().is_some()).finish()
    }
}

/// The application's own function first, then a trusted header, then the cookie; else somebody new.
fn find<F: Framework>(convert: &Convert<F>, request: &F::Request<'_>) -> Result<Visitor, VisitorError> {
    let own = convert.own_id_of(request).filter(|id| !id.is_empty());
    let named = || {
        let header = convert.trusted_header()?;
        F::headers(request, header).find_map(acceptable)
    };
    let kept = || convert.cookie()?.read(F::headers(request, "cookie"));
    if let Some(id) = own.or_else(named).or_else(kept) {
        return Ok(Visitor { id, set_cookie: None });
    }
    let id = new_id()?;
    let set_cookie = convert.cookie().map(|cookie| cookie.write(&id));
    Ok(Visitor { id, set_cookie })
}

/// 128 random bits in 32 hexadecimal digits.
fn new_id() -> Result<SmolStr, VisitorError> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|_| VisitorError::NoRandomness)?;
    Ok(SmolStr::new(format!("{:032x}", u128::from_be_bytes(bits))))
}
