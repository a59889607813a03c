//! Settings that CONFIG GET/SET, redis.conf and `--loadmodule` know as `bear.<name>`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_longlong, c_void, CString};

use redis_module::raw;

use super::command::{c_string, make_string, string_bytes};
use super::{api, Context};

/// A setting's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigValue {
    Text(String),
    Bool(bool),
    Number { value: i64, min: i64, max: i64 },
}

/// May it change while the server runs?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    Yes,
    /// CONFIG SET needs `enable-protected-configs`, as `dir` does: it says which file is read, or who is told a password.
    Protected,
    /// Only redis.conf and `--loadmodule` set it.
    No,
}

/// One setting. `get` and `set` run on the main thread.
pub struct ConfigSpec {
    /// Without the module's prefix.
    pub name: &'static str,
    pub default: ConfigValue,
    pub live: Live,
    pub get: fn() -> ConfigValue,
    /// The error says why the value is refused and what would be right.
    pub set: fn(ConfigValue) -> Result<(), String>,
}

thread_local! {
    /// Strings that getters have returned: Redis reads them after the call, and never frees them.
    static RETURNED: RefCell<HashMap<&'static str, *mut raw::RedisModuleString>> = RefCell::new(HashMap::new());
}

/// Registers the settings and reads what redis.conf says of them. The specs live as long as the process.
pub fn register_all(ctx: Context, specs: &'static [ConfigSpec]) -> Result<(), String> {
    for spec in specs {
        let name = c_string(spec.name);
        let data = std::ptr::from_ref(spec).cast_mut().cast::<c_void>();
        let flags = match spec.live {
            Live::Yes => raw::REDISMODULE_CONFIG_DEFAULT,
            Live::Protected => raw::REDISMODULE_CONFIG_PROTECTED,
            Live::No => raw::REDISMODULE_CONFIG_IMMUTABLE,
        };
        // SAFETY: OnLoad's context; the name is copied; `data` is a static spec, which the callbacks read.
        let status = unsafe {
            match &spec.default {
                ConfigValue::Text(default) => {
                    let default = CString::new(default.as_str()).unwrap_or_default();
                    api!(RedisModule_RegisterStringConfig)(
                        ctx.raw(),
                        name.as_ptr(),
                        default.as_ptr(),
                        flags,
                        Some(get_text),
                        Some(set_text),
                        None,
                        data,
                    )
                }
                ConfigValue::Bool(default) => api!(RedisModule_RegisterBoolConfig)(
                    ctx.raw(),
                    name.as_ptr(),
                    (*default).into(),
                    flags,
                    Some(get_bool),
                    Some(set_bool),
                    None,
                    data,
                ),
                ConfigValue::Number { value, min, max } => api!(RedisModule_RegisterNumericConfig)(
                    ctx.raw(),
                    name.as_ptr(),
                    *value,
                    flags,
                    *min,
                    *max,
                    Some(get_number),
                    Some(set_number),
                    None,
                    data,
                ),
            }
        };
        if status != raw::REDISMODULE_OK as c_int {
            return Err(format!("the setting {} was refused by the server", spec.name));
        }
    }
    // SAFETY: OnLoad's context, after all settings are registered, once.
    let status = unsafe { api!(RedisModule_LoadConfigs)(ctx.raw()) };
    if status == raw::REDISMODULE_OK as c_int {
        Ok(())
    } else {
        Err("a setting in the configuration is wrong; the reason is in the log above".into())
    }
}

fn spec<'a>(data: *mut c_void) -> &'a ConfigSpec {
    // SAFETY: `register_all` gave a &'static ConfigSpec as the data of every callback.
    unsafe { &*data.cast::<ConfigSpec>() }
}

fn set(spec: &ConfigSpec, value: ConfigValue, error: *mut *mut raw::RedisModuleString) -> c_int {
    match std::panic::catch_unwind(|| (spec.set)(value)).unwrap_or_else(|_| Err("internal error".into())) {
        Ok(()) => raw::REDISMODULE_OK as c_int,
        Err(reason) => {
            // SAFETY: Redis passes a place for the error and frees what we put there.
            unsafe { *error = make_string(reason.as_bytes()) };
            raw::REDISMODULE_ERR as c_int
        }
    }
}

unsafe extern "C" fn get_text(_: *const c_char, data: *mut c_void) -> *mut raw::RedisModuleString {
    let spec = spec(data);
    let text = match (spec.get)() {
        ConfigValue::Text(text) => text,
        ConfigValue::Bool(_) | ConfigValue::Number { .. } => String::new(),
    };
    let string = make_string(text.as_bytes());
    RETURNED.with_borrow_mut(|returned| {
        if let Some(old) = returned.insert(spec.name, string) {
            // SAFETY: ours, returned by an earlier call that Redis has done with.
            unsafe { api!(RedisModule_FreeString)(std::ptr::null_mut(), old) };
        }
    });
    string
}

unsafe extern "C" fn set_text(
    _: *const c_char,
    value: *mut raw::RedisModuleString,
    data: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    let text = String::from_utf8_lossy(string_bytes(value)).into_owned();
    set(spec(data), ConfigValue::Text(text), error)
}

unsafe extern "C" fn get_bool(_: *const c_char, data: *mut c_void) -> c_int {
    matches!((spec(data).get)(), ConfigValue::Bool(true)).into()
}

unsafe extern "C" fn set_bool(
    _: *const c_char,
    value: c_int,
    data: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    set(spec(data), ConfigValue::Bool(value != 0), error)
}

unsafe extern "C" fn get_number(_: *const c_char, data: *mut c_void) -> c_longlong {
    match (spec(data).get)() {
        ConfigValue::Number { value, .. } => value,
        ConfigValue::Text(_) | ConfigValue::Bool(_) => 0,
    }
}

unsafe extern "C" fn set_number(
    _: *const c_char,
    value: c_longlong,
    data: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    set(spec(data), ConfigValue::Number { value, min: i64::MIN, max: i64::MAX }, error)
}
