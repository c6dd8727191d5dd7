use std::net::IpAddr;

use serde_json::{Map, Value, json};
use weir_net::BindAddress;
use weir_route::FieldLookup;

use crate::plan::{ListenerPlan, RootPlan, TakesPlan};

/// A request that somebody wonders about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) method: String,
    /// A URL, or a path alone.
    pub(crate) url: String,
    /// Names with values, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// The listener that it comes to.
    pub(crate) listener: Option<String>,
    /// Who asks.
    pub(crate) client: Option<IpAddr>,
}

/// Whether nothing that was asked names the listener, and another would have done as well.
pub(super) type Assumed = bool;

impl Question {
    /// Reads `{"method": …, "url": …, "headers": {…}, "listener": …, "client": …}`; all but `url` may be left out.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong.
    pub(crate) fn from_json(value: &Value) -> Result<Self, String> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let client =
            text("client").map(|client| client.parse().map_err(|_| format!("`{client}` is no IP address")));
        Ok(Self {
            method: text("method").unwrap_or_else(|| "GET".to_owned()),
            url: text("url").ok_or("`url` is missing: a URL or a path")?,
            headers: headers(value.get("headers"))?,
            listener: text("listener"),
            client: client.transpose()?,
        })
    }

    /// What [`Self::from_json`] reads.
    pub(crate) fn to_json(&self) -> Value {
        let mut headers: Map<String, Value> = Map::new();
        for (name, value) in &self.headers {
            match headers.get_mut(name).and_then(Value::as_array_mut) {
                Some(values) => values.push(json!(value)),
                None => drop(headers.insert(name.clone(), json!([value]))),
            }
        }
        let client = self.client.map(|client| client.to_string());
        json!({ "method": self.method, "url": self.url, "headers": headers, "listener": self.listener, "client": client })
    }

    /// The first value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// The authority and the target of the URL; the authority is empty for a path alone.
    pub(super) fn split(&self) -> Result<(&str, &str), String> {
        let url = self.url.split('#').next().unwrap_or_default();
        if url.starts_with('/') {
            return Ok(("", url));
        }
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let rest = rest.ok_or_else(|| {
            format!("`{url}` is neither an http URL nor a path; write `http://HOST/PATH` or `/PATH`")
        })?;
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(at);
        Ok((authority, if target.is_empty() { "/" } else { target }))
    }

    /// The name of the listener that was named, else one with the URL's port; where neither tells, the first, and that
    /// it was assumed.
    pub(super) fn listener<'p>(
        &self,
        plan: &'p RootPlan,
        authority: &str,
    ) -> Result<(&'p str, Assumed), String> {
        // Only requests have routes.
        let http = || plan.listeners.iter().filter(|(_, listener)| is_http(listener));
        let names = || http().map(|(name, _)| &**name);
        if let Some(wanted) = &self.listener {
            if let Some(other) = plan.listeners.get(&**wanted).filter(|other| !is_http(other)) {
                let takes = other.takes.as_str();
                return Err(format!(
                    "the listener `{wanted}` takes no HTTP requests: it is a `{takes}` listener"
                ));
            }
            let listed = names().collect::<Vec<_>>().join(", ");
            return names()
                .find(|name| name == wanted)
                .map(|name| (name, false))
                .ok_or_else(|| format!("there is no listener `{wanted}`; listeners are: {listed}"));
        }
        let port = self.port(authority);
        let has_port =
            |bind: &BindAddress| matches!(bind, BindAddress::Tcp(address) if Some(address.port()) == port);
        let by_port = http().find(|(_, listener)| listener.bind.iter().any(has_port));
        let takes_tcp = |listener: &ListenerPlan| matches!(listener.takes, TakesPlan::Tcp(_));
        let mut tcp = plan.listeners.iter().filter(|(_, listener)| takes_tcp(listener));
        let other = tcp.find(|(_, listener)| listener.bind.iter().any(has_port));
        if let (None, Some((name, _)), Some(port)) = (by_port, other, port) {
            return Err(format!(
                "port {port} is that of the `tcp` listener `{name}`, which takes no HTTP requests; `--listener` chooses another"
            ));
        }
        by_port
            .map(|(name, _)| (&**name, false))
            .or_else(|| names().next().map(|name| (name, names().count() > 1)))
            .ok_or_else(|| "there is no listener".to_owned())
    }

    /// The port that the URL names, or that its scheme stands for; none for a path alone.
    fn port(&self, authority: &str) -> Option<u16> {
        // The colons of an IPv6 address stand before its bracket.
        let behind_host = authority.rfind(']').map_or(authority, |bracket| &authority[bracket..]);
        match behind_host.rsplit_once(':') {
            Some((_, port)) => port.parse().ok(),
            None if self.url.starts_with("https://") => Some(443),
            None if self.url.starts_with("http://") => Some(80),
            None => None,
        }
    }
}

fn is_http(listener: &ListenerPlan) -> bool {
    matches!(listener.takes, TakesPlan::Http)
}

impl FieldLookup for Question {
    fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.headers.iter().any(|(known, value)| known.eq_ignore_ascii_case(name) && test(value.as_bytes()))
    }
}

fn headers(given: Option<&Value>) -> Result<Vec<(String, String)>, String> {
    let Some(given) = given.filter(|given| !given.is_null()) else { return Ok(Vec::new()) };
    let given = given.as_object().ok_or("`headers` is not an object of names and values")?;
    let mut pairs = Vec::new();
    for (name, value) in given {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            let value =
                value.as_str().ok_or_else(|| format!("the value of header `{name}` is not a text"))?;
            pairs.push((name.clone(), value.to_owned()));
        }
    }
    Ok(pairs)
}
