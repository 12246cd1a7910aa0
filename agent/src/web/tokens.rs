//! Tokens for `/api/v1/`: names of DNS and of peers are more than metrics, so whoever scrapes need not have them.

use hyper::header::{AUTHORIZATION, HeaderMap};
use ring::hmac;
use ring::rand::SystemRandom;

/// The header that carries a token through the API server's proxy of pods, which keeps `Authorization` for itself.
pub const TOKEN_HEADER: &str = "x-netcause-token";

/// Characters of a token at least: eight bytes in hexadecimal.
const LEAST: usize = 16;
/// Tokens at most: each is compared with at every request.
const MOST: usize = 64;

/// Tokens that are accepted. Their text is not kept.
pub(super) struct Tokens {
    /// Random, of this process: comparing tags tells nothing of tokens, however long it takes.
    key: hmac::Key,
    tags: Vec<hmac::Tag>,
}

impl Tokens {
    /// One a line; lines that are empty or begin with `#` are none. Several, so that a token can be replaced without a gap.
    pub fn parse(text: &str) -> Result<Self, String> {
        let tokens = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let tokens: Vec<&str> = tokens.collect();
        if tokens.is_empty() || tokens.len() > MOST {
            return Err(format!("{} tokens, and 1 to {MOST} are allowed, one a line", tokens.len()));
        }
        // RFC 6750 section 2.1, and what a header can carry.
        let is_good =
            |token: &&str| token.len() >= LEAST && token.bytes().all(|byte| byte.is_ascii_graphic());
        if let Some(number) = tokens.iter().position(|token| !is_good(token)) {
            return Err(format!(
                "token {} has less than {LEAST} characters, or one that is no visible ASCII; `openssl rand -hex 32` makes one",
                number + 1
            ));
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| "the system has no random numbers".to_owned())?;
        let tags = tokens.iter().map(|token| hmac::sign(&key, token.as_bytes())).collect();
        Ok(Self { key, tags })
    }

    /// Whether a request has one of them, as a bearer token or in [`TOKEN_HEADER`].
    pub fn admit(&self, headers: &HeaderMap) -> bool {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        let own = headers.get(TOKEN_HEADER).and_then(|value| value.to_str().ok());
        let is_one = |token: &str| {
            let tag = hmac::sign(&self.key, token.as_bytes());
            self.tags.iter().any(|known| known.as_ref() == tag.as_ref())
        };
        bearer.into_iter().chain(own).any(is_one)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const ONE: &str = "0123456789abcdef";
    const OTHER: &str = "fedcba9876543210";

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn each_token_of_the_file_is_accepted_in_either_header() {
        let tokens = Tokens::parse(&format!("# old\n{ONE}\n\n  {OTHER}\r\n")).unwrap();
        for token in [ONE, OTHER] {
            assert!(tokens.admit(&headers("authorization", &format!("Bearer {token}"))));
            assert!(tokens.admit(&headers("authorization", &format!("bearer {token}"))));
            assert!(tokens.admit(&headers(TOKEN_HEADER, token)));
        }
        for (name, value) in [
            ("authorization", ONE.to_owned()),
            ("authorization", format!("Basic {ONE}")),
            ("authorization", format!("Bearer {}", &ONE[1..])),
            ("authorization", format!("Bearer {ONE}0")),
            ("authorization", "Bearer ".to_owned()),
            ("authorization", "Bearer # old".to_owned()),
            (TOKEN_HEADER, String::new()),
        ] {
            assert!(!tokens.admit(&headers(name, &value)), "{name}: {value}");
        }
        assert!(!tokens.admit(&HeaderMap::new()));
    }

    #[test]
    fn a_file_without_a_good_token_is_refused_and_not_shown() {
        for text in ["", "# none\n", "short\n", "0123456789abcde\u{e9}\n", "0123 456789abcdef\n"] {
            let error = Tokens::parse(text).err().unwrap();
            assert!(error.contains("token") && !error.contains("0123"), "{text:?}: {error}");
        }
        assert!(Tokens::parse(&format!("{ONE}\n").repeat(MOST + 1)).is_err());
    }
}
