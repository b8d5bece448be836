//! A small web server for tests: serves what it is given, and fails as servers do. No test uses all of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// What a request for a file leads to, instead of the file.
#[derive(Debug, Clone, PartialEq)]
pub enum Mischief {
    /// This status.
    Status(u16),
    /// A redirect there.
    Redirect(String),
    /// Only so many bytes, then the end of the connection.
    Cut(usize),
    /// Only so many bytes, and nothing more until [`Web::go_on`].
    Hold(usize),
    /// The whole file, whatever range was asked for.
    NoRange,
    /// The file again and again, without an end.
    Endless,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// What happens with a file; the flag: once only.
    mischief: Vec<(String, Mischief, bool)>,
    requests: Vec<String>,
    held: usize,
    go_on: bool,
}

/// The server; it ends with the test's process.
#[derive(Clone)]
pub struct Web {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Web {
    /// One that has no files yet.
    pub fn start() -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let web = Web { address: listener.local_addr().unwrap(), state: Arc::default() };
        let server = web.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                // Whoever asked may have gone.
                thread::spawn(move || drop(server.answer(stream)));
            }
        });
        web
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves every file below `directory`.
    pub fn serve(&self, directory: &Path) {
        self.state.0.lock().unwrap().files.clear();
        self.add(directory, directory);
    }

    fn add(&self, root: &Path, directory: &Path) {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.add(root, &path);
            } else {
                let name = format!("/{}", path.strip_prefix(root).unwrap().display());
                self.put(&name, &std::fs::read(&path).unwrap());
            }
        }
    }

    /// Serves `content` as `path`.
    pub fn put(&self, path: &str, content: &[u8]) {
        self.state.0.lock().unwrap().files.insert(path.to_string(), content.to_vec());
    }

    /// Serves `path` no more.
    pub fn remove(&self, path: &str) {
        self.state.0.lock().unwrap().files.remove(path);
    }

    /// What is served as `path`.
    pub fn file(&self, path: &str) -> Vec<u8> {
        self.state.0.lock().unwrap().files[path].clone()
    }

    /// Lets the next request for `path` end so.
    pub fn once(&self, path: &str, mischief: Mischief) {
        self.state.0.lock().unwrap().mischief.push((path.to_string(), mischief, true));
    }

    /// Lets every request for `path` end so.
    pub fn always(&self, path: &str, mischief: Mischief) {
        self.state.0.lock().unwrap().mischief.push((path.to_string(), mischief, false));
    }

    /// Is well-behaved again.
    pub fn behave(&self) {
        self.state.0.lock().unwrap().mischief.clear();
    }

    /// The requests since the last time, `/path` or `/path from 1000`.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.0.lock().unwrap().requests)
    }

    /// Waits until a request is held.
    pub fn wait_until_held(&self) {
        let (lock, changed) = &*self.state;
        let waited =
            changed.wait_timeout_while(lock.lock().unwrap(), Duration::from_secs(60), |s| s.held == 0);
        assert!(!waited.unwrap().1.timed_out(), "nothing was asked for");
    }

    /// Lets what is held go on.
    pub fn go_on(&self) {
        self.state.0.lock().unwrap().go_on = true;
        self.state.1.notify_all();
    }

    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or("/").to_string();
        let mut from = None;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
                break;
            }
            let header = header.to_ascii_lowercase();
            if let Some(range) = header.strip_prefix("range: bytes=") {
                from = range.trim().trim_end_matches('-').parse::<usize>().ok();
            }
        }
        let (content, mischief) = {
            let mut state = self.state.0.lock().unwrap();
            let from = from.map_or_else(String::new, |from| format!(" from {from}"));
            state.requests.push(format!("{path}{from}"));
            let at = state.mischief.iter().position(|(of, _, _)| *of == path);
            let mischief = at.map(|at| match state.mischief[at].2 {
                true => state.mischief.remove(at).1,
                false => state.mischief[at].1.clone(),
            });
            (state.files.get(&path).cloned(), mischief)
        };
        self.send(stream, content, from, mischief)
    }

    fn send(
        &self,
        mut stream: TcpStream,
        content: Option<Vec<u8>>,
        from: Option<usize>,
        mischief: Option<Mischief>,
    ) -> std::io::Result<()> {
        let mut say = |status: &str, headers: &str, length: usize| {
            write!(
                stream,
                "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
            )
        };
        match &mischief {
            Some(Mischief::Status(status)) => return say(&format!("{status} Odd"), "", 0),
            Some(Mischief::Redirect(to)) => return say("302 Found", &format!("Location: {to}\r\n"), 0),
            _ => {}
        }
        let Some(content) = content else { return say("404 Not Found", "", 0) };
        if mischief == Some(Mischief::Endless) {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&content)?;
            }
        }
        let from = from.filter(|_| mischief != Some(Mischief::NoRange));
        let body = match from {
            Some(from) if from >= content.len() => {
                return say(
                    "416 Range Not Satisfiable",
                    &format!("Content-Range: bytes */{}\r\n", content.len()),
                    0,
                )
            }
            Some(from) => {
                let range =
                    format!("Content-Range: bytes {from}-{}/{}\r\n", content.len() - 1, content.len());
                say("206 Partial Content", &range, content.len() - from)?;
                &content[from..]
            }
            None => {
                say("200 OK", "", content.len())?;
                &content[..]
            }
        };
        match mischief {
            Some(Mischief::Cut(bytes)) => stream.write_all(&body[..bytes.min(body.len())]),
            Some(Mischief::Hold(bytes)) => {
                stream.write_all(&body[..bytes])?;
                let (lock, changed) = &*self.state;
                let mut state = lock.lock().unwrap();
                state.held += 1;
                changed.notify_all();
                let mut state = changed.wait_while(state, |state| !state.go_on).unwrap();
                state.held -= 1;
                drop(state);
                stream.write_all(&body[bytes..])
            }
            _ => stream.write_all(body),
        }
    }
}
