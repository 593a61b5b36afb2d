//! JSON bodies that may be left out.

use poem::{Request, RequestBody};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    payload::Payload,
    registry::{MetaRequest, Registry},
    types::Type,
};
use serde::de::DeserializeOwned;

use super::{
    json::{Json, check_type},
    parse::parse,
};

/// A JSON body, or none: an empty one, whatever its type is said to be, or `null`.
#[derive(Clone, Debug)]
pub struct OptionalJson<T>(pub Option<T>);

impl<'a, T: DeserializeOwned + Type> ApiExtractor<'a> for OptionalJson<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Json<T> as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let meta = <Json<T> as ApiExtractor>::request_meta()?;
        Some(MetaRequest {
            required: false,
            ..meta
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let bytes = Json::<T>::bytes(request, body).await?;
        if bytes.trim_ascii().is_empty() {
            return Ok(Self(None));
        }
        check_type(request)?;
        Ok(Self(parse(&bytes)?))
    }
}
