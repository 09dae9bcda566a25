//! Attention over all cells of an image, one row of queries at a time.
//!
//! Invariant: nothing as large as cells x cells is ever made; at 1024x1024 pixels that alone would be 1 GiB.

use super::builder::{Builder, Value, graph, int, ints, node};
use super::proto::{Graph, ValueInfo};

impl Builder<'_> {
    /// softmax(q k / sqrt(channels)) v over all cells, as a scan over the rows of `query`.
    pub(super) fn attend(&mut self, query: &Value, key: &Value, value: &Value) -> Value {
        let scale = self.number(1.0 / (query.channels as f32).sqrt());
        let scaled = self.node("Mul", &[&query.name, &scale], vec![]);
        // [N, C, H, W] -> [H, N, W, C]: one step of the scan takes a row.
        let rows = self.node("Transpose", &[&scaled], vec![ints("perm", &[2, 0, 3, 1])]);
        let flat = self.int_constant(&[0, 0, -1]);
        let keys = self.node("Reshape", &[&key.name, &flat], vec![]);
        let values = self.node("Reshape", &[&value.name, &flat], vec![]);
        let values = self.node("Transpose", &[&values], vec![ints("perm", &[0, 2, 1])]);

        let channels = query.channels.to_string();
        let element = self.compute();
        let row = |name| ValueInfo::tensor(name, element, &["batch", "columns", &channels]);
        let body = Graph {
            nodes: vec![
                node("MatMul", &["query_row", &keys], vec![], "scores"),
                node("Softmax", &["scores"], vec![int("axis", -1)], "weights"),
                node("MatMul", &["weights", &values], vec![], "attended_row"),
            ],
            name: "attention_row".into(),
            inputs: vec![row("query_row")],
            outputs: vec![row("attended_row")],
            ..Graph::default()
        };
        let attributes = vec![int("num_scan_inputs", 1), graph("body", body)];
        let attended = self.node("Scan", &[&rows], attributes);
        // [H, N, W, C] -> [N, C, H, W].
        let planes = self.node("Transpose", &[&attended], vec![ints("perm", &[1, 3, 0, 2])]);
        Value {
            name: planes,
            ..query.clone()
        }
    }
}
