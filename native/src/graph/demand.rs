//! What has to be true of a tensor whose width is known only when the model runs.

/// What a node demands of the width of its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    pub node: String,
    pub input: String,
    pub width: Width,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    Exactly(usize),
    AtLeast(usize),
}

impl Width {
    pub fn is_met_by(self, width: usize) -> bool {
        match self {
            Self::Exactly(expected) => width == expected,
            Self::AtLeast(least) => width >= least,
        }
    }
}
