//! A headless browser, and what a person does with one: looks, clicks, types.

#![allow(dead_code)] // Each test file uses its part.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use chromiumoxide::{
    Browser as Chromium, BrowserConfig, Page,
    cdp::{
        browser_protocol::{
            emulation::{MediaFeature, SetDeviceMetricsOverrideParams},
            input::{DispatchKeyEventParams, DispatchKeyEventType},
            log::EventEntryAdded,
            network::{EnableParams, EventRequestWillBeSent},
            page::CaptureScreenshotFormat,
        },
        js_protocol::runtime::EventExceptionThrown,
    },
    detection::{DetectionOptions, default_executable},
    page::ScreenshotParams,
};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

/// Far beyond what a page takes, also on a machine that does something else besides.
const LIMIT: Duration = Duration::from_secs(30);
/// Finds what keeps people out of a page: <https://github.com/dequelabs/axe-core>.
const AXE: &str = include_str!("axe.min.js");

/// A browser with a profile of its own, which goes with it.
pub struct Browser {
    chromium: Chromium,
    handler: JoinHandle<()>,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further switches, without their dashes.
    pub async fn start_with(switches: &[&str]) -> Self {
        let executable = default_executable(DetectionOptions::default()).unwrap_or_else(|_| {
            panic!("there is no browser: run ./scripts/test, or apt-get install chromium")
        });
        let profile = tempfile::tempdir().unwrap();
        // It shows pages of this test only, and root has no sandbox.
        let config = BrowserConfig::builder()
            .chrome_executable(executable)
            .user_data_dir(profile.path())
            .no_sandbox()
            .args(["disable-gpu", "hide-scrollbars", "lang=en-GB"])
            .args(switches.iter().copied())
            .build()
            .unwrap();
        let (chromium, mut events) = Chromium::launch(config).await.unwrap();
        let handler = tokio::spawn(async move { while events.next().await.is_some() {} });
        Self {
            chromium,
            handler,
            _profile: profile,
        }
    }

    /// Opens a page; what it asks for and what goes wrong in it is kept from the start.
    pub async fn open(&self, url: &str) -> Tab {
        let page = self.chromium.new_page("about:blank").await.unwrap();
        let tab = Tab {
            requests: Arc::default(),
            troubles: Arc::default(),
            page,
        };
        tab.listen().await;
        tab.size(1280, 900).await;
        tab.page.goto(url).await.unwrap();
        tab
    }

    pub async fn close(mut self) {
        self.chromium.close().await.unwrap();
        self.chromium.wait().await.unwrap();
        self.handler.abort();
    }
}

/// A page in the browser.
pub struct Tab {
    page: Page,
    requests: Arc<Mutex<Vec<String>>>,
    troubles: Arc<Mutex<Vec<String>>>,
}

impl Tab {
    async fn listen(&self) {
        let page = &self.page;
        page.execute(EnableParams::default()).await.unwrap();
        page.enable_log().await.unwrap();
        page.enable_runtime().await.unwrap();
        let mut requests = page
            .event_listener::<EventRequestWillBeSent>()
            .await
            .unwrap();
        let mut entries = page.event_listener::<EventEntryAdded>().await.unwrap();
        let mut exceptions = page.event_listener::<EventExceptionThrown>().await.unwrap();
        let (asked, logged, thrown) = (
            Arc::clone(&self.requests),
            Arc::clone(&self.troubles),
            Arc::clone(&self.troubles),
        );
        tokio::spawn(async move {
            while let Some(event) = requests.next().await {
                asked.lock().unwrap().push(event.request.url.clone());
            }
        });
        tokio::spawn(async move {
            while let Some(event) = entries.next().await {
                let entry = &event.entry;
                let text = format!(
                    "{} {}",
                    entry.text,
                    entry.url.as_deref().unwrap_or_default()
                );
                logged.lock().unwrap().push(text);
            }
        });
        tokio::spawn(async move {
            while let Some(event) = exceptions.next().await {
                let text = format!("{:?}", event.exception_details);
                thrown.lock().unwrap().push(text);
            }
        });
    }

    /// All that the page has asked for.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// What the browser had to say: errors, refusals by the policy, exceptions.
    pub fn troubles(&self) -> Vec<String> {
        self.troubles.lock().unwrap().clone()
    }

    /// The value of an expression.
    pub async fn value<T: DeserializeOwned>(&self, expression: &str) -> T {
        let evaluated = self.page.evaluate(expression).await;
        let evaluated = evaluated.unwrap_or_else(|error| panic!("{expression}: {error}"));
        evaluated.into_value().unwrap()
    }

    /// Waits until an expression is true.
    pub async fn until(&self, expression: &str) {
        let start = Instant::now();
        while !self.value::<bool>(expression).await {
            if start.elapsed() > LIMIT {
                let text: String = self.value("document.body.innerText").await;
                panic!("never: {expression}\n{text}\n{:?}", self.troubles());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until what `selector` finds shows `text`.
    pub async fn shows(&self, selector: &str, text: &str) {
        let (selector, text) = (serde_json::json!(selector), serde_json::json!(text));
        self.until(&format!(
            "[...document.querySelectorAll({selector})].some((node) => \
             node.checkVisibility() && node.textContent.includes({text}))"
        ))
        .await;
    }

    /// Clicks, with the pointer, where it can be seen.
    pub async fn click(&self, selector: &str) {
        let found = serde_json::json!(selector);
        self.until(&format!("document.querySelector({found}) !== null"))
            .await;
        let element = self.page.find_element(selector).await.unwrap();
        element.click().await.unwrap();
    }

    /// Types into a field.
    pub async fn enter(&self, selector: &str, text: &str) {
        let field = self.page.find_element(selector).await.unwrap();
        field.focus().await.unwrap();
        field.type_str(text).await.unwrap();
    }

    /// Presses a key, wherever the focus is.
    pub async fn press(&self, key: &str, code: i64) {
        for kind in [DispatchKeyEventType::KeyDown, DispatchKeyEventType::KeyUp] {
            let mut event = DispatchKeyEventParams::builder()
                .r#type(kind)
                .key(key)
                .code(key)
                .windows_virtual_key_code(code);
            if key == "Enter" {
                event = event.text("\r");
            }
            self.page.execute(event.build().unwrap()).await.unwrap();
        }
    }

    /// Chooses an option of a list.
    pub async fn choose(&self, selector: &str, value: &str) {
        let (selector, value) = (serde_json::json!(selector), serde_json::json!(value));
        self.value::<bool>(&format!(
            "(() => {{ const list = document.querySelector({selector}); list.value = {value}; \
             return list.dispatchEvent(new Event('change')); }})()"
        ))
        .await;
    }

    pub async fn size(&self, width: i64, height: i64) {
        let size = SetDeviceMetricsOverrideParams::new(width, height, 1.0, false);
        self.page.execute(size).await.unwrap();
    }

    /// What the system of whoever looks prefers.
    pub async fn system_prefers(&self, scheme: &str) {
        let feature = MediaFeature::new("prefers-color-scheme", scheme);
        let features = vec![feature];
        self.page.emulate_media_features(features).await.unwrap();
    }

    /// Keeps a picture of the whole page, where tests put what they make.
    pub async fn picture(&self, name: &str) -> PathBuf {
        let whole = ScreenshotParams::builder()
            .format(CaptureScreenshotFormat::Png)
            .full_page(true)
            .build();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
        self.page.save_screenshot(whole, &path).await.unwrap();
        path
    }

    /// What would keep people out of the page as it is now.
    pub async fn barriers(&self) -> Vec<String> {
        if !self.value::<bool>("typeof axe === 'object'").await {
            self.page.evaluate(AXE).await.unwrap();
        }
        self.value(
            "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => \
             `${id}: ${nodes.map(({ html }) => html).join(' ')}`))",
        )
        .await
    }
}
