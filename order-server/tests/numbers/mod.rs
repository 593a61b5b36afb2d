//! Finds the arguments of a command that are numbers.

use std::{any::TypeId, num::NonZeroU32};

use clap::Arg;

pub fn is_a_number(argument: &Arg) -> bool {
    let kind = argument.get_value_parser().type_id();
    let numbers = [
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
        TypeId::of::<i64>(),
        TypeId::of::<NonZeroU32>(),
    ];
    numbers.iter().any(|number| kind == *number)
}
