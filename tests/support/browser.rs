//! A real browser without a window, driven over WebDriver: just enough to open a page, ask it things, and
//! take its picture.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long a page may take to show what it is to show.
const SOON: Duration = Duration::from_secs(30);

/// A browser, ended when dropped.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    /// The browser's own.
    process: Option<u64>,
    profile: PathBuf,
}

impl Browser {
    /// Starts one whose window is this wide and high.
    pub fn start(width: u32, height: u32) -> Self {
        let mut driver = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "chromedriver", "--port=0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Its end of the pipe stays open, for it may have more to say.
        let mut lines = BufReader::new(driver.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
        // Before it says which port it has found it says that it was asked for port 0.
        let port = lines.find_map(|line| {
            let port: u16 = line.rsplit_once(" on port ")?.1.trim_end_matches('.').parse().ok()?;
            Some(port).filter(|port| *port != 0)
        });
        let port = port
            .expect("chromedriver must run: scripts/install chromium=chromium chromedriver=chromium-driver");
        let profile = crate::folder::temporary().join(format!("browser-{}-{port}", std::process::id()));
        let size = format!("--window-size={width},{height}");
        let directory = format!("--user-data-dir={}", profile.display());
        let arguments = [
            "--headless",
            // Its sandbox is nothing that root can have.
            "--no-sandbox",
            // The browser ends along with the driver, however that ends.
            "--remote-debugging-pipe",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            &size,
            &directory,
        ];
        let options = json!({ "goog:chromeOptions": { "args": arguments } });
        let mut browser = Self { driver, port, session: String::new(), process: None, profile };
        let session =
            browser.call("POST", "/session", &json!({ "capabilities": { "alwaysMatch": options } }));
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        browser.process = session["capabilities"]["goog:processID"].as_u64();
        browser.tell(
            "POST",
            "goog/cdp/execute",
            &json!({
                "cmd": "Emulation.setDeviceMetricsOverride",
                "params": { "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true },
            }),
        );
        browser
    }

    pub fn open(&self, url: &str) {
        self.tell("POST", "url", &json!({ "url": url }));
    }

    /// Runs a script, and returns its value.
    pub fn ask(&self, script: &str) -> Value {
        self.tell("POST", "execute/sync", &json!({ "script": format!("return {script}"), "args": [] }))
    }

    /// Asks until the answer is this one.
    pub fn until(&self, script: &str, expected: &Value) {
        let began = Instant::now();
        loop {
            let answer = self.ask(script);
            if answer == *expected {
                return;
            }
            assert!(began.elapsed() < SOON, "{script} is {answer}, not {expected}");
        }
    }

    /// Makes believe that the reader prefers dark colours, or light ones.
    pub fn prefer(&self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        let command = json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": [feature] } });
        self.tell("POST", "goog/cdp/execute", &command);
    }

    /// A picture of what is to be seen, as a PNG file of this name.
    pub fn picture(&self, name: &str) -> PathBuf {
        let picture = self.tell("GET", "screenshot", &Value::Null);
        let path = crate::folder::temporary().join(name);
        std::fs::write(&path, base64(picture.as_str().unwrap())).unwrap();
        path
    }

    fn tell(&self, method: &str, what: &str, told: &Value) -> Value {
        self.call(method, &format!("/session/{}/{what}", self.session), told)
    }

    fn call(&self, method: &str, path: &str, told: &Value) -> Value {
        let body = if told.is_null() { String::new() } else { told.to_string() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n").unwrap();
        write!(stream, "content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut reader = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        while reader.read_line(&mut head).unwrap() > 2 {
            let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
            if let Some(told) = line.strip_prefix("content-length:") {
                length = told.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{method} {path}: {answer}");
        answer["value"].take()
    }
}

impl Drop for Browser {
    /// Ends the browser: first by the driver, which ends it only on command, also where a test has failed;
    /// then by the number of its process, if the driver does not.
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
                stream.set_read_timeout(Some(SOON))?;
                write!(stream, "DELETE /session/{} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", self.session)?;
                stream.read(&mut [0; 1024])
            });
        }
        if let Some(browser) = self.process.filter(|id| Path::new(&format!("/proc/{id}")).exists()) {
            let _ = Command::new("kill").args(["-KILL", &browser.to_string()]).status();
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

fn base64(text: &str) -> Vec<u8> {
    let sextet = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let text = text.trim_end_matches('=').as_bytes();
    let octets = text.chunks(4).flat_map(|chunk| {
        let number = chunk
            .iter()
            .enumerate()
            .fold(0u32, |number, (at, byte)| number | u32::from(sextet(*byte)) << (18 - 6 * at));
        number.to_be_bytes().into_iter().skip(1).take(chunk.len() - 1)
    });
    octets.collect()
}
