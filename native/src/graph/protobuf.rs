//! The wire format of protobuf, read field by field: bounded by the bytes at hand, without recursion.

/// The bytes are no protobuf, or use what ONNX never writes.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

/// The fields of one message, in the order in which they were written.
#[derive(Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let tag = varint(&mut self.rest)?;
        let number = u32::try_from(tag >> 3).ok().filter(|&number| number > 0).ok_or(Malformed)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => Value::Fixed64(self.array()?),
            2 => {
                let length = usize::try_from(varint(&mut self.rest)?).map_err(|_| Malformed)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(self.array()?),
            _ => return Err(Malformed),
        };
        Ok((number, value))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Malformed)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return if shift == 63 && byte > 1 { Err(Malformed) } else { Ok(value) };
        }
    }
    Err(Malformed)
}

impl<'a> Value<'a> {
    pub fn bytes(self) -> Result<&'a [u8], Malformed> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Malformed) }
    }

    pub fn text(self) -> Result<&'a str, Malformed> {
        str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    pub fn int64(self) -> Result<i64, Malformed> {
        if let Self::Varint(value) = self { Ok(value.cast_signed()) } else { Err(Malformed) }
    }

    /// Append the integers of a repeated field, packed or not.
    pub fn int64s(self, into: &mut Vec<i64>) -> Result<(), Malformed> {
        let Self::Bytes(mut packed) = self else {
            into.push(self.int64()?);
            return Ok(());
        };
        while !packed.is_empty() {
            into.push(varint(&mut packed)?.cast_signed());
        }
        Ok(())
    }

    /// The number of 4-byte values of a repeated field, packed or not.
    pub fn count32(self) -> Result<usize, Malformed> {
        match self {
            Self::Fixed32(_) => Ok(1),
            Self::Bytes(packed) if packed.len() % 4 == 0 => Ok(packed.len() / 4),
            _ => Err(Malformed),
        }
    }
}

/// Write a field of bytes: what is needed to put checked parts together again.
pub fn write(message: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    write_varint(message, u64::from(number << 3 | 2));
    write_varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

/// Write a field of one integer.
pub fn write_int(message: &mut Vec<u8>, number: u32, value: i64) {
    write_varint(message, u64::from(number << 3));
    write_varint(message, value.cast_unsigned());
}

fn write_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    message.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
        Fields::of(bytes).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let mut message = Vec::new();
        write(&mut message, 7, b"abc");
        write_int(&mut message, 1, -1);
        assert_eq!(fields(&message), Ok(vec![(7, Value::Bytes(b"abc")), (1, Value::Varint(u64::MAX))]));
    }

    #[test]
    fn what_is_cut_short_or_no_protobuf_is_malformed() {
        for bytes in [
            &[0x0a, 5, 1][..],
            &[0x0a],
            &[0x0b],
            &[0x00, 1],
            &[0x08, 0xff],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            &[0x0d, 1, 2],
        ] {
            assert_eq!(fields(bytes), Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn packed_and_single_integers_are_the_same() {
        let mut integers = Vec::new();
        Value::Bytes(&[1, 0x96, 1]).int64s(&mut integers).unwrap();
        Value::Varint(7).int64s(&mut integers).unwrap();
        assert_eq!(integers, [1, 150, 7]);
    }
}
