//! A server as a process: started, stopped, killed, paused, and started again in the same place.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;

use super::directory::Directory;
use super::process::Process;
use super::wait::{SOON, until};
use super::{ports, sockets};

/// Where a server's own output goes, in its directory.
const LOG: &str = "log";

/// The differences between the kinds of servers.
pub trait Program {
    const NAME: &'static str;

    /// Where the program is.
    fn path(&self) -> String {
        Self::NAME.to_owned()
    }

    /// The arguments of the program, which starts in its directory.
    fn arguments(&self, port: u16) -> Vec<String>;

    /// Puts into a fresh directory what the program reads there.
    fn prepare(&self, _directory: &Path, _port: u16) {}

    /// The id of the process that serves at an address, once it does.
    fn process_at(&self, address: SocketAddr) -> io::Result<u32>;
}

/// A server of some kind; killed, and its directory removed, when dropped.
pub struct Server<P> {
    process: Option<Process>,
    program: P,
    port: u16,
    // Last, so that the process has ended when it is removed.
    directory: Directory,
}

impl<P: Program> Server<P> {
    pub fn launch(program: P) -> Self {
        let directory = Directory::new(P::NAME);
        let mut server = Self { process: None, program, port: 0, directory };
        until(SOON, "a server starts before another takes its port", || {
            server.port = ports::free();
            server.program.prepare(server.directory.path(), server.port);
            server.run()
        });
        server
    }

    pub fn program(&self) -> &P {
        &self.program
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("the server has been started").id()
    }

    /// Asks it to end, paused or not, and waits until it has: it keeps the data it has been told to keep.
    pub fn stop(&mut self) {
        let process = self.running();
        // In this order, for it may have ended as soon as it is asked.
        process.signal("CONT");
        process.signal("TERM");
        process.wait();
        self.ended();
    }

    /// Ends it without warning, as a crash does.
    pub fn kill(&mut self) {
        self.running().kill();
        self.ended();
    }

    fn ended(&mut self) {
        self.process = None;
        self.until_disconnected();
    }

    /// Waits until this process sees that all its connections to the server are closed.
    pub fn until_disconnected(&self) {
        sockets::until_closed(self.port);
    }

    /// Starts it at the same port in the same directory, after `stop` or `kill`.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "{} is stopped before it is started again", P::NAME);
        until(SOON, "the server's former port is free again", || self.run());
    }

    /// Removes all its data, after `stop` or `kill`.
    pub fn empty(&mut self) {
        assert!(self.process.is_none(), "{} is stopped before its directory is emptied", P::NAME);
        self.directory.empty();
        self.program.prepare(self.directory.path(), self.port);
    }

    /// Stops it from running, while its connections stay open and the system accepts new ones in its name.
    pub fn pause(&mut self) {
        self.running().pause();
    }

    pub fn resume(&mut self) {
        self.running().signal("CONT");
    }

    fn running(&mut self) -> &mut Process {
        self.process.as_mut().expect("the server has been started")
    }

    /// Starts it and waits until it serves; false if another has its port.
    fn run(&mut self) -> bool {
        let log = File::create(self.directory.path().join(LOG)).unwrap();
        let mut process = Process::start(&self.program.path(), |command| {
            let errors = Stdio::from(log.try_clone().unwrap());
            command.args(self.program.arguments(self.port)).current_dir(self.directory.path());
            command.stdin(Stdio::null()).stdout(log).stderr(errors);
        });
        let mut taken = false;
        until(SOON, &format!("{} answers", P::NAME), || {
            if let Some(status) = process.ended() {
                let log = fs::read_to_string(self.directory.path().join(LOG)).unwrap();
                taken = log.contains("Address already in use");
                assert!(
                    taken,
                    "{} does not start ({status}): {log}\nIf it is missing: scripts/install \
                     redis-server=redis-server memcached=memcached nginx=nginx",
                    P::NAME
                );
                return true;
            }
            // Another server may have been faster at this port, and answer instead.
            self.program.process_at(self.address()).is_ok_and(|id| id == process.id())
        });
        self.process = (!taken).then_some(process);
        !taken
    }
}
