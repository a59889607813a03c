//! Links the library so that MODULE UNLOAD leaves it mapped: a thread that is just ending still runs its code.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
