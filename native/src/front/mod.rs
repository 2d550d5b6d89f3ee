//! The public port: from a connection to an answer or to the app.

pub mod body;
pub mod connection;
pub mod connection_state;
pub mod counters;
pub mod forward;
pub mod gateway;
pub mod head;
pub mod http2;
pub mod listener;
pub mod origin;
pub mod pace;
pub mod places;
pub mod refusal;
pub mod respond;
pub mod response_headers;
pub mod shares;
pub mod templates;
pub mod tls;
