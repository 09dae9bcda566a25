//! What to try, and what to try next when it fails: providers and precisions in their order.
//!
//! Invariant: only `auto` moves to another provider; values that are not finite in f16 are always computed again
//! in f32; whatever was not the first choice is said.

use super::precision::Precision;
use super::provider::Provider;
use super::session::Failure;
use crate::error::{Error, ErrorKind, Result};

/// One way to run a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    /// Never `Auto`.
    pub(super) provider: Provider,
    pub(super) precision: Precision,
}

/// A result and how it came about.
#[derive(Debug)]
pub(super) struct Done<T> {
    pub(super) value: T,
    pub(super) attempt: Attempt,
    /// Why it wasn't the first choice, as sentences for people.
    pub(super) notes: Vec<String>,
}

/// The ways to try, the best first: f16 on CUDA if there is a graph for it, f32 on the CPU.
fn order(provider: Provider, precision: Option<Precision>, has_f16: bool) -> Vec<Attempt> {
    let providers = match provider {
        Provider::Auto => vec![Provider::Cuda(0), Provider::Cpu],
        one => vec![one],
    };
    let mut order = Vec::new();
    for provider in providers {
        let fast = matches!(provider, Provider::Cuda(_));
        let f16 = match precision {
            None => fast && has_f16,
            Some(wanted) => wanted == Precision::F16 && has_f16,
        };
        if f16 {
            order.push(Attempt {
                provider,
                precision: Precision::F16,
            });
        }
        order.push(Attempt {
            provider,
            precision: Precision::F32,
        });
    }
    order
}

/// Runs `work` in one way after another until one succeeds. `name` is the graph's, for messages.
/// `usable` says which providers have not failed to start before.
///
/// # Errors
/// The last failure; `Inference` if values are not finite even in f32.
pub(super) fn first_success<T>(
    name: &str,
    (provider, precision): (Provider, Option<Precision>),
    has_f16: bool,
    usable: impl Fn(Provider) -> bool,
    mut work: impl FnMut(Attempt) -> Result<T, Failure>,
) -> Result<Done<T>> {
    let mut notes = Vec::new();
    let mut lost: Option<Provider> = None;
    let mut failure = None;
    for attempt in order(provider, precision, has_f16) {
        let skipped = provider == Provider::Auto && !usable(attempt.provider);
        if skipped || lost == Some(attempt.provider) {
            continue;
        }
        match work(attempt) {
            Ok(value) => {
                return Ok(Done {
                    value,
                    attempt,
                    notes,
                });
            }
            Err(Failure::NotFinite) => {
                if attempt.precision == Precision::F16 {
                    notes.push(format!("{name} overflowed in f16 and was run again in f32"));
                    continue;
                }
                return Err(Error::new(
                    ErrorKind::Inference,
                    format!(
                        "{name} came to values that are not finite, in f32 on {}",
                        attempt.provider
                    ),
                ));
            }
            Err(Failure::Failed(error)) => {
                // That there is no GPU is no news; that it gave up half-way is.
                if usable(attempt.provider) && provider == Provider::Auto {
                    notes.push(format!("{name} failed on {}: {error:#}", attempt.provider));
                }
                lost = Some(attempt.provider);
                failure = Some(error);
            }
        }
    }
    Err(failure.unwrap_or_else(|| Error::invalid(format!("{name} can't be run"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUDA: Provider = Provider::Cuda(0);

    fn run(
        provider: Provider,
        precision: Option<Precision>,
        outcome: impl Fn(Provider, Precision) -> Result<(), Failure>,
    ) -> (Result<Done<()>>, Vec<String>) {
        let mut tried = Vec::new();
        let result = first_success(
            "m",
            (provider, precision),
            true,
            |_| true,
            |attempt| {
                tried.push(format!("{} {}", attempt.precision, attempt.provider));
                outcome(attempt.provider, attempt.precision)
            },
        );
        (result, tried)
    }

    fn broken() -> Result<(), Failure> {
        Err(Failure::Failed(Error::new(
            ErrorKind::Inference,
            "out of memory",
        )))
    }

    #[test]
    fn a_gpu_computes_in_f16_and_a_cpu_in_f32_unless_told() {
        let (done, tried) = run(Provider::Auto, None, |_, _| Ok(()));
        assert_eq!(tried, ["f16 cuda:0"]);
        assert!(done.unwrap().notes.is_empty());
        assert_eq!(run(Provider::Cpu, None, |_, _| Ok(())).1, ["f32 cpu"]);
        let (_, tried) = run(CUDA, Some(Precision::F32), |_, _| Ok(()));
        assert_eq!(tried, ["f32 cuda:0"]);
        let (_, tried) = run(Provider::Cpu, Some(Precision::F16), |_, _| Ok(()));
        assert_eq!(tried, ["f16 cpu"]);
    }

    #[test]
    fn an_overflow_in_f16_is_run_again_in_f32_and_said() {
        let overflow = |_, precision| match precision {
            Precision::F16 => Err(Failure::NotFinite),
            Precision::F32 => Ok(()),
        };
        for provider in [Provider::Auto, CUDA] {
            let (done, tried) = run(provider, None, overflow);
            assert_eq!(tried, ["f16 cuda:0", "f32 cuda:0"]);
            let done = done.unwrap();
            assert_eq!(done.attempt.precision, Precision::F32);
            assert!(done.notes[0].contains("overflowed"), "{:?}", done.notes);
        }
    }

    #[test]
    fn values_that_are_not_finite_in_f32_are_an_error_everywhere() {
        let (done, tried) = run(Provider::Auto, None, |_, _| Err(Failure::NotFinite));
        assert_eq!(tried, ["f16 cuda:0", "f32 cuda:0"]);
        assert!(done.unwrap_err().to_string().contains("not finite"));
    }

    #[test]
    fn a_gpu_that_fails_is_left_for_the_cpu_only_where_that_may_be_chosen() {
        let no_gpu = |provider, _| match provider {
            Provider::Cpu => Ok(()),
            _ => broken(),
        };
        let (done, tried) = run(Provider::Auto, None, no_gpu);
        assert_eq!(tried, ["f16 cuda:0", "f32 cpu"]);
        assert!(done.unwrap().notes[0].contains("out of memory"));
        let (done, tried) = run(CUDA, None, no_gpu);
        assert_eq!(tried, ["f16 cuda:0"]);
        assert!(done.unwrap_err().to_string().contains("out of memory"));
    }

    #[test]
    fn a_provider_known_not_to_start_is_not_tried_again() {
        let tried = std::cell::RefCell::new(Vec::new());
        let wish = (Provider::Auto, None);
        first_success(
            "m",
            wish,
            true,
            |p| p == Provider::Cpu,
            |attempt| {
                tried.borrow_mut().push(attempt.provider);
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(tried.into_inner(), [Provider::Cpu]);
    }
}
