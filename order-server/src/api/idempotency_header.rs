//! The key that makes a request safe to repeat (`Idempotency-Key`,
//! draft-ietf-httpapi-idempotency-key-header), and the mark of a replayed answer.

use order_core::domain::IdempotencyKey;
use poem::http::{HeaderMap, HeaderName};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use uuid::Uuid;

use crate::{
    auth::Caller,
    http::{header_parameter::header_parameter, problem::Problem},
};

const NAME: &str = "Idempotency-Key";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The key of a request, if it has one, as a parameter of an operation. Keys of different
/// clients never meet.
#[derive(Clone, Debug)]
pub(super) struct IdempotencyHeader(pub(super) Option<IdempotencyKey>);

fn of(headers: &HeaderMap, scope: Uuid) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Problem::invalid(NAME, "must be given once"));
    }
    let key = unquoted(value.to_str().unwrap_or_default())
        .ok_or_else(|| Problem::invalid(NAME, "has a quote that does not belong to a pair"))?;
    let key = IdempotencyKey::new(scope, key);
    Ok(Some(
        key.map_err(|error| Problem::invalid(NAME, &error.reason))?,
    ))
}

/// The key without its quotes: the header is a string with quotes by its specification, and many
/// clients send the bare key. Both mean the same.
fn unquoted(value: &str) -> Option<&str> {
    let Some(opened) = value.strip_prefix('"') else {
        return Some(value);
    };
    let key = opened.strip_suffix('"')?;
    (!key.contains(['"', '\\'])).then_some(key)
}

/// The value of `Idempotent-Replayed`, which only a replay has.
pub(super) fn replayed(is_replay: bool) -> Option<bool> {
    is_replay.then_some(true)
}

/// The key, bare or in quotes.
fn schema() -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(MetaSchema {
        min_length: Some(1),
        max_length: Some(IdempotencyKey::MAX_LENGTH),
        pattern: Some(r#"^([!#-~][!-~]*|"[!#-\[\]-~]+")$"#.to_owned()),
        ..MetaSchema::new("string")
    }))
}

header_parameter!(IdempotencyHeader, schema(), |request| {
    let caller = request.extensions().get();
    let scope = caller.map_or(Uuid::nil(), Caller::scope);
    Self(of(request.headers(), scope)?)
});

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    #[test]
    fn one_key_or_none() {
        let read = |values: &[&'static [u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = HeaderValue::from_bytes(value).unwrap();
                headers.append(IDEMPOTENCY_KEY, value);
            }
            of(&headers, Uuid::nil())
        };
        assert_eq!(read(&[]).unwrap(), None);
        let key = IdempotencyKey::new(Uuid::nil(), "a-b").unwrap();
        assert_eq!(read(&[b"a-b"]).unwrap(), Some(key.clone()));
        assert_eq!(read(&[b"\"a-b\""]).unwrap(), Some(key));
        let with_quote = IdempotencyKey::new(Uuid::nil(), "a\"b").unwrap();
        assert_eq!(read(&[b"a\"b"]).unwrap(), Some(with_quote));
        for bad in [&[&b""[..]][..], &[b"a b"], &[b"\xc3\xbc"], &[b"a", b"a"]] {
            let problem = read(bad).unwrap_err().into_body();
            let problem = serde_json::to_value(problem).unwrap();
            assert_eq!(problem["field"], "Idempotency-Key", "{bad:?}");
        }
    }
}
