macro_rules! fields {
    ($( $variant:ident = $name:literal; )+) => {
        /// A field of an access line; `timestamp`, `level`, `service_name` and `event` are always there. Each
        /// event has its own: a request no `sni`, a connection no `host`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Field {
            $( #[doc = concat!("`", $name, "`.")] $variant, )+
        }

        impl Field {
            /// All of them, in the order in which they are written.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// The name in the line and in `log.fields`.
            pub const fn as_str(self) -> &'static str { match self { $( Self::$variant => $name, )+ } }

            pub(super) const fn json_key(self) -> &'static [u8] {
                match self { $( Self::$variant => concat!(",\"", $name, "\":").as_bytes(), )+ }
            }

            pub(super) const fn text_key(self) -> &'static [u8] {
                match self { $( Self::$variant => concat!(" ", $name, "=").as_bytes(), )+ }
            }
        }
    };
}

fields! {
    TraceId = "trace_id";
    RequestId = "request_id";
    HttpStatus = "http_status";
    Method = "method";
    Host = "host";
    Path = "path";
    Listener = "listener";
    Route = "route";
    Upstream = "upstream";
    Endpoint = "endpoint";
    Attempts = "attempts";
    ClientIp = "client_ip";
    Protocol = "protocol";
    Sni = "sni";
    TlsVersion = "tls_version";
    TlsCipher = "tls_cipher";
    TlsCertificate = "tls_certificate";
    ClientCertSubject = "client_cert_subject";
    ClientCertFingerprint = "client_cert_fingerprint";
    BytesIn = "bytes_in";
    BytesOut = "bytes_out";
    DatagramsIn = "datagrams_in";
    DatagramsOut = "datagrams_out";
    DurationMs = "duration_ms";
    QueueMs = "queue_ms";
    ConnectMs = "connect_ms";
    HeadMs = "head_ms";
    BodyMs = "body_ms";
    End = "end";
    Error = "error";
    UserAgent = "user_agent";
}

/// A set of [`Field`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields(u64);

/// Writes each field that is wanted: its key, then what stands behind the arrow. A macro, so that all of it is one run
/// of code with constant keys.
macro_rules! write_fields {
    ($line:ident, $wanted:expr; $( $field:ident => $value:expr, )+) => { $(
        if $wanted.contains(Field::$field) {
            $line = $line.key(Field::$field.json_key(), Field::$field.text_key())?;
            $line = $value?;
        }
    )+ };
}
pub(super) use write_fields;

impl Fields {
    /// Every field.
    pub const ALL: Self = Self((1 << Field::ALL.len()) - 1);
    /// No field but the common ones.
    pub const NONE: Self = Self(0);

    /// With one more.
    #[must_use]
    pub const fn with(self, field: Field) -> Self {
        Self(self.0 | 1 << field as u64)
    }

    /// Whether the field is in the set.
    pub const fn contains(self, field: Field) -> bool {
        self.0 & 1 << field as u64 != 0
    }

    /// The set of the fields named; the common ones may be named too.
    ///
    /// # Errors
    ///
    /// The first name that is no field.
    pub fn named<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, &'n str> {
        names.into_iter().try_fold(Self::NONE, |fields, name| {
            match Field::ALL.iter().find(|field| field.as_str() == name) {
                Some(field) => Ok(fields.with(*field)),
                None if matches!(name, "timestamp" | "level" | "service_name" | "event") => Ok(fields),
                None => Err(name),
            }
        })
    }
}
