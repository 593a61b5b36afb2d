//! Operations on products: create, read, list, change, adjust the stock, archive.

use order_core::{
    OrderService,
    domain::{
        Product, ProductChange, ProductId, ProductRequest, SaleTerms, Sort, StockRequest, TimeRange,
    },
    store::ProductQuery,
};
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Path, Query},
};
use uuid::Uuid;

use super::{
    cursor::{encode, page_request},
    etag::{Expected, etag},
    idempotency_header::{IdempotencyHeader, replayed},
    product_body::{
        AdjustStock, CreateProduct, PatchProduct, ProductBody, ProductPage, ReplaceProduct,
        on_terms,
    },
    sort::SortName,
    stock,
    tag::Tag,
    wire::{Amount, Time},
};
use crate::{
    auth::{ReadProducts, WriteProducts},
    http::{
        entity_tag::{IfMatch, IfNoneMatch},
        json::Json,
        problem::Problem,
    },
};

/// The most products that a list may name.
const MAX_IDS: usize = 100;

#[derive(ApiResponse)]
enum Created {
    /// The new product, with its `Location`
    #[oai(status = 201)]
    Product(
        Json<ProductBody>,
        #[oai(header = "Location")] String,
        #[oai(header = "ETag")] String,
    ),
}

#[derive(ApiResponse)]
enum Found {
    /// The product; `X-Cache` is `hit`, `miss` or `bypass`
    #[oai(status = 200)]
    Product(
        Json<ProductBody>,
        #[oai(header = "ETag")] String,
        #[oai(header = "X-Cache")] String,
    ),
    /// The client has the current version
    #[oai(status = 304)]
    NotModified(
        #[oai(header = "ETag")] String,
        #[oai(header = "X-Cache")] String,
    ),
}

#[derive(ApiResponse)]
enum Adjusted {
    /// The product as it is now
    #[oai(status = 200)]
    Product(
        Json<ProductBody>,
        #[oai(header = "ETag")] String,
        /// `true` if an earlier request with this key did it
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

#[derive(ApiResponse)]
enum Changed {
    /// The product after the change
    #[oai(status = 200)]
    Product(Json<ProductBody>, #[oai(header = "ETag")] String),
}

#[derive(ApiResponse)]
enum Archived {
    /// The product is archived
    #[oai(status = 204)]
    Done,
}

/// The operations on products.
pub struct Products {
    service: OrderService,
}

impl Products {
    pub(super) fn new(service: OrderService) -> Self {
        Self { service }
    }

    async fn find(&self, id: Uuid, if_none_match: IfNoneMatch) -> Result<Found, Problem> {
        let (product, cache) = self.service.read_product(ProductId(id)).await?;
        let product = product.ok_or_else(|| Problem::product_not_found(id))?;
        let (etag, cache) = (etag(&product), cache.as_str().to_owned());
        if if_none_match.0.is_some_and(|known| known.include(&etag)) {
            return Ok(Found::NotModified(etag, cache));
        }
        Ok(Found::Product(Json(product.into()), etag, cache))
    }

    async fn change(
        &self,
        id: Uuid,
        change: ProductChange,
        if_match: IfMatch,
    ) -> Result<Changed, Problem> {
        let versions = self.expected(id, if_match).await?.into_iter();
        let change = versions.fold(change, ProductChange::expect_version);
        let product = self.service.update_product(ProductId(id), &change).await?;
        changed(product, id)
    }
}

impl Products {
    /// The versions of which the product has to be at one; at any, when there are none.
    async fn expected(&self, id: Uuid, if_match: IfMatch) -> Result<Vec<i64>, Problem> {
        match if_match.into() {
            Expected::Any => Ok(Vec::new()),
            Expected::Versions(versions) => Ok(versions),
            Expected::Nothing { is_weak } => match self.service.product(ProductId(id)).await? {
                Some(_) => Err(Expected::<i64>::refusal(is_weak)),
                None => Err(Problem::product_not_found(id)),
            },
        }
    }
}

#[OpenApi(tag = "Tag::Products")]
impl Products {
    /// Create a product
    #[oai(path = "/products", method = "post", operation_id = "createProduct")]
    async fn create(
        &self,
        _caller: WriteProducts,
        body: Json<CreateProduct>,
    ) -> Result<Created, Problem> {
        let Json(body) = body;
        let terms = SaleTerms {
            limit_per_customer: body.limit_per_customer.map(|limit| limit.0),
            on_sale_from: body.on_sale_from,
            on_sale_until: body.on_sale_until,
        };
        let request = ProductRequest::new(body.name, body.price.0, body.stock.0, body.sku)?;
        let request = request.on_terms(terms)?;
        let product = self.service.create_product(request).await?;
        let location = format!("/api/v1/products/{}", product.id);
        let etag = etag(&product);
        Ok(Created::Product(Json(product.into()), location, etag))
    }

    /// List products, newest first unless `sort` says otherwise. A page of products by price, stock or time may hold fewer than
    /// `page_size`, since it ends after 10000 that were looked at: `next_cursor` says whether there
    /// are more
    #[oai(path = "/products", method = "get", operation_id = "listProducts")]
    #[allow(clippy::too_many_arguments)] // Each is a parameter of the query.
    async fn list(
        &self,
        _caller: ReadProducts,
        /// Items per page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        page_size: Query<Option<u32>>,
        /// The same as `page_size`
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// The `next_cursor` of the previous page
        cursor: Query<Option<String>>,
        /// Page number from 1, instead of a cursor; reaches the first 10000 rows
        page: Query<Option<u32>>,
        /// Only products whose name contains this text, in any case
        search: Query<Option<String>>,
        /// Only the product with exactly this sku
        sku: Query<Option<String>>,
        /// Only these products: ids with commas between
        ids: Query<Option<String>>,
        /// Only products at this price or a higher one
        min_price: Query<Option<Amount>>,
        /// Only products at this price or a lower one
        max_price: Query<Option<Amount>>,
        /// Only products with pieces left; with `false`, only those that are sold out
        in_stock: Query<Option<bool>>,
        /// Only products that were created at this time or after it
        created_after: Query<Option<Time>>,
        /// Only products that were created before this time
        created_before: Query<Option<Time>>,
        /// The order of the list; `newest` unless given. A cursor goes on in the order that it is of
        sort: Query<Option<SortName>>,
    ) -> Result<Json<ProductPage>, Problem> {
        let sort = sort.0.map_or(Sort::default(), Into::into);
        let query = ProductQuery {
            search: search.0,
            sku: sku.0,
            ids: ids.0.as_deref().map(ids_of).transpose()?,
            min_price: min_price.0.map(|price| price.0),
            max_price: max_price.0.map(|price| price.0),
            in_stock: in_stock.0,
            created: TimeRange {
                from: created_after.0,
                until: created_before.0,
            },
            sort,
            page: page_request(page_size.0, limit.0, cursor.0.as_deref(), page.0, sort)?,
        };
        let page = self.service.products(&query).await?;
        Ok(Json(ProductPage {
            items: page.items.into_iter().map(Into::into).collect(),
            next_cursor: page.next.map(|id| encode(id.0, sort)),
            total: page.total,
        }))
    }

    /// Read a product, through the cache
    #[oai(path = "/products/:id", method = "get", operation_id = "getProduct")]
    async fn get(
        &self,
        _caller: ReadProducts,
        id: Path<Uuid>,
        /// An `ETag` that the client has
        #[oai(name = "If-None-Match")]
        if_none_match: IfNoneMatch,
    ) -> Result<Found, Problem> {
        self.find(id.0, if_none_match).await
    }

    /// The same as reading a product
    #[oai(
        path = "/products/:id/cached",
        method = "get",
        operation_id = "getProductCached"
    )]
    async fn get_cached(
        &self,
        _caller: ReadProducts,
        id: Path<Uuid>,
        /// An `ETag` that the client has
        #[oai(name = "If-None-Match")]
        if_none_match: IfNoneMatch,
    ) -> Result<Found, Problem> {
        self.find(id.0, if_none_match).await
    }

    /// Replace a product
    #[oai(
        path = "/products/:id",
        method = "put",
        operation_id = "replaceProduct"
    )]
    async fn replace(
        &self,
        _caller: WriteProducts,
        id: Path<Uuid>,
        /// The `ETag` of the version to change, or several; `*` for any
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        body: Json<ReplaceProduct>,
    ) -> Result<Changed, Problem> {
        let Json(body) = body;
        let mut change = ProductChange::default()
            .name(body.name)?
            .price(body.price.0)?;
        if let Some(stock) = body.stock {
            change = change.stock(stock.0)?;
        }
        let (from, until) = (body.on_sale_from, body.on_sale_until);
        let change = on_terms(change, body.limit_per_customer, from, until)?;
        self.change(id.0, change, if_match).await
    }

    /// Change some fields of a product
    #[oai(
        path = "/products/:id",
        method = "patch",
        operation_id = "patchProduct"
    )]
    async fn patch(
        &self,
        _caller: WriteProducts,
        id: Path<Uuid>,
        /// The `ETag` of the version to change, or several; `*` for any
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        body: Json<PatchProduct>,
    ) -> Result<Changed, Problem> {
        let Json(body) = body;
        let mut change = ProductChange::default();
        if let Some(name) = body.name {
            change = change.name(name)?;
        }
        if let Some(price) = body.price {
            change = change.price(price.0)?;
        }
        if let Some(stock) = body.stock {
            change = change.stock(stock.0)?;
        }
        if let Some(sku) = body.sku {
            change = change.sku(sku)?;
        }
        let (from, until) = (body.on_sale_from, body.on_sale_until);
        let change = on_terms(change, body.limit_per_customer, from, until)?;
        if change.is_empty() {
            return Err(Problem::invalid("body", "changes nothing"));
        }
        self.change(id.0, change, if_match).await
    }

    /// Read what changed a product's stock, newest first: adjustments, holds, sales and returns, one by
    /// one. A hold or a sale stands where its order was placed. All of them add up to the stock
    #[oai(
        path = "/products/:id/stock",
        method = "get",
        operation_id = "listStockEntries"
    )]
    async fn history(
        &self,
        _caller: ReadProducts,
        id: Path<Uuid>,
        /// Items per page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        page_size: Query<Option<u32>>,
        /// The same as `page_size`
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// The `next_cursor` of the previous page
        cursor: Query<Option<String>>,
        /// `change` lists each change, `minute` the sum of each kind in each minute
        by: Query<Option<stock::By>>,
    ) -> Result<Json<stock::HistoryPage>, Problem> {
        let (cursor, sort) = (cursor.0.as_deref(), stock::SORT);
        let page = page_request(page_size.0, limit.0, cursor, None, sort)?;
        Ok(Json(stock::page(&self.service, id.0, &page, by.0).await?))
    }

    /// Add to or take from a product's stock
    #[oai(
        path = "/products/:id/stock",
        method = "post",
        operation_id = "adjustStock"
    )]
    async fn adjust(
        &self,
        _caller: WriteProducts,
        id: Path<Uuid>,
        /// The `ETag` of the version to change, or several; `*` for any
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        /// Makes the request safe to repeat: stock changes once for a key
        #[oai(name = "Idempotency-Key")]
        idempotency: IdempotencyHeader,
        body: Json<AdjustStock>,
    ) -> Result<Adjusted, Problem> {
        let Json(body) = body;
        let request = StockRequest::new(body.delta.0, body.reason)?;
        let versions = self.expected(id.0, if_match).await?.into_iter();
        let mut request = versions.fold(request, StockRequest::expect_version);
        if let Some(key) = idempotency.0 {
            request = request.with_key(key);
        }
        let service = &self.service;
        let adjusted = service.adjust_stock_or_replay(ProductId(id.0), request);
        let adjusted = adjusted.await?;
        let adjusted = adjusted.ok_or_else(|| Problem::product_not_found(id.0))?;
        let etag = etag(&adjusted.value);
        let replayed = replayed(adjusted.replayed);
        Ok(Adjusted::Product(
            Json(adjusted.value.into()),
            etag,
            replayed,
        ))
    }

    /// Archive a product: its history stays, it can no longer be read, listed or ordered
    #[oai(
        path = "/products/:id",
        method = "delete",
        operation_id = "archiveProduct"
    )]
    async fn archive(
        &self,
        _caller: WriteProducts,
        id: Path<Uuid>,
        /// The `ETag` of the version to archive, or several; `*` for any
        #[oai(name = "If-Match")]
        if_match: IfMatch,
    ) -> Result<Archived, Problem> {
        let versions = self.expected(id.0, if_match).await?;
        let service = &self.service;
        if service
            .archive_product_at(ProductId(id.0), versions)
            .await?
        {
            Ok(Archived::Done)
        } else {
            Err(Problem::product_not_found(id.0))
        }
    }
}

/// Ids with commas between.
fn ids_of(text: &str) -> Result<Vec<ProductId>, Problem> {
    let ids = text.split(',').map(str::parse);
    let ids: Option<Vec<ProductId>> = ids.map(Result::ok).collect();
    ids.filter(|ids| ids.len() <= MAX_IDS)
        .ok_or_else(|| Problem::invalid("ids", "must be 1 to 100 UUIDs with commas between"))
}

fn changed(product: Option<Product>, id: Uuid) -> Result<Changed, Problem> {
    let product = product.ok_or_else(|| Problem::product_not_found(id))?;
    let etag = etag(&product);
    Ok(Changed::Product(Json(product.into()), etag))
}
