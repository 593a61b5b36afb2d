//! Pages on the wire: an opaque cursor, or a page number.
//!
//! A cursor is the last id of a page, and a checksum of it and the order of the list: one that was made
//! up, cut, or given in another order is refused instead of giving some page.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use order_core::domain::{PageRequest, PageSize, PageStart, Sort};
use uuid::Uuid;

use crate::http::problem::Problem;

const ID_BYTES: usize = 16;

/// The page that the parameters of a list ask for.
pub(super) fn page_request<Id: From<Uuid> + Copy>(
    page_size: Option<u32>,
    limit: Option<u32>,
    cursor: Option<&str>,
    page: Option<u32>,
    sort: Sort,
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
            start: PageStart::First,
        }),
        (Some(cursor), None) => {
            let (id, of) = decode(cursor)
                .ok_or_else(|| Problem::malformed("cursor is not one that this server gave"))?;
            if of != sort {
                let reason = format!("is of the order {of}, and not {sort}");
                return Err(Problem::invalid("cursor", &reason));
            }
            Ok(PageRequest {
                size,
                start: PageStart::After(id.into()),
            })
        }
    }
}

/// The cursor behind this id, in a list of this order.
pub(super) fn encode(id: Uuid, sort: Sort) -> String {
    let mut bytes = id.as_bytes().to_vec();
    bytes.extend(checksum(id.as_bytes(), sort));
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(cursor: &str) -> Option<(Uuid, Sort)> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (id, sum) = bytes.split_at_checked(ID_BYTES)?;
    let is_of = |sort: &Sort| checksum(id, *sort) == sum;
    let sort = Sort::ALL.into_iter().find(is_of)?;
    Some((Uuid::from_slice(id).ok()?, sort))
}

/// The checksum of the order that lists had before there was another one is that of the id alone, so
/// that cursors of older versions lead on.
fn checksum(id: &[u8], sort: Sort) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(id);
    if sort != Sort::NewestFirst {
        hasher.update(sort.as_str().as_bytes());
    }
    hasher.finalize().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_a_changed_one_does_not() {
        let id = Uuid::from_u128(0x0192_ffff_0000_7000_8000_1234_5678_9abc);
        for sort in Sort::ALL {
            let cursor = encode(id, sort);
            assert_eq!(decode(&cursor), Some((id, sort)));
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

    /// As the version before gave it.
    #[test]
    fn a_cursor_of_an_older_version_leads_on() {
        let id = Uuid::from_u128(0x0192_ffff_0000_7000_8000_1234_5678_9abc);
        let mut bytes = id.as_bytes().to_vec();
        bytes.extend(crc32fast::hash(id.as_bytes()).to_be_bytes());
        let cursor = URL_SAFE_NO_PAD.encode(bytes);
        assert_eq!(decode(&cursor), Some((id, Sort::NewestFirst)));
    }
}
