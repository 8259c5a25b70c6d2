//! Handles: keys that are looked up once per config.

use convert_sdk::{ExperienceHandle, FeatureHandle, GoalHandle};

use crate::border::{Given, give};
use crate::core::ConvertCore;
use crate::status::{ConvertStatus, answer};
use crate::text::ConvertText;

/// An experience whose key is looked up once per config. Any thread, with any context, even after its core is
/// freed.
pub struct ConvertExperienceHandle(pub(crate) ExperienceHandle);

/// A feature; see `ConvertExperienceHandle`.
pub struct ConvertFeatureHandle(pub(crate) FeatureHandle);

/// A goal; see `ConvertExperienceHandle`.
pub struct ConvertGoalHandle(pub(crate) GoalHandle);

/// A handle to an experience. With a core, `CONVERT_STATUS_NOT_IN_CONFIG` if its config lacks the key, and
/// `CONVERT_STATUS_NOT_READY` if it has no config; with a null core nothing is checked, so the handle can be
/// created at any time. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_experience_handle_new(
    core: Option<&ConvertCore>,
    key: ConvertText,
    handle: Given<'_, ConvertExperienceHandle>,
) -> ConvertStatus {
    answer(|| {
        give(handle, "handle", || {
            let key = key.need("key")?;
            let handle =
                core.map_or_else(|| Ok(ExperienceHandle::new(key)), |core| core.0.experience(key))?;
            Ok(ConvertExperienceHandle(handle))
        })
    })
}

/// Frees the handle; no other thread may be in a call with it. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn convert_experience_handle_free(handle: Option<Box<ConvertExperienceHandle>>) {
    drop(handle);
}

/// A handle to a feature; see `convert_experience_handle_new`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_feature_handle_new(
    core: Option<&ConvertCore>,
    key: ConvertText,
    handle: Given<'_, ConvertFeatureHandle>,
) -> ConvertStatus {
    answer(|| {
        give(handle, "handle", || {
            let key = key.need("key")?;
            let handle = core.map_or_else(|| Ok(FeatureHandle::new(key)), |core| core.0.feature(key))?;
            Ok(ConvertFeatureHandle(handle))
        })
    })
}

/// Frees the handle; no other thread may be in a call with it. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn convert_feature_handle_free(handle: Option<Box<ConvertFeatureHandle>>) {
    drop(handle);
}

/// A handle to a goal; see `convert_experience_handle_new`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn convert_goal_handle_new(
    core: Option<&ConvertCore>,
    key: ConvertText,
    handle: Given<'_, ConvertGoalHandle>,
) -> ConvertStatus {
    answer(|| {
        give(handle, "handle", || {
            let key = key.need("key")?;
            let handle = core.map_or_else(|| Ok(GoalHandle::new(key)), |core| core.0.goal(key))?;
            Ok(ConvertGoalHandle(handle))
        })
    })
}

/// Frees the handle; no other thread may be in a call with it. Null is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn convert_goal_handle_free(handle: Option<Box<ConvertGoalHandle>>) {
    drop(handle);
}
