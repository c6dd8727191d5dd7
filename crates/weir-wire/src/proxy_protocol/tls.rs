use super::Tlv;

/// Kinds of TLVs about TLS (section 2.2 of the PROXY protocol's specification).
const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const SSL: u8 = 0x20;

const SSL_VERSION: u8 = 0x21;
const SSL_CIPHER: u8 = 0x23;
const SSL_COMMON_NAME: u8 = 0x22;

/// Bits of what a client did.
const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERT_CONN: u8 = 0x02;
const CLIENT_CERT_SESS: u8 = 0x04;

/// What a PROXY header of version 2 tells of a client's TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TlsTold<'a> {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'a str,
    /// The cipher suite's name.
    pub cipher: &'a str,
    /// The server name that the client asked for; empty where it named none.
    pub server_name: &'a str,
    /// The protocol that was agreed on, by its name in ALPN; empty where none was.
    pub alpn: &'a [u8],
    /// The common name of the client's certificate; none where it has shown none.
    pub client: Option<&'a str>,
}

impl TlsTold<'_> {
    /// The kinds of the TLVs that it is told by.
    pub const KINDS: [u8; 3] = [ALPN, AUTHORITY, SSL];

    /// The value of the TLV that holds the others.
    pub fn ssl(&self) -> Vec<u8> {
        let certificate = if self.client.is_some() { CLIENT_CERT_CONN | CLIENT_CERT_SESS } else { 0 };
        let mut value = vec![CLIENT_SSL | certificate];
        // Not verified is anything but zero: a certificate that does not hold ends the handshake, and none was not verified.
        value.extend_from_slice(&u32::from(self.client.is_none()).to_be_bytes());
        let parts = [(SSL_VERSION, self.version), (SSL_CIPHER, self.cipher)];
        let common_name = self.client.map(|name| (SSL_COMMON_NAME, name));
        for (kind, text) in parts.into_iter().chain(common_name).filter(|(_, text)| !text.is_empty()) {
            let text = &text.as_bytes()[..text.len().min(usize::from(u8::MAX))];
            value.push(kind);
            value.extend_from_slice(&(text.len() as u16).to_be_bytes());
            value.extend_from_slice(text);
        }
        value
    }

    /// The TLVs; `ssl` is what [`ssl`](Self::ssl) has given.
    pub fn tlvs<'s>(&'s self, ssl: &'s [u8]) -> impl Iterator<Item = Tlv<'s>> {
        let all = [(ALPN, self.alpn), (AUTHORITY, self.server_name.as_bytes()), (SSL, ssl)];
        all.into_iter().filter(|(_, value)| !value.is_empty()).map(|(kind, value)| Tlv { kind, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy_protocol::Tlvs;

    #[test]
    fn what_is_told_of_tls_can_be_read_again() {
        let told = TlsTold {
            version: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            server_name: "db.example",
            alpn: b"h2",
            client: Some("joe"),
        };
        let ssl = told.ssl();
        assert_eq!(ssl[..5], [7, 0, 0, 0, 0]);
        let parts: Vec<(u8, &[u8])> =
            Tlvs::new(&ssl[5..]).map(|tlv| tlv.map(|t| (t.kind, t.value)).unwrap()).collect();
        assert_eq!(parts, [(0x21, &b"TLSv1.3"[..]), (0x23, b"TLS_AES_128_GCM_SHA256"), (0x22, b"joe")]);
        let kinds: Vec<u8> = told.tlvs(&ssl).map(|tlv| tlv.kind).collect();
        assert_eq!(kinds, [1, 2, 0x20]);
        let silent = TlsTold { version: "TLSv1.2", ..TlsTold::default() };
        assert_eq!(silent.ssl()[..5], [1, 0, 0, 0, 1]);
        assert_eq!(silent.tlvs(&silent.ssl()).count(), 1);
    }
}
