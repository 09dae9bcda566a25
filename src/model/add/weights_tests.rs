//! Tensors whose shapes lie, and weights that aren't where a file says.
//!
//! Invariant: no file is read that doesn't lie beside the ONNX file, and no tensor reaches beyond its file.

use super::tests::{Place, changed, fixture, graph, look, refused};
use crate::model::onnx::proto::{
    Attribute, Entry, Function, Graph, Node, SparseTensor, Tensor, element,
};

impl Place {
    /// A fixture whose weights lie in `weights` beside it, with the entries that say so changed.
    fn with_weights(change: impl Fn(&mut Tensor)) -> Self {
        let bytes = changed("kl-moments.onnx", |model| {
            let tensors = graph(model).initializers.iter_mut();
            tensors
                .filter(|tensor| !tensor.external_data.is_empty())
                .for_each(change);
        });
        let place = Self::with(&bytes);
        std::fs::copy(
            fixture("kl-moments.onnx.data"),
            place.path("kl-moments.onnx.data"),
        )
        .unwrap();
        place
    }
}

fn set(tensor: &mut Tensor, key: &str, value: &str) {
    tensor.external_data.retain(|entry| entry.key != key);
    tensor.external_data.push(Entry {
        key: key.into(),
        value: value.into(),
    });
}

/// Puts a tensor into every kind of place that tensors are found in.
fn everywhere(tensor: &Tensor) -> Vec<Vec<u8>> {
    let holding = |attribute: Attribute| Node {
        op_type: "Constant".into(),
        outputs: vec!["unused".into()],
        attributes: vec![attribute],
        ..Node::default()
    };
    let as_tensor = || Attribute {
        tensor: Some(Box::new(tensor.clone())),
        ..Attribute::default()
    };
    let as_graph = || Attribute {
        graph: Some(Box::new(Graph {
            initializers: vec![tensor.clone()],
            ..Graph::default()
        })),
        ..Attribute::default()
    };
    let sparse = || SparseTensor {
        values: Some(tensor.clone()),
        ..SparseTensor::default()
    };
    let as_sparse = || Attribute {
        sparse_tensor: Some(Box::new(sparse())),
        ..Attribute::default()
    };
    vec![
        changed("mean.onnx", |model| {
            graph(model).initializers.push(tensor.clone());
        }),
        changed("mean.onnx", |model| {
            graph(model).nodes.push(holding(as_tensor()));
        }),
        changed("mean.onnx", |model| {
            graph(model).nodes.push(holding(as_graph()));
        }),
        changed("mean.onnx", |model| {
            graph(model).nodes.push(holding(as_sparse()));
        }),
        changed("mean.onnx", |model| {
            graph(model).sparse_initializers.push(sparse());
        }),
        changed("mean.onnx", |model| {
            let node = holding(as_tensor());
            let nodes = vec![node];
            model.functions.push(Function {
                nodes,
                ..Function::default()
            });
        }),
    ]
}

fn tensor(dims: &[i64], data_type: i32, bytes: usize) -> Tensor {
    Tensor {
        name: "odd".into(),
        dims: dims.to_vec(),
        data_type,
        raw_data: vec![0; bytes].into(),
        ..Tensor::default()
    }
}

#[test]
fn tensors_whose_shapes_lie_are_refused_wherever_they_are() {
    let max = i64::MAX;
    for (odd, reason) in [
        (tensor(&[-1], element::F32, 4), "impossible dimensions [-1]"),
        (
            tensor(&[max, max], element::F32, 4),
            "impossible dimensions",
        ),
        (
            tensor(&[1 << 62, 4], element::F32, 4),
            "impossible dimensions",
        ),
        (tensor(&[1 << 50], element::U8, 4), "impossible dimensions"),
        (
            tensor(&[2, 3], element::F32, 23),
            "has 23 bytes, and its dimensions [2, 3] come to 24",
        ),
        (tensor(&[2], element::F16, 0), "has 0 values"),
        (tensor(&[2; 100], element::U8, 1), "and 92 more"),
        (tensor(&[1], 99, 1), "unknown type 99"),
        (tensor(&[1], 0, 1), "unknown type 0"),
        (tensor(&[1], -1, 1), "unknown type -1"),
        (tensor(&[1], 8, 1), "has 1 bytes"),
    ] {
        for bytes in everywhere(&odd) {
            let text = refused(&bytes);
            assert!(text.contains(reason) && text.contains("`odd`"), "{text}");
        }
    }
    let text = refused(&changed("mean.onnx", |model| {
        graph(model).sparse_initializers.push(SparseTensor {
            values: Some(tensor(&[1], element::F32, 4)),
            indices: Some(tensor(&[1], element::I64, 8)),
            dims: vec![1 << 40],
        });
    }));
    assert!(text.contains("sparse tensor `odd`"), "{text}");
}

#[test]
fn values_kept_as_numbers_are_counted() {
    let kept = |dims: &[i64], data_type, change: fn(&mut Tensor)| {
        let mut tensor = tensor(dims, data_type, 0);
        change(&mut tensor);
        let bytes = changed("mean.onnx", |model| graph(model).initializers.push(tensor));
        let place = Place::with(&bytes);
        look(&place.path("given.onnx")).is_ok()
    };
    let floats =
        |tensor: &mut Tensor| tensor.float_data = vec![vec![0; 8].into(), vec![0; 4].into()];
    assert!(kept(&[3], element::F32, floats));
    assert!(!kept(&[2], element::F32, floats));
    let numbers = |tensor: &mut Tensor| tensor.int32_data = vec![vec![0x80, 1, 0x7f].into()];
    assert!(kept(&[2], element::F16, numbers));
    assert!(!kept(&[3], element::F16, numbers));
    // Two values of four bits in each number.
    assert!(kept(&[3], 21, numbers));
    let text = |tensor: &mut Tensor| tensor.string_data = vec![vec![1].into()];
    assert!(kept(&[1], 8, text));
    assert!(!kept(&[2], 8, text));
    let longs = |tensor: &mut Tensor| tensor.int64_data = vec![vec![1, 2].into()];
    assert!(kept(&[2], element::I64, longs));
    let doubles = |tensor: &mut Tensor| tensor.double_data = vec![vec![0; 16].into()];
    assert!(kept(&[2], 11, doubles) && kept(&[1], 15, doubles));
    let unsigned = |tensor: &mut Tensor| tensor.uint64_data = vec![vec![1].into()];
    assert!(kept(&[], 13, unsigned));
    assert!(kept(&[0, 5], element::F32, |_| {}));
}

#[test]
fn weights_outside_of_the_folder_are_never_read() {
    for location in [
        "/etc/passwd",
        "../weights",
        "..",
        ".",
        "",
        "sub/weights",
        "sub\\weights",
        "C:weights",
        "C:\\weights",
        "*/_ORT_MEM_ADDR_/*",
        "a\0b",
    ] {
        let place = Place::with_weights(|tensor| set(tensor, "location", location));
        let text = place.refused();
        assert!(text.contains("only files in the folder"), "{text}");
    }
    for name in ["encoder.onnx", "Manifest.JSON"] {
        let place = Place::with_weights(|tensor| set(tensor, "location", name));
        std::fs::copy(fixture("kl-moments.onnx.data"), place.path(name)).unwrap();
        assert!(
            place
                .refused()
                .contains("a name that a model's own files have")
        );
    }
    let mut odd = tensor(&[1], element::F32, 0);
    odd.data_location = 1;
    set(&mut odd, "location", "../secret");
    for bytes in everywhere(&odd) {
        assert!(refused(&bytes).contains("`../secret`"));
    }
}

#[test]
fn weights_that_are_not_where_the_file_says_are_refused() {
    let data = "kl-moments.onnx.data";
    let fine = Place::with_weights(|_| {});
    std::fs::remove_file(fine.path(data)).unwrap();
    let text = fine.refused();
    assert!(
        text.contains(data) && text.contains("lie beside it"),
        "{text}"
    );
    std::fs::create_dir(fine.path(data)).unwrap();
    assert!(fine.refused().contains("no regular file"));

    let cut = Place::with_weights(|_| {});
    std::fs::write(cut.path(data), [0; 100]).unwrap();
    assert!(cut.refused().contains("which has 100"));

    for (key, value, reason) in [
        (
            "offset",
            "18446744073709551615",
            "at 18446744073709551615 in",
        ),
        ("offset", "10224", "at 10224 in"),
        ("offset", "-1", "impossible offset `-1`"),
        ("offset", "1e3", "impossible offset"),
        ("length", "3", "has 3 bytes, and its dimensions"),
        ("length", "99999999999999999999", "impossible length"),
    ] {
        let place = Place::with_weights(|tensor| set(tensor, key, value));
        let text = place.refused();
        assert!(text.contains(reason), "{text}");
    }
    let place = Place::with_weights(|tensor| {
        let again = tensor.external_data[0].clone();
        tensor.external_data.push(again);
    });
    assert!(place.refused().contains("says twice"));
    let place = Place::with_weights(|tensor| tensor.external_data.clear());
    assert!(place.refused().contains("doesn't say in which"));
    for place in [0, 7] {
        let place = Place::with_weights(|tensor| tensor.data_location = place);
        assert!(place.refused().contains("where its values are"));
    }
}

#[test]
fn two_halves_share_a_file_of_weights_only_if_it_is_the_same() {
    let encoder = Place::with_weights(|_| {});
    let decoder = || {
        let bytes = changed("decoder.onnx", |model| {
            let weight = &mut graph(model).initializers[0];
            let length = weight.raw_data.len();
            weight.raw_data = Vec::new().into();
            weight.data_location = 1;
            set(weight, "location", "kl-moments.onnx.data");
            set(weight, "length", &length.to_string());
        });
        let place = Place::with(&bytes);
        std::fs::copy(
            fixture("kl-moments.onnx.data"),
            place.path("kl-moments.onnx.data"),
        )
        .unwrap();
        place
    };
    let (same, other) = (decoder(), decoder());
    let bench = |decoder: &Place| {
        let path = decoder.path("given.onnx");
        encoder.bench().with(|options| options.decoder = Some(path))
    };
    assert_eq!(
        bench(&same).added_files(),
        ["decoder.onnx", "encoder.onnx", "kl-moments.onnx.data"]
    );
    let data = other.path("kl-moments.onnx.data");
    let mut bytes = std::fs::read(&data).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&data, &bytes).unwrap();
    let (_, text) = bench(&other).refused();
    assert!(text.contains("it isn't the same"), "{text}");
    bytes.push(0);
    std::fs::write(&data, &bytes).unwrap();
    bench(&other).refused();
}

#[cfg(unix)]
#[test]
fn links_are_followed_only_to_files_beside_each_other() {
    use std::os::unix::fs::symlink;
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("secret");
    std::fs::copy(fixture("kl-moments.onnx.data"), &secret).unwrap();
    let data = "kl-moments.onnx.data";
    let place = Place::with_weights(|_| {});
    std::fs::remove_file(place.path(data)).unwrap();
    symlink(&secret, place.path(data)).unwrap();
    let text = place.refused();
    assert!(text.contains("is a link to"), "{text}");
    std::fs::remove_file(place.path(data)).unwrap();
    symlink("/dev/zero", place.path(data)).unwrap();
    place.refused();

    // As download caches keep them: two links to files in one other folder.
    let graph = elsewhere.path().join("0123");
    std::fs::rename(place.path("given.onnx"), &graph).unwrap();
    symlink(&graph, place.path("given.onnx")).unwrap();
    std::fs::remove_file(place.path(data)).unwrap();
    symlink(&secret, place.path(data)).unwrap();
    place.bench().compare_after_adding("kl");
}
