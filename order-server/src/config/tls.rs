//! Where the certificate and its key are.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use tokio_rustls::TlsAcceptor;

use crate::connections;

/// TLS, when both are given.
#[derive(Clone, Debug, Default, Args)]
pub struct Tls {
    /// Certificates to speak TLS with, the server's own first, in a PEM file; with --tls-key
    #[arg(long, env, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of the certificate, in a PEM file
    #[arg(long, env, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

impl Tls {
    /// What speaks TLS, when these settings ask for it.
    ///
    /// # Errors
    /// When only one of the two is given, or they cannot be used.
    pub fn acceptor(&self) -> anyhow::Result<Option<TlsAcceptor>> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Ok(Some(connections::tls::acceptor(cert, key)?)),
            (None, None) => Ok(None),
            _ => bail!("tls-cert and tls-key need each other"),
        }
    }
}
