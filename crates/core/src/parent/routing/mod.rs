//! Learns who a client is between accept and the queue, without taking a byte from the worker.

pub mod proxy_header;
