//! Lifecycle events: passed to a callback, or kept until read.

use std::ffi::c_void;

use convert_sdk::events::{LifecycleEventKind, Subscription};

use crate::border::{ConvertString, Given, Out, give};
use crate::core::ConvertCore;
use crate::status::{ConvertStatus, Fault, answer, need};
use crate::text::ConvertText;
use crate::user::{ConvertRelease, User};

/// The kinds of lifecycle events.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvertEventKind {
    /// The first config is in place.
    Ready = 0,
    /// A fetched config has replaced the previous one.
    ConfigUpdated = 1,
    /// A visitor's first exposure to an experience was accepted for delivery.
    Bucketing = 2,
    /// The tracker has decided whether a conversion is the first.
    Conversion = 3,
    /// A delivery has ended.
    ApiQueueReleased = 4,
    /// The endpoint refuses all events: the key, the account or the URL is wrong.
    DeliveryRefused = 5,
    /// Visitor state was written to a data store.
    DataStoreQueueReleased = 6,
    /// A diagnosis did not resolve.
    Diagnostic = 7,
    /// A kind that this version of the library does not know.
    Other = 8,
    /// The config could not be confirmed for longer than `max_stale`.
    ConfigStale = 9,
    /// A config that was stale is confirmed again.
    ConfigConfirmed = 10,
    /// `accept_config` has refused a config.
    ConfigNotAccepted = 11,
    /// The config cache could not be read or written.
    ConfigCacheFailed = 12,
}

/// Called with an event as JSON text, which is valid during the call and identifies visitors by a hash. It
/// must not throw, unwind or `longjmp`, nor wait for the core. The pump whose turn calls it is busy until that
/// turn ends: see `ConvertPump`.
pub type ConvertEventCallback =
    Option<unsafe extern "C" fn(user: *mut c_void, kind: ConvertEventKind, json: ConvertText)>;

/// Lifecycle events that are kept until read, at most 1,024. One thread at a time.
pub struct ConvertSubscription(Subscription);

/// Calls back for every event of one kind (a `ConvertEventKind`) from now on, one at a time: on the library's
/// thread `convert-events`, or, with a pump, in `convert_pump_turn`. Events beyond 1,024 waiting ones are
/// missed. On a closed core nothing is called.
///
/// `release` may be null. It is called once, when no callback is to come any more: after the core has closed,
/// or when the last user of the core has freed it, on the thread of the callback, of that user, or of the one that
/// closes a pumped core; at once if the core is closed already, which is `CONVERT_STATUS_OK`, or if this call fails.
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_core_on(
    core: Option<&ConvertCore>,
    kind: u32,
    callback: ConvertEventCallback,
    user: *mut c_void,
    release: ConvertRelease,
) -> ConvertStatus {
    answer(|| {
        let user = User::new(user, release);
        let callback = need(callback, "callback")?;
        let wanted = KINDS.iter().find(|(name, _)| *name as u32 == kind);
        let (_, wanted) = wanted.ok_or_else(|| Fault::argument("no such kind of event"))?;
        let handler = move |event: &convert_sdk::events::LifecycleEvent| {
            let Ok(json) = serde_json::to_string(event) else { return };
            // Captures the whole of it, not only its pointer.
            let user = &user;
            // SAFETY: the application guarantees a function of this type that does not unwind.
            unsafe { callback(user.pointer, name(event.kind()), ConvertText::of(&json)) };
        };
        Ok(need(core, "core")?.0.on(*wanted, handler)?)
    })
}

/// Keeps every event from now on until it is read by `convert_subscription_next`. Needs no thread of its own.
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_core_subscribe(
    core: Option<&ConvertCore>,
    subscription: Given<'_, ConvertSubscription>,
) -> ConvertStatus {
    answer(|| {
        give(subscription, "subscription", || Ok(ConvertSubscription(need(core, "core")?.0.subscribe())))
    })
}

/// The next waiting event as JSON text, to be freed with `convert_string_free`; `CONVERT_STATUS_NOTHING` if
/// there is none. `kind` may be null. Never waits. One thread at a time.
#[unsafe(no_mangle)]
pub extern "C" fn convert_subscription_next(
    subscription: Option<&ConvertSubscription>,
    kind: Out<'_, ConvertEventKind>,
    json: Given<'_, ConvertString>,
) -> ConvertStatus {
    answer(|| {
        give(json, "json", || {
            let event = need(subscription, "subscription")?.0.try_next().ok_or(ConvertStatus::Nothing)?;
            if let Some(kind) = kind {
                kind.write(name(event.kind()));
            }
            ConvertString::json(&event)
        })
    })
}

/// Ends the subscription; no other thread may be in a call with it. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn convert_subscription_free(subscription: Option<Box<ConvertSubscription>>) {
    drop(subscription);
}

/// Every kind that is called by a name of its own.
const KINDS: [(ConvertEventKind, LifecycleEventKind); 12] = [
    (ConvertEventKind::Ready, LifecycleEventKind::Ready),
    (ConvertEventKind::ConfigUpdated, LifecycleEventKind::ConfigUpdated),
    (ConvertEventKind::Bucketing, LifecycleEventKind::Bucketing),
    (ConvertEventKind::Conversion, LifecycleEventKind::Conversion),
    (ConvertEventKind::ApiQueueReleased, LifecycleEventKind::ApiQueueReleased),
    (ConvertEventKind::DeliveryRefused, LifecycleEventKind::DeliveryRefused),
    (ConvertEventKind::DataStoreQueueReleased, LifecycleEventKind::DataStoreQueueReleased),
    (ConvertEventKind::Diagnostic, LifecycleEventKind::Diagnostic),
    (ConvertEventKind::ConfigStale, LifecycleEventKind::ConfigStale),
    (ConvertEventKind::ConfigConfirmed, LifecycleEventKind::ConfigConfirmed),
    (ConvertEventKind::ConfigNotAccepted, LifecycleEventKind::ConfigNotAccepted),
    (ConvertEventKind::ConfigCacheFailed, LifecycleEventKind::ConfigCacheFailed),
];

fn name(kind: LifecycleEventKind) -> ConvertEventKind {
    KINDS.iter().find(|(_, known)| *known == kind).map_or(ConvertEventKind::Other, |(name, _)| *name)
}
