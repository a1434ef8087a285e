//! Rules: rules that can match nothing, paths in every spelling, and the explanation of a request.

use super::config::{File, check};
use super::{Gateway, refused};

/// A rule that no request can match would be a limit that is silently off.
#[test]
fn a_rule_that_matches_nothing_is_refused_with_what_would_be_right() {
    for (rule, expected) in [
        (r#"methods = ["post"]"#, "write POST"),
        (r#"methods = ["*"]"#, "leave the methods out"),
        (r#"methods = ["ANY"]"#, "leave the methods out"),
        (r#"methods = ["GETT"]"#, "there is no such method"),
        (r#"path = "/api/.*""#, "write re: before it"),
        (r#"path = "/users/:id""#, "with {id}"),
        (r#"path = "/users/<id>""#, "with {id}"),
        (r#"path = "/users/[0-9]+""#, "write re: before it"),
        (r#"path = "/api/(v1|v2)""#, "write re: before it"),
        (r#"path = "/login$""#, "write re: before it"),
        (r#"path = "/a?x=1""#, "without query and fragment"),
        (r#"path = "/a#b""#, "without query and fragment"),
        (r#"path = "re:(""#, "cannot be used"),
    ] {
        let file = File::new(
            "nothing",
            &format!("[[throttle]]\nuid = \"a\"\nrate = \"1/s\"\nrules = {{ {rule} }}\n"),
        );
        let error = refused(&["--config", file.path()]);
        assert!(error.contains(expected) && error.contains("line 4"), "{rule}\n{error}");
    }
}

/// Requests targets exactly as they are written, each on a connection of its own.
async fn raw(gateway: &Gateway, targets: &[&str]) -> Vec<u16> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut statuses = Vec::new();
    for target in targets {
        let address = gateway.url.trim_start_matches("http://");
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let asked = format!("{target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        statuses.push(answer.split(' ').nth(1).unwrap().parse().unwrap());
    }
    statuses
}

/// Any other spelling of a limited path would be a way round the limit.
#[tokio::test]
async fn a_path_is_limited_however_it_is_spelled() {
    let of = |rule: &str| {
        File::new("spelled", &format!("[[throttle]]\nuid = \"a\"\nrate = \"1/52w\"\nrules = {{ {rule} }}\n"))
    };
    for (rule, targets) in [
        (
            r#"path = "/login""#,
            &["GET /login", "HEAD /login", "GET /login/", "GET //login", "GET /login;a=b"][..],
        ),
        (r#"path = "/login", methods = ["GET"]"#, &["GET /login", "HEAD /login", "GET /%6Cogin?x"]),
        (r#"path = "/users/{id}""#, &["GET /users/1", "GET /users/2/"]),
        (r#"path = "/users/*""#, &["GET /users/1", "GET /users/2/"]),
        (r#"path = "/login*""#, &["GET /login", "GET /login/", "GET /login.html"]),
        (r#"path = "re:^/login$""#, &["GET /login", "GET /login/", "GET //login"]),
        (r#"path = "/login", ignore-case = true"#, &["GET /login", "GET /LOGIN", "GET /Login/"]),
    ] {
        let file = of(rule);
        let gateway = Gateway::start(&["--config", file.path()]);
        let mut expected = vec![429; targets.len()];
        expected[0] = 200;
        assert_eq!(raw(&gateway, targets).await, expected, "{rule}");
    }
    // Servers read these differently: the limited path would not be the served one.
    let file = of(r#"path = "/login""#);
    let gateway = Gateway::start(&["--config", file.path()]);
    let odd = [
        "/login%2f",
        "/login%00",
        "/x/..;/login",
        "/x/../login",
        "/x/%2e%2E/login",
        "/a%5Clogin",
        "/./login",
    ];
    let odd: Vec<_> = odd.iter().map(|path| format!("GET {path}")).chain(["GET x".to_owned()]).collect();
    let odd: Vec<&str> = odd.iter().map(String::as_str).collect();
    assert_eq!(raw(&gateway, &odd).await, vec![400; odd.len()]);
}

#[test]
fn a_request_is_explained() {
    let file = File::new(
        "explained",
        "[[throttle]]\nuid = \"logins\"\nrate = \"5/min\"\nkey = \"header:x-api-key\"\nrules = { path = \"/login\", methods = [\"POST\"] }\n",
    );
    let explained = |more: &[&str]| check(&[&["--config", file.path()], more].concat());
    let explanation = explained(&["--request", "POST /login/", "--request-header", "X-Api-Key: a"]);
    assert!(explanation.ends_with(
        "throttle: logins\nrule: POST /login and below\nclient: key ca978112\ncost: 1\nlimit: logins, 5 within 60s\n"
    ), "{explanation}");
    let explanation = explained(&["--request", "GET /login"]);
    assert!(
        explanation.ends_with("throttle: logins\nnot counted: POST /login and below: the method is GET\n"),
        "{explanation}"
    );
    let explanation = explained(&["--request", "POST /logout"]);
    assert!(
        explanation.ends_with("not counted: POST /login and below: the path is /logout\n"),
        "{explanation}"
    );
    let explanation = explained(&["--request", "POST /x/..;/login"]);
    assert!(
        explanation.ends_with("400: the path holds a . or .. segment, which the client must resolve\n"),
        "{explanation}"
    );
    assert!(refused(&["--check", "--request", "/login"]).contains("write \"POST /login\""));
}
