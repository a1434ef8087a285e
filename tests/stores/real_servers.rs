//! The servers and the proxy that other tests rely on do what they say.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use traffik_test_support::program;
use traffik_test_support::servers::{
    Bytes, Client, Cluster, Memcached, Proxy, Redis, Reply, Sentinel, is_running, until,
};

const SOON: Duration = Duration::from_secs(10);

/// Long enough to tell that nothing comes, where the right outcome does not depend on it.
const A_WHILE: Duration = Duration::from_millis(100);

fn nothing_comes(client: &mut Client) -> bool {
    client.set_patience(A_WHILE);
    let answer = client.receive();
    client.set_patience(SOON);
    answer.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// Whether a connection has been closed by the other side, in order or not.
fn closed<T>(answer: std::io::Result<T>) -> bool {
    answer.is_err_and(|error| !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

fn pong() -> Reply {
    Reply::Status("PONG".to_owned())
}

#[test]
fn a_persistent_server_comes_back_with_its_data_unless_emptied() {
    let mut redis = Redis::options().persistent().start();
    let (port, process) = (redis.port(), redis.process_id());
    assert_eq!(redis.command(&["SET", "key", "1"]), Reply::ok());
    redis.stop();
    redis.start_again();
    assert_eq!(redis.port(), port);
    assert_ne!(redis.process_id(), process);
    assert_eq!(redis.command(&["INCR", "key"]).integer(), 2);
    redis.kill();
    redis.start_again();
    assert_eq!(redis.command(&["GET", "key"]), Reply::bulk("2"));
    redis.stop();
    redis.empty();
    redis.start_again();
    assert_eq!(redis.command(&["GET", "key"]), Reply::Null);
}

#[test]
fn other_servers_come_back_without_data() {
    let mut redis = Redis::start();
    assert_eq!(redis.command(&["SET", "key", "1"]), Reply::ok());
    redis.stop();
    assert!(TcpStream::connect(redis.address()).is_err());
    redis.start_again();
    assert_eq!(redis.command(&["GET", "key"]), Reply::Null);

    let mut memcached = Memcached::options().arguments(&["-m", "8"]).start();
    assert_eq!(memcached.command("set key 0 0 1\r\n1"), "STORED\r\n");
    assert_eq!(memcached.command("get key"), "VALUE key 0 1\r\n1\r\nEND\r\n");
    assert!(memcached.command("stats settings").contains("STAT maxbytes 8388608\r\n"));
    memcached.stop();
    assert!(TcpStream::connect(memcached.address()).is_err());
    memcached.start_again();
    assert_eq!(memcached.command("get key"), "END\r\n");
}

#[test]
fn a_paused_server_answers_once_it_is_resumed() {
    let mut redis = Redis::start();
    let mut client = redis.client();
    redis.pause();
    client.send(&["PING"]).unwrap();
    assert!(nothing_comes(&mut client));
    let mut another = Client::connect(redis.address()).unwrap();
    redis.resume();
    assert_eq!(client.receive().unwrap(), pong());
    assert_eq!(another.ask(&["PING"]).unwrap(), pong());
    redis.pause();
    redis.stop();

    let mut memcached = Memcached::start();
    let mut stream = TcpStream::connect(memcached.address()).unwrap();
    stream.set_read_timeout(Some(A_WHILE)).unwrap();
    memcached.pause();
    stream.write_all(b"mn\r\n").unwrap();
    let mut answer = String::new();
    assert!(BufReader::new(&stream).read_line(&mut answer).is_err());
    stream.set_read_timeout(Some(SOON)).unwrap();
    memcached.resume();
    assert_eq!(BufReader::new(&stream).read_line(&mut answer).unwrap(), "MN\r\n".len());
    memcached.pause();
}

#[test]
fn independent_servers_share_nothing() {
    let servers = Redis::independent(3);
    for (index, redis) in servers.iter().enumerate() {
        assert_eq!(redis.command(&["GET", "key"]), Reply::Null);
        assert_eq!(redis.command(&["SET", "key", &index.to_string()]), Reply::ok());
    }
    for (index, redis) in servers.iter().enumerate() {
        assert_eq!(redis.command(&["GET", "key"]), Reply::bulk(&index.to_string()));
    }
}

#[test]
fn users_need_their_passwords_and_have_their_rights() {
    let redis = Redis::options()
        .password("secret")
        .user("limiter", "other", &["~limits:*", "+get", "+set"])
        .config(&["maxmemory", "8mb"])
        .start();
    assert_eq!(redis.url(), format!("redis://:secret@{}", redis.address()));
    assert_eq!(redis.url_as("limiter", "other"), format!("redis://limiter:other@{}", redis.address()));
    assert_eq!(redis.command(&["CONFIG", "GET", "maxmemory"]).array().last(), Some(&Reply::bulk("8388608")));

    let mut client = Client::connect(redis.address()).unwrap();
    assert!(client.ask(&["GET", "limits:1"]).unwrap().error().starts_with("NOAUTH"));
    assert!(client.ask(&["AUTH", "limiter", "secret"]).unwrap().error().starts_with("WRONGPASS"));
    assert_eq!(client.ask(&["AUTH", "limiter", "other"]).unwrap(), Reply::ok());
    assert_eq!(client.ask(&["SET", "limits:1", "1"]).unwrap(), Reply::ok());
    assert!(client.ask(&["SET", "key", "1"]).unwrap().error().starts_with("NOPERM"));
    assert!(client.ask(&["DEL", "limits:1"]).unwrap().error().starts_with("NOPERM"));
}

#[test]
fn a_server_waits_for_its_port() {
    let mut redis = Redis::start();
    redis.stop();
    let other = Redis::start();
    let mut server = TcpStream::connect(other.address()).unwrap();
    let stranger = TcpListener::bind(redis.address()).unwrap();
    std::thread::scope(|scope| {
        // The wait for the server meets a stranger first, and another server behind it.
        scope.spawn(move || {
            let (mut client, _) = stranger.accept().unwrap();
            for _ in ["PING", "INFO"] {
                let mut buffer = [0; 4096];
                let asked = client.read(&mut buffer).unwrap();
                server.write_all(&buffer[..asked]).unwrap();
                let answered = server.read(&mut buffer).unwrap();
                client.write_all(&buffer[..answered]).unwrap();
            }
        });
        redis.start_again();
    });
    assert_eq!(redis.info("process_id"), Some(redis.process_id().to_string()));
}

#[test]
fn a_cluster_moves_a_slot_with_its_keys() {
    let cluster = Cluster::start();
    assert_eq!(cluster.urls().len(), 3);
    // By CRC16 of the key modulo 16384, as the cluster's specification has it.
    assert_eq!(cluster.slot("123456789"), 0x31c3);
    let slot = cluster.slot("{tag}key");
    let (from, to) = (cluster.owner(slot), (cluster.owner(slot) + 1) % 3);
    let (old, new) = (&cluster.nodes[from], &cluster.nodes[to]);
    assert_eq!(old.command(&["SET", "{tag}key", "1"]), Reply::ok());
    let get = ["GET", "{tag}key"];
    let error = |kind: &str, node: &Redis| Reply::Error(format!("{kind} {slot} {}", node.address()));
    assert_eq!(new.command(&get), error("MOVED", old));

    cluster.start_move(slot, to);
    assert_eq!(cluster.owner(slot), from);
    assert_eq!(old.command(&get), error("ASK", new));
    assert_eq!(new.command(&get), error("MOVED", old));
    let mut client = new.client();
    assert_eq!(client.ask(&["ASKING"]).unwrap(), Reply::ok());
    assert_eq!(client.ask(&get).unwrap(), Reply::bulk("1"));

    cluster.finish_move(slot, to);
    assert_eq!(cluster.owner(slot), to);
    assert_eq!(new.command(&get), Reply::bulk("1"));
    for node in cluster.nodes.iter().filter(|node| node.port() != new.port()) {
        assert_eq!(node.command(&get), error("MOVED", new));
    }

    cluster.move_slot(slot, from);
    assert_eq!(old.command(&get), Reply::bulk("1"));
}

#[test]
fn a_cluster_node_comes_back_with_its_slots() {
    let mut cluster = Cluster::start();
    let slot = cluster.slot("key");
    let owner = cluster.owner(slot);
    cluster.nodes[owner].stop();
    cluster.nodes[owner].start_again();
    cluster.wait();
    assert_eq!(cluster.owner(slot), owner);
    assert_eq!(cluster.nodes[owner].command(&["SET", "key", "1"]), Reply::ok());
}

#[test]
fn a_sentinel_fails_over_when_told_to() {
    let sentinel = Sentinel::start();
    assert!(sentinel.url().starts_with("redis://127.0.0.1:"));
    let (master, replica) = (sentinel.master().port(), sentinel.replica().port());
    assert_eq!(sentinel.master().command(&["SET", "key", "1"]), Reply::ok());
    assert!(sentinel.replica().command(&["SET", "key", "2"]).error().starts_with("READONLY"));
    // The replica may not have an answered write of its master yet, unless it is asked about that.
    let mut client = sentinel.master().client();
    assert_eq!(client.ask(&["SET", "key", "3"]).unwrap(), Reply::ok());
    assert_eq!(client.ask(&["WAIT", "1", "5000"]).unwrap().integer(), 1);
    sentinel.fail_over();
    assert_eq!((sentinel.master().port(), sentinel.replica().port()), (replica, master));
    assert_eq!(sentinel.master().command(&["GET", "key"]), Reply::bulk("3"));
    assert_eq!(sentinel.master().command(&["SET", "key", "4"]), Reply::ok());
}

#[test]
fn a_sentinel_replaces_a_master_that_is_gone() {
    let mut sentinel = Sentinel::start();
    let (master, replica) = (sentinel.master().port(), sentinel.replica().port());
    sentinel.kill_master();
    assert_eq!((sentinel.master().port(), sentinel.replica().port()), (replica, master));
    assert_eq!(sentinel.master().command(&["SET", "key", "1"]), Reply::ok());
}

#[test]
fn a_proxy_passes_and_counts_bytes() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.address());
    assert_eq!(proxy.url(), format!("redis://{}", proxy.address()));
    let mut client = Client::connect(proxy.address()).unwrap();
    let value = "x".repeat(1 << 20);
    assert_eq!(client.ask(&["SET", "key", &value]).unwrap(), Reply::ok());
    assert_eq!(client.ask(&["GET", "key"]).unwrap(), Reply::bulk(&value));
    let set = format!("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1048576\r\n{value}\r\n").len();
    let get = "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n".len();
    let replies = format!("+OK\r\n$1048576\r\n{value}\r\n").len();
    assert_eq!(proxy.bytes(), Bytes { requests: set + get, replies, lost: 0 });
    let mut another = Client::connect(proxy.address()).unwrap();
    assert_eq!(another.ask(&["PING"]).unwrap(), pong());
    assert_eq!(proxy.connections(), 2);
    // The end of a connection passes as well, either way.
    assert_eq!(another.ask(&["QUIT"]).unwrap(), Reply::ok());
    assert!(closed(another.receive()));
    let of_proxy = || redis.command(&["CLIENT", "LIST"]).text().lines().count() - 1;
    until(SOON, "the server sees one client behind the proxy", || of_proxy() == 1);
    drop(client);
    until(SOON, "the server sees the client leave", || of_proxy() == 0);
}

#[test]
fn a_proxy_delays_each_direction() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.address());
    let mut client = Client::connect(proxy.address()).unwrap();
    let delay = Duration::from_millis(50);
    proxy.delay(delay);
    let started = Instant::now();
    for _ in 0..20 {
        client.send(&["PING"]).unwrap();
    }
    assert_eq!(client.receive().unwrap(), pong());
    assert!(started.elapsed() >= 2 * delay);
    assert!((1..20).all(|_| client.receive().unwrap() == pong()));
    // Held bytes leave as soon as the delay ends.
    proxy.delay(Duration::from_secs(3600));
    client.send(&["PING"]).unwrap();
    assert!(nothing_comes(&mut client));
    proxy.delay(Duration::ZERO);
    assert_eq!(client.receive().unwrap(), pong());
}

#[test]
fn a_proxy_drops_replies_to_requests_that_are_served() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.address());
    let mut client = Client::connect(proxy.address()).unwrap();
    let mut idle = Client::connect(proxy.address()).unwrap();
    assert_eq!(idle.ask(&["INCR", "key"]).unwrap().integer(), 1);
    proxy.drop_replies(true);
    client.send(&["INCR", "key"]).unwrap();
    until(SOON, "the reply is lost", || proxy.bytes().lost == ":2\r\n".len());
    assert_eq!(redis.command(&["GET", "key"]), Reply::bulk("2"));
    assert!(nothing_comes(&mut client));
    proxy.drop_replies(false);
    // A connection with a gap is over; one without goes on.
    assert!(closed(client.receive()));
    assert_eq!(idle.ask(&["INCR", "key"]).unwrap().integer(), 3);
}

#[test]
fn a_proxy_is_a_black_hole() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.address());
    let mut client = Client::connect(proxy.address()).unwrap();
    assert_eq!(client.ask(&["INCR", "key"]).unwrap().integer(), 1);
    let before = proxy.bytes().requests;
    proxy.black_hole(true);
    client.send(&["INCR", "key"]).unwrap();
    let mut another = Client::connect(proxy.address()).unwrap();
    another.send(&["PING"]).unwrap();
    assert!(nothing_comes(&mut client) && nothing_comes(&mut another));
    assert_eq!(redis.command(&["GET", "key"]), Reply::bulk("1"));
    assert_eq!(proxy.bytes().requests, before);
    proxy.black_hole(false);
    assert_eq!(client.receive().unwrap().integer(), 2);
    assert_eq!(another.receive().unwrap(), pong());
}

#[test]
fn a_proxy_cuts_and_refuses_connections() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.address());
    let mut clients = [(); 2].map(|()| Client::connect(proxy.address()).unwrap());
    assert!(clients.iter_mut().all(|client| client.ask(&["PING"]).unwrap() == pong()));
    proxy.cut();
    assert!(clients.iter_mut().all(|client| closed(client.receive())));
    let mut client = Client::connect(proxy.address()).unwrap();
    assert_eq!(client.ask(&["PING"]).unwrap(), pong());
    proxy.refuse(true);
    assert!(closed(Client::connect(proxy.address()).and_then(|mut client| client.ask(&["PING"]))));
    assert_eq!(proxy.connections(), 4);
    assert_eq!(client.ask(&["PING"]).unwrap(), pong(), "connections that were there go on");
    proxy.refuse(false);
    assert_eq!(Client::connect(proxy.address()).unwrap().ask(&["PING"]).unwrap(), pong());
}

#[test]
fn a_proxy_cuts_in_the_middle_of_a_reply() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.address());
    assert_eq!(redis.command(&["SET", "key", "0123456789"]), Reply::ok());
    let get = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
    for (bytes, passed) in [(0, ""), (1, "$"), (9, "$10\r\n0123")] {
        proxy.cut_after(bytes);
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(get).unwrap();
        let mut answer = Vec::new();
        assert_eq!(stream.read_to_end(&mut answer).unwrap(), bytes);
        assert_eq!(answer, passed.as_bytes());
    }
    // As many bytes as a reply has are a whole reply.
    proxy.cut_after("+PONG\r\n".len());
    let mut client = Client::connect(proxy.address()).unwrap();
    assert_eq!(client.ask(&["PING"]).unwrap(), pong());
    assert!(closed(client.ask(&["PING"])));
    // Once.
    assert_eq!(Client::connect(proxy.address()).unwrap().ask(&["PING"]).unwrap(), pong());
}

#[test]
fn a_proxy_closes_what_it_cannot_carry() {
    let mut redis = Redis::start();
    let proxy = Proxy::to(redis.address());
    let mut client = Client::connect(proxy.address()).unwrap();
    assert_eq!(client.ask(&["PING"]).unwrap(), pong());
    redis.kill();
    assert!(closed(client.receive()));
    assert!(closed(Client::connect(proxy.address()).and_then(|mut client| client.ask(&["PING"]))));
    redis.start_again();
    assert_eq!(Client::connect(proxy.address()).unwrap().ask(&["PING"]).unwrap(), pong());
}

#[test]
fn a_proxy_ends_with_its_value_whatever_it_is_doing() {
    let redis = Redis::start();
    for fault in
        [|proxy: &Proxy| proxy.black_hole(true), |proxy: &Proxy| proxy.delay(Duration::from_secs(3600))]
    {
        let proxy = Proxy::to(redis.address());
        let address = proxy.address();
        let mut client = Client::connect(address).unwrap();
        assert_eq!(client.ask(&["PING"]).unwrap(), pong());
        fault(&proxy);
        client.send(&["PING"]).unwrap();
        drop(proxy);
        assert!(closed(client.receive()));
        assert!(TcpStream::connect(address).is_err());
    }
}

#[test]
fn nothing_is_left_of_dropped_servers() {
    let mut redis = Redis::options().persistent().start();
    let memcached = Memcached::start();
    let left = [redis.process_id(), memcached.process_id()];
    let directories = [redis.directory().to_owned(), memcached.directory().to_owned()];
    assert!(left.iter().all(|process| is_running(*process)));
    assert!(directories.iter().all(|directory| directory.exists()));
    redis.pause();
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _servers = (redis, memcached);
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(panicked.is_err());
    assert!(!left.iter().any(|process| is_running(*process)));
    assert!(!directories.iter().any(|directory| directory.exists()));
}

/// This test is run again as a program of its own, which is then killed.
#[test]
fn servers_end_with_a_test_program_that_is_killed() {
    const INNER: &str = "SERVERS_OF_A_PROGRAM_TO_BE_KILLED";
    if std::env::var_os(INNER).is_some() {
        // From a thread that ends, which must not end them.
        let start = || (Redis::start(), Memcached::start());
        let (redis, memcached) = std::thread::spawn(start).join().unwrap();
        assert_eq!(redis.command(&["PING"]), pong());
        for (process, directory) in
            [(redis.process_id(), redis.directory()), (memcached.process_id(), memcached.directory())]
        {
            println!("\nserver {process} {}", directory.display());
        }
        println!("\nstarted");
        // Until it is killed, or has been left behind by a failure outside.
        assert_eq!(std::io::stdin().read(&mut [0]).unwrap(), 0);
        return;
    }
    let mut program = program::again(module_path!(), "servers_end_with_a_test_program_that_is_killed")
        .env(INNER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told: Vec<_> = lines.take_while(|line| line != "started").collect();
    let servers = told.iter().filter_map(|line| line.strip_prefix("server ")?.split_once(' '));
    let servers: Vec<(u32, &Path)> =
        servers.map(|(process, path)| (process.parse().unwrap(), Path::new(path))).collect();
    assert_eq!(servers.len(), 2, "{told:?}");
    assert!(servers.iter().all(|(process, _)| is_running(*process)));
    program.kill().unwrap();
    let _ = program.wait().unwrap();
    for (process, directory) in servers {
        until(SOON, "the server has ended", || !is_running(process));
        std::fs::remove_dir_all(directory).unwrap();
    }
}
