//! The parts of the server that the other programs of this project run with: settings, the log,
//! metrics, and the description of the API.

pub use crate::{
    api::{answers, openapi_document},
    config::{
        Database, Redis, TaskOptions, WorkerSettings, bind_addr, one_line, one_of, parse,
        parse_from,
    },
    metrics::{Metrics, collector},
    metrics_server::MetricsServer,
    telemetry::{LogFormat, init as init_telemetry, stop_signal},
};
