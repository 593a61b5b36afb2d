//! Objects that are read from objects alone.
//!
//! What serde derives for a struct also takes an array of its fields, in their order. A client that
//! sends one has made a mistake, and what it would mean changes with every new field.

use serde::{Deserializer, de::Visitor, forward_to_deserialize_any};

/// Reads an object, and refuses whatever else comes.
pub(crate) struct ObjectOnly<D>(pub(crate) D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectOnly<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Reads these types, which derive `Deserialize` with `#[serde(remote = "Self")]`, from objects alone.
macro_rules! read_from_objects {
    ($($object:ty),+ $(,)?) => {$(
        impl<'de> ::serde::Deserialize<'de> for $object {
            fn deserialize<D: ::serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
                <$object>::deserialize($crate::http::object::ObjectOnly(reader))
            }
        }
    )+};
}

pub(crate) use read_from_objects;
