//! Certificates, made when they are needed, and who serves with them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Certificate {
    Good,
    Expired,
    NotYetValid,
    /// It is for another host.
    WrongHost,
    /// Nobody signed it but itself.
    SelfSigned,
    /// An authority signed it that the client does not know.
    UnknownAuthority,
}

/// The authority that clients are told of, and its certificate in a file.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub ca_file: PathBuf,
    // The file lives as long.
    _folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let (params, key) = authority("keyferry's tests");
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), ca_file, _folder: folder }
    }

    /// The one of this process.
    pub fn of_tests() -> &'static Self {
        static ONE: OnceLock<Authority> = OnceLock::new();
        ONE.get_or_init(Self::new)
    }
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params, KeyPair::generate().unwrap())
}

/// A server that shows such a certificate, for `localhost` and for AWS's own name.
pub fn acceptor(kind: Certificate) -> TlsAcceptor {
    let host = |name: &str| vec![name.to_owned(), "secretsmanager.us-east-1.amazonaws.com".into()];
    let mut params = CertificateParams::new(match kind {
        Certificate::WrongHost => vec!["elsewhere.example".to_owned()],
        _ => host("localhost"),
    })
    .unwrap();
    (params.not_before, params.not_after) = match kind {
        Certificate::Expired => (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1)),
        Certificate::NotYetValid => (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1)),
        _ => (date_time_ymd(2001, 1, 1), date_time_ymd(2091, 1, 1)),
    };
    let key = KeyPair::generate().unwrap();
    let certificate = match kind {
        Certificate::SelfSigned => params.self_signed(&key).unwrap(),
        Certificate::UnknownAuthority => {
            let (stranger, its_key) = authority("somebody else");
            params.signed_by(&key, &Issuer::new(stranger, its_key)).unwrap()
        }
        _ => params.signed_by(&key, &Authority::of_tests().issuer).unwrap(),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()))
}

/// A server that does not speak TLS as it is spoken today: to whatever it is told, it answers these bytes.
pub async fn answers_bytes(bytes: &'static [u8]) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut hello = [0; 1024];
                let _ = stream.read(&mut hello).await;
                let _ = stream.write_all(bytes).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    Ok(address)
}

/// What a server says that only speaks TLS 1.0 or 1.1: alert 70, `protocol_version`.
pub const OLD_VERSION: &[u8] = b"\x15\x03\x01\x00\x02\x02\x46";
/// What a server says that has no suite in common: alert 40, `handshake_failure`.
pub const NO_SUITE: &[u8] = b"\x15\x03\x03\x00\x02\x02\x28";
/// A server that speaks plain HTTP on the port.
pub const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
