//! The answers that hyper gives by itself, and those that take their place.

use poem::http::StatusCode;

use super::raw_problem::raw_problem;

/// Where in `bytes` an answer of hyper's own begins that ends them, and its status. No other answer
/// looks like it: all of ours have more headers, and no body of ours ends with an empty line.
pub(super) fn bare_answer(bytes: &[u8]) -> Option<(usize, StatusCode)> {
    const START: &[u8] = b"HTTP/1.1 4";
    const MAX_BYTES: usize = 200;
    let head = bytes.strip_suffix(b"\r\n\r\n")?;
    let before = head.len().saturating_sub(MAX_BYTES);
    let mut windows = head[before..].windows(START.len());
    let at = before + windows.rposition(|window| window == START)?;
    let mut lines = std::str::from_utf8(&head[at..]).ok()?.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse::<u16>().ok()?;
    let is_bare = |line: &str| {
        let name = line.split(':').next().unwrap_or_default();
        ["connection", "content-length", "date"].contains(&name)
    };
    let (empty, mut bare) = (lines.clone().any(|line| line == "content-length: 0"), lines);
    (empty && bare.all(is_bare)).then_some((at, StatusCode::from_u16(status).ok()?))
}

/// The problem to answer instead.
pub(super) fn problem_answer(status: StatusCode) -> Vec<u8> {
    let (code, detail) = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
            "request_header_fields_too_large",
            "path and headers are larger than 65536 bytes, or there are more than 100 headers",
        ),
        _ => ("malformed", "this is not a request of HTTP/1.1"),
    };
    raw_problem(status, code, detail, &[]).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_of_hyper_are_bare() {
        let bare = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\
                    date: Thu, 26 Nov 2026 20:00:00 GMT\r\n\r\n";
        assert_eq!(
            bare_answer(bare.as_bytes()),
            Some((0, StatusCode::BAD_REQUEST))
        );
        let after = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{{}}{bare}");
        let at = after.len() - bare.len();
        assert_eq!(
            bare_answer(after.as_bytes()),
            Some((at, StatusCode::BAD_REQUEST))
        );
        for ours in [
            bare.replace("date:", "x-request-id: 1\r\ndate:"),
            bare.replace("length: 0", "length: 5"),
            bare.replace("400 Bad Request", "204 No Content"),
            format!("{bare}x"),
            bare.trim_end().to_owned(),
            "\r\n\r\n".to_owned(),
            String::new(),
        ] {
            assert_eq!(bare_answer(ours.as_bytes()), None, "{ours}");
        }
    }
}
