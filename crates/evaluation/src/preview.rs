//! The preview parameter of Convert's preview links.

/// The experience and the variation that a preview link requests.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct PreviewParam {
    /// The id of the experience, as written.
    pub experience_id: String,
    /// The id of the variation, as written.
    pub variation_id: String,
}

/// Parses the value of a preview parameter: two ids of ASCII digits, separated by a dot. Nothing is
/// trimmed, and ids keep their leading zeros.
///
/// ```
/// # use convert_evaluation::parse_preview_param;
/// let param = parse_preview_param("100218245.1002185190").unwrap();
/// assert_eq!(param.experience_id, "100218245");
/// assert_eq!(param.variation_id, "1002185190");
/// assert_eq!(parse_preview_param("100218245"), None);
/// ```
#[must_use]
pub fn parse_preview_param(value: &str) -> Option<PreviewParam> {
    let (experience_id, variation_id) = value.split_once('.')?;
    let is_id = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (is_id(experience_id) && is_id(variation_id)).then(|| PreviewParam {
        experience_id: experience_id.to_owned(),
        variation_id: variation_id.to_owned(),
    })
}
