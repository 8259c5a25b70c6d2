//! The visitor of one request.

use std::ptr;
use std::sync::{Arc, OnceLock};

use convert_sdk::{AsyncContext, SmolStr};

use crate::cookie::acceptable;
use crate::{Convert, Framework, VisitorError};

/// The visitor of one request, identified on first use and fixed from then on, so that middleware and handlers of the
/// request see the same visitor. A helper keeps one per request and layer.
///
/// With several layers around a handler, the innermost one's settings apply. All layers whose cookies have the same
/// name (or that have none) share one visitor, and the outermost of them sets the cookie.
pub struct Visit<F: Framework> {
    convert: Convert<F>,
    outer: Option<Arc<Self>>,
    visitor: OnceLock<Visitor>,
}

struct Visitor {
    id: SmolStr,
    set_cookie: Option<String>,
}

/// The headers that a response needs for a new visitor.
#[derive(Clone, Copy)]
pub struct SetCookie<'a> {
    /// A `Set-Cookie` header, in addition to the handler's.
    pub header: &'a str,
    /// A `Cache-Control` header, unless the handler set one.
    pub cache_control: Option<&'static str>,
}

impl<F: Framework> Visit<F> {
    /// A visitor not identified yet.
    #[must_use]
    pub fn new(convert: &Convert<F>) -> Self {
        Self { convert: convert.clone(), outer: None, visitor: OnceLock::new() }
    }

    /// Shares the visitor of an outer layer of the same request.
    #[must_use]
    pub fn inside(convert: &Convert<F>, outer: Option<Arc<Self>>) -> Self {
        Self { outer, ..Self::new(convert) }
    }

    /// A context for the visitor of this request, with its attributes and location. The request is read immediately;
    /// only a data store is awaited.
    ///
    /// # Errors
    /// The core is not ready or closed, or there are no random bytes for a new visitor's id.
    pub fn context(
        &self,
        request: &F::Request<'_>,
    ) -> impl Future<Output = Result<AsyncContext, VisitorError>> + Send + use<F> {
        let core = self.convert.core().clone();
        let found = self.visitor_of(request).map(|visitor| visitor.id.clone());
        let asked =
            found.map(|id| (id, self.convert.attributes_of(request), self.convert.location_of(request)));
        async move {
            let (id, attributes, location) = asked?;
            Ok(core.create_context(id, attributes).await?.with_location(location))
        }
    }

    /// The headers that the response needs, if the visitor was requested and is new and cookies are in use.
    #[must_use]
    pub fn set_cookie(&self) -> Option<SetCookie<'_>> {
        if !ptr::eq(self.keeper(), self) {
            return None;
        }
        let header = self.visitor.get()?.set_cookie.as_deref()?;
        Some(SetCookie { header, cache_control: self.convert.cache_control() })
    }

    fn visitor_of(&self, request: &F::Request<'_>) -> Result<&Visitor, VisitorError> {
        let kept = &self.keeper().visitor;
        if let Some(visitor) = kept.get() {
            return Ok(visitor);
        }
        let found = find(&self.convert, request)?;
        Ok(kept.get_or_init(|| found))
    }

    /// The outermost layer with the same cookie name.
    fn keeper(&self) -> &Self {
        let same = |outer: &&Self| outer.convert.cookie_name() == self.convert.cookie_name();
        let outer = std::iter::successors(self.outer.as_deref(), |visit| visit.outer.as_deref());
        outer.filter(same).last().unwrap_or(self)
    }
}

impl<F: Framework> std::fmt::Debug for Visit<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visit").field("known", &self.keeper().visitor.get().is_some()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SetCookie<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetCookie").field("cache_control", &self.cache_control).finish_non_exhaustive()
    }
}

/// The application's own function first, then a trusted header, then the cookie; otherwise a new visitor.
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
