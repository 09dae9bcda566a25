//! Asking a hub over HTTP: redirects, tokens, and what its refusals mean.
//!
//! Invariant: the token goes to the hub's own address (scheme, host, port) and nowhere else, and no
//! redirect leads from https to http.

use std::time::Duration;

use ureq::http::{Response, StatusCode, Uri, header};
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

use super::HubAccess;
use crate::error::{Error, ErrorKind, Result};

const REDIRECTS: usize = 8;
/// How often in a row a request may fail before it is given up.
pub(super) const TRIES: u32 = 5;
/// The longest pause that a busy hub can ask for.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Why there is no answer that can be used.
pub(super) enum Trouble {
    /// Asking again may help. `reached` if somebody answered at all; `wait` if it said how long.
    Passing {
        error: Error,
        reached: bool,
        wait: Option<Duration>,
    },
    /// Asking again won't help.
    Lasting(Error),
    /// The server can't send the file from the byte that was asked for.
    NoSuchRange(Error),
}

/// What is asked for, in the words of messages.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) repo: &'a str,
    /// A file of it, or its description.
    pub(super) file: Option<&'a str>,
}

impl Subject<'_> {
    fn name(self) -> String {
        match self.file {
            Some(file) => format!("{file} of `{}`", self.repo),
            None => format!("`{}`", self.repo),
        }
    }
}

/// A connection to one hub.
pub(super) struct Client<'a> {
    agent: Agent,
    access: &'a HubAccess,
}

impl<'a> Client<'a> {
    pub(super) fn new(access: &'a HubAccess) -> Self {
        let mut tls = TlsConfig::builder();
        if let Some(roots) = &access.roots {
            tls = tls.root_certs(roots.clone());
        }
        let config = Agent::config_builder()
            .user_agent(concat!("latentdb/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(access.proxy.clone())
            .tls_config(tls.build())
            .timeout_resolve(Some(Duration::from_secs(15)))
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_mins(1)))
            // Of a slow line each read may take long, but not forever.
            .timeout_per_read(Some(Duration::from_secs(30)))
            .build();
        Self {
            agent: config.into(),
            access,
        }
    }

    /// Asks for `path` below the endpoint, from byte `from` on; follows redirects.
    pub(super) fn get(
        &self,
        path: &str,
        from: u64,
        subject: Subject,
    ) -> Result<Response<Body>, Trouble> {
        let endpoint = parse(&self.access.endpoint).ok_or_else(|| {
            Trouble::Lasting(Error::invalid("the endpoint is no address")) // checked when made
        })?;
        let mut url = parse(&format!("{}{path}", self.access.endpoint))
            .ok_or_else(|| Trouble::Lasting(Error::invalid(format!("`{path}` is no address"))))?;
        for _ in 0..REDIRECTS {
            let at_home = same_origin(&url, &endpoint);
            let mut request = self
                .agent
                .get(&url)
                // Sizes and ranges are those of the file only if nothing compresses it on its way.
                .header(header::ACCEPT_ENCODING, "identity");
            if let Some(token) = self.access.token.as_ref().filter(|_| at_home) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let response = request
                .call()
                .map_err(|error| self.unreachable(&url, subject, error))?;
            if !response.status().is_redirection() {
                return self.judge(response, &url, at_home, subject);
            }
            let target = text(&response, header::LOCATION.as_str());
            url = target
                .and_then(|target| follow(&url, target))
                .ok_or_else(|| {
                    lasting(format!(
                        "{} answered {} for {}, and names no address to go on to",
                        origin(&url),
                        response.status(),
                        subject.name()
                    ))
                })?;
        }
        Err(lasting(format!(
            "{} is redirected more than {REDIRECTS} times",
            subject.name()
        )))
    }

    /// Tells an answer that can be used from a refusal.
    fn judge(
        &self,
        response: Response<Body>,
        url: &Uri,
        at_home: bool,
        subject: Subject,
    ) -> Result<Response<Body>, Trouble> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let asked = subject.name();
        let answered = format!("{} answered {status} for {asked}", origin(url));
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            let error = Error::new(ErrorKind::Network, answered);
            return Err(Trouble::NoSuchRange(error));
        }
        let busy = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        // The links to where the bytes lie are made for a short time, and anew for each request.
        let stale = !at_home && status == StatusCode::FORBIDDEN;
        if status.is_server_error() || busy.contains(&status) || stale {
            let seconds = text(&response, "retry-after").and_then(|text| text.parse().ok());
            return Err(Trouble::Passing {
                error: Error::new(ErrorKind::Network, answered)
                    .with_hint("try again later; a pull goes on from where it ended"),
                reached: true,
                wait: seconds.map(|s| Duration::from_secs(s).min(LONGEST_PAUSE)),
            });
        }
        let page = format!("{}/{}", self.access.endpoint, subject.repo);
        let known = at_home && self.access.token.is_some();
        let (kind, message, hint) = match (status, text(&response, "x-error-code")) {
            (_, Some("GatedRepo")) => (
                ErrorKind::AccessDenied,
                format!("{answered}: it is for those who accepted its licence"),
                format!(
                    "accept it at {page}, then set HF_TOKEN to a token of that account, made at \
                     {}/settings/tokens",
                    self.access.endpoint
                ),
            ),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) if known => (
                ErrorKind::AccessDenied,
                format!("{answered}: the token may not read it, or there is no such repository"),
                format!("the token is that of HF_TOKEN or else of the token file; see {page}"),
            ),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => (
                ErrorKind::AccessDenied,
                format!("{answered}: it wants a token, or there is no such repository"),
                format!("set HF_TOKEN to a token of an account that may read {page}"),
            ),
            (StatusCode::NOT_FOUND, _) => (
                ErrorKind::ModelNotFound,
                answered,
                format!("see {page}; HF_ENDPOINT says which hub is asked"),
            ),
            _ => (ErrorKind::Network, answered, format!("see {page}")),
        };
        Err(Trouble::Lasting(Error::new(kind, message).with_hint(hint)))
    }

    fn unreachable(&self, url: &Uri, subject: Subject, error: ureq::Error) -> Trouble {
        let proxy = self.access.proxy.as_ref();
        let proxy = proxy.filter(|proxy| !proxy.is_no_proxy(url));
        let through = proxy.map_or_else(String::new, |proxy| {
            format!(" through the proxy {}:{}", proxy.host(), proxy.port())
        });
        let message = format!(
            "can't reach {}{through} for {}",
            origin(url),
            subject.name()
        );
        let error = match error {
            ureq::Error::Io(io) => Error::new(ErrorKind::Network, message).with_source(io),
            other => Error::new(ErrorKind::Network, message).with_source(other),
        };
        Trouble::Passing {
            error: error.with_hint(
                "check the network; HF_ENDPOINT names a mirror, HTTPS_PROXY a proxy, \
                 SSL_CERT_FILE other certificates",
            ),
            reached: false,
            wait: None,
        }
    }

    /// Asks until there is an answer, or no hope of one; pauses in between.
    ///
    /// A hub that can't be reached at all is not tried again: without a network that would only
    /// take longer.
    pub(super) fn patiently<T>(&self, ask: impl Fn() -> Result<T, Trouble>) -> Result<T> {
        let mut failed = 0;
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Passing { reached, wait, .. }) if reached && failed + 1 < TRIES => {
                    std::thread::sleep(self.pause(failed, wait));
                    failed += 1;
                }
                Err(trouble) => return Err(trouble.into_error()),
            }
        }
    }

    /// How long to wait after `failed` earlier failures in a row.
    pub(super) fn pause(&self, failed: u32, wait: Option<Duration>) -> Duration {
        let growing = self.access.first_pause.saturating_mul(1 << failed.min(10));
        wait.map_or(growing, |wait| wait.max(growing))
    }
}

impl Trouble {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Passing { error, .. } | Self::Lasting(error) | Self::NoSuchRange(error) => error,
        }
    }
}

fn lasting(message: String) -> Trouble {
    Trouble::Lasting(Error::new(ErrorKind::Network, message))
}

/// A header's value, if it is text.
pub(super) fn text<'r>(response: &'r Response<Body>, name: &str) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

/// An absolute http or https address.
pub(super) fn parse(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    (known && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}

/// Where a redirect at `url` to `location` leads, if it may.
fn follow(url: &Uri, location: &str) -> Option<Uri> {
    let scheme = url.scheme_str()?;
    let target = if location.starts_with("//") {
        parse(&format!("{scheme}:{location}"))?
    } else if location.starts_with('/') {
        parse(&format!("{scheme}://{}{location}", url.authority()?))?
    } else {
        parse(location)?
    };
    let downgrade = scheme == "https" && target.scheme_str() != Some("https");
    (!downgrade).then_some(target)
}

fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| {
        let default = if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        uri.port_u16().unwrap_or(default)
    };
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    a.scheme() == b.scheme() && host(a) == host(b) && port(a) == port(b)
}

/// Scheme, host and port, without what may be secret in an address.
fn origin(url: &Uri) -> String {
    let host = url.host().unwrap_or_default();
    let scheme = url.scheme_str().unwrap_or_default();
    match url.port_u16() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        parse(text).unwrap()
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let hub = uri("https://huggingface.co/a/b");
        assert!(same_origin(&hub, &uri("https://HuggingFace.co:443/c")));
        for other in [
            "http://huggingface.co/a",
            "https://huggingface.co:8443/a",
            "https://cdn.huggingface.co/a",
            "https://huggingface.co.evil.example/a",
            "https://huggingface.co@evil.example/a",
        ] {
            assert!(!same_origin(&hub, &uri(other)), "{other}");
        }
    }

    #[test]
    fn redirects_are_resolved_and_never_leave_https() {
        let hub = uri("https://hub.example:8443/a/b?c");
        let lead = |location| follow(&hub, location).map(|uri| uri.to_string());
        assert_eq!(lead("/d?e=f").unwrap(), "https://hub.example:8443/d?e=f");
        assert_eq!(lead("//cdn.example/d").unwrap(), "https://cdn.example/d");
        assert_eq!(
            lead("https://cdn.example/d").unwrap(),
            "https://cdn.example/d"
        );
        assert_eq!(lead("http://cdn.example/d"), None);
        assert_eq!(lead("file:///etc/passwd"), None);
        assert_eq!(lead("d"), None);
    }

    #[test]
    fn what_an_address_may_hold_in_secret_is_not_named() {
        let url = uri("https://me:secret@hub.example/a?sig=secret");
        assert_eq!(origin(&url), "https://hub.example");
    }
}
