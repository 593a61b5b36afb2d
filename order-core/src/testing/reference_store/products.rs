//! The products of the reference store.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{page::page, store::ReferenceStore};
use crate::{
    audit::AuditChange,
    domain::{
        AdjustmentId, MAX_STOCK, NewProduct, Page, PageRequest, Product, ProductChange, ProductId,
        Replayable, RuleViolation, Sort, StockAdjustment, StockEntry, StockEntryId, StockMinute,
    },
    error::Error,
    store::{ProductQuery, ProductStore},
};

#[async_trait]
impl ProductStore for ReferenceStore {
    async fn create_product(&self, new: &NewProduct) -> Result<Product, Error> {
        let mut state = self.state.lock().unwrap();
        let product = new.clone().into_product();
        state.sku_is_free(product.sku.as_ref(), product.id)?;
        state.adjust(&StockAdjustment::initial(new));
        state.products.insert(product.id, product.clone());
        state.record(AuditChange::product_created(&product));
        Ok(product)
    }

    async fn product(&self, id: ProductId) -> Result<Option<Product>, Error> {
        Ok(self.state.lock().unwrap().products.get(&id).cloned())
    }

    async fn product_with_sku(&self, sku: &str) -> Result<Option<Product>, Error> {
        let state = self.state.lock().unwrap();
        let mut active = state.products.values();
        Ok(active
            .find(|product| product.sku.as_deref() == Some(sku))
            .cloned())
    }

    async fn products(&self, query: &ProductQuery) -> Result<Page<Product, ProductId>, Error> {
        let state = self.state.lock().unwrap();
        let all = state
            .products
            .values()
            .filter(|product| query.matches(product))
            .cloned()
            .collect();
        Ok(page(all, query.sort, &query.page, |product: &Product| {
            product.id
        }))
    }

    async fn stock_history(
        &self,
        id: ProductId,
        request: &PageRequest<StockEntryId>,
    ) -> Result<Page<StockEntry, StockEntryId>, Error> {
        let state = self.state.lock().unwrap();
        let own = state.history.iter().filter(|(of, _)| *of == id);
        let all: Vec<StockEntry> = own.map(|(_, entry)| entry.clone()).collect();
        let id = |entry: &StockEntry| entry.id;
        Ok(page(all, Sort::NewestFirst, request, id))
    }

    async fn stock_history_by_minute(
        &self,
        id: ProductId,
        request: &PageRequest<StockEntryId>,
    ) -> Result<Page<StockEntry, StockEntryId>, Error> {
        let state = self.state.lock().unwrap();
        let own = state.history.iter().filter(|(of, _)| *of == id);
        let mut sums: Vec<StockEntry> = Vec::new();
        for (_, entry) in own {
            let at = StockMinute::of(entry.id).at;
            let same = sums
                .iter_mut()
                .find(|sum| (sum.at, sum.kind) == (at, entry.kind));
            match same {
                Some(sum) => {
                    sum.delta += entry.delta;
                    sum.changes += 1;
                    sum.id = sum.id.max(entry.id);
                }
                None => sums.push(StockEntry::sum(entry.id, entry.kind, entry.delta, 1, at)),
            }
        }
        sums.sort_by_key(|sum| std::cmp::Reverse((sum.at, sum.id)));
        Ok(page(
            sums,
            Sort::NewestFirst,
            request,
            |sum: &StockEntry| sum.id,
        ))
    }

    async fn update_product(
        &self,
        id: ProductId,
        change: &ProductChange,
        adjustment_id: AdjustmentId,
        at: DateTime<Utc>,
    ) -> Result<Option<Product>, Error> {
        let mut state = self.state.lock().unwrap();
        let Some(mut product) = state.products.get(&id).cloned() else {
            return Ok(None);
        };
        is_expected(&product, &change.expected_versions)?;
        let before = product.clone();
        if let Some(sku) = &change.sku {
            state.sku_is_free(sku.as_ref(), id)?;
            product.sku.clone_from(sku);
        }
        if let Some(name) = &change.name {
            product.name.clone_from(name);
        }
        let terms = &mut product.terms;
        for (changed, own) in [
            (change.on_sale_from, &mut terms.on_sale_from),
            (change.on_sale_until, &mut terms.on_sale_until),
        ] {
            *own = changed.unwrap_or(*own);
        }
        if let Some(limit) = change.limit_per_customer {
            terms.limit_per_customer = limit;
        }
        if let (Some(from), Some(until)) = (terms.on_sale_from, terms.on_sale_until)
            && until <= from
        {
            return Err(RuleViolation::SaleWindow.into());
        }
        if let Some(price) = change.price {
            product.price = price;
        }
        if let Some(stock) = change.stock {
            let stock_before = product.stock;
            product.stock = stock;
            product.updated_at = at;
            state.adjust(&StockAdjustment::set(adjustment_id, stock_before, &product));
        }
        product.version += 1;
        product.updated_at = at;
        state.products.insert(id, product.clone());
        state.record(AuditChange::product_updated(&before, &product));
        Ok(Some(product))
    }

    async fn adjust_stock(
        &self,
        adjustment: &StockAdjustment,
    ) -> Result<Option<Replayable<Product>>, Error> {
        let mut state = self.state.lock().unwrap();
        let (id, delta) = (adjustment.product_id, adjustment.delta);
        let asked = format!("adjust {id} {delta} {}", adjustment.reason);
        if let Some(product) = state.products.get(&id)
            && state.replay(adjustment.key.as_ref(), &asked)?.is_some()
        {
            return Ok(Some(Replayable::again(product.clone())));
        }
        let Some(product) = state.products.get_mut(&id) else {
            return Ok(None);
        };
        is_expected(product, &adjustment.expected_versions)?;
        if product.stock + delta < 0 {
            return Err(Error::InsufficientStock {
                product_id: id,
                requested: -delta,
                available: product.stock,
            });
        }
        if product.stock + delta > MAX_STOCK {
            return Err(Error::StockLimit { product_id: id });
        }
        product.stock += delta;
        product.version += 1;
        product.updated_at = adjustment.created_at;
        let product = product.clone();
        state.adjust(adjustment);
        state.keep_key(adjustment.key.as_ref(), asked, adjustment.id.0);
        state.record(AuditChange::stock_adjusted(adjustment, &product));
        Ok(Some(Replayable::first(product)))
    }

    async fn archive_product(
        &self,
        id: ProductId,
        expected_versions: &[i64],
        _: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let mut state = self.state.lock().unwrap();
        let Some(product) = state.products.get(&id).cloned() else {
            return Ok(false);
        };
        is_expected(&product, expected_versions)?;
        state.products.remove(&id);
        state.record(AuditChange::product_archived(&product));
        state.archived.insert(id, product);
        Ok(true)
    }
}

fn is_expected(product: &Product, versions: &[i64]) -> Result<(), Error> {
    let actual = product.version;
    match versions {
        [] => Ok(()),
        _ if versions.contains(&actual) => Ok(()),
        [expected, ..] => Err(Error::VersionMismatch {
            expected: *expected,
            actual,
        }),
    }
}
