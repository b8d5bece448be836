//! What `image publish` makes, in a real Incus. Needs root, Incus (Debian has it, from 13 or bookworm's backports), python3 and
//! openssl; says which is missing, and passes.

mod scratch;

use cloudbox::steps::tool::Tool;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where Debian keeps the daemon.
const INCUSD: &str = "/usr/libexec/incus/incusd";
/// A machine with much other work to do is given time.
const PATIENCE: Duration = Duration::from_secs(180);
/// Incus takes no server without TLS.
const SERVER: &str = "import functools, http.server, ssl, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer((\'127.0.0.1\', int(sys.argv[2])), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(\'cert.pem\', \'key.pem\')
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
";

/// An Incus and a web server of our own.
struct Bench {
    base: PathBuf,
    running: Vec<Child>,
}

impl Bench {
    fn new() -> Bench {
        let place = std::env::var_os("CLOUDBOX_TEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
        let base = place.join(format!("incus-{}", std::process::id()));
        fs::create_dir_all(base.join("incus")).unwrap();
        Bench { base: base.canonicalize().unwrap(), running: Vec::new() }
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.base).stdin(Stdio::null()).process_group(0);
        command.env("INCUS_DIR", self.base.join("incus")).env("INCUS_CONF", self.base.join("client"));
        command.env("HOME", &self.base).env("SSL_CERT_FILE", self.base.join("cert.pem"));
        // Nothing is asked outside of this machine.
        command.env("https_proxy", "http://127.0.0.1:9").env("no_proxy", "localhost,127.0.0.1");
        command
    }

    fn start(&mut self, program: &str, arguments: &[&str]) {
        let log = fs::File::create(self.base.join(format!("{}.log", self.running.len()))).unwrap();
        let mut command = self.command(program);
        command.args(arguments).stdout(log.try_clone().unwrap()).stderr(log);
        self.running.push(command.spawn().unwrap());
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(program).args(arguments).output().unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(said(&output.stdout)),
            false => Err(said(&output.stderr)),
        }
    }

    #[track_caller]
    fn incus(&self, words: &str) -> String {
        let arguments: Vec<&str> = words.split(' ').collect();
        self.run("incus", &arguments).unwrap_or_else(|said| panic!("incus {words}: {said}"))
    }

    #[track_caller]
    fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}: not in {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.run("incus", &["delete", "--force", "guest"]);
        let _ = self.run("incus", &["admin", "shutdown", "--force", "--timeout", "30"]);
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
        scratch::remove(&self.base);
    }
}

/// What keeps the test from running.
fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("root".into());
    }
    if !Path::new(INCUSD).exists() {
        return Some("Incus".into());
    }
    ["incus", "python3", "openssl", "xz"].into_iter().find(|tool| Tool::find(tool).is_err()).map(String::from)
}

#[test]
fn a_published_image_is_launched_by_incus() {
    let image = ["CLOUDBOX_TEST_IMAGE", "CLOUDBOX_TEST_MINI"].into_iter().find_map(std::env::var_os);
    let lacking = missing().or_else(|| image.is_none().then(|| "CLOUDBOX_TEST_IMAGE".into()));
    if let Some(missing) = lacking {
        return println!("skipped: a published image in Incus: {missing} is missing");
    }
    let image = PathBuf::from(image.unwrap());
    let mut bench = Bench::new();
    let image = image.to_str().unwrap();
    bench.run(env!("CARGO_BIN_EXE_cloudbox"), &["image", "publish", "www", image, "--name", "ours"]).unwrap();
    let request =
        "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost \
                   -addext subjectAltName=DNS:localhost";
    let request: Vec<&str> = request.split_whitespace().collect();
    bench.run("openssl", &request).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    bench.start("python3", &["-c", SERVER, "www", &port.to_string()]);
    bench.wait_until("the web server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    bench.start(INCUSD, &["--group", "root"]);
    bench.wait_until("incusd", || bench.run("incus", &["info"]).is_ok());
    bench.incus("storage create pool dir");
    bench.incus("profile device add default root disk path=/ pool=pool");
    bench.incus(&format!("remote add box https://localhost:{port} --protocol simplestreams"));
    bench.incus("launch box:ours guest");
    let inside = bench.incus("exec guest -- cat /etc/os-release");
    assert!(inside.contains("ID="), "{inside}");
    // Its own init has brought it up.
    bench.wait_until("the guest's init", || {
        bench
            .run(
                "incus",
                &["exec", "guest", "--", "sh", "-c", "test -e /run/systemd/system -o -e /bin/busybox"],
            )
            .is_ok()
    });
}
