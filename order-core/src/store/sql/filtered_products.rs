//! Products by what they are: price, stock, time.
//!
//! No index is in the order of a list and knows prices or stock (one over stock would make every
//! sale slower). So products are looked through, in the order of the list, and a page that took many steps ends
//! early: it is short, and says where the next one begins.

use super::{
    backend::SqlConnection,
    products::{PRODUCT_WITH_SKU, ProductSteps},
    rows::{self, ProductRow},
    value::Value,
};
use crate::{
    domain::{MAX_OFFSET_ROWS, Page, PageRequest, PageSize, PageStart, Product, ProductId, Sort},
    error::Error,
    store::products::ProductQuery,
};

/// The statements that look for one page.
const STEPS: usize = 10;
/// The same for a page by number, which counts all that match.
const STEPS_TO_COUNT: usize = 100;

/// The page of `query`, which has filters besides a part of the name.
pub(super) async fn list<B: ProductSteps>(
    backend: &B,
    query: &ProductQuery,
) -> Result<Page<Product, ProductId>, Error> {
    let (after, offset) = query.page.bounds();
    let is_numbered = matches!(query.page.start, PageStart::Offset(_));
    let (before, last) = query.created.places(query.sort);
    let after = after.into_iter().chain(before.map(ProductId));
    let mut after = after.reduce(|a, b| query.sort.later(a, b));
    let last = last.map(ProductId);
    let size = query.page.size;
    let (offset, wanted) = (count(offset), size.get() as usize + 1);
    let mut matching = Vec::new();
    let steps = if is_numbered { STEPS_TO_COUNT } else { STEPS };
    for step in 0..steps {
        let few = step == 0 && !is_numbered;
        let (products, is_last) = candidates(backend, query, after, few).await?;
        after = products.last().map(|product| product.id).or(after);
        let is_past = after
            .zip(last)
            .is_some_and(|(after, last)| query.sort.is_after(&after, &last));
        matching.extend(
            products
                .into_iter()
                .filter(|product| query.matches(product)),
        );
        let is_enough = if is_numbered {
            matching.len() >= MAX_OFFSET_ROWS as usize
        } else {
            matching.len() >= wanted
        };
        if is_last || is_past || is_enough {
            let total = is_numbered.then(|| matching.len().min(MAX_OFFSET_ROWS as usize) as u64);
            let rows = matching.into_iter().skip(offset).take(wanted).collect();
            return Ok(Page::from_rows(rows, size, |product| product.id, total));
        }
    }
    if is_numbered {
        let reason = "cannot be found among so many: use the cursor";
        return Err(Error::invalid("page", reason));
    }
    Ok(Page {
        items: matching,
        next: after,
        total: None,
    })
}

/// The next products that may match, and whether they are the last ones.
async fn candidates<B: ProductSteps>(
    backend: &B,
    query: &ProductQuery,
    after: Option<ProductId>,
    few: bool,
) -> Result<(Vec<Product>, bool), Error> {
    if let Some(sku) = &query.sku {
        let sku = [Value::text(sku)];
        let rows = backend
            .read()
            .await?
            .fetch_all(PRODUCT_WITH_SKU, &sku)
            .await?;
        return Ok((beyond(rows, query.sort, after)?, true));
    }
    if let Some(ids) = &query.ids {
        let ids = [Value::Ids(ids.iter().map(|id| id.0).collect())];
        let mut connection = backend.read().await?;
        let rows = connection.fetch_all(B::SQL.products.by_ids, &ids).await?;
        return Ok((beyond(rows, query.sort, after)?, true));
    }
    let size = if few { query.page.size } else { PageSize::STEP };
    let step = ProductQuery {
        search: query.search.clone(),
        sort: query.sort,
        page: PageRequest {
            size,
            start: after.map_or(PageStart::First, PageStart::After),
        },
        ..ProductQuery::default()
    };
    let mut products = rows::products(backend.find_products(&step).await?)?;
    let is_last = products.len() <= size.get() as usize;
    products.truncate(size.get() as usize);
    Ok((products, is_last))
}

/// Those among all rows that come after the end of the page before, in their order.
fn beyond(
    rows: Vec<ProductRow>,
    sort: Sort,
    after: Option<ProductId>,
) -> Result<Vec<Product>, Error> {
    let mut products = rows::products(rows)?;
    products.retain(|product| after.is_none_or(|after| sort.is_after(&product.id, &after)));
    sort.arrange(&mut products, |product| product.id);
    Ok(products)
}

fn count(rows: i64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}
