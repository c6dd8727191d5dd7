use super::Stop;
use super::reader::Reader;

/// The protocols that a client offers, the preferred one first; each is 1 to 255 bytes, such as `h2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protocols<'a> {
    /// Each with one byte of length before it; the lengths were checked.
    list: &'a [u8],
}

impl<'a> Protocols<'a> {
    /// The protocols one by one.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let mut rest = self.list;
        std::iter::from_fn(move || {
            let (&length, behind) = rest.split_first()?;
            let (protocol, behind) = behind.split_at_checked(usize::from(length))?;
            rest = behind;
            Some(protocol)
        })
    }

    /// Whether the client offers none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Reads the extension's value: a list of at least one name.
pub(super) fn read(mut extension: Reader<'_>) -> Result<Protocols<'_>, Stop> {
    let mut list = extension.part(2, 2..=0xffff)?;
    extension.end()?;
    let mut names = list;
    while !names.is_done() {
        names.part(1, 1..=0xff)?.rest()?;
    }
    Ok(Protocols { list: list.rest()? })
}
