//! A JavaScript function that C callbacks of libuv call.

use std::ptr;

use napi::bindgen_prelude::{Function, JsValue};
use napi::{Env, Error, Result, Status, sys};

/// A JavaScript function `(argument: boolean) => void` with the async context in which it runs.
pub struct Callback {
    env: sys::napi_env,
    context: sys::napi_async_context,
    function: sys::napi_ref,
}

impl Callback {
    /// Keeps `function` until [`Callback::release`].
    pub fn new(env: &Env, function: &Function<bool, ()>) -> Result<Self> {
        let name = env.create_string("SOCKETSERVER")?;
        let (mut reference, mut context) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: this is the thread of `env`, and all values were made by `env`.
        unsafe {
            check(
                sys::napi_async_init(env.raw(), ptr::null_mut(), name.raw(), &raw mut context),
                "napi_async_init",
            )?;
            let created = sys::napi_create_reference(env.raw(), function.raw(), 1, &raw mut reference);
            if created != sys::Status::napi_ok {
                sys::napi_async_destroy(env.raw(), context);
            }
            check(created, "napi_create_reference")?;
        }
        Ok(Self {
            env: env.raw(),
            context,
            function: reference,
        })
    }

    /// Calls the function as libuv's own callbacks do: ticks and microtasks run afterwards, and an exception is uncaught.
    ///
    /// # Safety
    ///
    /// This is the thread of the environment, outside of any other call into it, and before [`Callback::release`].
    pub unsafe fn call(&self, argument: bool) {
        // SAFETY: as above, and every value is checked before use.
        unsafe {
            let mut scope = ptr::null_mut();
            if sys::napi_open_handle_scope(self.env, &raw mut scope) != sys::Status::napi_ok {
                return;
            }
            let (mut function, mut receiver, mut result) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
            let mut value = ptr::null_mut();
            sys::napi_get_reference_value(self.env, self.function, &raw mut function);
            sys::napi_get_global(self.env, &raw mut receiver);
            sys::napi_get_boolean(self.env, argument, &raw mut value);
            if !function.is_null() && !receiver.is_null() && !value.is_null() {
                let (context, arguments) = (self.context, &raw const value);
                let status =
                    sys::napi_make_callback(self.env, context, receiver, function, 1, arguments, &raw mut result);
                let mut thrown = ptr::null_mut();
                if status == sys::Status::napi_pending_exception
                    && sys::napi_get_and_clear_last_exception(self.env, &raw mut thrown) == sys::Status::napi_ok
                {
                    sys::napi_fatal_exception(self.env, thrown);
                }
            }
            sys::napi_close_handle_scope(self.env, scope);
        }
    }

    /// Releases the function and its async context.
    ///
    /// # Safety
    ///
    /// This is the thread of the environment, which has not ended, and the only call of this method.
    pub unsafe fn release(&self) {
        // SAFETY: as above.
        unsafe {
            sys::napi_async_destroy(self.env, self.context);
            sys::napi_delete_reference(self.env, self.function);
        }
    }
}

/// Converts a failed status to an error that names the call.
pub fn check(status: sys::napi_status, call: &str) -> Result<()> {
    if status == sys::Status::napi_ok {
        Ok(())
    } else {
        Err(Error::new(Status::from(status), call.to_owned()))
    }
}
