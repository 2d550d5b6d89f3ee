//! What was predicted, until Python takes it.

pub mod ring;
