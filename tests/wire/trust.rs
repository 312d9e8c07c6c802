//! Certificates, proxies and names: what must not be trusted or can't be reached, at a driver and at the
//! store, with the cause in the message.

use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::bench::{Driver, Services, secret, store};
use crate::certificate::{Authority, Certificate, NO_SUITE, OLD_VERSION, PLAIN_HTTP, acceptor, answers_bytes};
use crate::clients::{compare, told};
use crate::rows::Becomes;

/// What is wrong with the other side's TLS, and words of the message.
pub const CERTIFICATES: [(Certificate, &[&str]); 6] = [
    (Certificate::Good, &[]),
    (Certificate::Expired, &["certificate", "expired|Expired"]),
    (Certificate::NotYetValid, &["certificate", "not yet valid|NotValidYet|not valid yet"]),
    (Certificate::WrongHost, &["certificate", "another host|other host|NotValidForName|not valid for"]),
    (Certificate::SelfSigned, &["certificate", "UnknownIssuer|unknown|signed by itself|authority"]),
    (Certificate::UnknownAuthority, &["certificate", "UnknownIssuer|unknown|authority"]),
];

/// What a server says that does not speak TLS as it is spoken today.
const HANDSHAKES: [(&str, &[u8], &[&str]); 5] = [
    ("only TLS 1.0", OLD_VERSION, &["TLS"]),
    ("no suite in common", NO_SUITE, &["TLS"]),
    ("plain HTTP on the port", PLAIN_HTTP, &["TLS"]),
    ("nothing", b"", &["connection|connect|TLS"]),
    ("half a ServerHello", b"\x16\x03\x03\x00\x40\x02\x00", &["connection|connect|TLS"]),
];

fn https(address: SocketAddr) -> String {
    format!("https://localhost:{}", address.port())
}

fn ca_file() -> Option<&'static Path> {
    Some(&Authority::of_tests().ca_file)
}

/// Every address at which TLS must fail, or work, with the words for it.
async fn addresses(services: &Services, service: &str) -> Vec<(String, String, Becomes, &'static [&'static str])> {
    let mut all = Vec::new();
    for (kind, words) in CERTIFICATES {
        let relay = services.relay(service, Some(acceptor(kind))).await;
        let becomes = if kind == Certificate::Good { Becomes::Good } else { Becomes::Retry };
        all.push((format!("{service}, {kind:?}"), relay.base().to_owned(), becomes, words));
    }
    for (what, bytes, words) in HANDSHAKES {
        let address = answers_bytes(bytes).await.unwrap();
        all.push((format!("{service}, {what}"), https(address), Becomes::Retry, words));
    }
    // RFC 6761: resolvers know that there is no such name.
    let name = "https://nobody.invalid".to_owned();
    all.push((format!("{service}, a name that nobody resolves"), name, Becomes::Retry, &["resolve"]));
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    all.push((format!("{service}, nobody listens"), https(taken), Becomes::Retry, &["refused"]));
    all
}

#[tokio::test]
async fn a_vendor_that_must_not_be_trusted_is_told_by_its_cause() {
    let services = Services::start().await;
    let mut wrong = Vec::new();
    for (row, base, becomes, words) in addresses(&services, "keycard").await {
        let driver = Driver::open(&services, "keycard", &base, ca_file()).unwrap();
        wrong.extend(compare(&row, becomes, words, told(&driver.list().await)));
    }
    // Without the file, the authority is a stranger.
    let relay = services.relay("keycard", Some(acceptor(Certificate::Good))).await;
    let driver = Driver::open(&services, "keycard", relay.base(), None).unwrap();
    wrong.extend(compare("keycard, no ca_file", Becomes::Retry, &["certificate"], told(&driver.list().await)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn an_aws_that_must_not_be_trusted_is_told_by_its_cause() {
    let services = Services::start().await;
    let mut wrong = Vec::new();
    for (row, base, becomes, words) in addresses(&services, "aws").await {
        let store = store(&services, &base, ca_file(), None).await.unwrap();
        wrong.extend(compare(&row, becomes, words, told(&store.observe(&secret()).await)));
    }
    let relay = services.relay("aws", Some(acceptor(Certificate::Good))).await;
    let stranger = store(&services, relay.base(), None, None).await.unwrap();
    wrong.extend(compare(
        "aws, no ca_file",
        Becomes::Retry,
        &["certificate"],
        told(&stranger.observe(&secret()).await),
    ));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a proxy does when it is asked for a way.
#[derive(Clone, Copy)]
pub enum Proxy {
    /// It answers this, and that was it.
    Says(&'static [u8]),
    /// It leads to this service, whatever it was asked for.
    LeadsTo(SocketAddr),
}

/// A proxy that does so.
pub async fn proxy(does: Proxy) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 2048];
                let count = stream.read(&mut asked).await.unwrap_or(0);
                assert!(asked[..count].starts_with(b"CONNECT "), "a proxy sees nothing else");
                match does {
                    Proxy::Says(bytes) => {
                        let _ = stream.write_all(bytes).await;
                        let _ = stream.shutdown().await;
                    }
                    Proxy::LeadsTo(service) => {
                        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                        let mut far = TcpStream::connect(service).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
                    }
                }
            });
        }
    });
    address
}

/// AWS's own name is never resolved here: the proxy is asked for it, or says no.
#[tokio::test]
async fn a_proxy_that_leads_nowhere_is_told_as_such() {
    const AWS: &str = "https://secretsmanager.us-east-1.amazonaws.com";
    let services = Services::start().await;
    let good = services.relay("aws", Some(acceptor(Certificate::Good))).await;
    let expired = services.relay("aws", Some(acceptor(Certificate::Expired))).await;
    let rows: [(&str, Proxy, Becomes, &[&str]); 8] = [
        ("it leads there", Proxy::LeadsTo(good.address), Becomes::Good, &[]),
        (
            "it leads to an expired certificate",
            Proxy::LeadsTo(expired.address),
            Becomes::Retry,
            &["certificate", "xpired"],
        ),
        ("it refuses", Proxy::Says(b"HTTP/1.1 403 Forbidden\r\n\r\n"), Becomes::Retry, &["proxy"]),
        (
            "it wants a password",
            Proxy::Says(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
            Becomes::Retry,
            &["proxy"],
        ),
        ("it finds nobody", Proxy::Says(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), Becomes::Retry, &["proxy"]),
        ("it hangs up", Proxy::Says(b""), Becomes::Retry, &["proxy|connection|connect"]),
        ("it is no proxy", Proxy::Says(b"SSH-2.0-OpenSSH_9.6\r\n"), Becomes::Retry, &["proxy|connection|connect"]),
        ("it says a page", Proxy::Says(b"HTTP/1.1 200 OK\r\n\r\n<html>"), Becomes::Retry, &["TLS|connect"]),
    ];
    let mut wrong = Vec::new();
    for (row, does, becomes, words) in rows {
        let address = proxy(does).await;
        let proxy = Some(format!("http://user:kfcanary@{address}"));
        let store = store(&services, AWS, ca_file(), proxy).await.unwrap();
        wrong.extend(compare(row, becomes, words, told(&store.observe(&secret()).await)));
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let store = store(&services, AWS, None, Some(format!("http://{nobody}"))).await.unwrap();
    wrong.extend(compare("nobody listens", Becomes::Retry, &["refused|proxy"], told(&store.observe(&secret()).await)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A file that holds no certificates is told of before anything is asked.
#[tokio::test]
async fn a_ca_file_that_holds_nothing_is_refused() {
    let services = Services::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (row, bytes) in [
        ("empty", &b""[..]),
        ("no PEM", b"certificates are great"),
        ("a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        ("a broken certificate", b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"),
    ] {
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, bytes).unwrap();
        let driver = Driver::open(&services, "keycard", "https://localhost:1", Some(&path));
        wrong.extend(compare(&format!("vendor, {row}"), Becomes::Rejected, &["CA"], told(&driver)));
        let store = store(&services, "https://localhost:1", Some(&path), None).await;
        wrong.extend(compare(&format!("aws, {row}"), Becomes::Rejected, &["CA"], told(&store)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
