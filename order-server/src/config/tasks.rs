//! Settings of post-sale tasks.

use std::{convert::Infallible, fmt, str::FromStr, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use order_core::{
    Worker,
    process::{
        LogProcessor, OrderProcessor, ProcessOptions, Processing, SimulatedProcessor,
        WebhookOptions, WebhookProcessor,
    },
};

use super::values::{millis, positive};

/// Settings of post-sale tasks, for the worker in the server and for worker processes alike.
#[derive(Clone, Debug, Args)]
pub struct TaskOptions {
    /// What to do for each sold order: log (the default), simulate:DURATION (such as
    /// simulate:250ms), webhook:URL, or off, which leaves it to other processes
    #[arg(
        long,
        env,
        default_value = "log",
        hide_default_value = true,
        hide_env_values = true
    )]
    pub processor: Hidden,

    /// Attempts to process a sold order before it becomes a dead letter
    #[arg(long, env, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    pub process_max_attempts: u32,

    /// Milliseconds between a sale and its processing, in which the order can still be cancelled
    /// without any effect
    #[arg(long, env, default_value_t = 2_000)]
    pub process_delay_ms: u64,

    /// Sold orders that a worker processes at the same time
    #[arg(long, env, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub process_concurrency: u32,

    /// Milliseconds that one attempt may take
    #[arg(long, env, default_value_t = 30_000, value_parser = positive())]
    pub process_timeout_ms: u64,

    /// Milliseconds until the retry after the first failed attempt; each further failure doubles
    /// them, up to an hour
    #[arg(long, env, default_value_t = 1_000, value_parser = positive())]
    pub process_retry_ms: u64,

    /// Secrets that sign webhooks (whsec_…), separated by commas; each of them signs, so that one
    /// can replace another
    #[arg(
        long,
        env,
        value_delimiter = ',',
        value_name = "SECRET",
        hide_default_value = true,
        hide_env_values = true
    )]
    pub webhook_secrets: Vec<Hidden>,

    /// Allow webhooks to addresses that only this machine or its network can reach
    #[arg(long, env)]
    pub webhook_allow_private: bool,
}

/// A text that is not shown, neither by `Debug` nor in an error about it.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl FromStr for Hidden {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl TaskOptions {
    /// The processor and its options; `None` when it is off.
    ///
    /// # Errors
    /// When the processor is unknown, or its settings are incomplete or wrong.
    pub fn processing(&self) -> anyhow::Result<Option<Processing>> {
        let Some(processor) = self.processor()? else {
            return Ok(None);
        };
        let options = ProcessOptions::default()
            .with_concurrency(usize::try_from(self.process_concurrency).unwrap_or(usize::MAX))
            .with_delay(millis(self.process_delay_ms))
            .with_timeout(millis(self.process_timeout_ms))
            .with_max_attempts(self.process_max_attempts)
            .with_first_delay(millis(self.process_retry_ms));
        Ok(Some(Processing::new(processor, options)))
    }

    /// The time between a sale and its processing.
    #[must_use]
    pub fn process_delay(&self) -> Duration {
        millis(self.process_delay_ms)
    }

    /// Gives `worker` the processor of these settings, unless it is off.
    ///
    /// # Errors
    /// As [`processing`](Self::processing).
    pub fn attach_processor(&self, worker: Worker) -> anyhow::Result<Worker> {
        Ok(match self.processing()? {
            Some(processing) => worker.processing(processing),
            None => worker,
        })
    }

    fn processor(&self) -> anyhow::Result<Option<Arc<dyn OrderProcessor>>> {
        let (name, rest) = match self.processor.0.split_once(':') {
            Some((name, rest)) => (name, Some(rest)),
            None => (self.processor.0.as_str(), None),
        };
        let processor: Arc<dyn OrderProcessor> = match (name, rest) {
            ("off", None) => return Ok(None),
            ("log", None) => Arc::new(LogProcessor),
            ("simulate", Some(text)) => {
                let takes = duration(text).with_context(|| {
                    format!("processor: {text:?} is not a duration, such as 250ms")
                })?;
                Arc::new(SimulatedProcessor { takes })
            }
            ("webhook", Some(url)) => {
                let secrets = self.webhook_secrets.iter();
                let secrets = secrets
                    .map(|secret| secret.0.parse())
                    .collect::<Result<_, _>>()?;
                let options = WebhookOptions::new(url, secrets)
                    .with_allow_private(self.webhook_allow_private);
                Arc::new(WebhookProcessor::new(options)?)
            }
            _ => bail!("processor must be log, simulate:DURATION, webhook:URL or off"),
        };
        Ok(Some(processor))
    }
}

/// A whole number of `ms`, `s` or `m`.
fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let number: u32 = number.parse().ok()?;
    let unit = match unit {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_mins(1),
        _ => return None,
    };
    unit.checked_mul(number)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        settings: TaskOptions,
    }

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn read(arguments: &[&str]) -> TaskOptions {
        let arguments = ["program"].iter().chain(arguments);
        Program::try_parse_from(arguments).unwrap().settings
    }

    #[test]
    fn processors_are_named() {
        let webhook = [
            "--processor",
            "webhook:https://example.com",
            "--webhook-secrets",
            SECRET,
        ];
        for good in [
            &[][..],
            &["--processor", "log"],
            &["--processor", "off"],
            &["--processor", "simulate:250ms"],
            &["--processor", "simulate:2m"],
            &webhook,
        ] {
            assert!(read(good).processing().is_ok(), "{good:?}");
        }
        let two = format!("{SECRET},{SECRET}");
        let rotated = [&webhook[..3], &[&two]].concat();
        assert_eq!(read(&rotated).webhook_secrets.len(), 2);
        for bad in [
            "nothing",
            "log:x",
            "simulate",
            "simulate:",
            "simulate:5",
            "simulate:-5s",
            "simulate:5h",
            "webhook",
            "webhook:",
            "webhook:https://example.com",
        ] {
            assert!(read(&["--processor", bad]).processing().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_secret_is_not_shown_even_when_it_is_wrong() {
        let settings = read(&[
            "--processor",
            "webhook:https://example.com/?s3cr3t",
            "--webhook-secrets",
            "s3cr3t",
        ]);
        let wrong = settings.processing().err().unwrap();
        let shown = format!("{settings:?} {wrong:#}");
        assert!(!shown.contains("s3cr3t"), "{shown}");
        let help = Program::command()
            .mut_arg("webhook_secrets", |argument| {
                argument.default_value("s3cr3t")
            })
            .render_long_help();
        assert!(!help.to_string().contains("s3cr3t"), "{help}");
        let private = read(&["--processor", "webhook:http://s3cr3t@10.0.0.1"]);
        let wrong = format!("{:#}", private.processing().err().unwrap());
        assert!(!wrong.contains("s3cr3t"), "{wrong}");
    }
}
