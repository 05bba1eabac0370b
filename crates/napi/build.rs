//! Sets the linker flags that a Node-API library needs on each platform.

fn main() {
    napi_build::setup();
}
