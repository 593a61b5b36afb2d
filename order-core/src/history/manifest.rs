//! What a file has, so that whoever reads it can tell that it has all of it.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ArchiveFile, StoredOrder, file::name};
use crate::domain::{Currency, OrderId, OrderStatus, ProductId};

/// What orders took of a product and gave back, in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductSums {
    /// Lines of the product.
    pub lines: u64,
    /// Pieces that the lines ask for.
    pub quantity: i64,
    /// Pieces that orders took and kept.
    pub kept: i64,
    /// Pieces that orders took and gave back.
    pub returned: i64,
}

impl ProductSums {
    pub(crate) fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.quantity = self.quantity.saturating_add(other.quantity);
        self.kept = self.kept.saturating_add(other.kept);
        self.returned = self.returned.saturating_add(other.returned);
    }
}

/// The sums of a product, as they stand in a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OfProduct {
    product_id: ProductId,
    #[serde(flatten)]
    sums: ProductSums,
}

/// What a file has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// The form of file and manifest.
    format: u32,
    /// The name of the file, which lies beside the manifest.
    pub file: String,
    /// The number of the file, from 1.
    pub number: i64,
    /// The currency of its amounts, which are decimal strings.
    currency: Currency,
    /// The number of its orders.
    pub orders: u64,
    /// The number of their lines.
    pub lines: u64,
    /// Its first order.
    pub first_id: OrderId,
    /// Its last order.
    pub last_id: OrderId,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    #[serde(skip)]
    digest: [u8; 32],
    /// How many of its orders are in each state.
    pub states: BTreeMap<String, u64>,
    /// What its orders took of each product and gave back.
    products: Vec<OfProduct>,
    /// Orders of it that changed before their turn, and so stayed in the database: what the file tells
    /// of them is not the last word.
    pub left_out: Vec<OrderId>,
}

/// The SHA-256 of a file.
pub(super) fn digest(contents: &[u8]) -> [u8; 32] {
    Sha256::digest(contents).into()
}

fn hex(digest: [u8; 32]) -> String {
    digest
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // A string takes whatever is written to it.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

impl Manifest {
    /// The manifest of a file, from its contents alone.
    ///
    /// # Errors
    /// What is wrong with the contents, in words.
    pub(super) fn of(
        file: &ArchiveFile,
        contents: &[u8],
        orders: &[StoredOrder],
    ) -> Result<Self, String> {
        let (Some(first), Some(last)) = (orders.first(), orders.last()) else {
            return Err("has no orders".to_owned());
        };
        let grow = |pair: &[StoredOrder]| pair[0].id < pair[1].id;
        if !orders.windows(2).all(grow) || first.id < file.first || last.id > file.last {
            return Err("has orders that are not its own, or in another order".to_owned());
        }
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        for order in orders {
            *states.entry(order.status.clone()).or_default() += 1;
        }
        let digest = digest(contents);
        let products = sums(orders)?;
        let products = products
            .into_iter()
            .map(|(product_id, sums)| OfProduct { product_id, sums });
        Ok(Self {
            format: 1,
            file: name(file),
            number: file.number,
            currency: Currency::of_process(),
            orders: orders.len() as u64,
            lines: orders.iter().map(|order| order.lines.len() as u64).sum(),
            first_id: first.id,
            last_id: last.id,
            bytes: contents.len() as u64,
            sha256: hex(digest),
            digest,
            states,
            products: products.collect(),
            left_out: Vec::new(),
        })
    }

    /// Its SHA-256.
    pub(crate) const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// What its orders took of each product and gave back.
    pub fn products(&self) -> impl Iterator<Item = (ProductId, ProductSums)> {
        self.products.iter().map(|one| (one.product_id, one.sums))
    }
}

/// The sums of orders, as a file tells them.
fn sums(orders: &[StoredOrder]) -> Result<BTreeMap<ProductId, ProductSums>, String> {
    let mut sums: BTreeMap<ProductId, ProductSums> = BTreeMap::new();
    for order in orders {
        let status: OrderStatus = order
            .status
            .parse()
            .map_err(|_| format!("has an order of an unknown state: {}", order.id))?;
        for line in &order.lines {
            let kept = if status.holds_stock() {
                line.quantity - line.cancelled_quantity
            } else {
                0
            };
            sums.entry(line.product_id).or_default().add(ProductSums {
                lines: 1,
                quantity: line.quantity,
                kept,
                returned: 0,
            });
        }
        for back in &order.returns {
            sums.entry(back.product_id).or_default().add(ProductSums {
                returned: back.quantity,
                ..ProductSums::default()
            });
        }
    }
    Ok(sums)
}
