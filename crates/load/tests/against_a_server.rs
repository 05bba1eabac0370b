//! Runs the program against small servers with one behaviour each.
#![expect(clippy::unwrap_used, reason = "a panic in a server or in a test fails the test")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

type Handler = fn(usize, TcpStream);

/// Accepts connections forever, and handles each on its own thread. The handler gets the number of the connection.
fn serve(handler: Handler) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (index, connection) in listener.incoming().enumerate() {
            let connection = connection.unwrap();
            thread::spawn(move || handler(index, connection));
        }
    });
    address
}

fn read_token(connection: &TcpStream) -> String {
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn answer(index: usize, mut connection: TcpStream) {
    let token = read_token(&connection);
    writeln!(connection, "w{} {token}", index % 2).unwrap();
}

fn load(target: SocketAddr, line: &str) -> Output {
    command(target, line).output().unwrap()
}

fn command(target: SocketAddr, line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = Command::new(env!("CARGO_BIN_EXE_socketserver-load"));
    command
        .args(words.next())
        .args(["--target", &target.to_string(), "--json"])
        .args(words);
    command
}

#[track_caller]
fn assert_report(output: &Output, code: i32, parts: &[&str]) {
    let report = String::from_utf8_lossy(&output.stdout);
    for part in parts {
        assert!(
            report.contains(part),
            "no {part} in {report} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(
        output.status.code(),
        Some(code),
        "{report} {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_closed_loop_checks_every_answer_and_counts_workers() {
    let target = serve(answer);
    let output = load(target, "closed --connections 500 --clients 8 --threads 2");
    let parts = [
        r#""clean":true"#,
        r#""total":500"#,
        r#""ok":500"#,
        r#""workers":{"w0":250,"w1":250}"#,
    ];
    assert_report(&output, 0, &parts);
}

#[cfg(target_os = "linux")]
#[test]
fn sources_are_used_in_turn() {
    let target = serve(|_, mut connection| {
        let peer = connection.peer_addr().unwrap().ip();
        let token = read_token(&connection);
        writeln!(connection, "{peer} {token}").unwrap();
    });
    let output = load(target, "closed --connections 30 --clients 1 --sources 3");
    assert_report(
        &output,
        0,
        &[r#""workers":{"127.0.0.1":10,"127.0.0.2":10,"127.0.0.3":10}"#],
    );
}

#[test]
fn a_preamble_is_sent_before_each_token() {
    let target = serve(|_, mut connection| {
        let line = read_token(&connection);
        writeln!(connection, "w {}", line.strip_prefix("ab ").unwrap()).unwrap();
    });
    let output = load(target, "closed --connections 10 --preamble 616220");
    assert_report(&output, 0, &[r#""ok":10"#]);
    for preamble in ["6", "xy", "616"] {
        let output = load(target, &format!("closed --connections 1 --preamble {preamble}"));
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn every_misbehaviour_has_an_outcome_and_fails_the_run() {
    let cases: [(&str, Handler); 5] = [
        ("empty", |_, connection| drop(read_token(&connection))),
        ("wrong", |_, mut connection| {
            read_token(&connection);
            connection.write_all(b"w0 another").unwrap();
        }),
        ("doubled", |_, mut connection| {
            let token = read_token(&connection);
            write!(connection, "w0 {token}\nw1 {token}\n").unwrap();
        }),
        ("reset", |_, mut connection| {
            let token = read_token(&connection);
            writeln!(connection, "w0 {token}").unwrap();
            setsockopt(
                &connection,
                sockopt::Linger,
                &linger {
                    l_onoff: 1,
                    l_linger: 0,
                },
            )
            .unwrap();
        }),
        ("timeout", |_, mut connection| {
            // Waits until the client resets the connection.
            let _ = connection.read_to_end(&mut Vec::new());
        }),
    ];
    for (outcome, handler) in cases {
        let output = load(serve(handler), "closed --connections 4 --clients 2 --timeout 200");
        assert_report(
            &output,
            1,
            &[r#""clean":false"#, r#""ok":0"#, &format!(r#""{outcome}":4"#)],
        );
    }
}

#[test]
fn an_answer_to_another_connection_is_wrong_and_its_token_is_answered_twice() {
    let target = serve(|_, mut connection| {
        let token = read_token(&connection);
        let first = token.replace("0000000001", "0000000000");
        writeln!(connection, "w0 {first}").unwrap();
    });
    let output = load(target, "closed --connections 2 --clients 1");
    assert_report(&output, 1, &[r#""ok":1"#, r#""wrong":1"#, r#""answered_twice":1"#]);
}

#[test]
fn a_port_without_a_listener_is_refused_and_can_be_allowed() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = load(target, "closed --connections 3 --clients 1 --allow-errors");
    assert_report(&output, 0, &[r#""refused":3"#, r#""clean":false"#]);
}

#[test]
fn the_report_has_the_documented_members() {
    let output = load(serve(answer), "open --rate 1000 --connections 5 --seed 1");
    let readme = include_str!("../README.md");
    let report: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    for member in report.keys() {
        assert!(readme.contains(&format!("`{member}`")), "{member}");
    }
    let latency = &report["latency_us"];
    for quantile in ["count", "mean", "p50", "p90", "p99", "p999", "max"] {
        assert!(latency[quantile].is_number(), "{quantile} in {latency}");
    }
    let names: Vec<&str> = report["outcomes"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert!(
        names.contains(&"ok") && names.contains(&"dropped") && names.len() == 8,
        "{names:?}"
    );
    assert!(report["opened"].is_null() && report["elapsed_seconds"].is_f64());
}

#[test]
fn an_answer_can_end_with_a_newline() {
    let target = serve(|_, mut connection| {
        let copy = connection.try_clone().unwrap();
        for line in BufReader::new(copy).lines() {
            writeln!(connection, "{}", line.unwrap()).unwrap();
        }
    });
    let output = load(
        target,
        "closed --connections 50 --clients 4 --expect echo --until newline",
    );
    assert_report(&output, 0, &[r#""ok":50"#]);
}

#[test]
fn open_arrivals_can_be_saved_and_replayed() {
    let target = serve(answer);
    let scratch = Scratch::new("arrivals");
    let output = load(
        target,
        &format!("open --rate 500 --connections 100 --seed 3 --save-arrivals {scratch}"),
    );
    assert_report(
        &output,
        0,
        &[r#""ok":100"#, r#""seed":3"#, r#""lateness_us":{"count":100"#],
    );
    let output = load(target, &format!("open --arrivals {scratch} --threads 2"));
    assert_report(&output, 0, &[r#""ok":100"#, r#""replayed":true"#]);
}

#[test]
fn the_log_has_one_line_per_connection() {
    let target = serve(answer);
    let scratch = Scratch::new("log");
    let output = load(target, &format!("open --rate 1000 --connections 20 --log {scratch}"));
    assert_report(&output, 0, &[r#""ok":20"#]);
    let log = std::fs::read_to_string(&scratch.0).unwrap();
    assert_eq!(log.lines().count(), 20);
    for line in log.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [_, intended, start, end, "ok", "w0" | "w1", "-"] = fields[..] else {
            panic!("{line}")
        };
        let times = [intended, start, end].map(|time| time.parse::<u64>().unwrap());
        assert!(times.is_sorted(), "{line}");
    }
}

#[test]
fn held_connections_stay_open_until_standard_input_ends() {
    let target = serve(|index, mut connection| {
        let token = read_token(&connection);
        writeln!(connection, "w{} {token}", index % 2).unwrap();
        assert_eq!(
            connection.read(&mut [0]).unwrap(),
            0,
            "the client closes the connection"
        );
    });
    let mut child = command(target, "hold --connections 40 --rate 2000")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut message = String::new();
    BufReader::new(child.stderr.take().unwrap())
        .read_line(&mut message)
        .unwrap();
    assert_eq!(message, "holding 40\n");
    drop(child.stdin.take());
    assert_report(
        &child.wait_with_output().unwrap(),
        0,
        &[r#""ok":40"#, r#""workers":{"w0":20,"w1":20}"#],
    );
}

#[test]
fn a_held_connection_that_the_server_closes_is_dropped() {
    let output = load(serve(answer), "hold --connections 5 --seconds 0.2");
    assert_report(&output, 1, &[r#""ok":0"#, r#""dropped":5"#]);
}

#[test]
fn connections_without_an_answer_can_be_held() {
    // Nobody accepts: the connections stay in the backlog of the kernel.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let output = load(target, "hold --connections 5 --seconds 0.1 --expect nothing");
    assert_report(&output, 0, &[r#""ok":5"#]);
}

#[test]
fn a_client_reconnects_after_connection_close() {
    let output = load(
        serve(|_, connection| speak_http(connection, "")),
        "http --connections 90 --clients 1 --body 2000",
    );
    // The server answers three requests per connection, the third with `Connection: close`.
    assert_report(
        &output,
        0,
        &[
            r#""ok":90"#,
            r#""opened":30"#,
            r#""idle_closed":0"#,
            r#""workers":{"w0":90}"#,
        ],
    );
}

#[test]
fn a_second_response_to_one_request_is_doubled() {
    let target = serve(|_, connection| speak_http(connection, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    let output = load(target, "http --connections 3 --clients 1");
    assert_report(&output, 1, &[r#""ok":0"#, r#""doubled":3"#]);
}

#[test]
fn a_complete_body_is_ok_even_if_the_request_was_dribbled() {
    let log = Scratch::new("body");
    let line =
        format!("http --connections 12 --clients 2 --body 500 --expect body --requests 3 --dribble 1 --log {log}");
    let output = load(serve(|_, connection| echo_http(connection, 0)), &line);
    assert_report(&output, 0, &[r#""ok":12"#, r#""workers":{"w0":12}"#]);
    let text = std::fs::read_to_string(&log.0).unwrap();
    let ports: Vec<&str> = text.lines().map(|line| line.rsplit('\t').next().unwrap()).collect();
    assert!(ports.iter().all(|port| port.parse::<u16>().is_ok()), "{text}");
    // One connection carries three requests at most.
    for port in &ports {
        assert!(ports.iter().filter(|other| *other == port).count() <= 3, "{text}");
    }
}

#[test]
fn an_incomplete_body_is_wrong() {
    let target = serve(|_, connection| echo_http(connection, 1));
    let output = load(
        target,
        "http --connections 4 --clients 1 --body 50 --expect body --requests 1",
    );
    assert_report(&output, 1, &[r#""ok":0"#, r#""wrong":4"#, r#""opened":4"#]);
}

#[test]
fn a_run_that_is_not_possible_exits_with_2_and_the_cause() {
    let target = SocketAddr::from(([127, 0, 0, 1], 1));
    let output = load(target, "open --arrivals /nonexistent/arrivals");
    assert_report(&output, 2, &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read /nonexistent/arrivals"));
}

/// Answers three requests on a connection with the first line of their body, the second in chunks; then closes.
fn speak_http(mut connection: TcpStream, more: &str) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    for request in 0..3 {
        let mut length = 0;
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 2 {
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim_end().parse().unwrap();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        if length == 0 || reader.read_exact(&mut body).is_err() {
            return;
        }
        let token = body.split(|byte| *byte == b'\n').next().unwrap();
        let text = format!("w0 {}", String::from_utf8_lossy(token));
        let head = if request == 2 { "Connection: close\r\n" } else { "" };
        let framed = if request == 1 {
            format!(
                "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n",
                text.len()
            )
        } else {
            format!("Content-Length: {}\r\n\r\n{text}", text.len())
        };
        let response = format!("HTTP/1.1 200 OK\r\n{head}{framed}{more}");
        if connection.write_all(response.as_bytes()).is_err() {
            return;
        }
    }
}

/// Answers each request with its body without the last `cut` bytes, and closes after `Connection: close`.
fn echo_http(mut connection: TcpStream, cut: usize) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    loop {
        let (mut length, mut is_last) = (0, false);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            is_last |= line == "Connection: close\r\n";
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim_end().parse().unwrap();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        if length == 0 || reader.read_exact(&mut body).is_err() {
            return;
        }
        let text = format!("w0 {}", String::from_utf8_lossy(&body[..length - cut]));
        let close = if is_last { "Connection: close\r\n" } else { "" };
        let head = format!("HTTP/1.1 200 OK\r\n{close}Content-Length: {}\r\n\r\n", text.len());
        if connection.write_all((head + &text).as_bytes()).is_err() || is_last {
            return;
        }
    }
}

/// A path in the temporary folder; the file is removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("socketserver-load-{name}-{}", std::process::id())))
    }
}

impl std::fmt::Display for Scratch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.display().fmt(formatter)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
