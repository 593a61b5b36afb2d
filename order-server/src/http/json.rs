//! JSON bodies, read and written by serde straight from and to bytes.
//!
//! A body that is not JSON is malformed (400). One that is, and does not fit, is invalid
//! (422), and the answer names the field: `lines[3].quantity`.

use std::{borrow::Cow, ops::Deref};

use poem::{IntoResponse, Request, RequestBody, Response, error::ReadBodyError, http::StatusCode};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions,
    payload::{ParsePayload, Payload},
    registry::{MetaMediaType, MetaRequest, MetaResponse, MetaResponses, MetaSchemaRef, Registry},
    types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Value, error::Category, value::RawValue};

use super::{deadline::in_time, problem::Problem};

/// The largest body that an operation reads unless it names another limit.
const MAX_BODY_BYTES: usize = 1 << 20;

/// A JSON body of at most `LIMIT` bytes.
#[derive(Clone, Debug)]
pub struct Json<T, const LIMIT: usize = MAX_BODY_BYTES>(pub T);

impl<T, const LIMIT: usize> Deref for Json<T, LIMIT> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Type, const LIMIT: usize> Payload for Json<T, LIMIT> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn check_content_type(content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
            || (essence.starts_with("application/") && essence.ends_with("+json"))
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: DeserializeOwned + Type, const LIMIT: usize> ParsePayload for Json<T, LIMIT> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let read = body.take()?.into_bytes_limit(LIMIT);
        let bytes = in_time(request, read).await?.map_err(|error| match error {
            ReadBodyError::PayloadTooLarge => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                format!("body is larger than {LIMIT} bytes"),
            ),
            _ => Problem::malformed("body ended early"),
        })?;
        Ok(Self(parse(&bytes)?))
    }
}

impl<'a, T: DeserializeOwned + Type, const LIMIT: usize> ApiExtractor<'a> for Json<T, LIMIT> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Self as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType {
                content_type: Self::CONTENT_TYPE,
                schema: Self::schema_ref(),
            }],
            required: Self::IS_REQUIRED,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        match request.content_type() {
            Some(content_type) if Self::check_content_type(content_type) => {
                <Self as ParsePayload>::from_request(request, body).await
            }
            _ => Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "content type must be application/json",
            )
            .into()),
        }
    }
}

impl<T: Serialize + Send> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => Response::builder()
                .content_type("application/json")
                .body(body),
            Err(error) => {
                tracing::error!(%error, "answer cannot be written as JSON");
                Problem::internal().into_response()
            }
        }
    }
}

impl<T: Serialize + Type> ApiResponse for Json<T> {
    fn meta() -> MetaResponses {
        MetaResponses {
            responses: vec![MetaResponse {
                description: "",
                status: Some(200),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: Self::CONTENT_TYPE,
                    schema: Self::schema_ref(),
                }],
                headers: vec![],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// One of many values in a body, read by itself: a bad one does not spoil the others.
#[derive(Clone, Debug)]
pub struct Item<T>(pub Result<T, Problem>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Self(parse(raw.get().as_bytes())))
    }
}

/// The description of the API shows the value.
impl<T: Type> Type for Item<T> {
    const IS_REQUIRED: bool = T::IS_REQUIRED;

    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        T::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl<T: ParseFromJSON> ParseFromJSON for Item<T> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let value = T::parse_from_json(value).map_err(ParseError::propagate)?;
        Ok(Self(Ok(value)))
    }
}

impl<T: ToJSON> ToJSON for Item<T> {
    fn to_json(&self) -> Option<Value> {
        self.0.as_ref().ok().and_then(ToJSON::to_json)
    }
}

/// Reads a value. When that fails, reads again to find the field that is wrong.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let error = match serde_json::from_slice::<T>(bytes) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if error.classify() != Category::Data {
        return Err(Problem::malformed(format!("body is not JSON: {error}")));
    }
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(bytes) {
        return Err(Problem::malformed(format!("body is not JSON: {error}")));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Ok(value) => Ok(value),
        Err(error) => {
            let (field, reason) = field_and_reason(&error);
            Err(Problem::invalid(&field, &reason))
        }
    }
}

/// The field that an error is about. For a missing or unknown one, serde gives the path of
/// the object around it, and the name in its message.
fn field_and_reason(error: &serde_path_to_error::Error<serde_json::Error>) -> (String, String) {
    let path = error.path().to_string();
    let path = if path == "." { String::new() } else { path };
    let message = error.inner().to_string();
    // A position helps nobody who does not see the bytes.
    let message = message.split(" at line ").next().unwrap_or_default();
    for (start, reason) in [
        ("missing field `", "is missing"),
        ("unknown field `", "is unknown"),
    ] {
        if let Some((name, _)) = message.strip_prefix(start).and_then(|m| m.split_once('`')) {
            let inside = path.strip_suffix(name).unwrap_or(&path);
            let dot = if inside.is_empty() || inside.ends_with('.') {
                ""
            } else {
                "."
            };
            return (format!("{inside}{dot}{name}"), reason.to_owned());
        }
    }
    let field = if path.is_empty() {
        "body".to_owned()
    } else {
        path
    };
    (field, message.to_owned())
}
