//! The one error type of the crate; every message names the object concerned and the values that disagree.

use std::error::Error as StdError;
use std::fmt;
use std::path::Path;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as a program would branch on it.
///
/// [`Error::kind`] answers with one of these; the message is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No record has this id.
    NotFound,
    /// A record with this id exists and replacing was not asked for.
    AlreadyExists,
    /// There is a store at the path where one was to be made.
    StoreExists,
    /// There is no store at the given path.
    StoreNotFound,
    /// No model of this name is known, or it lacks the half (encoder or decoder) that is needed.
    ModelNotFound,
    /// An argument is outside what its documentation allows.
    InvalidInput,
    /// The bytes are no image that can be read, or the image can't be written in that format.
    UnsupportedImage,
    /// The input is larger than the limits allow.
    LimitExceeded,
    /// The bytes were written by a newer version, or carry a field this version must understand and doesn't.
    UnsupportedVersion,
    /// A latent was handed to a model of another latent space or shape.
    ModelMismatch,
    /// The image would come back worse than was promised.
    BelowPromise,
    /// Stored bytes fail their checksum or contradict themselves.
    Corrupted,
    /// ONNX Runtime was not found, can't be loaded, or is too old.
    RuntimeUnavailable,
    /// The execution provider that was asked for by name can't start.
    ProviderUnavailable,
    /// A model failed to load or to run.
    Inference,
    /// Another process is writing to the store.
    Locked,
    /// The store was opened for reading only.
    ReadOnly,
    /// An earlier write or sync failed; the store refuses writes until it is opened anew.
    Poisoned,
    /// A server could not be reached, broke off, or did not answer as it should.
    Network,
    /// A server wants a token or an accepted licence first.
    AccessDenied,
    /// The disk is full.
    Full,
    /// The operating system refused an operation.
    Io,
}

/// An error: its kind, a message for people, and what caused it.
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with no further cause. The message is lower case and has no final period.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// The same error, caused by `source`.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error, with what a person may do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What a person may do about it, where more is known than the kind says. Flags are those of
    /// the command line.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// What went wrong, as a program would branch on it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same error for somebody else who waits for the same thing.
    pub(crate) fn again(&self) -> Self {
        Self {
            kind: self.kind,
            message: format!("{self:#}"),
            hint: self.hint.clone(),
            source: None,
        }
    }

    /// A failed file operation: `doing` is a verb phrase such as "open" or "write to".
    pub(crate) fn io(doing: &str, path: &Path, source: std::io::Error) -> Self {
        Self::stream(&format!("{doing} {}", path.display()), source)
    }

    /// As [`io`](Self::io), of what has no path: `doing` is such as "read stdin".
    pub(crate) fn stream(doing: &str, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::StorageFull | Io::QuotaExceeded => ErrorKind::Full,
            _ => ErrorKind::Io,
        };
        Self::new(kind, format!("can't {doing}")).with_source(source)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    pub(crate) fn corrupted(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupted, message)
    }
}

/// The message; with `{:#}` the whole chain of causes, joined by `: `.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut cause = self.source().filter(|_| f.alternate());
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self:#}", self.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|s| &**s as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_other_io_errors() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert_eq!(
            Error::io("write to", Path::new("a"), full).kind(),
            ErrorKind::Full
        );
        let other = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(
            Error::io("write to", Path::new("a"), other).kind(),
            ErrorKind::Io
        );
    }

    #[test]
    fn the_chain_of_causes_is_printed_when_asked_for() {
        let error = Error::corrupted("record `a` is damaged")
            .with_source(Error::new(ErrorKind::Io, "can't read b"));
        assert_eq!(error.to_string(), "record `a` is damaged");
        assert_eq!(format!("{error:#}"), "record `a` is damaged: can't read b");
        assert!(format!("{error:?}").starts_with("Corrupted: record `a` is damaged: can't"));
    }
}
