use std::str::Chars;

use saphyr_parser::input::{Input, is_blank_or_breakz, is_breakz, is_flow};

/// What the parser sees at the end of the text, and for a NUL in it.
const NUL: char = '\0';
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A text as the parser reads it: the next character decoded once, however often the parser looks at it.
///
/// The parser's own input decodes at each look, and asks for room for 128 bytes for each scalar, so that every one is
/// allocated twice: it makes a load a quarter dearer. What both say is the same, which a test holds side by side.
pub(crate) struct TextInput<'a> {
    /// [`NUL`] behind the end.
    next: char,
    is_ended: bool,
    after: Chars<'a>,
    /// The most characters that the parser has asked to look at; all of them are always there.
    ahead: usize,
}

impl<'a> TextInput<'a> {
    /// Begins at the first character of `text`.
    pub(crate) fn new(text: &'a str) -> Self {
        let mut input = Self { next: NUL, is_ended: false, after: text.chars(), ahead: 0 };
        input.skip();
        input
    }

    #[inline]
    fn second(&self) -> char {
        self.after.clone().next().unwrap_or(NUL)
    }

    /// Three times `mark`, and nothing or white space behind: where a document begins or ends.
    #[inline]
    fn is_document_mark(&self, mark: char) -> bool {
        let mut after = self.after.clone();
        self.next == mark
            && after.next() == Some(mark)
            && after.next() == Some(mark)
            && after.next().is_none_or(is_blank_or_breakz)
    }
}

impl Input for TextInput<'_> {
    #[inline]
    fn lookahead(&mut self, count: usize) {
        self.ahead = self.ahead.max(count);
    }

    #[inline]
    fn buflen(&self) -> usize {
        self.ahead
    }

    /// How much room the parser makes for a scalar at a time: no more than what it has from the beginning.
    #[inline]
    fn bufmaxlen(&self) -> usize {
        16
    }

    #[inline]
    fn raw_read_ch(&mut self) -> char {
        let char = self.next;
        self.skip();
        char
    }

    #[inline]
    fn raw_read_non_breakz_ch(&mut self) -> Option<char> {
        let char = self.next;
        if is_breakz(char) || char == BYTE_ORDER_MARK {
            return None;
        }
        self.skip();
        Some(char)
    }

    #[inline]
    fn skip(&mut self) {
        let next = self.after.next();
        self.is_ended = next.is_none();
        self.next = next.unwrap_or(NUL);
    }

    #[inline]
    fn skip_n(&mut self, count: usize) {
        (0..count).for_each(|_| self.skip());
    }

    #[inline]
    fn peek(&self) -> char {
        self.next
    }

    #[inline]
    fn peek_nth(&self, n: usize) -> char {
        match n {
            0 => self.next,
            1 => self.second(),
            n => self.after.clone().nth(n - 1).unwrap_or(NUL),
        }
    }

    #[inline]
    fn peek_opt(&self) -> Option<char> {
        (!self.is_ended).then_some(self.next)
    }

    #[inline]
    fn next_can_be_plain_scalar(&self, in_flow: bool) -> bool {
        match self.next {
            ':' => {
                let second = self.second();
                !(is_blank_or_breakz(second) || in_flow && is_flow(second))
            }
            BYTE_ORDER_MARK => false,
            char => !(in_flow && is_flow(char)),
        }
    }

    #[inline]
    fn next_is_document_indicator(&self) -> bool {
        self.is_document_mark('-') || self.is_document_mark('.')
    }

    #[inline]
    fn next_is_document_start(&self) -> bool {
        self.is_document_mark('-')
    }

    #[inline]
    fn next_is_document_end(&self) -> bool {
        self.is_document_mark('.')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use saphyr_parser::{Parser, StrInput};

    use super::*;

    fn events(input: impl Input) -> Vec<String> {
        let mut parser = Parser::new(input);
        let mut seen = Vec::new();
        while let Some(event) = parser.next_event() {
            seen.push(format!("{event:?}"));
            if event.is_err() {
                break;
            }
        }
        seen
    }

    fn assert_same(text: &str) {
        assert_eq!(events(TextInput::new(text)), events(StrInput::new(text)), "{text:?}");
    }

    /// Goal: the faster input changes no event, mark or error. Method: the parser's own input beside it, on texts that
    /// touch every method.
    #[test]
    fn the_input_reads_as_the_parsers_own() {
        let deep = format!("a: |2\n{}x\n{}y\n", " ".repeat(200), " ".repeat(20));
        let long = format!("a: {}\nb: \"{}\"\n", "x".repeat(300), "é\\n".repeat(100));
        for text in [
            "",
            "a",
            "\u{feff}a: 1",
            "a: \u{feff}b",
            "# c\u{feff}\na: 1",
            "a: 1\n---\nb: 2\n...\n",
            "...",
            "---",
            "--- x",
            "----",
            "a: 'é''x'\nb: \"\\u00e9\\\n  z\"\n",
            "a: >-\n  fold\n  ed\n\n  x\nb: |+\n  k\n\n",
            "{a: [1, \"b\":2, c: {d: e}], ? f : g}",
            "[a:b, c: d]",
            "&x a: *x\n!t b: !!str c\n%bad",
            "%YAML 1.2\n---\na: 1",
            "a:\tb\n\tc: d",
            "a: b #c\n  d",
            "a: b\r\nc: d\re: f",
            "a\0b",
            "\0",
            "a: \"\0\"",
            "- -\n- - x\n-y",
            "? - a\n: - b",
            &deep,
            &long,
        ] {
            assert_same(text);
        }
    }

    // Without `%`: behind a directive's name the parser's own input counts bytes for characters.
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_text_reads_as_with_the_parsers_own_input(
            text in r##"([ \n\t:,\[\]{}#&*!|>'"@`?.\-]|\r\n|---|\.\.\.|: |- |\\|a|b1|é|\u{feff}|\u{0}|x{20}){0,40}"##
        ) {
            assert_same(&text);
        }
    }
}
