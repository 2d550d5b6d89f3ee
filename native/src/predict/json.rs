//! A reader of JSON that takes what is plainly right: exact to RFC 8259, iterative and bounded.
//!
//! What is not is `None`: Python has the full grammar and explains.

use std::borrow::Cow;

/// Beyond it a float64 cannot hold every integer.
pub const EXACT_INTEGER: u64 = 1 << 53;
/// Powers of ten that a float64 holds exactly, so one multiplication or division rounds correctly (Clinger 1990).
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// A place in a text of JSON.
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What is between the quotes of a string, as it is written.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    pub bytes: &'a [u8],
    pub has_escapes: bool,
}

impl<'a> Text<'a> {
    /// The string; None where it is not UTF-8, an escape is none, or half of a surrogate pair stands alone.
    pub fn read(self) -> Option<Cow<'a, str>> {
        if self.has_escapes {
            return unescaped(self.bytes).map(Cow::Owned);
        }
        str::from_utf8(self.bytes).ok().map(Cow::Borrowed)
    }
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next byte that is no space.
    pub fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.byte()
    }

    pub fn take(&mut self, expected: u8) -> Option<()> {
        (self.peek()? == expected).then(|| self.at += 1)
    }

    /// After a member: true at the closing bracket, false at a comma.
    pub fn closes(&mut self, bracket: u8) -> Option<bool> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Some(false),
            _ if byte == bracket => Some(true),
            _ => None,
        }
    }

    pub fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    /// A string, whose escapes are not yet held to the grammar.
    pub fn text(&mut self) -> Option<Text<'a>> {
        self.take(b'"')?;
        let start = self.at;
        let mut has_escapes = false;
        loop {
            match self.byte()? {
                b'"' => break,
                b'\\' => {
                    has_escapes = true;
                    self.at += 2;
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(Text { bytes: &self.bytes[start..self.at - 1], has_escapes })
    }

    /// An array or object up to its closing bracket; what is inside is read later, and only then held to the grammar.
    pub fn nested(&mut self, max_depth: usize) -> Option<&'a [u8]> {
        if !matches!(self.peek()?, b'[' | b'{') {
            return None;
        }
        let start = self.at;
        let mut depth = 0;
        loop {
            match self.byte()? {
                b'"' => {
                    self.text()?;
                    continue;
                }
                b'[' | b'{' if depth == max_depth => return None,
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(&self.bytes[start..self.at]);
            }
        }
    }

    pub fn boolean(&mut self) -> Option<bool> {
        if self.word(b"true") { Some(true) } else { self.word(b"false").then_some(false) }
    }

    pub fn null(&mut self) -> Option<()> {
        self.word(b"null").then_some(())
    }

    fn word(&mut self, word: &[u8]) -> bool {
        let is_there = self.bytes[self.at..].starts_with(word);
        self.at += if is_there { word.len() } else { 0 };
        is_there
    }

    /// A number as a finite float64; an integer that a float64 may not hold is none.
    #[allow(clippy::cast_precision_loss, reason = "the mantissa is at most 2^53 where it is cast")]
    pub fn number(&mut self) -> Option<f64> {
        let start = self.at;
        let is_negative = self.eat(b'-');
        let mut mantissa = 0;
        let first = self.byte()?;
        let mut digits = self.digits(&mut mantissa)?;
        if first == b'0' && digits > 1 {
            return None;
        }
        let mut power = 0_i64;
        let is_integer = !matches!(self.byte(), Some(b'.' | b'e' | b'E'));
        if self.eat(b'.') {
            let fraction = self.digits(&mut mantissa)?;
            digits += fraction;
            power -= i64::try_from(fraction).ok()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            power += self.exponent()?;
        }
        let is_exact = digits <= 19 && mantissa <= EXACT_INTEGER;
        let magnitude = match power {
            _ if is_integer => is_exact.then_some(mantissa as f64)?,
            0..=22 if is_exact => mantissa as f64 * EXACT_POWERS[usize::try_from(power).ok()?],
            -22..0 if is_exact => mantissa as f64 / EXACT_POWERS[usize::try_from(-power).ok()?],
            _ => return self.slow_number(start),
        };
        Some(if is_negative { -magnitude } else { magnitude })
    }

    #[cold]
    fn slow_number(&self, start: usize) -> Option<f64> {
        let number: f64 = str::from_utf8(&self.bytes[start..self.at]).ok()?.parse().ok()?;
        number.is_finite().then_some(number)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_there = self.byte() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    /// Digits, at least one, appended to `mantissa`, which wraps; returns how many.
    fn digits(&mut self, mantissa: &mut u64) -> Option<usize> {
        let start = self.at;
        while let Some(digit @ b'0'..=b'9') = self.byte() {
            *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        (self.at > start).then(|| self.at - start)
    }

    fn exponent(&mut self) -> Option<i64> {
        let is_negative = self.eat(b'-') || {
            self.eat(b'+');
            false
        };
        let mut magnitude = 0;
        let digits = self.digits(&mut magnitude)?;
        let bounded = if digits > 15 { i64::from(i32::MAX) } else { i64::try_from(magnitude).ok()? };
        Some(if is_negative { -bounded } else { bounded })
    }
}

/// A string without its escapes (RFC 8259, section 7).
#[cold]
fn unescaped(bytes: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = str::from_utf8(bytes).ok()?;
    while let Some((before, escape)) = rest.split_once('\\') {
        text.push_str(before);
        let (character, length) = match escape.as_bytes().first()? {
            b'u' => unicode_escape(escape.as_bytes())?,
            byte => (simple_escape(*byte)?, 1),
        };
        text.push(character);
        rest = &escape[length..];
    }
    text.push_str(rest);
    Some(text)
}

fn simple_escape(byte: u8) -> Option<char> {
    Some(match byte {
        b'"' | b'\\' | b'/' => char::from(byte),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        _ => return None,
    })
}

/// The character of `uXXXX`, or of two of them that are a surrogate pair, and the bytes that it takes.
fn unicode_escape(escape: &[u8]) -> Option<(char, usize)> {
    let unit = code_unit(escape)?;
    if let Some(character) = char::from_u32(unit) {
        return Some((character, 5));
    }
    let low = code_unit(escape.get(5..)?.strip_prefix(b"\\")?)?;
    if unit >= 0xdc00 || !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    Some((char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00))?, 11))
}

fn code_unit(escape: &[u8]) -> Option<u32> {
    let digits = escape.get(1..5).filter(|digits| escape[0] == b'u' && digits.iter().all(u8::is_ascii_hexdigit))?;
    u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Option<String> {
        let mut cursor = Cursor::new(json.as_bytes());
        let text = cursor.text()?.read()?;
        cursor.end()?;
        Some(text.into_owned())
    }

    #[test]
    fn strings_are_read_with_every_escape_and_script() {
        for (json, read) in [
            (r#""""#, ""),
            (r#""a b""#, "a b"),
            (r#""é日本語🦡""#, "é日本語🦡"),
            (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r#""a\u0041\u00e9\u65E5z""#, "aAé日z"),
            (r#""\ud83e\udda1!""#, "🦡!"),
            (r#""\u0000""#, "\0"),
            ("\"\u{7f}\u{a0}\"", "\u{7f}\u{a0}"),
        ] {
            assert_eq!(text(json).as_deref(), Some(read), "{json}");
        }
    }

    #[test]
    fn what_is_no_string_is_left() {
        for json in [
            "",
            "\"",
            "\"a",
            "\"\\\"",
            r#""\"#,
            r#""\x""#,
            r#""\u""#,
            r#""\u12""#,
            r#""\u12g4""#,
            r#""\u+123""#,
            r#""\ud83e""#,
            r#""\ud83e!""#,
            r#""\ud83e\u0041""#,
            r#""\udda1\ud83e""#,
            r#""\ud83e\ud83e""#,
            "\"a\nb\"",
            "\"\u{1}\"",
            "'a'",
            r#""a"b"#,
            "\"\\\n\"",
        ] {
            assert_eq!(text(json), None, "{json}");
        }
        assert!(Cursor::new(b"\"\xff\"").text().unwrap().read().is_none());
        assert!(Cursor::new(b"\"\\n\xff\"").text().unwrap().read().is_none());
    }
}
