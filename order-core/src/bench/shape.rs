//! Which products the orders are for.

use rand::{
    SeedableRng,
    distr::{Distribution, Uniform, weighted::WeightedIndex},
    rngs::StdRng,
};

use crate::{
    domain::{OrderRequest, ProductId, Quantity},
    error::Error,
};

/// The same orders each time: runs are compared with each other.
const SEED: u64 = 7;

/// The spread of demand over products. Each order has one line, of one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// All orders are for one product.
    Hot,
    /// So many products, all in the same demand.
    Spread(usize),
    /// So many products, in a demand that falls with their rank (Zipf's law, exponent 1).
    Zipf(usize),
}

impl Shape {
    /// The number of products.
    #[must_use]
    pub const fn products(self) -> usize {
        match self {
            Self::Hot => 1,
            Self::Spread(products) | Self::Zipf(products) => products,
        }
    }

    /// So many orders for `products`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there are no products.
    pub fn orders(self, products: &[ProductId], orders: usize) -> Result<Vec<OrderRequest>, Error> {
        let none = |_| Error::invalid("products", "must not be empty");
        let piece = Quantity::new(1)?;
        let mut random = StdRng::seed_from_u64(SEED);
        let mut draw: Box<dyn FnMut() -> usize> = match self {
            Self::Hot => Box::new(|| 0),
            Self::Spread(_) => {
                let all = Uniform::new(0, products.len()).map_err(|_| none(()))?;
                Box::new(move || all.sample(&mut random))
            }
            Self::Zipf(_) => {
                let weights = (1..=products.len()).map(|rank| 1.0 / rank as f64);
                let ranks = WeightedIndex::new(weights).map_err(|_| none(()))?;
                Box::new(move || ranks.sample(&mut random))
            }
        };
        (0..orders)
            .map(|_| {
                let product = products.get(draw()).ok_or_else(|| none(()))?;
                Ok(OrderRequest::one(*product, piece))
            })
            .collect()
    }
}
