//! Hellos written part by part, also wrong ones.

/// A ClientHello as it is written: each part with its length before it, whether or not that is allowed.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) version: [u8; 2],
    pub(super) session: Vec<u8>,
    pub(super) suites: Vec<u8>,
    pub(super) compressions: Vec<u8>,
    pub(super) extensions: Option<Vec<(u16, Vec<u8>)>>,
    /// What stands behind the extensions, still within the message.
    pub(super) tail: Vec<u8>,
}

impl Default for Message {
    fn default() -> Self {
        Self {
            version: [3, 3],
            session: vec![5; 32],
            suites: vec![0x13, 1, 0x13, 2],
            compressions: vec![0],
            extensions: Some(Vec::new()),
            tail: Vec::new(),
        }
    }
}

impl Message {
    pub(super) fn with(mut self, extension: (u16, Vec<u8>)) -> Self {
        self.extensions.get_or_insert_default().push(extension);
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut body = self.version.to_vec();
        body.extend([9; 32]);
        body.extend(part(1, &self.session));
        body.extend(part(2, &self.suites));
        body.extend(part(1, &self.compressions));
        if let Some(extensions) = &self.extensions {
            let value = |(kind, value): &(u16, Vec<u8>)| [&kind.to_be_bytes()[..], &part(2, value)].concat();
            body.extend(part(2, &extensions.iter().flat_map(value).collect::<Vec<u8>>()));
        }
        body.extend(&self.tail);
        [&[1][..], &part(3, &body)].concat()
    }
}

/// The bytes behind their length, which takes `width` bytes.
fn part(width: usize, bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[4 - width..], bytes].concat()
}

/// A server name extension with one name.
pub(super) fn server_name(name: &[u8]) -> (u16, Vec<u8>) {
    (0, part(2, &[&[0][..], &part(2, name)].concat()))
}

/// An extension with these protocols.
pub(super) fn alpn(protocols: &[&str]) -> (u16, Vec<u8>) {
    (16, part(2, &protocols.iter().flat_map(|name| part(1, name.as_bytes())).collect::<Vec<u8>>()))
}

/// The message in records of so many bytes.
pub(super) fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|content| [&b"\x16\x03\x01"[..], &part(2, content)].concat()).collect()
}

/// The contents of whole records.
pub(super) fn of_records(mut bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    while let [_, _, _, high, low, rest @ ..] = bytes {
        let (content, behind) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        message.extend(content);
        bytes = behind;
    }
    message
}
