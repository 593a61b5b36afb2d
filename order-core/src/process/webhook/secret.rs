//! Secrets and signatures: `v1` of Standard Webhooks.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::Error;

const PREFIX: &str = "whsec_";
/// The lengths of a key that the standard allows.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A symmetric key: `whsec_` and 24 to 64 bytes in base64. Never shown by `Debug`.
#[derive(Clone)]
pub struct WebhookSecret(Hmac<Sha256>);

impl WebhookSecret {
    /// The signature of a message, as one word of the header `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl FromStr for WebhookSecret {
    type Err = Error;

    /// # Errors
    /// [`Error::Invalid`], which does not quote it.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || {
            let reason = "must be whsec_ and 24 to 64 bytes in base64";
            Error::invalid("webhook_secrets", reason)
        };
        let encoded = text.trim().strip_prefix(PREFIX).ok_or_else(invalid)?;
        let key = STANDARD.decode(encoded).map_err(|_| invalid())?;
        if !KEY_BYTES.contains(&key.len()) {
            return Err(invalid());
        }
        let mac = Hmac::new_from_slice(&key).map_err(|_| invalid())?;
        Ok(Self(mac))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn a_signature_is_that_of_the_standard() {
        let secret: WebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signature = secret.sign(id, 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_quoted() {
        for text in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_c2hvcnQ=",
            "whsec_!",
        ] {
            let refused = text.parse::<WebhookSecret>().unwrap_err().to_string();
            assert!(refused.contains("webhook_secrets"), "{refused}");
            assert!(text.len() < 3 || !refused.contains(&text[1..].replace("hsec_", "%")));
        }
    }
}
