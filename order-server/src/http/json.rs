//! JSON bodies, read and written by serde straight from and to bytes.
//!
//! A body that is not JSON is malformed (400). One that is, and does not fit, is invalid
//! (422), and the answer names the field: `lines[3].quantity`.

use std::{borrow::Cow, ops::Deref};

use futures_util::StreamExt;
use poem::{
    Body, IntoResponse, Request, RequestBody, Response,
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions,
    payload::{ParsePayload, Payload},
    registry::{MetaMediaType, MetaRequest, MetaResponse, MetaResponses, MetaSchemaRef, Registry},
    types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type},
};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::{body_budget::reserve, deadline::in_time, parse::parse, problem::Problem};

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
        let essence = essence.to_ascii_lowercase();
        essence == "application/json"
            || (essence.starts_with("application/") && essence.ends_with("+json"))
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T, const LIMIT: usize> Json<T, LIMIT> {
    /// The bytes of a body, which are none when there is no body.
    pub(super) async fn bytes(request: &Request, body: &mut RequestBody) -> poem::Result<Vec<u8>> {
        // Who says how much will come, and waits to be told to go on, sends nothing in vain.
        let announced = announced(request).unwrap_or(0);
        if announced > LIMIT {
            if !request.headers().contains_key(header::EXPECT) {
                in_time(request, discard(body.take()?, 2 * LIMIT)).await?;
            }
            return Err(too_large(LIMIT).into());
        }
        let read = read(request, body.take()?, announced, LIMIT);
        Ok(in_time(request, read).await??)
    }
}

impl<T: DeserializeOwned + Type, const LIMIT: usize> ParsePayload for Json<T, LIMIT> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let bytes = Self::bytes(request, body).await?;
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
        check_type(request)?;
        <Self as ParsePayload>::from_request(request, body).await
    }
}

/// Checks that a body is said to be JSON in UTF-8, as it is.
pub(super) fn check_type(request: &Request) -> poem::Result<()> {
    let content_type = request.content_type().unwrap_or_default();
    if !Json::<String>::check_content_type(content_type) {
        return Err(unsupported("content type must be application/json").into());
    }
    if !is_utf_8(content_type) {
        return Err(unsupported("charset must be utf-8").into());
    }
    if is_encoded(request) {
        let problem = unsupported("body must not be compressed");
        let mut response = problem.into_response();
        let only = HeaderValue::from_static("identity");
        response.headers_mut().insert(header::ACCEPT_ENCODING, only);
        return Err(poem::Error::from_response(response));
    }
    Ok(())
}

/// Reads a body, up to a limit, and keeps nothing of it: a client that sends it already would lose
/// the answer to a connection that is closed on it.
async fn discard(body: Body, limit: usize) {
    let mut chunks = body.into_bytes_stream();
    let mut read = 0;
    while let Some(Ok(chunk)) = chunks.next().await
        && read < limit
    {
        read += chunk.len();
    }
}

/// The bytes of a body, which pays for its memory as it comes. The memory doubles each time, up to
/// what was announced, so that a body that comes at once is paid for once.
async fn read(
    request: &Request,
    body: Body,
    announced: usize,
    limit: usize,
) -> Result<Vec<u8>, Problem> {
    let mut chunks = body.into_bytes_stream();
    let mut bytes: Vec<u8> = Vec::new();
    let mut paid = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::malformed("body ended early"))?;
        let length = bytes.len() + chunk.len();
        if length > limit {
            return Err(too_large(limit));
        }
        if length > paid {
            let ahead = (2 * paid).min(announced.max(length));
            let capacity = length.max(ahead);
            reserve(request, limit, capacity - paid)?;
            bytes.reserve_exact(capacity - bytes.len());
            paid = capacity;
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "payload_too_large",
        format!("body is larger than {limit} bytes"),
    )
}

fn unsupported(detail: &str) -> Problem {
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Problem::new(status, "unsupported_media_type", detail)
}

/// The length of the body, where the request tells it.
fn announced(request: &Request) -> Option<usize> {
    let length = request.headers().get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Tells whether the body is said to be in UTF-8: by its name, or by none.
fn is_utf_8(content_type: &str) -> bool {
    let parameters = content_type.split(';').skip(1);
    let mut charsets = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches('"'))
    });
    charsets.all(|charset| charset.eq_ignore_ascii_case("utf-8"))
}

/// Tells whether the body is compressed, or encoded in another way.
fn is_encoded(request: &Request) -> bool {
    let encodings = request.headers().get_all(header::CONTENT_ENCODING).iter();
    encodings
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity"))
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
