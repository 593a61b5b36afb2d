//! Pages on the wire: an opaque cursor, or a page number.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use order_core::domain::{PageRequest, PageSize, PageStart};
use uuid::Uuid;

use crate::http::problem::Problem;

const ID_BYTES: usize = 16;

/// The page that the parameters of a list ask for.
pub(super) fn page_request<Id: From<Uuid> + Copy>(
    page_size: Option<u32>,
    limit: Option<u32>,
    cursor: Option<&str>,
    page: Option<u32>,
) -> Result<PageRequest<Id>, Problem> {
    if page_size.is_some() && limit.is_some() {
        return Err(Problem::invalid(
            "limit",
            "and page_size exclude each other",
        ));
    }
    let size = page_size
        .or(limit)
        .map_or(Ok(PageSize::default()), PageSize::new)?;
    match (cursor, page) {
        (Some(_), Some(_)) => Err(Problem::invalid("page", "and cursor exclude each other")),
        (None, Some(page)) => Ok(PageRequest::numbered(page, size)?),
        (None, None) => Ok(PageRequest {
            size,
            start: PageStart::Newest,
        }),
        (Some(cursor), None) => {
            let id = decode(cursor)
                .ok_or_else(|| Problem::malformed("cursor is not one that this server gave"))?;
            Ok(PageRequest {
                size,
                start: PageStart::After(id.into()),
            })
        }
    }
}

/// The last id of a page with a checksum, so that one that was made up or cut is refused
/// instead of giving some page.
pub(super) fn encode(id: Uuid) -> String {
    let mut bytes = id.as_bytes().to_vec();
    bytes.extend(crc32fast::hash(id.as_bytes()).to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(cursor: &str) -> Option<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (id, checksum) = bytes.split_at_checked(ID_BYTES)?;
    (checksum == crc32fast::hash(id).to_be_bytes())
        .then(|| Uuid::from_slice(id).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_a_changed_one_does_not() {
        let id = Uuid::from_u128(0x0192_ffff_0000_7000_8000_1234_5678_9abc);
        let cursor = encode(id);
        assert_eq!(decode(&cursor), Some(id));
        for (at, _) in cursor.char_indices() {
            let mut changed = cursor.clone();
            let other = if &cursor[at..=at] == "A" { "B" } else { "A" };
            changed.replace_range(at..=at, other);
            assert_eq!(decode(&changed), None, "{changed}");
        }
        for bad in ["", "x", &cursor[1..], "!!!"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
