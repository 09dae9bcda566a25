//! What files leave open, and what people say that contradicts them.
//!
//! Invariant: an error names both values, or the flag that says what is missing.

use super::AddOptions;
use super::tests::{Bench, Place, changed, graph, refused};
use crate::error::ErrorKind;
use crate::model::onnx::proto::{Node, ValueInfo, element};
use crate::model::spec::{Element, Layout};

#[test]
fn a_file_for_one_size_is_refused_with_the_size_and_a_way_out() {
    let (_, text) = Bench::new("fixed.onnx", "").refused();
    assert!(text.contains("one size only, 48x64 pixels"), "{text}");
    assert!(
        text.contains("dynamic_axes={'sample': {0: 'batch', 2"),
        "{text}"
    );
    let (_, text) = Bench::new("", "decoder-fixed.onnx").refused();
    assert!(text.contains("6x8 latent cells"), "{text}");
}

#[test]
fn the_range_of_floats_is_asked_for_and_that_of_bytes_is_known() {
    for (encoder, decoder) in [
        ("mean.onnx", ""),
        ("", "decoder.onnx"),
        ("bytes.onnx", "decoder.onnx"),
    ] {
        let bench = Bench::new(encoder, decoder).with(|options| options.input_range = None);
        let (_, text) = bench.refused();
        assert!(text.contains("--input-range: -1,1 for"), "{text}");
    }
    let spec = Bench::new("bytes.onnx", "decoder.onnx").add().unwrap().spec;
    let encoder = spec.encoder.unwrap().pixels;
    assert_eq!(
        (encoder.element, encoder.layout),
        (Element::U8, Layout::Nhwc)
    );
    assert_eq!(format!("{:?}", encoder.range), "[0.0, 255.0]");
    let decoder = spec.decoder.unwrap().pixels;
    assert_eq!(format!("{:?}", decoder.range), "[-1.0, 1.0]");
    let (_, text) = Bench::new("bytes.onnx", "bytes-decoder.onnx").refused();
    assert!(
        text.contains("from 0 to 255, and --input-range says -1 to 1"),
        "{text}"
    );
    for range in [[0.0, 0.0], [f32::NAN, 1.0], [0.0, f32::INFINITY]] {
        let bench = Bench::new("mean.onnx", "");
        bench
            .with(|options| options.input_range = Some(range))
            .refused();
    }
}

#[test]
fn a_layout_that_the_file_contradicts_is_refused() {
    for (encoder, decoder) in [("mean.onnx", ""), ("", "decoder.onnx")] {
        let bench = Bench::new(encoder, decoder);
        let (_, text) = bench
            .with(|options| options.layout = Some(Layout::Nhwc))
            .refused();
        assert!(
            text.contains("nchw") && text.contains("--layout says nhwc"),
            "{text}"
        );
    }
    let bench = Bench::new("bytes.onnx", "");
    let bench = bench.with(|options| {
        (options.layout, options.input_range) = (Some(Layout::Nhwc), None);
    });
    bench.add().unwrap();
}

#[test]
fn a_layout_that_neither_the_file_nor_a_trial_tells_is_asked_for() {
    let bytes = changed("mean.onnx", |model| {
        let graph = graph(model);
        graph.initializers.clear();
        graph.nodes = vec![Node {
            op_type: "Identity".into(),
            inputs: vec![graph.inputs[0].name.clone()],
            outputs: vec![graph.outputs[0].name.clone()],
            ..Node::default()
        }];
        for info in graph.inputs.iter_mut().chain(&mut graph.outputs) {
            *info = ValueInfo::tensor(&info.name, element::F32, &["a", "b", "c", "d"]);
        }
    });
    let text = refused(&bytes);
    assert!(text.contains("--layout nchw or --layout nhwc"), "{text}");
    // Said, it is tried: three channels are no latent of this space.
    let place = Place::with(&bytes);
    let bench = place.bench();
    let bench = bench.with(|options| options.layout = Some(Layout::Nchw));
    let (_, text) = bench.refused();
    assert!(text.contains("[1, 4 or 8, H/f, W/f]"), "{text}");
}

#[test]
fn channels_that_nobody_knows_are_asked_for() {
    let mine = |options: &mut AddOptions| {
        options.latent_space = "mine".into();
        options.factors = Some((0.5, 0.0));
    };
    let (_, text) = Bench::new("mean.onnx", "").with(mine).refused();
    assert!(
        text.contains("--latent-channels 4 or --latent-channels 2"),
        "{text}"
    );
    let added = |bench: Bench| bench.with(mine).add().unwrap().spec.encoder.unwrap();
    let said = |channels| move |options: &mut AddOptions| options.latent_channels = Some(channels);
    assert!(
        !added(Bench::new("mean.onnx", "").with(said(4)))
            .latent
            .moments
    );
    assert!(
        added(Bench::new("mean.onnx", "").with(said(2)))
            .latent
            .moments
    );
    // A decoder says it, and so does a mean that noise is added to.
    assert!(
        !added(Bench::new("mean.onnx", "decoder.onnx"))
            .latent
            .moments
    );
    assert!(!added(Bench::new("kl-sample.onnx", "")).latent.moments);
    let (_, text) = Bench::new("unnamed.onnx", "").with(mine).refused();
    assert!(
        text.contains("which of its outputs is the posterior mean"),
        "{text}"
    );
}

#[test]
fn what_contradicts_the_latent_space_or_the_other_half_is_refused_by_both_values() {
    let refused = |bench: Bench, change: fn(&mut AddOptions)| bench.with(change).refused();
    let pair = || Bench::new("mean.onnx", "decoder.onnx");
    let (error, text) = refused(pair(), |options| options.latent_channels = Some(5));
    assert_eq!(error.kind(), ErrorKind::ModelMismatch);
    assert!(text.contains("4 channels") && text.contains('5'), "{text}");
    let (_, text) = refused(pair(), |options| options.latent_space = "flux1".into());
    assert!(text.contains("[1, 16 or 32, H/f, W/f]"), "{text}");
    let (_, text) = refused(Bench::new("", "decoder.onnx"), |options| {
        options.latent_space = "flux1".into();
    });
    assert!(text.contains("4 channels where 16"), "{text}");
    let (_, text) = refused(pair(), |options| {
        options.latent_space = "mine".into();
        options.factors = Some((1.0, 0.0));
        options.ratio = Some(4);
    });
    assert!(text.contains("are f8, and --ratio says 4"), "{text}");
    let (_, text) = refused(pair(), |options| options.latent_space = "mine".into());
    assert!(text.contains("--scaling-factor"), "{text}");
    let (_, text) = refused(pair(), |options| options.factors = Some((0.13025, 0.0)));
    assert!(
        text.contains("0.18215") && text.contains("0.13025"),
        "{text}"
    );
    let (_, text) = refused(pair(), |options| options.ratio = Some(3));
    assert!(text.contains("power of two"), "{text}");
    let (_, text) = refused(pair(), |options| {
        (options.encoder, options.decoder) = (None, None);
    });
    assert!(text.contains("--encoder and --decoder"), "{text}");
    let (_, text) = Bench::new("decoder.onnx", "").refused();
    assert!(
        text.contains("its input isn't pixels") && text.contains("latent_0, 4"),
        "{text}"
    );
}
