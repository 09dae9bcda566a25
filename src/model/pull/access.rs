//! Which hub is asked, as whom, and where its files are kept on this machine.
//!
//! Invariant: the token is in no message and in no debug output. The environment is read in
//! `from_env` alone.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::Proxy;
use ureq::tls::{PemItem, RootCerts, parse_pem};

use super::http;
use crate::error::{Error, Result};
use crate::fs;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// A hub, who asks it, and the cache that its files go to.
#[derive(Clone)]
pub struct HubAccess {
    pub(super) endpoint: String,
    pub(super) cache: PathBuf,
    pub(super) token: Option<String>,
    pub(super) offline: bool,
    pub(super) first_pause: Duration,
    pub(super) proxy: Option<Proxy>,
    pub(super) roots: Option<RootCerts>,
}

impl HubAccess {
    /// The hub at `endpoint`, an http or https address; its files are kept in the folder `cache`.
    ///
    /// There is no token and no proxy, and the environment is not read.
    ///
    /// # Errors
    /// `InvalidInput` if `endpoint` is no such address.
    pub fn new(endpoint: &str, cache: impl Into<PathBuf>) -> Result<Self> {
        if http::parse(endpoint).is_none() || endpoint.contains(['?', '#']) {
            return Err(Error::invalid(format!(
                "`{}` is no http or https address of a hub",
                endpoint.escape_debug()
            )));
        }
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache: cache.into(),
            token: None,
            offline: false,
            first_pause: Duration::from_secs(1),
            proxy: None,
            roots: None,
        })
    }

    /// As the environment says, with the variables of Python's `huggingface_hub`.
    ///
    /// Reads the environment: `HF_ENDPOINT`; `HF_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME` and the
    /// home folder for the cache; `HF_TOKEN`, `HF_TOKEN_PATH` and the token file in `HF_HOME`,
    /// unless `HF_HUB_DISABLE_IMPLICIT_TOKEN`; `HF_HUB_OFFLINE`; the older
    /// `HUGGINGFACE_HUB_CACHE`, `HUGGING_FACE_HUB_TOKEN` and `TRANSFORMERS_OFFLINE`;
    /// `SSL_CERT_FILE`, which replaces the built-in certificates; `ALL_PROXY`, `HTTPS_PROXY`,
    /// `HTTP_PROXY` and `NO_PROXY`.
    ///
    /// # Errors
    /// `InvalidInput`, naming the variable; `Io` for a token or certificate file that can't be
    /// read.
    pub fn from_env() -> Result<Self> {
        let mut access = Self::from_variables(
            &|name| std::env::var_os(name),
            std::env::home_dir().as_deref(),
        )?;
        access.proxy = Proxy::try_from_env();
        Ok(access)
    }

    fn from_variables(
        variable: &dyn Fn(&str) -> Option<OsString>,
        home: Option<&Path>,
    ) -> Result<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| match set(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(Error::invalid(format!("{name} is no valid text"))),
        };
        let path = |name: &str| set(name).map(|value| expand(value.into(), home));
        let yes = |name: &str| {
            let value = set(name).map(|value| value.to_ascii_uppercase());
            value.map(|value| ["1", "ON", "YES", "TRUE"].iter().any(|yes| value == *yes))
        };

        let hf_home = path("HF_HOME")
            .or_else(|| Some(path("XDG_CACHE_HOME")?.join("huggingface")))
            .or_else(|| Some(home?.join(".cache/huggingface")));
        let in_home = |name: &str| {
            let folder = hf_home.as_ref().ok_or_else(|| {
                Error::invalid("there is no home folder for models: HF_HOME says which to use")
            })?;
            Ok::<_, Error>(folder.join(name))
        };

        let cache = match path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")) {
            Some(cache) => cache,
            None => in_home("hub")?,
        };
        let endpoint = text("HF_ENDPOINT")?;
        let mut access = Self::new(endpoint.as_deref().unwrap_or(DEFAULT_ENDPOINT), cache)
            .map_err(|e| Error::invalid("HF_ENDPOINT can't be used").with_source(e))?;
        access.offline = yes("HF_HUB_OFFLINE")
            .or_else(|| yes("TRANSFORMERS_OFFLINE"))
            .unwrap_or(false);

        if !yes("HF_HUB_DISABLE_IMPLICIT_TOKEN").unwrap_or(false) {
            if let Some(token) = text("HF_TOKEN")?.or(text("HUGGING_FACE_HUB_TOKEN")?) {
                access = access.with_token(&token)?;
            } else if let Some(file) = path("HF_TOKEN_PATH").or_else(|| in_home("token").ok())
                && file.exists()
            {
                let token = String::from_utf8(fs::read_file(&file)?)
                    .map_err(|_| Error::invalid(format!("{} holds no token", file.display())))?;
                access = access.with_token(&token)?;
            }
        }
        if let Some(file) = path("SSL_CERT_FILE") {
            access.roots = Some(certificates(&file)?);
        }
        Ok(access)
    }

    /// The same, asking as the owner of `token`. An empty one is none.
    ///
    /// # Errors
    /// `InvalidInput` if it has characters that no token has.
    pub fn with_token(mut self, token: &str) -> Result<Self> {
        let token = token.trim();
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::invalid(
                "the token of the Hugging Face hub has characters that no token has",
            ));
        }
        self.token = (!token.is_empty()).then(|| token.to_owned());
        Ok(self)
    }

    /// The same; when `offline`, nothing is asked of the hub and only what is cached can be had.
    #[must_use]
    pub fn with_offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// The same, waiting for `pause` before the first retry, and twice as long before each
    /// further one. One second unless told.
    #[must_use]
    pub fn with_first_pause(mut self, pause: Duration) -> Self {
        self.first_pause = pause;
        self
    }

    /// The hub's address.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The folder that files are kept in.
    pub fn cache(&self) -> &Path {
        &self.cache
    }
}

impl fmt::Debug for HubAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubAccess")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "(secret)"))
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

/// `~` stands for the home folder also where no shell has replaced it.
fn expand(path: PathBuf, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

fn certificates(file: &Path) -> Result<RootCerts> {
    let bytes = fs::read_file(file)?;
    let found: Vec<_> = parse_pem(&bytes)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(Error::invalid(format!(
            "{}, which SSL_CERT_FILE names, holds no certificate",
            file.display()
        )));
    }
    Ok(RootCerts::from(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(variables: &[(&str, &str)]) -> Result<HubAccess> {
        let get = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        HubAccess::from_variables(&get, Some(Path::new("/home/me")))
    }

    #[test]
    fn without_any_variable_it_is_the_public_hub_and_the_usual_cache() {
        let access = access(&[]).unwrap();
        assert_eq!(access.endpoint(), "https://huggingface.co");
        assert_eq!(access.cache(), Path::new("/home/me/.cache/huggingface/hub"));
        assert!(access.token.is_none() && !access.offline);
    }

    #[test]
    fn the_cache_is_looked_for_as_python_does() {
        let cache = |variables: &[(&str, &str)]| access(variables).unwrap().cache;
        let home = ("HF_HOME", "~/hf");
        let xdg = ("XDG_CACHE_HOME", "/xdg");
        assert_eq!(cache(&[xdg]), Path::new("/xdg/huggingface/hub"));
        assert_eq!(cache(&[home, xdg]), Path::new("/home/me/hf/hub"));
        let old = ("HUGGINGFACE_HUB_CACHE", "/old");
        assert_eq!(cache(&[home, old]), Path::new("/old"));
        assert_eq!(
            cache(&[home, old, ("HF_HUB_CACHE", "/new")]),
            Path::new("/new")
        );
        assert_eq!(
            cache(&[("HF_HOME", "")]),
            Path::new("/home/me/.cache/huggingface/hub")
        );
    }

    #[test]
    fn a_token_comes_from_the_variable_or_else_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join("token"), "from-file\n").unwrap();
        std::fs::write(folder.path().join("other"), "from-other\r\n").unwrap();
        let other = folder.path().join("other");
        let token = |variables: &[(&str, &str)]| {
            let all = [&[("HF_HOME", home)], variables].concat();
            access(&all).unwrap().token
        };
        assert_eq!(token(&[]).as_deref(), Some("from-file"));
        let path = ("HF_TOKEN_PATH", other.to_str().unwrap());
        assert_eq!(token(&[path]).as_deref(), Some("from-other"));
        let variable = ("HF_TOKEN", "from-variable");
        assert_eq!(token(&[path, variable]).as_deref(), Some("from-variable"));
        let none = ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1");
        assert_eq!(token(&[path, variable, none]), None);
    }

    #[test]
    fn the_token_is_not_shown() {
        let access = access(&[("HF_TOKEN", "hf_abc")]).unwrap();
        assert!(!format!("{access:?}").contains("hf_abc"));
        let error = access.with_token("hf_abc\ndef").unwrap_err();
        assert!(!format!("{error:?}").contains("abc"));
    }

    #[test]
    fn offline_is_said_in_pythons_words() {
        for (value, offline) in [("1", true), ("true", true), ("On", true), ("0", false)] {
            let access = access(&[("HF_HUB_OFFLINE", value)]).unwrap();
            assert_eq!(access.offline, offline, "{value}");
        }
    }

    #[test]
    fn an_endpoint_that_is_no_address_is_refused_by_name() {
        for bad in ["huggingface.co", "ftp://a", "https://", "http://a b", "x"] {
            let error = access(&[("HF_ENDPOINT", bad)]).unwrap_err();
            let text = format!("{error:#}");
            assert!(text.contains("HF_ENDPOINT") && text.contains(bad), "{text}");
        }
        let mirror = access(&[("HF_ENDPOINT", "http://mirror:8080/hf/")]).unwrap();
        assert_eq!(mirror.endpoint(), "http://mirror:8080/hf");
    }

    #[test]
    fn a_certificate_file_without_certificates_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "nothing").unwrap();
        let error = access(&[("SSL_CERT_FILE", file.to_str().unwrap())]).unwrap_err();
        assert!(error.to_string().contains("ca.pem"), "{error}");
    }
}
