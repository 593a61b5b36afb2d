//! A problem as it goes over a connection of HTTP/1.1, for answers that the application does not
//! give.

use poem::http::StatusCode;
use serde_json::json;

/// The whole answer; it ends the connection.
pub(super) fn raw_problem(
    status: StatusCode,
    code: &str,
    detail: &str,
    headers: &[(&str, &str)],
) -> String {
    let title = status.canonical_reason().unwrap_or_default();
    let number = status.as_u16();
    let body = json!({
        "type": "about:blank", "title": title, "status": number, "code": code, "detail": detail,
    });
    let body = body.to_string();
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!(
        "HTTP/1.1 {number} {title}\r\n\
         content-type: application/problem+json\r\n\
         content-length: {}\r\n\
         cache-control: no-store\r\n\
         referrer-policy: no-referrer\r\n\
         x-content-type-options: nosniff\r\n\
         x-frame-options: DENY\r\n\
         {headers}connection: close\r\n\r\n{body}",
        body.len()
    )
}
