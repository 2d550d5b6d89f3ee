//! The contract of a version: its columns, labels, outputs and dtypes, as Python wrote it.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::Fault;

/// Stands for a missing string in a graph; no request may hold it.
pub const MISSING_STRING: &str = "\u{1a}";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Classifier,
    Regressor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    Number,
    Boolean,
    String,
    /// A moment as text in a request, in the graph a number: microseconds since 1970 in UTC.
    Timestamp,
    /// No part of the model reads it: it is in no input of the graph, and a row may leave it out.
    Unused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Float {
    Float32,
    Float64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    pub name: String,
    pub kind: ColumnKind,
    #[serde(rename = "dtype")]
    _dtype: String,
    #[serde(default)]
    pub missing: Option<String>,
    #[serde(default)]
    pub minimum: Option<f64>,
    #[serde(default)]
    pub maximum: Option<f64>,
    #[serde(default)]
    pub categories: Option<Vec<Box<RawValue>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureDocument {
    kind: Kind,
    columns: Vec<Column>,
    has_names: bool,
    labels: Vec<Vec<Box<RawValue>>>,
    targets: usize,
    is_multi_target: bool,
    has_probabilities: bool,
    numbers_dtype: Float,
    scores_dtype: Float,
}

/// A label in the two ways it is printed.
#[derive(Debug, PartialEq, Eq)]
pub struct Label {
    /// Its own JSON text: `"setosa"`, `0`, `true`.
    pub json: Box<str>,
    /// The same as a key of a JSON object: `"setosa"`, `"0"`, `"true"`.
    pub key: Box<str>,
}

#[derive(Debug)]
pub struct Signature {
    pub kind: Kind,
    pub columns: Vec<Column>,
    pub has_names: bool,
    /// For each target, in the order of the classes; empty for a regressor.
    pub labels: Vec<Vec<Label>>,
    pub targets: usize,
    pub is_multi_target: bool,
    pub has_probabilities: bool,
    pub numbers_dtype: Float,
    pub scores_dtype: Float,
    /// Two labels have the same text (`1` and `"1"`), so probabilities cannot be a map.
    pub labels_collide: bool,
    pub digest: [u8; 32],
}

impl Signature {
    pub fn parse(json: &[u8]) -> Result<Self, Fault> {
        let written: SignatureDocument = serde_json::from_slice(json)
            .map_err(|error| Fault::load(format!("the signature cannot be read: {error}")))?;
        let labels: Vec<Vec<Label>> =
            written.labels.iter().map(|target| target.iter().map(|label| label_of(label)).collect()).collect();
        let signature = Self {
            labels_collide: labels.iter().any(|target| collide(target)),
            kind: written.kind,
            columns: written.columns,
            has_names: written.has_names,
            labels,
            targets: written.targets,
            is_multi_target: written.is_multi_target,
            has_probabilities: written.has_probabilities,
            numbers_dtype: written.numbers_dtype,
            scores_dtype: written.scores_dtype,
            digest: *blake3::hash(json).as_bytes(),
        };
        signature.checked()
    }

    fn checked(self) -> Result<Self, Fault> {
        let classifier = self.kind == Kind::Classifier;
        let rules = [
            (self.numbers() + self.strings() == 0, "a model reads at least one column"),
            (self.targets == 0, "a model has at least one target"),
            (self.targets > 1 && !self.is_multi_target, "several targets are a multi-target model"),
            (classifier && self.labels.len() != self.targets, "a classifier has labels for each target"),
            (classifier && self.labels.iter().any(Vec::is_empty), "each target has at least one label"),
            (!classifier && !self.labels.is_empty(), "a regressor has no labels"),
            (self.has_probabilities && !classifier, "probabilities are those of a classifier"),
        ];
        match rules.into_iter().find(|(is_broken, _)| *is_broken) {
            Some((_, rule)) => Err(Fault::load(format!("the signature contradicts itself: {rule}"))),
            None => Ok(self),
        }
    }

    /// Columns of the graph's input `numbers`.
    pub fn numbers(&self) -> usize {
        let is_number =
            |kind: ColumnKind| matches!(kind, ColumnKind::Number | ColumnKind::Boolean | ColumnKind::Timestamp);
        self.columns.iter().filter(|column| is_number(column.kind)).count()
    }

    /// Columns of the graph's input `strings`.
    pub fn strings(&self) -> usize {
        self.columns.iter().filter(|column| column.kind == ColumnKind::String).count()
    }

    /// Labels of a row.
    pub fn label_width(&self) -> usize {
        if self.kind == Kind::Classifier { self.targets } else { 0 }
    }

    /// Probabilities of a row, those of the first target's classes first; or its values.
    pub fn score_width(&self) -> usize {
        match self.kind {
            Kind::Regressor => self.targets,
            Kind::Classifier if self.has_probabilities => self.labels.iter().map(Vec::len).sum(),
            Kind::Classifier => 0,
        }
    }

    /// Words of a row's raw outputs: its labels, then its scores.
    pub fn width(&self) -> usize {
        self.label_width() + self.score_width()
    }
}

fn label_of(label: &RawValue) -> Label {
    let json: Box<str> = match serde_json::from_str::<String>(label.get()) {
        Ok(text) => serde_json::Value::String(text).to_string().into(),
        Err(_) => label.get().into(),
    };
    let key = if json.starts_with('"') { json.clone() } else { format!("\"{json}\"").into() };
    Label { json, key }
}

fn collide(labels: &[Label]) -> bool {
    let mut keys: Vec<&str> = labels.iter().map(|label| &*label.key).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn signature(labels: &str) -> Signature {
        several_targets(labels, 1)
    }

    /// `labels`: a list for each target.
    pub fn several_targets(labels: &str, targets: usize) -> Signature {
        let is_multi_target = targets > 1;
        let json = format!(
            r#"{{"kind":"classifier","columns":[{{"name":"a","kind":"number","dtype":"float64"}},
            {{"name":"b","kind":"number","dtype":"float64","missing":"nan","minimum":-10.0,"maximum":10}}],
            "has_names":true,"labels":[{labels}],"targets":{targets},"is_multi_target":{is_multi_target},
            "has_probabilities":true,"numbers_dtype":"float32","scores_dtype":"float32"}}"#
        );
        Signature::parse(json.as_bytes()).expect("the signature is whole")
    }

    #[test]
    fn labels_keep_their_own_type() {
        let labels = &signature(r#"[0, true, "sé\u0041", 1.5]"#).labels[0];
        let json: Vec<&str> = labels.iter().map(|label| &*label.json).collect();
        assert_eq!(json, ["0", "true", "\"séA\"", "1.5"]);
        assert_eq!(&*labels[1].key, "\"true\"");
    }

    #[test]
    fn equal_texts_of_different_labels_collide() {
        assert!(signature(r#"[1, "1"]"#).labels_collide);
        assert!(!signature(r#"[1, "2"]"#).labels_collide);
    }

    #[test]
    fn each_target_has_probabilities_of_its_own_classes() {
        let signature = several_targets("[0, 1], [\"a\", \"b\", \"c\"]", 2);
        assert_eq!((signature.label_width(), signature.score_width(), signature.width()), (2, 5, 7));
    }

    #[test]
    fn an_unknown_field_is_refused() {
        assert!(matches!(Signature::parse(br#"{"kind":"classifier","more":1}"#), Err(Fault::Load(_))));
    }
}
