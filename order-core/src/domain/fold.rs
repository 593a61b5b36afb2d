//! The fold of names, by which they are searched.
//!
//! The fold of a text is Unicode's `NFKC_Casefold` (The Unicode Standard, 3.13) with one rule
//! more, for the letter i. Two texts have the same fold when a reader takes them for the same
//! words:
//!
//! - in upper and lower case: `STRASSE`, `straße`; `ΟΔΟΣ`, `οδος`;
//! - composed and decomposed: `é`, `e` with an accent;
//! - in another width or shape of the same characters: `ＡＢＣ`, `ﬁ`, `①`;
//! - with characters that are not seen: soft hyphens, joiners, variation selectors.
//!
//! Accents are letters of their own: `é` is not `e`. The additional rule: `I`, `i`, `İ` and `ı`
//! are one letter. Which of them are a pair depends on the language, which nobody tells, so that
//! whoever writes in Turkish finds names in either case, too.
//!
//! The fold of characters of later versions of Unicode is not known here; those that are known
//! keep their fold for ever.

use icu_casemap::CaseMapper;
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};

/// The most characters that one character folds to: what bounds the fold of a bounded text.
pub(crate) const MAX_FOLDED_CHARS: usize = 18;

const COMBINING_DOT_ABOVE: char = '\u{307}';
const DOTLESS_I: char = '\u{131}';

/// The fold of `text`: a name has a part in it when its fold has the fold of the part in it.
/// Folding a fold changes nothing.
#[must_use]
pub fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let decomposing = DecomposingNormalizerBorrowed::new_nfkd();
    let unseen = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let decomposed = decomposing.normalize(text);
    let lower = CaseMapper::new().fold_string(&decomposed);
    let seen: String = lower
        .chars()
        .filter(|char| !unseen.contains(*char))
        .collect();
    let with_one_i = with_one_i(&decomposing.normalize(&seen));
    let composed = ComposingNormalizerBorrowed::new_nfkc().normalize(&with_one_i);
    composed.into_owned()
}

/// `İ` folds to an i with a dot above it, which has one already; `ı` is what `I` may be.
fn with_one_i(decomposed: &str) -> String {
    let mut text = String::with_capacity(decomposed.len());
    for char in decomposed.chars() {
        match char {
            DOTLESS_I => text.push('i'),
            COMBINING_DOT_ABOVE if text.ends_with('i') => {}
            _ => text.push(char),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nfc(text: &str) -> String {
        let normalizer = ComposingNormalizerBorrowed::new_nfc();
        normalizer.normalize(text).into_owned()
    }

    fn nfd(text: &str) -> String {
        let normalizer = DecomposingNormalizerBorrowed::new_nfd();
        normalizer.normalize(text).into_owned()
    }

    /// Code points in between are not assigned, and those beyond are for private use.
    fn all_chars() -> impl Iterator<Item = String> {
        let letters = '\0'..='\u{31fff}';
        letters.chain('\u{e0000}'..='\u{e0fff}').map(String::from)
    }

    #[test]
    fn what_reads_the_same_folds_the_same() {
        for same in [
            &["lamp", "LAMP", "LaMp", "ｌａｍｐ", "ＬＡＭＰ", "la\u{ad}mp"][..],
            &["straße", "STRASSE", "STRAẞE", "Strasse"],
            &["ΟΔΟΣ", "οδος", "Οδοσ"],
            &["Éclair", "ÉCLAIR", "e\u{301}clair", "E\u{301}CLAIR"],
            &[
                "İstanbul",
                "istanbul",
                "ISTANBUL",
                "i\u{307}stanbul",
                "ıstanbul",
            ],
            &["ДОМ", "дом"],
            &["ﬁn", "FIN", "ﬁN"],
            &["ǄUNGLA", "ǆungla", "ǅungla", "džungla"],
            &["ガラス", "ｶﾞﾗｽ", "カ\u{3099}ラス"],
            &["한국", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}"],
            &["می\u{200c}خواهم", "میخواهم"],
            &["❤\u{fe0f}", "❤"],
            &["Ꮳꮃꭹ", "ꮳꮃꭹ", "ᏣᎳᎩ"],
            &["½ m²", "1⁄2 M2"],
        ] {
            for text in same {
                assert_eq!(folded(text), folded(same[0]), "{text} {}", same[0]);
            }
        }
    }

    #[test]
    fn what_reads_differently_folds_differently() {
        for [one, other] in [
            ["é", "e"],
            ["ö", "o"],
            ["ø", "o"],
            ["ı", "l"],
            ["%", "_"],
            ["か", "が"],
            ["か", "カ"],
            ["и", "й"],
            ["ß", "s"],
            ["í", "i"],
        ] {
            assert_ne!(folded(one), folded(other), "{one} {other}");
        }
    }

    /// The way for ASCII is the general way, shorter.
    #[test]
    fn ascii_folds_to_lower_case() {
        for text in all_chars().take(128) {
            let general = folded(&format!("{text}é"));
            assert_eq!(general, folded(&text) + "é");
        }
    }

    #[test]
    fn every_character_is_found_in_either_case_and_in_either_form() {
        for text in all_chars() {
            let fold = folded(&text);
            let others = [
                text.to_uppercase(),
                text.to_lowercase(),
                nfc(&text),
                nfd(&text),
                fold.clone(),
            ];
            for other in others.iter().filter(|other| **other != text) {
                assert_eq!(folded(other), fold, "{text:?} {other:?}");
            }
            assert!(fold.chars().count() <= MAX_FOLDED_CHARS, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn so_is_every_text(text in "\\PC{0,12}", marks in "[i\u{130}\u{131}\u{300}-\u{345}\u{323}\u{328}]{0,6}") {
            let text = text + &marks;
            let fold = folded(&text);
            prop_assert_eq!(&folded(&fold), &fold);
            prop_assert_eq!(&folded(&nfc(&text)), &fold);
            prop_assert_eq!(&folded(&nfd(&text)), &fold);
            prop_assert_eq!(folded(&text.to_lowercase()), fold);
        }
    }
}
