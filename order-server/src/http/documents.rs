//! Pages that show the API to people. Everything they need is in them.

use poem::{Endpoint, endpoint::make_sync, web::Html};
use poem_openapi::{OpenApi, OpenApiService, Webhook};

/// What the page would load from elsewhere, and does as well without.
const FONTS: &str = r#"<link href="https://fonts.googleapis.com/css?family=Montserrat:300,400,700|Roboto:300,400,700" rel="stylesheet">"#;
const LOGO: &str = "https://cdn.redoc.ly/redoc/logo-mini.svg";
const NO_IMAGE: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E";

/// `ReDoc`, over the document of `api`.
pub(super) fn redoc<T: OpenApi, W: Webhook>(
    api: &OpenApiService<T, W>,
) -> impl Endpoint + use<T, W> {
    let page = api.redoc_html().replace(FONTS, "").replace(LOGO, NO_IMAGE);
    make_sync(move |_| Html(page.clone()))
}
