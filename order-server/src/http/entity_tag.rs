//! The tags of `If-Match` and `If-None-Match` (RFC 9110 §8.8.3, §13.1), as parameters of operations.

use poem::http::{HeaderMap, HeaderName, header};
use poem_openapi::types::Type;

use super::{header_parameter::header_parameter, problem::Problem};

/// A tag, with its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntityTag {
    pub(crate) is_weak: bool,
    pub(crate) text: String,
}

/// The tags of all lines of one header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntityTags {
    /// `*`
    Any,
    These(Vec<EntityTag>),
}

impl EntityTags {
    /// The tags in the lines of `name`, if there are any.
    pub(crate) fn of(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Problem> {
        let mut lines = headers.get_all(name).iter().peekable();
        if lines.peek().is_none() {
            return Ok(None);
        }
        let lines: Option<Vec<&str>> = lines.map(|line| line.to_str().ok()).collect();
        let tags = lines.and_then(|lines| Self::parse(&lines.join(",")));
        tags.map(Some).ok_or_else(|| {
            let name = if name == header::IF_MATCH {
                "If-Match"
            } else {
                "If-None-Match"
            };
            let detail = format!("{name} must be *, or tags in quotes with commas between them");
            Problem::malformed(detail)
        })
    }

    fn parse(list: &str) -> Option<Self> {
        if list.trim() == "*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        let mut rest = list;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                return (!tags.is_empty()).then_some(Self::These(tags));
            }
            let (is_weak, quoted) = match rest.strip_prefix("W/") {
                Some(quoted) => (true, quoted),
                None => (false, rest),
            };
            let end = quoted.strip_prefix('"')?.find('"')? + 2;
            let (text, after) = quoted.split_at(end);
            let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
            rest = after.trim_start_matches([' ', '\t']);
            if !is_visible || !(rest.is_empty() || rest.starts_with(',')) {
                return None;
            }
            let text = text.to_owned();
            tags.push(EntityTag { is_weak, text });
        }
    }

    /// Compares weakly (§8.8.3.2), as `If-None-Match` does.
    pub(crate) fn include(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|tag| tag.text == etag),
        }
    }
}

/// The tags of which one has to be that of the resource before it is changed.
#[derive(Clone, Debug)]
pub(crate) struct IfMatch(pub(crate) Option<EntityTags>);

/// The tags of what the client has already.
#[derive(Clone, Debug)]
pub(crate) struct IfNoneMatch(pub(crate) Option<EntityTags>);

header_parameter!(IfMatch, String::schema_ref(), |request| {
    Self(EntityTags::of(request.headers(), &header::IF_MATCH)?)
});
header_parameter!(IfNoneMatch, String::schema_ref(), |request| {
    Self(EntityTags::of(request.headers(), &header::IF_NONE_MATCH)?)
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tags_are_read() {
        let tag = |is_weak, text: &str| EntityTag {
            is_weak,
            text: text.to_owned(),
        };
        let these = |tags: Vec<EntityTag>| Some(EntityTags::These(tags));
        for (list, read) in [
            ("*", Some(EntityTags::Any)),
            (" * ", Some(EntityTags::Any)),
            (r#""1""#, these(vec![tag(false, r#""1""#)])),
            (r#""""#, these(vec![tag(false, r#""""#)])),
            (
                r#",W/"1" , ,"a,b","#,
                these(vec![tag(true, r#""1""#), tag(false, r#""a,b""#)]),
            ),
            ("", None),
            (",", None),
            ("1", None),
            ("\"1", None),
            ("w/\"1\"", None),
            ("W/ \"1\"", None),
            ("\"1\"\"2\"", None),
            ("\"1 2\"", None),
            ("*,\"1\"", None),
        ] {
            assert_eq!(EntityTags::parse(list), read, "{list}");
        }
    }
}
