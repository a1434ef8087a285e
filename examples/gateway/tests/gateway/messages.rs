//! Messages about bad input: each shows a correct input.

use super::refused;

/// Each message names the option, the value and a correct value, with the names that the user wrote.
#[test]
fn a_bad_value_is_named_with_its_option_and_what_would_be_right() {
    let long = "x".repeat(65);
    for (option, value, right) in [
        ("--rate", "0", "write 0/s to admit nothing, or 0/0 for no limit at all"),
        ("--rate", "-1/s", "numbers have no sign; write 5/s, or 0/0 for no limit at all"),
        ("--rate", "unlimited", "no limit at all is written 0/0"),
        ("--ws-rate", "-1/s", "numbers have no sign; write 5/s"),
        ("--strategy", "tiered(free=0,premium=5)/gcra", "tier free has a ratio of 0"),
        ("--strategy", "tiered(free=x)/gcra", "free=x is not a ratio; write 5, 3/2, 0.5 or 50%"),
        ("--strategy", "tiered(=1)/gcra", "names no parameter of tiered; write name=value"),
        ("--strategy", "priority(low=1)/token-bucket", "priority low must leave 1 of the limit"),
        (
            "--strategy",
            "priority(low=1/1000)/token-bucket",
            "priority low must leave 1/1000 of a limit of 10",
        ),
        ("--strategy", "regions:us=1/1000,eu=1/2", "the share of region us is less than a cost of 1; raise"),
        ("--strategy", "regions:=1", "names no parameter of regions; write name=value"),
        ("--strategy", "fair-share:instance=", "write fair-share:instance=a"),
        ("--strategy", "gcra:tolerance=0s", "tolerance=0s is not a time above 0 such as 500ms"),
        ("--storage", "memcached://h:99999", "h:99999: \"99999\""),
        ("--storage", "redis://ann:secret@h:99999/1", "h:99999: \"99999\" is not a port; write 1 to 65535"),
        ("--storage", "redis://:6379", "\":6379\" names no host; write HOST:PORT"),
        ("--storage", "rediss://[::1]:x", "[::1]:x: \"x\" is not a port"),
        ("--storage", "redis+cluster://a:1,b:0", "b:0: \"0\" is not a port; write 1 to 65535"),
        ("--storage", "rediss+cluster://a:99999", "a:99999: \"99999\" is not a port; write 1 to 65535"),
        ("--listen", ":8080", "write 0.0.0.0:8080 for all, or 127.0.0.1:8080 for this machine alone"),
        ("--listen", "127.0.0.1:99999", "\"99999\" is not a port; write 1 to 65535"),
        ("--listen", "::1:8080", "such as 127.0.0.1:8080, [::1]:8080, or 0.0.0.0:8080 for all addresses"),
        ("--listen", "", "write an address and a port, such as 127.0.0.1:8080"),
        ("--admin", ":9000", "write 0.0.0.0:9000 for all, or 127.0.0.1:9000"),
        ("--namespace", "", "use 1 to 64 letters, digits, or . : _ - @ /"),
        ("--namespace", "a b", "use 1 to 64 letters, digits, or . : _ - @ /"),
        ("--namespace", &long, "use 1 to 64 letters, digits, or . : _ - @ /"),
        ("--timeout", "0s", "\"0s\" is not a time above 0; write 500ms or 2s"),
        ("--timeout", "-1s", "\"-1s\" is not a time above 0; write 500ms or 2s"),
        ("--connect-timeout", "-1s", "write 500ms or 2s"),
        ("--upstream", "http://h:99999", "h:99999: \"99999\" is not a port; write 1 to 65535"),
        ("--tier-header", "a b", "is not a header name; write one such as x-tier"),
    ] {
        let error = refused(&["--check", "--offline", option, value]);
        assert!([option, value, right].iter().all(|part| error.contains(part)), "{option} {value}: {error}");
    }
    let error = refused(&["--check", "--request", "GET /", "--request-from", "here"]);
    assert!(error.contains("--request-from") && error.contains("write 192.0.2.1 or 2001:db8::1"), "{error}");
}

#[test]
fn bad_input_is_refused_with_what_would_be_right() {
    for (options, expected) in [
        (
            &["--rate", "5/1.5s"][..],
            "at character 4 ('.'): only whole numbers are read; write 1500ms for 1.5s",
        ),
        (&["--rate", ""], "the rate is empty; write a limit and a period, such as 100/min"),
        (&["--rate", "5/month"], "at character 3 ('m'): months and years vary in length"),
        (&["--strategy", "leaky"], "there is no strategy \"leaky\"; there are fixed-window, sliding-window"),
        (
            &["--strategy", "token-bucket:brust=4"],
            "token-bucket has no parameter brust; it has burst and debt",
        ),
        (&["--strategy", "gcra:burst=-1"], "burst=-1 is not a whole number up to 4294967295"),
        (&["--strategy", "gcra:tolerance=1.5s"], "tolerance=1.5s is not a time above 0 such as 500ms"),
        (&["--strategy", "gcra:burst=1,tolerance=1s"], "give gcra one of them"),
        (
            &["--strategy", "tiered(free=1)"],
            "tiered(..) wraps another strategy; write tiered(..)/fixed-window",
        ),
        (&["--strategy", "tiered()/gcra"], "tiered needs names with values"),
        (&["--strategy", "time-of-day(8-17=2)/gcra"], "8-17=2 is not a span of the day; write 08:00-17:00=2"),
        (&["--strategy", "time-of-day(+8:00-17:00=2)/gcra"], "+8:00-17:00=2 is not a span of the day"),
        (&["--strategy", "time-of-day(08:00-17:00=2,16:00-18:00=3)/gcra"], "overlap"),
        (&["--strategy", "priority(low=100%)/gcra"], "which leaves nothing to itself"),
        (&["--strategy", "regions:us=4/5,eu=3/5"], "--rate 10/10s: "),
        (&["--strategy", "fair-share"], "write fair-share:instance=a"),
        (&["--strategy", "sliding-log", "--rate", "100000/s"], "--rate 100000/s: "),
        (&["--strategy", "gcra:burst=4294967295", "--rate", "300000007/d"], "give at most 213503982"),
        (
            &["--storage", "etcd://localhost"],
            "the storages are memory:, memory:capacity=100000,full=evict|refuse, redis://HOST:PORT, \
             redis+cluster://HOST:PORT,HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/MASTER, \
             redis+unix:///PATH and memcached://HOST:PORT",
        ),
        (&["--storage", "redis://"], "write redis://USER:PASSWORD@HOST:PORT/DATABASE"),
        (&["--storage", "memcached://"], "write memcached://HOST:PORT"),
        (&["--storage", "memcached://a,a"], "a:11211 is named twice"),
        (&["--storage", "redis://localhost", "--namespace", "a b"], "letters, digits"),
        (&["--storage", "memcached://localhost", "--namespace", "a b"], "letters, digits"),
        (&["--timeout", "soon"], "write 500ms or 2s"),
        (&["--storage", "memory:capacity=0"], "write at least 1"),
        (&["--storage", "memory:full=maybe"], "write full=evict or full=refuse"),
        (&["--key", "cookie"], "the keys are peer, forwarded (X-Forwarded-For), "),
        (
            &["--key", "forwarded:x-forwarded-for"],
            "write forwarded for X-Forwarded-For, forwarded:rfc7239 for Forwarded",
        ),
        (&["--trusted-proxy", "10.0.0.0/33"], "is no network; write 10.0.0.0/8"),
        (&["--exempt", "localhost"], "is no network; write 10.0.0.0/8"),
        (&["--cost-header", "two words"], "is not a header name"),
        (&["--on-error", "panic"], "write allow, throttle or fallback"),
        (&["--on-error", "fallback:instances=0"], "instances=0 is not a whole number of at least 1"),
        (&["--on-error", "fallback:warm=yes"], "fallback has no parameter warm; it has instances"),
        (&["--on-error", "throttle:wait=soon"], "wait=soon is not a time such as 5s"),
        (&["--storage", "redis+cluster://", "--rate", "1/s"], "write redis+cluster://HOST:PORT,HOST:PORT"),
        (&["--storage", "rediss+cluster://", "--rate", "1/s"], "write rediss+cluster://HOST:PORT,HOST:PORT"),
        (&["--config", "/none.toml", "--rate", "1/s"], "cannot be used with"),
        (&["--config", "/none.toml"], "--config /none.toml: No such file"),
        (&["--admin", "192.0.2.1:80"], "--admin 192.0.2.1:80"),
        (&["--key", "header:two words"], "is not a header name"),
        (&["--headers", "draft99"], "[possible values: draft10, draft07, x-ratelimit, none]"),
        (&["--listen", "localhost"], "--listen"),
        (&["--upstream", "ftp://host"], "write http://HOST:PORT"),
        (&["--rate=1/s"; 9], "a throttle takes at most 8 rates"),
        (
            &[
                "--strategy",
                "gcra:burst=4294967295",
                "--rate",
                "864000000/d",
                "--on-error",
                "fallback:instances=17",
            ],
            "--on-error fallback:instances=17: ",
        ),
        (
            &["--rate", "3/s", "--on-error", "fallback:instances=4"],
            "--on-error fallback:instances=4: the share of 3/s is below 1 for each instance",
        ),
    ] {
        let error = refused(options);
        assert!(error.contains(expected), "{options:?}: {error}");
    }
    // An address of a network that is reserved for documentation.
    assert!(refused(&["--listen", "192.0.2.1:80"]).contains("--listen 192.0.2.1:80"));
}
