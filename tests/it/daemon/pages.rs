//! The status server among unfriendly clients, the declaration that changes on disk, and what the
//! service manager and the journal are told.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::house::{Ear, House, credential, until};

/// Sends these lines on a connection of its own; gives what came back.
async fn asks(host: &str, request: String) -> String {
    let host = host.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A connection that is cut off has answered as well.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_answers_only_to_its_address_and_tells_browsers_to_keep_it_to_themselves() {
    let house = House::new(&["app"]).await;
    house.declare(&credential("app", ""));
    let daemon = house.daemon(&[]).await;
    daemon.shows("app", "ok", "healthy").await;
    let get = |path: &str, host: &str| asks(daemon.host(), format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    for (host, code) in [
        (daemon.host(), "200"),
        ("localhost:1", "200"),
        ("[::1]:80", "200"),
        ("192.0.2.1", "200"),
        ("evil.example", "421"),
        ("localhost.evil.example:80", "421"),
        ("127.0.0.1.evil.example", "421"),
        ("", "421"),
    ] {
        for path in ["/", "/status.json", "/readyz"] {
            let answer = get(path, host).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{host} {path}: {answer}");
            assert!(code == "200" || !answer.contains("app"), "{host} {path}: {answer}");
            for header in [
                "content-security-policy: default-src 'none'",
                "x-content-type-options: nosniff",
                "referrer-policy: no-referrer",
                "cache-control: no-store",
            ] {
                assert!(answer.contains(header), "{host} {path} without {header}: {answer}");
            }
        }
    }
    let facts = daemon.facts().await;
    assert!(facts["as_of"].is_string() && facts["credentials"][0]["as_of"].is_string(), "{facts}");
    assert!(daemon.get("").await.1.contains("as of 20"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_use_up_neither_the_pages_nor_the_descriptors() {
    let house = House::new(&["app"]).await;
    house.declare(&credential("app", ""));
    let daemon = house.daemon(&[]).await;
    daemon.shows("app", "ok", "healthy").await;
    let before = daemon.descriptor_count();
    let mut slow: Vec<TcpStream> = (0..60).map(|_| TcpStream::connect(daemon.host()).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
    }
    if let Some(before) = before {
        until("some are let in", || daemon.descriptor_count() > Some(before)).await;
        let mut most = 0;
        for _ in 0..40 {
            most = most.max(daemon.descriptor_count().unwrap_or_default());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        assert!(most <= before + 20, "{most} descriptors, and {before} before");
    }
    daemon.answers("livez", 200, "alive").await;
    // And the first ones were shown the door.
    until("they are cut off", || {
        let mut byte = [0];
        slow[0].set_nonblocking(true).unwrap();
        !matches!(slow[0].read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_that_changed_on_disk_is_told_and_taken_where_that_was_asked_for() {
    for on_change in [false, true] {
        let house = House::new(&["app", "more"]).await;
        house.declare(&credential("app", ""));
        let more = if on_change { " --reload on-change" } else { "" };
        let daemon = house.daemon_with(more, &[]).await;
        daemon.answers("readyz", 200, "ready").await;
        house.declare(&(credential("app", "") + &credential("more", "")));
        if on_change {
            daemon.shows("more", "ok", "healthy").await;
            house.write(&house.head().replace("region", "regoin"));
            daemon.answers("readyz", 503, "regoin").await;
            assert_eq!(daemon.row("more").await.unwrap().0, "ok");
            house.declare(&credential("more", ""));
        } else {
            daemon.answers("readyz", 503, "changed and is not in force").await;
            assert_eq!(daemon.row("more").await, None);
            house.declare(&credential("app", ""));
        }
        // As it was, or as it should be.
        daemon.answers("readyz", 200, "ready").await;
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_comes_to_nothing_tells_the_service_manager_why() {
    let house = House::new(&["app"]).await;
    house.write(&house.head().replace("region", "regoin"));
    let ear = Ear::new("broken");
    let child = house.start_with("run", |command| {
        command.env("NOTIFY_SOCKET", &ear.address);
    });
    let (code, text) = child.output().await;
    assert!(code == 2 && text.contains("regoin"), "{code}\n{text}");
    ear.hears("STATUS=not started: the declaration has problems: ").await;
    assert!(ear.heard().iter().any(|line| line.contains("regoin")), "{:?}", ear.heard());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_gets_priorities_and_no_dates_of_ours() {
    for (output, info) in [("text", "<6>keeping credentials"), ("json", "<6>{\"timestamp\"")] {
        let house = House::new(&["app"]).await;
        house.declare(&credential("app", ""));
        let path = house.path().with_file_name("log");
        let file = File::create(&path).unwrap();
        let about = file.metadata().unwrap();
        let stream = format!("{}:{}", about.dev(), about.ino());
        let child = house.start_with(&format!("run --output {output}"), |command| {
            command.env("JOURNAL_STREAM", stream).stderr(file);
        });
        let log = || std::fs::read_to_string(&path).unwrap();
        until("it says that it begins", || log().contains("keeping credentials")).await;
        child.told("TERM").await;
        assert!(log().lines().all(|line| line.starts_with('<')), "{}", log());
        assert!(log().contains(info), "{}", log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_verb_leaves_a_core_file() {
    let house = House::new(&["app"]).await;
    house.declare(&credential("app", ""));
    let daemon = house.daemon(&[]).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let numbers: Vec<&str> = core.split_whitespace().filter(|word| word.parse::<u64>().is_ok()).collect();
    assert_eq!(numbers, ["0", "0"], "{core}");
    daemon.stop().await;
}
