//! A request of HTTP/2 as HTTP/1.1 would have written it: then there is one reader of heads, and the app is told what
//! it knows.

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Uri};

/// Returns false for a request that is malformed (RFC 9113, 8.3.1), which is left as it is.
pub fn translate(parts: &mut Parts) -> bool {
    let Some((host, path)) = host(parts).zip(path(parts)) else {
        return false;
    };
    parts.headers.insert(header::HOST, host);
    parts.uri = path;
    join_cookies(&mut parts.headers);
    // There is no asking for a body: the client sends it when it has waited long enough.
    parts.headers.remove(header::EXPECT);
    true
}

/// The authority, which a Host header may repeat and not contradict.
fn host(parts: &Parts) -> Option<HeaderValue> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (given, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return None;
    }
    match (parts.uri.authority(), given) {
        (Some(authority), given) => {
            let is_plain = !authority.as_str().contains('@');
            let is_said_once =
                given.is_none_or(|host| host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()));
            if is_plain && is_said_once { HeaderValue::from_str(authority.as_str()).ok() } else { None }
        }
        (None, given) => given.cloned(),
    }
}

fn path(parts: &Parts) -> Option<Uri> {
    let path = parts.uri.path_and_query()?;
    let is_path = path.as_str().starts_with('/') || (path.as_str() == "*" && parts.method == Method::OPTIONS);
    if is_path && parts.method != Method::CONNECT { uri_of(path.clone()) } else { None }
}

fn uri_of(path: PathAndQuery) -> Option<Uri> {
    Uri::builder().path_and_query(path).build().ok()
}

/// In HTTP/2 each pair may be a field of its own (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri).version(http::Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_authority_becomes_the_host() {
        for headers in [vec![], vec![("host", "Serval:443")]] {
            let mut request = parts("GET", "https://serval:443/a?b", &headers);
            assert!(translate(&mut request));
            assert_eq!(
                (request.uri.to_string().as_str(), &request.headers["host"]),
                ("/a?b", &HeaderValue::from_static("serval:443"))
            );
        }
    }

    #[test]
    fn crumbs_of_cookies_are_joined() {
        let mut request = parts("GET", "https://serval/", &[("cookie", "a=1"), ("cookie", "b=2; c=3")]);
        assert!(translate(&mut request));
        let cookies: Vec<_> = request.headers.get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn what_contradicts_itself_is_malformed() {
        for (method, uri, headers) in [
            ("GET", "https://serval/", vec![("host", "other")]),
            ("GET", "https://serval/", vec![("host", "serval"), ("host", "serval")]),
            ("GET", "https://ada@serval/", vec![]),
            ("GET", "/", vec![]),
            ("GET", "*", vec![("host", "serval")]),
            ("CONNECT", "https://serval/", vec![]),
        ] {
            assert!(!translate(&mut parts(method, uri, &headers)), "{method} {uri} {headers:?}");
        }
        assert!(translate(&mut parts("OPTIONS", "*", &[("host", "serval")])));
    }
}
