//! HTTP/1.1 responses (RFC 9112), for a client that checks every byte.

use std::borrow::Cow;

use httparse::Status;

/// A complete response.
#[derive(Debug, PartialEq)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    /// The body without chunk framing.
    pub body: Cow<'a, [u8]>,
    /// The length of the complete response in bytes; later bytes belong to no request.
    pub length: usize,
    /// The server closes the connection after this response.
    pub close: bool,
}

/// The bytes are not a response, and no further bytes can make them one.
#[derive(Debug, PartialEq)]
pub struct Malformed;

impl<'a> Response<'a> {
    /// Parses a response from its first byte. Returns `None` when bytes are missing. `ended` tells that the stream has
    /// ended, which completes a body of unknown length.
    pub fn parse(bytes: &'a [u8], ended: bool) -> Result<Option<Self>, Malformed> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let Status::Complete(start) = head.parse(bytes).map_err(|_| Malformed)? else {
            return Ok(None);
        };
        let status = head.code.ok_or(Malformed)?;
        let mut close = head.version == Some(0);
        let (mut length, mut chunked) = (None, false);
        for header in &*head.headers {
            let value = str::from_utf8(header.value).map_err(|_| Malformed)?.trim();
            if header.name.eq_ignore_ascii_case("connection") {
                close = value.split(',').any(|word| word.trim().eq_ignore_ascii_case("close"));
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = true;
            } else if header.name.eq_ignore_ascii_case("content-length") {
                length = Some(value.parse().map_err(|_| Malformed)?);
            }
        }
        if status == 204 || status == 304 {
            (length, chunked) = (Some(0), false);
        }
        let rest = &bytes[start..];
        let body = match length {
            _ if chunked => decode_chunks(rest)?.map(|(body, used)| (Cow::Owned(body), used)),
            Some(length) => rest.get(..length).map(|body| (Cow::Borrowed(body), length)),
            None => ended.then_some((Cow::Borrowed(rest), rest.len())),
        };
        Ok(body.map(|(body, used)| Self {
            status,
            body,
            length: start + used,
            close: close || (length.is_none() && !chunked),
        }))
    }
}

/// Joins the chunks of a body. Returns the body and the bytes used, or `None` when bytes are missing.
fn decode_chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
    let mut body = Vec::new();
    let mut position = 0;
    loop {
        let Status::Complete((line, size)) = httparse::parse_chunk_size(&bytes[position..]).map_err(|_| Malformed)?
        else {
            return Ok(None);
        };
        let size = usize::try_from(size)
            .ok()
            .filter(|size| *size <= MAX_CHUNK)
            .ok_or(Malformed)?;
        let start = position + line;
        let end = start + size;
        let Some(terminator) = bytes.get(end..end + 2) else {
            return Ok(None);
        };
        // Trailers are malformed too: no server under test sends any.
        if terminator != b"\r\n" {
            return Err(Malformed);
        }
        body.extend_from_slice(&bytes[start..end]);
        position = end + 2;
        if size == 0 {
            return Ok(Some((body, position)));
        }
    }
}

const MAX_HEADERS: usize = 64;
const MAX_CHUNK: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(text: &str) -> Response<'_> {
        match Response::parse(text.as_bytes(), false) {
            Ok(Some(response)) => response,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_body_of_known_length_excludes_later_bytes() {
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nConnection: keep-alive\r\n\r\nabcHTTP/1.1";
        let response = complete(text);
        assert_eq!(
            (response.status, &*response.body, response.close),
            (200, b"abc".as_slice(), false)
        );
        assert_eq!(response.length, text.len() - 8);
    }

    #[test]
    fn chunks_are_joined() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let text = format!("{head}2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n");
        let response = complete(&text);
        assert_eq!((&*response.body, response.close), (b"abc".as_slice(), false));
        assert_eq!(response.length, text.len());
        for (rest, expected) in [
            ("2\r\nab\r\n", Ok(None)),
            ("zz\r\n", Err(Malformed)),
            ("1\r\nabc\r\n", Err(Malformed)),
            ("ffffffff\r\n", Err(Malformed)),
        ] {
            let text = format!("{head}{rest}");
            assert_eq!(Response::parse(text.as_bytes(), false), expected, "{rest:?}");
        }
    }

    #[test]
    fn every_prefix_of_a_response_is_incomplete() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ] {
            for length in 0..text.len() {
                let prefix = &text[..length];
                assert_eq!(Response::parse(prefix.as_bytes(), true), Ok(None), "{prefix:?}");
            }
        }
    }

    #[test]
    fn a_body_of_unknown_length_ends_with_the_stream() {
        let text = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc";
        assert_eq!(Response::parse(text, false), Ok(None));
        let response = Response::parse(text, true)
            .ok()
            .flatten()
            .expect("the response is complete");
        assert_eq!((&*response.body, response.close), (b"abc".as_slice(), true));
    }

    #[test]
    fn a_response_without_content_has_no_body() {
        let response = complete("HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!((&*response.body, response.close), (b"".as_slice(), false));
    }

    #[test]
    fn other_bytes_are_malformed() {
        for text in [
            "hello\r\n\r\n",
            "HTTP/1.1 x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        ] {
            assert_eq!(Response::parse(text.as_bytes(), false), Err(Malformed), "{text:?}");
        }
    }
}
