//! Markdown tables of what was measured.

/// A table whose first column holds names and whose others hold numbers.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column heads.
    pub fn new(heads: impl IntoIterator<Item = String>) -> Self {
        Self {
            rows: vec![heads.into_iter().collect()],
        }
    }

    /// Appends a row.
    pub fn push(&mut self, name: &str, cells: impl IntoIterator<Item = String>) {
        self.rows
            .push(std::iter::once(name.to_owned()).chain(cells).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, row) in self.rows.iter().enumerate() {
            writeln!(f, "| {} |", row.join(" | "))?;
            if at == 0 {
                writeln!(f, "|---{}|", "|---:".repeat(row.len() - 1))?;
            }
        }
        Ok(())
    }
}

/// A number with as many digits as it is worth, thousands apart; a dash for what wasn't measured.
pub fn number(value: Option<f64>) -> String {
    let Some(value) = value else {
        return "-".into();
    };
    let digits = match value.abs() {
        v if v >= 100.0 || v.fract() == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 0.1 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && digit.is_ascii_digit() {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_thousands_stand_apart() {
        let shown = [1_234_567.8, 123.4, 12.34, 1.234, 0.012_34, 0.0].map(|v| number(Some(v)));
        assert_eq!(shown, ["1,234,568", "123", "12.3", "1.23", "0.012", "0"]);
        assert_eq!(number(None), "-");
    }

    #[test]
    fn a_table_has_a_line_under_its_heads() {
        let mut table = Table::new(["a", "b"].map(String::from));
        table.push("x", ["1".into()]);
        assert_eq!(table.to_string(), "| a | b |\n|---|---:|\n| x | 1 |\n");
    }
}
