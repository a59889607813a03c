pub mod core;
pub mod redis_api;
use redis_api::Context;
pub const VERSION: std::ffi::c_int = 1;
pub fn load(_ctx: Context, _args: &[String]) -> Result<(), String> { Ok(()) }
pub fn unload(_ctx: Context) -> Result<(), String> { Ok(()) }
