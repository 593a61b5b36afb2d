//! Searching names in any script.

use proptest::{
    prelude::any,
    sample::{Index, select},
    strategy::{Strategy, ValueTree},
    test_runner::{Config, TestRunner},
};

use super::fixture::Fixture;
use crate::{
    domain::{PageRequest, PageSize, PageStart, ProductChange, ProductId, Sort, folded},
    store::ProductQuery,
};

/// Newest first, which is what the other order is from its end.
async fn find(fixture: &Fixture, part: &str) -> Vec<ProductId> {
    let newest_first = sorted(fixture, part, Sort::NewestFirst).await;
    let mut oldest_first = sorted(fixture, part, Sort::OldestFirst).await;
    oldest_first.reverse();
    assert_eq!(oldest_first, newest_first, "{part:?}");
    newest_first
}

/// In an order, with how many there are.
async fn sorted(fixture: &Fixture, part: &str, sort: Sort) -> Vec<ProductId> {
    let query = ProductQuery {
        search: Some(part.to_owned()),
        sort,
        page: PageRequest {
            size: PageSize::new(100).unwrap(),
            start: PageStart::Offset(0),
        },
        ..ProductQuery::default()
    };
    let page = fixture.store.products(&query).await.unwrap();
    assert_eq!(page.total, Some(page.items.len() as u64), "{part:?}");
    page.items.iter().map(|product| product.id).collect()
}

pub(super) async fn names_are_found_in_either_case_in_any_script(fixture: &Fixture) {
    for (name, parts) in [
        (
            "Große Straße",
            &["GROSSE", "strasse", "STRAẞE", "ße s", "ß", "SS"][..],
        ),
        ("ΟΔΟΣ ΕΡΜΟΥ", &["οδος", "Οδοσ", "ΔΟΣ", "ς ε"]),
        (
            "İzmir Işık",
            &["izmir", "IZMIR", "i\u{307}zmir", "ışık", "IŞIK"],
        ),
        (
            "Cafe\u{301} ÉTÉ",
            &["CAFÉ", "café", "cafe\u{301}", "été", "e\u{301}te\u{301}"],
        ),
        ("ＡＢＣ　１２３", &["abc", "ABC", "ａｂｃ", "c 1", "23"]),
        ("Дом МОДЫ", &["дом", "ДОМ", "моды", "м м"]),
        ("ガラスの灯", &["ｶﾞﾗｽ", "カ\u{3099}", "灯"]),
        ("100％ ﬁne_", &["100%", "FINE", "_", "0% f"]),
    ] {
        let made = fixture.product(name, 1).await.id;
        for part in parts {
            assert!(find(fixture, part).await.contains(&made), "{name} {part}");
        }
        fixture
            .store
            .archive_product(made, &[], fixture.at)
            .await
            .unwrap();
    }
    fixture.product("Ösen", 1).await;
    for part in ["o", "O", "%", "_", "ösen_", "É", "ösem"] {
        assert_eq!(find(fixture, part).await, [], "{part}");
    }
}

pub(super) async fn a_product_is_found_by_its_new_name(fixture: &Fixture) {
    let mut product = fixture.product("ÉCLAIR", 1).await;
    for (name, found, lost) in [
        // Its fold stays.
        ("Éclair", "éCLAIR", "ä"),
        ("ÄPFEL", "äpfel", "é"),
        ("Apfel", "APFEL", "ä"),
        ("Äpfel", "ÄPFEL", "apfel"),
    ] {
        let change = ProductChange::default().name(name).unwrap();
        let changed = fixture
            .store
            .update_product(product.id, &change, fixture.adjustment_id(), fixture.at)
            .await;
        let version = product.version + 1;
        product = changed.unwrap().unwrap();
        assert_eq!((product.name.as_str(), product.version), (name, version));
        assert_eq!(find(fixture, found).await, [product.id], "{name}");
        assert_eq!(find(fixture, lost).await, [], "{name}");
        assert_eq!(fixture.store.fold_names().await.unwrap(), 0, "{name}");
    }
}

/// Letters that are alike in one way or another, and what means something to a query.
const CHARS: &[&str] = &[
    "a", "A", "i", "I", "İ", "ı", "s", "S", "ß", "ẞ", "ſ", "σ", "ς", "Σ", "é", "É", "e", "E",
    "\u{301}", "\u{307}", "\u{345}", "ά", "Ά", "ᾳ", "ᾼ", "ǆ", "ǅ", "ﬁ", "f", "Ａ", "ａ", "％", "%",
    "_", "\\", "'", "\"", ":", "*", "&", " ", "\u{3000}", "\u{ad}", "\u{200d}", "\u{fe0f}", "한",
    "\u{1112}", "\u{1161}", "\u{11ab}", "ガ", "ｶ", "ﾞ", "カ", "\u{3099}", "灯", "д", "Д", "й", "𐐀",
    "𐐨", "Ꮳ", "ꮳ", "①", "½", "ﷺ", "😀", "❤",
];

fn text(longest: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(select(CHARS), 1..=longest).prop_map(|chars| chars.concat())
}

/// Names of any characters, and parts: of their characters, in any case, or of others.
pub(super) async fn search_finds_what_its_definition_says(fixture: &Fixture) {
    let mut runner = TestRunner::new(Config::default());
    let mut draw = |strategy: &dyn Fn() -> proptest::strategy::BoxedStrategy<String>| {
        strategy().new_tree(&mut runner).unwrap().current()
    };
    let mut named = Vec::new();
    for number in 0..60 {
        let name = if number % 3 == 0 {
            draw(&|| "[^\0]{1,20}".boxed())
        } else {
            draw(&|| text(12).boxed())
        };
        named.push((fixture.product(&name, 1).await.id, name));
    }
    named.reverse();
    for number in 0..240 {
        let name = &named[number % named.len()].1;
        let part = match number % 4 {
            0 => draw(&|| text(3).boxed()),
            1 => draw(&|| cut(name).prop_map(|part| part.to_uppercase()).boxed()),
            2 => draw(&|| cut(name).prop_map(|part| part.to_lowercase()).boxed()),
            _ => draw(&|| cut(name).boxed()),
        };
        let expected: Vec<ProductId> = named
            .iter()
            .filter(|(_, name)| folded(name).contains(&folded(&part)))
            .map(|(id, _)| *id)
            .collect();
        assert_eq!(
            find(fixture, &part).await,
            expected,
            "{part:?} in {named:?}"
        );
    }
}

/// Some characters of `text` in a row.
fn cut(text: &str) -> impl Strategy<Value = String> + use<> {
    let chars: Vec<char> = text.chars().collect();
    (any::<Index>(), any::<Index>()).prop_map(move |(start, length)| {
        let start = start.index(chars.len());
        let length = 1 + length.index(chars.len() - start);
        chars[start..start + length].iter().collect()
    })
}
