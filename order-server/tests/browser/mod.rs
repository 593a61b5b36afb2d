//! A headless browser, and what a person does with one: looks, clicks, types.

#![allow(dead_code)] // Each test file uses its part.

mod devtools;

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use devtools::DevTools;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// Far beyond what a page takes, also on a machine that does something else besides.
const LIMIT: Duration = Duration::from_secs(30);
/// Finds what keeps people out of a page: <https://github.com/dequelabs/axe-core>.
const AXE: &str = include_str!("axe.min.js");
/// What Chromium is called, where programs are found by name.
const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "chrome",
    "google-chrome-stable",
];
/// Where it is on a Mac.
const APPLICATIONS: [&str; 2] = [
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
];
/// It does nothing of its own, asks nothing at its start, and shows pages of these tests only: root
/// has no sandbox.
const SWITCHES: [&str; 13] = [
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-sandbox",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--hide-scrollbars",
    "--lang=en-GB",
];

/// A browser with a profile of its own, which goes with it.
pub struct Browser {
    process: Child,
    devtools: DevTools,
    /// Where its pages are told what to do, before their ids.
    pages: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further switches.
    pub async fn start_with(switches: &[&str]) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut process = Command::new(executable())
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(SWITCHES)
            .args(switches)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let address = timeout(LIMIT, async {
            let mut said = String::new();
            while stderr.read_line(&mut said).await.unwrap() > 0 {
                let line = said.lines().last().unwrap_or_default();
                if let Some(address) = line.strip_prefix("DevTools listening on ") {
                    return address.to_owned();
                }
            }
            panic!("the browser ended: {said}");
        });
        let address = address.await.unwrap();
        // What it says later is taken from it, so that it never waits for a reader.
        tokio::spawn(async move { stderr.read_to_end(&mut Vec::new()).await });
        let (origin, _) = address.split_once("/devtools/browser/").unwrap();
        Self {
            process,
            devtools: DevTools::connect(&address, |_, _| {}).await,
            pages: format!("{origin}/devtools/page/"),
            _profile: profile,
        }
    }

    /// Opens a page; what it asks for and what goes wrong in it is kept from the start.
    pub async fn open(&self, url: &str) -> Tab {
        let blank = json!({ "url": "about:blank" });
        let target = self.devtools.call("Target.createTarget", blank).await;
        let page = format!("{}{}", self.pages, target["targetId"].as_str().unwrap());
        let tab = Tab::connect(&page).await;
        tab.size(1280, 900).await;
        tab.call("Page.navigate", json!({ "url": url })).await;
        tab.until("document.readyState === 'complete'").await;
        tab
    }

    pub async fn close(mut self) {
        self.devtools.call("Browser.close", json!({})).await;
        timeout(LIMIT, self.process.wait()).await.unwrap().unwrap();
    }
}

/// Where Chromium is: `CHROME` says it, or one of its names is found.
fn executable() -> PathBuf {
    let told = env::var_os("CHROME").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let named = env::split_paths(&path).flat_map(|folder| NAMES.map(|name| folder.join(name)));
    told.into_iter()
        .chain(named)
        .chain(APPLICATIONS.map(PathBuf::from))
        .find(|file| file.is_file())
        .unwrap_or_else(|| {
            panic!("there is no browser: run ./scripts/test, or apt-get install chromium")
        })
}

/// A page in the browser.
pub struct Tab {
    devtools: DevTools,
    requests: Arc<Mutex<Vec<String>>>,
    troubles: Arc<Mutex<Vec<String>>>,
}

impl Tab {
    async fn connect(url: &str) -> Self {
        let (requests, troubles) = (Arc::default(), Arc::default());
        let (asked, told) = (Arc::clone(&requests), Arc::clone(&troubles));
        let keep = |kept: &Mutex<Vec<String>>, text: String| kept.lock().unwrap().push(text);
        let devtools = DevTools::connect(url, move |event, params| match event {
            "Network.requestWillBeSent" => keep(&asked, text(&params["request"]["url"])),
            "Log.entryAdded" => {
                let entry = &params["entry"];
                keep(
                    &told,
                    format!("{} {}", text(&entry["text"]), text(&entry["url"])),
                );
            }
            "Runtime.exceptionThrown" => keep(&told, params["exceptionDetails"].to_string()),
            _ => {}
        })
        .await;
        for domain in ["Page", "Network", "Log", "Runtime"] {
            devtools.call(&format!("{domain}.enable"), json!({})).await;
        }
        Self {
            devtools,
            requests,
            troubles,
        }
    }

    async fn call(&self, method: &str, params: Value) -> Value {
        self.devtools.call(method, params).await
    }

    /// All that the page has asked for.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// What the browser had to say: errors, refusals by the policy, exceptions.
    pub fn troubles(&self) -> Vec<String> {
        self.troubles.lock().unwrap().clone()
    }

    /// The value of an expression, or of its promise; what it threw, or what else went wrong.
    async fn evaluated(&self, expression: &str) -> Result<Value, String> {
        let params = json!({
            "expression": expression,
            "awaitPromise": true,
            "returnByValue": true,
            "userGesture": true,
        });
        let mut answer = self.devtools.try_call("Runtime.evaluate", params).await?;
        match answer.get("exceptionDetails") {
            Some(thrown) => Err(thrown.to_string()),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// The value of an expression.
    pub async fn value<T: DeserializeOwned>(&self, expression: &str) -> T {
        let value = self.evaluated(expression).await;
        let value = value.unwrap_or_else(|error| panic!("{expression}: {error}"));
        serde_json::from_value(value).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Waits until an expression is true; a page that changes to another one has no value.
    pub async fn until(&self, expression: &str) {
        let start = Instant::now();
        loop {
            let value = self.evaluated(expression).await;
            if value == Ok(Value::Bool(true)) {
                return;
            }
            if start.elapsed() > LIMIT {
                let text: String = self.value("document.body.innerText").await;
                let troubles = self.troubles();
                panic!("never: {expression}: {value:?}\n{text}\n{troubles:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until what `selector` finds shows `text`.
    pub async fn shows(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.until(&format!(
            "[...document.querySelectorAll({selector})].some((node) => \
             node.checkVisibility() && node.textContent.includes({text}))"
        ))
        .await;
    }

    /// Clicks, with the pointer, where it can be seen.
    pub async fn click(&self, selector: &str) {
        let found = json!(selector);
        self.until(&format!("document.querySelector({found}) !== null"))
            .await;
        let [x, y]: [f64; 2] = self
            .value(&format!(
                "(() => {{ const node = document.querySelector({found}); \
                 node.scrollIntoView({{ block: 'center', inline: 'center', behavior: 'instant' }}); \
                 const {{ x, y, width, height }} = node.getClientRects()[0]; \
                 return [x + width / 2, y + height / 2]; }})()"
            ))
            .await;
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let button = if kind == "mouseMoved" { "none" } else { "left" };
            let event = json!({ "type": kind, "x": x, "y": y, "button": button, "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Types into a field.
    pub async fn enter(&self, selector: &str, text: &str) {
        let found = json!(selector);
        self.value::<Option<bool>>(&format!("void document.querySelector({found}).focus()"))
            .await;
        for typed in text.chars() {
            let down = json!({ "type": "keyDown", "key": typed, "text": typed });
            self.call("Input.dispatchKeyEvent", down).await;
            let up = json!({ "type": "keyUp", "key": typed });
            self.call("Input.dispatchKeyEvent", up).await;
        }
    }

    /// Presses a key, wherever the focus is.
    pub async fn press(&self, key: &str, code: i64) {
        for kind in ["keyDown", "keyUp"] {
            let mut event =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            if key == "Enter" {
                event["text"] = json!("\r");
            }
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Chooses an option of a list.
    pub async fn choose(&self, selector: &str, value: &str) {
        let (selector, value) = (json!(selector), json!(value));
        self.value::<bool>(&format!(
            "(() => {{ const list = document.querySelector({selector}); list.value = {value}; \
             return list.dispatchEvent(new Event('change')); }})()"
        ))
        .await;
    }

    pub async fn size(&self, width: i64, height: i64) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// What the system of whoever looks prefers.
    pub async fn system_prefers(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let media = json!({ "features": features });
        self.call("Emulation.setEmulatedMedia", media).await;
    }

    /// Keeps a picture of the whole page, where tests put what they make.
    pub async fn picture(&self, name: &str) -> PathBuf {
        let size = &self.call("Page.getLayoutMetrics", json!({})).await["cssContentSize"];
        let (width, height) = (&size["width"], &size["height"]);
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let whole = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.call("Page.captureScreenshot", whole).await;
        let picture = BASE64_STANDARD.decode(text(&picture["data"])).unwrap();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
        std::fs::write(&path, picture).unwrap();
        path
    }

    /// What would keep people out of the page as it is now.
    pub async fn barriers(&self) -> Vec<String> {
        if !self.value::<bool>("typeof axe === 'object'").await {
            self.evaluated(AXE).await.unwrap();
        }
        self.value(
            "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => \
             `${id}: ${nodes.map(({ html }) => html).join(' ')}`))",
        )
        .await
    }
}

/// The text that a value is; empty when it is none.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
