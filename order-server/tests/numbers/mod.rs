//! Finds the arguments of a command that are numbers, and records panics while they are tried.

use std::{
    any::TypeId,
    num::NonZeroU32,
    sync::{Arc, Mutex},
};

use clap::Arg;

/// The panics of this process.
pub struct Panics(Arc<Mutex<Vec<String>>>);

impl Panics {
    /// Records panics from now on, besides reporting them as before.
    pub fn record() -> Self {
        let panics = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&panics);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            seen.lock().unwrap().push(panic.to_string());
            before(panic);
        }));
        Self(panics)
    }

    /// The panics since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

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
