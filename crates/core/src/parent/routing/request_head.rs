//! A value in the head of the first HTTP request: of a cookie, a header or the query. Pure and without allocation.

use httparse::{EMPTY_HEADER, Error, Request};

/// The maximum length of the head.
pub const MAX_HEAD: usize = 8 * 1024;

/// The maximum number of headers.
const MAX_HEADERS: usize = 100;

/// Where the value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the cookie of this name.
    Cookie(Box<str>),
    /// In the header of this name, in any case.
    Header(Box<str>),
    /// In the parameter of this name of the request's URL.
    Query(Box<str>),
}

/// The result of [`Place::find`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// The first value of the name, as it was sent.
    Value(&'a [u8]),
    /// The request does not have the name.
    Absent,
    /// The bytes are no request of HTTP/1.
    NotHttp,
    /// The head is longer than [`MAX_HEAD`] or has too many headers.
    TooLong,
    /// The head is incomplete.
    Incomplete,
}

impl Place {
    /// Finds the value in a request.
    #[must_use]
    pub fn find<'a>(&self, bytes: &'a [u8]) -> Found<'a> {
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut request = Request::new(&mut headers);
        let parsed = request.parse(&bytes[..bytes.len().min(MAX_HEAD)]);
        let is_complete = match parsed {
            Ok(status) => status.is_complete(),
            Err(Error::TooManyHeaders) => return Found::TooLong,
            Err(_) => return Found::NotHttp,
        };
        // The URL is known before the rest of the head.
        if let (Self::Query(name), Some(path)) = (self, request.path) {
            return value(in_query(path, name));
        }
        if !is_complete {
            return if bytes.len() >= MAX_HEAD {
                Found::TooLong
            } else {
                Found::Incomplete
            };
        }
        let mut values = request.headers.iter();
        let mut header = |name: &str| {
            let found = values.find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| header.value)
        };
        value(match self {
            Self::Header(name) => header(name),
            // HTTP/1 allows one header; the first with the name counts.
            Self::Cookie(name) => std::iter::from_fn(|| header("cookie")).find_map(|cookies| in_cookies(cookies, name)),
            Self::Query(_) => None,
        })
    }
}

fn value(found: Option<&[u8]>) -> Found<'_> {
    match found {
        Some([]) | None => Found::Absent,
        Some(value) => Found::Value(value),
    }
}

fn in_query<'a>(path: &'a str, name: &str) -> Option<&'a [u8]> {
    let (_, query) = path.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.as_bytes())
}

fn in_cookies<'a>(cookies: &'a [u8], name: &str) -> Option<&'a [u8]> {
    cookies.split(|&byte| byte == b';').find_map(|cookie| {
        let cookie = cookie.trim_ascii();
        let at = cookie.iter().position(|&byte| byte == b'=')?;
        (cookie[..at].trim_ascii_end() == name.as_bytes()).then(|| cookie[at + 1..].trim_ascii_start())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &[u8] = b"GET /socket.io/?EIO=4&sid=abc&sid=x&t= HTTP/1.1\r\nHost: a\r\nCookie: sid2=z; sid=d=e ;other=1\r\nX-User: 7\r\n\r\nsid=body";

    fn cookie(name: &str) -> Place {
        Place::Cookie(name.into())
    }

    fn query(name: &str) -> Place {
        Place::Query(name.into())
    }

    #[test]
    fn the_first_value_of_the_name_is_found() {
        assert_eq!(cookie("sid").find(HEAD), Found::Value(b"d=e"));
        assert_eq!(cookie("other").find(HEAD), Found::Value(b"1"));
        assert_eq!(query("sid").find(HEAD), Found::Value(b"abc"));
        assert_eq!(query("sid").find(b"GET /?sid=abc HTTP/1.1\r\nHo"), Found::Value(b"abc"));
        assert_eq!(Place::Header("x-user".into()).find(HEAD), Found::Value(b"7"));
        let two = b"GET / HTTP/1.1\r\nCookie: a=1\r\nCookie: sid=2\r\n\r\n";
        assert_eq!(cookie("sid").find(two), Found::Value(b"2"));
    }

    #[test]
    fn a_request_without_the_name_has_no_value() {
        for place in [
            cookie("si"),
            cookie("SID"),
            query("t"),
            query("si"),
            Place::Header("x-use".into()),
        ] {
            assert_eq!(place.find(HEAD), Found::Absent, "{place:?}");
        }
    }

    #[test]
    fn anything_else_has_none() {
        assert_eq!(query("sid").find(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Found::NotHttp);
        assert_eq!(query("sid").find(b"\x16\x03\x01"), Found::NotHttp);
        assert_eq!(cookie("sid").find(&HEAD[..40]), Found::Incomplete);
        assert_eq!(query("sid").find(b""), Found::Incomplete);
        let long = [&b"GET / HTTP/1.1\r\nA: "[..], &[b'a'; MAX_HEAD]].concat();
        assert_eq!(cookie("sid").find(&long), Found::TooLong);
        let many = [&b"GET / HTTP/1.1\r\n"[..], &b"a: b\r\n".repeat(101), b"\r\n"].concat();
        assert_eq!(cookie("sid").find(&many), Found::TooLong);
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for place in [cookie("a"), query("a"), Place::Header("a".into())] {
                let _ = place.find(&bytes);
                let _ = place.find(&[b"GET /?a=1", &bytes[..]].concat());
            }
        }
    }
}
