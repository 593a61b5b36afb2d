//! A page with links to this server, which begin with the path that its reader knows the server by.

use std::sync::{Arc, Mutex, PoisonError};

use poem::{Endpoint, Request, endpoint::make_sync};

use super::asset::Asset;
use crate::http::public_path::Prefix;

/// The most paths whose pages are kept: there is one, or one for each proxy.
const MAX_KEPT: usize = 8;

/// Answers with what `page` makes for a prefix.
pub(super) fn prefixed(page: impl Fn(&str) -> Asset + Send + Sync + 'static) -> impl Endpoint {
    let plain = page("");
    let kept: Mutex<Vec<(Prefix, Arc<Asset>)>> = Mutex::default();
    make_sync(move |request: Request| {
        let Some(prefix) = request.extensions().get::<Prefix>() else {
            return plain.answer(request.headers());
        };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.iter().find(|(known, _)| known == prefix);
        let asset = match known {
            Some((_, asset)) => Arc::clone(asset),
            None => {
                if kept.len() >= MAX_KEPT {
                    kept.remove(0);
                }
                let asset = Arc::new(page(prefix.as_str()));
                kept.push((prefix.clone(), Arc::clone(&asset)));
                asset
            }
        };
        drop(kept);
        asset.answer(request.headers())
    })
}
