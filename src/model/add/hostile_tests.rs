//! ONNX files that are damaged, that nest without end, or that ask for what no image gives.
//!
//! Invariant: each is refused by name with the reason, before ONNX Runtime sees it, and nothing panics.

use std::path::PathBuf;

use super::tests::{Bench, Place, changed, fixture, graph, look, refused};
use crate::error::ErrorKind;
use crate::model::onnx::proto::{Attribute, Extent, Function, Graph, Node, ValueInfo, element};

#[test]
fn what_is_no_onnx_file_is_refused_as_such() {
    for bytes in [
        &b""[..],
        b"PK\x03\x04 and more",
        b"\x89PNG\r\n\x1a\n",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        &[0xff; 100],
        &[0x3a, 0],
    ] {
        refused(bytes);
    }
    let folder = tempfile::tempdir().unwrap();
    let bench = |path: PathBuf| Bench::new("", "").with(|options| options.encoder = Some(path));
    let (_, text) = bench(folder.path().to_path_buf()).refused();
    assert!(text.contains("no regular file"), "{text}");
    let (error, text) = bench(folder.path().join("none.onnx")).refused();
    assert_eq!(error.kind(), ErrorKind::Io, "{text}");
    let large = folder.path().join("large.onnx");
    std::fs::File::create(&large)
        .unwrap()
        .set_len(1 << 31)
        .unwrap();
    let (error, text) = bench(large).refused();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(text.contains("2147483648 bytes"), "{text}");
}

#[test]
fn a_file_cut_off_or_changed_anywhere_does_no_harm() {
    let place = Place::with(b"");
    let path = place.path("given.onnx");
    for name in ["mean.onnx", "sample-in-a-branch.onnx"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            look(&path).ok();
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            for bit in [0, 3, 7] {
                bytes[at] ^= 1 << bit;
                std::fs::write(&path, &bytes).unwrap();
                look(&path).ok();
            }
        }
    }
}

#[test]
fn graphs_in_graphs_without_end_are_refused() {
    let mut inner = Graph::default();
    for _ in 0..40 {
        let attribute = Attribute {
            graph: Some(Box::new(inner)),
            ..Attribute::default()
        };
        let node = Node {
            op_type: "If".into(),
            attributes: vec![attribute],
            ..Node::default()
        };
        inner = Graph {
            nodes: vec![node],
            ..Graph::default()
        };
    }
    let text = refused(&changed("mean.onnx", |model| {
        graph(model).nodes.extend(inner.nodes);
    }));
    assert!(text.contains("deep"), "{text}");
    let many = vec![Node::default(); 1 << 20];
    let text = refused(&changed("mean.onnx", |model| {
        graph(model).nodes.extend(many);
    }));
    assert!(text.contains("fields"), "{text}");
}

#[test]
fn inputs_that_are_no_pixels_are_listed() {
    let more = |names: &[&str]| {
        changed("mean.onnx", |model| {
            let more = names.iter();
            let more = more.map(|name| ValueInfo::tensor(name, element::I64, &["n", "2"]));
            graph(model).inputs.extend(more);
        })
    };
    let text = refused(&more(&["timestep"]));
    assert!(
        text.contains("2 inputs") && text.contains("`timestep` i64 [n, 2]"),
        "{text}"
    );
    let many: Vec<_> = (0..1000).map(|n| format!("x{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let text = refused(&more(&many));
    assert!(text.contains("and 993 more") && text.len() < 2000, "{text}");
    let text = refused(&changed("mean.onnx", |model| graph(model).inputs.clear()));
    assert!(text.contains("no input"), "{text}");
    let renamed = |name: &str| {
        changed("mean.onnx", |model| {
            graph(model).inputs[0].name = name.into();
        })
    };
    for name in ["", "a\0b", "a\nb", &"x".repeat(1 << 20)] {
        let text = refused(&renamed(name));
        assert!(
            text.contains("unusable name") && text.len() < 1000,
            "{text}"
        );
    }
    for dims in [
        &["1", "3", "8"][..],
        &["1", "4", "h", "w"],
        &["1", "5", "8", "8", "3"],
    ] {
        for kind in [element::F32, element::I64, -7, 99] {
            let input = ValueInfo::tensor("x", kind, dims);
            let text = refused(&changed("mean.onnx", |model| {
                graph(model).inputs = vec![input];
            }));
            assert!(text.contains("its input isn't pixels"), "{text}");
        }
    }
}

#[test]
fn a_file_that_says_little_of_its_shapes_is_understood_by_running_it() {
    let vague = |name: &str, what: fn(&mut ValueInfo)| {
        let bytes = changed(name, |model| {
            let graph = graph(model);
            graph
                .inputs
                .iter_mut()
                .chain(&mut graph.outputs)
                .for_each(what);
        });
        let place = Place::with(&bytes);
        let bench = place.bench();
        let bench = bench.with(|options| {
            if name.starts_with("bytes") {
                options.input_range = None;
            }
        });
        bench.compare_after_adding("pool");
    };
    let dims = |info: &mut ValueInfo| {
        let tensor = info.value_type.as_mut().unwrap().tensor.as_mut().unwrap();
        for dim in &mut tensor.shape.as_mut().unwrap().dims {
            dim.extent = None;
        }
    };
    let negative = |info: &mut ValueInfo| {
        let tensor = info.value_type.as_mut().unwrap().tensor.as_mut().unwrap();
        for dim in &mut tensor.shape.as_mut().unwrap().dims {
            dim.extent = Some(Extent::Value(-1));
        }
    };
    let rank = |info: &mut ValueInfo| {
        info.value_type
            .as_mut()
            .unwrap()
            .tensor
            .as_mut()
            .unwrap()
            .shape = None;
    };
    for name in ["mean.onnx", "bytes.onnx", "sample-dynamo.onnx"] {
        vague(name, dims);
        vague(name, negative);
        vague(name, rank);
    }
}

#[test]
fn operators_of_foreign_domains_are_refused_by_name() {
    let custom = || Node {
        op_type: "Sample".into(),
        domain: "ai.evil".into(),
        ..Node::default()
    };
    let in_graph = changed("mean.onnx", |model| graph(model).nodes.push(custom()));
    let in_branch = changed("sample-in-a-branch.onnx", |model| {
        let nodes = &mut graph(model).nodes;
        let attribute = &mut nodes.last_mut().unwrap().attributes[0];
        attribute.graph.as_mut().unwrap().nodes.push(custom());
    });
    let in_function = changed("sample-in-a-function.onnx", |model| {
        model.functions[0].nodes.push(custom());
    });
    for bytes in [in_graph, in_branch, in_function] {
        let text = refused(&bytes);
        assert!(text.contains("`Sample` of the domain `ai.evil`"), "{text}");
    }
    let mut own = changed("mean.onnx", |model| {
        graph(model).nodes.push(custom());
        model.functions.push(Function {
            name: "Sample".into(),
            domain: "ai.evil".into(),
            ..Function::default()
        });
    });
    let place = Place::with(&own);
    look(&place.path("given.onnx")).unwrap();
    own.truncate(own.len() - 1);
    refused(&own);
}
