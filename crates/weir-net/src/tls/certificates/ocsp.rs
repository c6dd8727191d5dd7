//! As much of an OCSP answer (RFC 6960) as tells whether it may be stapled; clients verify the rest.

use std::time::{Duration, SystemTime};

use x509_parser::asn1_rs::{Any, Class, FromDer as _, GeneralizedTime};

/// The moment up to which an answer in DER says that its certificate is good; none where it does not say.
///
/// Or the rest of a sentence on why it is not to be stapled.
pub(super) fn until(der: &[u8], now: SystemTime) -> Result<Option<SystemTime>, String> {
    let single = read(der)?;
    if !single.is_good {
        return Err("says that the certificate is revoked or unknown".to_owned());
    }
    if single.this_update > now {
        return Err("is not valid yet".to_owned());
    }
    match single.next_update {
        Some(until) if until <= now => Err("has expired".to_owned()),
        until => Ok(until),
    }
}

struct Single {
    is_good: bool,
    this_update: SystemTime,
    next_update: Option<SystemTime>,
}

fn read(der: &[u8]) -> Result<Single, String> {
    walk(der).ok_or_else(|| "is no OCSP answer in DER, or one that tells of a failure".to_owned())
}

/// OCSPResponse, then its BasicOCSPResponse, then the first SingleResponse.
fn walk(der: &[u8]) -> Option<Single> {
    let mut response = Parts(Parts(der).next()?.data);
    let status = response.next()?;
    if status.data != [0] {
        return None;
    }
    let wrapped = Parts(response.next()?.data).next()?;
    let mut bytes = Parts(wrapped.data);
    let _kind = bytes.next()?;
    let basic = Parts(bytes.next()?.data).next()?;
    let data = Parts(basic.data).next()?;
    let mut data = Parts(data.data);
    let mut part = data.next()?;
    // version [0], which is left out as a rule, then responderID [1] or [2].
    if part.class() == Class::ContextSpecific && part.tag().0 == 0 {
        part = data.next()?;
    }
    (part.class() == Class::ContextSpecific).then_some(())?;
    let _produced_at = data.next()?;
    let responses = data.next()?;
    let mut single = Parts(Parts(responses.data).next()?.data);
    let _certificate = single.next()?;
    let status = single.next()?;
    let this_update = moment(single.next()?)?;
    let next = single.next().filter(|next| next.class() == Class::ContextSpecific && next.tag().0 == 0);
    let next_update = match next {
        Some(next) => Some(moment(Parts(next.data).next()?)?),
        None => None,
    };
    let is_good = status.class() == Class::ContextSpecific && status.tag().0 == 0;
    Some(Single { is_good, this_update, next_update })
}

/// Values in DER, one behind the other.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn next(&mut self) -> Option<Any<'a>> {
        let (rest, any) = Any::from_der(self.0).ok()?;
        self.0 = rest;
        Some(any)
    }
}

fn moment(any: Any<'_>) -> Option<SystemTime> {
    let time = GeneralizedTime::try_from(any).ok()?;
    let seconds = u64::try_from(time.utc_datetime().ok()?.unix_timestamp()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
