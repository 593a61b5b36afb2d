//! Headers as parameters of operations.

/// Makes `$type` a parameter that is read from the headers of a request, as `$read` says. Its values
/// are texts, as `$schema` says.
macro_rules! header_parameter {
    ($type:ident, $schema:expr, |$request:ident| $read:expr) => {
        impl<'a> ::poem_openapi::ApiExtractor<'a> for $type {
            const TYPES: &'static [::poem_openapi::ApiExtractorType] =
                &[::poem_openapi::ApiExtractorType::Parameter];

            type ParamType = String;
            type ParamRawType = String;

            fn param_in() -> Option<::poem_openapi::registry::MetaParamIn> {
                Some(::poem_openapi::registry::MetaParamIn::Header)
            }

            fn param_schema_ref() -> Option<::poem_openapi::registry::MetaSchemaRef> {
                Some($schema)
            }

            async fn from_request(
                $request: &'a ::poem::Request,
                _: &mut ::poem::RequestBody,
                _: ::poem_openapi::ExtractParamOptions<String>,
            ) -> ::poem::Result<Self> {
                Ok($read)
            }
        }
    };
}

pub(crate) use header_parameter;
