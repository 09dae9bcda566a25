//! Which latent space imported weights belong to.
//!
//! Invariant: an answer follows from the weights, their configuration or what the user says, and no two of these
//! contradict each other; otherwise it is an error that lists the choices.

use crate::error::{Error, ErrorKind, Result};
use crate::spaces::{self, KNOWN, Space};

/// The name and the factors of the latent space of weights with `channels` and compression `ratio`.
///
/// `stated` are the factors of a configuration, `named` and `factors` what the user says.
pub(in crate::model) fn choose(
    (channels, ratio): (u64, u64),
    stated: Option<(f64, f64)>,
    named: Option<&str>,
    factors: Option<(f64, f64)>,
) -> Result<(String, (f64, f64))> {
    let fits = |space: &&Space| u64::from(space.channels) == channels && ratio == spaces::RATIO;
    let Some(name) = named else {
        let mut found = KNOWN
            .iter()
            .filter(fits)
            .filter(|space| Some(space.factors) == stated);
        return match (found.next(), found.next()) {
            (Some(space), None) => Ok((space.name.to_owned(), space.factors)),
            _ => Err(unknown(channels, KNOWN.iter().filter(fits), stated)),
        };
    };
    let Some(space) = KNOWN.iter().find(|space| space.name == name) else {
        let known = factors.or(stated).ok_or_else(|| {
            let what = format!("the scaling of the latent space `{}` is not known", name.escape_debug());
            Error::invalid(what).with_hint(
                "say it with --scaling-factor and --shift-factor: a diffusion model works on (latent - shift) * scaling; 1 and 0 if it takes latents as they are",
            )
        })?;
        return Ok((name.to_owned(), known));
    };
    let mismatch = |what: String| Err(Error::new(ErrorKind::ModelMismatch, what));
    if !fits(&space) {
        return mismatch(format!(
            "the latent space `{name}` has {} channels at f{}, and the weights have {channels} at f{ratio}",
            space.channels,
            spaces::RATIO
        ));
    }
    match factors.or(stated) {
        Some(other) if other != space.factors => mismatch(format!(
            "the latent space `{name}` has scaling {} and shift {}, and this model says {} and {}",
            space.factors.0, space.factors.1, other.0, other.1
        )),
        _ => Ok((name.to_owned(), space.factors)),
    }
}

fn unknown<'a>(
    channels: u64,
    choices: impl Iterator<Item = &'a Space>,
    stated: Option<(f64, f64)>,
) -> Error {
    let choices: Vec<_> = choices
        .map(|space| format!("{} ({}), ", space.name, space.about))
        .collect();
    let or = if choices.is_empty() { "" } else { "or " };
    let scaling = match stated {
        Some((scaling, shift)) => format!(", scaling {scaling} and shift {shift}"),
        None => String::new(),
    };
    Error::invalid(format!(
        "which latent space these weights belong to can't be known from them ({channels} channels{scaling}); choices: {}{or}a name of your own",
        choices.concat(),
    ))
    .with_hint("say it with --latent-space NAME: only decoders of the same space will read what this encoder writes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<(String, (f64, f64))>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_configuration_with_known_factors_names_the_space() {
        for (channels, factors, name) in [
            (4, (0.18215, 0.0), "sd-v1"),
            (4, (0.13025, 0.0), "sdxl"),
            (16, (1.5305, 0.0609), "sd3"),
            (16, (0.3611, 0.1159), "flux1"),
        ] {
            let chosen = choose((channels, 8), Some(factors), None, None).unwrap();
            assert_eq!(chosen, (name.to_owned(), factors));
        }
    }

    #[test]
    fn weights_alone_are_asked_about_with_the_choices() {
        let error = message(choose((4, 8), None, None, None));
        assert!(error.contains("sd-v1") && error.contains("sdxl"), "{error}");
        assert!(!error.contains("flux1"), "{error}");
        let error = message(choose((16, 8), None, None, None));
        assert!(error.contains("sd3") && error.contains("flux1"), "{error}");
        let error = message(choose((5, 4), Some((0.5, 0.0)), None, None));
        assert!(error.contains("a name of your own"), "{error}");
    }

    #[test]
    fn a_name_that_contradicts_the_weights_is_refused() {
        let error = message(choose((4, 8), Some((0.13025, 0.0)), Some("sd-v1"), None));
        assert!(
            error.contains("0.18215") && error.contains("0.13025"),
            "{error}"
        );
        let error = message(choose((4, 8), None, Some("flux1"), None));
        assert!(
            error.contains("16 channels") && error.contains("4 at f8"),
            "{error}"
        );
        let error = message(choose((4, 4), None, Some("sd-v1"), None));
        assert!(error.contains("f4"), "{error}");
    }

    #[test]
    fn a_space_of_ones_own_needs_its_factors_from_somewhere() {
        assert!(message(choose((7, 8), None, Some("mine"), None)).contains("scaling"));
        let given = choose((7, 8), None, Some("mine"), Some((2.0, 0.5))).unwrap();
        assert_eq!(given, ("mine".to_owned(), (2.0, 0.5)));
        let stated = choose((7, 8), Some((0.5, 0.0)), Some("mine"), None).unwrap();
        assert_eq!(stated.1, (0.5, 0.0));
    }
}
