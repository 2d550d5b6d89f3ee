//! What Python may call: handles over the plane.

pub mod data_plane;
