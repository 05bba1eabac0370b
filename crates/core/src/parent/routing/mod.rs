//! Determines the address of a connection's client between accept and the queue, and leaves every byte of the client to the worker.

pub mod proxy_header;
