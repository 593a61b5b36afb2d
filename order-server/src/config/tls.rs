//! Settings of TLS.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use tokio_rustls::TlsAcceptor;

use crate::connections;

/// Settings of TLS, which is on when both files are given.
#[derive(Clone, Debug, Default, Args)]
pub struct Tls {
    /// PEM file with the certificate for TLS, followed by its intermediate certificates; needs
    /// --tls-key
    #[arg(long, env, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// PEM file with the private key of the certificate
    #[arg(long, env, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

impl Tls {
    /// The acceptor of TLS connections, if these settings turn TLS on.
    ///
    /// # Errors
    /// When only one of the two files is given, or they cannot be used.
    pub fn acceptor(&self) -> anyhow::Result<Option<TlsAcceptor>> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Ok(Some(connections::tls::acceptor(cert, key)?)),
            (None, None) => Ok(None),
            _ => bail!("--tls-cert and --tls-key must be given together"),
        }
    }
}
