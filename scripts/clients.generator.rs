//! Sells by the client that openapi-generator makes of the document for Rust.

use orders_client::{
    apis::{
        Error,
        configuration::Configuration,
        orders_api::{self, PurchaseError},
        products_api,
    },
    models::{Buy, BuyLine, BuyOfLines, BuyOfOneProduct, CreateProduct, CreateProductPrice},
};
use uuid::Uuid;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let shop = Configuration {
        base_path: std::env::var("ORIGIN").unwrap(),
        bearer_access_token: std::env::var("KEY").ok(),
        ..Configuration::new()
    };
    let price = CreateProductPrice::String("19.99".to_owned());
    let lamp = CreateProduct::new("Lamp".to_owned(), price, 3);
    let product = products_api::create_product(&shop, lamp).await.unwrap();
    let key = Uuid::new_v4().to_string();
    let buy = Buy::BuyOfOneProduct(BuyOfOneProduct::new(product.id, 2));
    let order = orders_api::purchase(&shop, buy, None, Some(&key)).await;
    let order = order.unwrap();
    let lines = vec![BuyLine::new(product.id, 2)];
    let buy = Buy::BuyOfLines(BuyOfLines::new(lines));
    let Err(Error::ResponseError(refused)) =
        orders_api::purchase(&shop, buy, None, None).await
    else {
        panic!("it sold what is not there");
    };
    // Whatever the status is, a problem is told as that of the first.
    let Some(PurchaseError::Status400(problem)) = refused.entity else {
        panic!("{}", refused.content);
    };
    assert_eq!((problem.status, refused.status.as_u16()), (409, 409));
    let list = products_api::list_products(
        &shop,
        None,
        None,
        None,
        None,
        None,
        None,
        Some(vec![product.id]),
        None,
        None,
        Some(true),
        None,
        None,
        None,
    );
    let list = list.await.unwrap();
    let id = order.id.to_string();
    let cancelled = orders_api::cancel_order(&shop, &id, None, None, None).await;
    let told = format!(
        "{} {} {} {:?} {} {}",
        order.status,
        order.total_price,
        order.currency,
        problem.code,
        list.items.len(),
        cancelled.unwrap().status
    );
    assert_eq!(told, "success 39.98 USD InsufficientStock 1 cancelled");
    println!("Rust (openapi-generator): {told}");
}
