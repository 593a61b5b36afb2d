//! What is said to the database: every statement, as the driver logs it.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, OnceLock},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Begins to listen, for all of the process: connections have threads of their own.
pub fn listen() {
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(|| tracing::subscriber::set_global_default(Listener).unwrap());
}

/// What was said since the last time, without what migrates and what makes things older for tests.
pub fn taken() -> BTreeSet<String> {
    let mut said = std::mem::take(&mut *SAID.lock().unwrap());
    said.retain(|statement| {
        let verbs = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];
        let ages = statement.starts_with("UPDATE")
            && (statement.contains(" - ?1") || statement.contains("?1 / 1000000"));
        let migrates = statement.contains("_sqlx_");
        verbs.iter().any(|verb| statement.starts_with(verb)) && !migrates && !ages
    });
    said
}

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn event(&self, event: &Event<'_>) {
        let mut statement = Statement::default();
        event.record(&mut statement);
        // The driver tells a long statement by its first words, and then all of it.
        let Statement { summary, all } = statement;
        let text = if all.is_empty() { summary } else { all };
        let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        SAID.lock().unwrap().insert(one_line);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Statement {
    summary: String,
    all: String,
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.all),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
