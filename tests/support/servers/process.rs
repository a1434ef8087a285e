//! A child process that ends with its value, and with the test program however that ends.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::wait::{SOON, until};

pub(super) struct Process(Child);

impl Process {
    /// Starts a program; `arrange` sets what else its command needs.
    pub(super) fn start(program: &str, arrange: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program]);
        arrange(&mut command);
        Self(
            spawn(command).unwrap_or_else(|error| {
                panic!("setpriv must run ({error}): scripts/install setpriv=util-linux")
            }),
        )
    }

    /// Of the program itself, since `setpriv` becomes what it starts.
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    pub(super) fn wait(&mut self) {
        until(SOON, "the process ends", || self.ended().is_some());
    }

    pub(super) fn kill(&mut self) {
        self.0.kill().unwrap();
        let _ = self.0.wait().unwrap();
    }

    pub(super) fn signal(&mut self, name: &str) {
        assert_eq!(self.ended(), None, "a process that runs is sent {name}");
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Stops it, and returns when none of its threads runs any more.
    pub(super) fn pause(&mut self) {
        self.signal("STOP");
        until(SOON, "all threads are stopped", || {
            let mut threads = fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
            threads.all(|thread| state(thread.unwrap().path()) == Some('T'))
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a process of this id is there and not merely waiting for its parent to take notice of its end.
pub fn is_running(id: u32) -> bool {
    state(PathBuf::from(format!("/proc/{id}"))).is_some_and(|state| state != 'Z')
}

/// The letter after the name in parentheses: `R` running, `S` sleeping, `T` stopped, `Z` ended and unnoticed.
fn state(path: PathBuf) -> Option<char> {
    let stat = fs::read_to_string(path.join("stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Starts a child from a thread that never ends: Linux sends the signal for a parent's death when the
/// *thread* that started the child ends, and a test's thread may end before its servers do, if they are
/// shared.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static STARTER: LazyLock<Sender<Order>> = LazyLock::new(|| {
        let (orders, taken) = channel::<Order>();
        let _ = thread::spawn(move || {
            for (mut command, started) in taken {
                let _ = started.send(command.spawn());
            }
        });
        orders
    });
    let (started, child) = channel();
    STARTER.send((command, started)).expect("the thread holds the other end for ever");
    child.recv().expect("the thread answers each order")
}
