//! Names the shared library after the versions that are ABI-compatible, and keeps it loaded.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    if is_linux {
        // Before 1.0 each minor version may break what is linked against the previous one.
        let version = |part: &str| std::env::var(format!("CARGO_PKG_VERSION_{part}")).unwrap_or_default();
        let (major, minor) = (version("MAJOR"), version("MINOR"));
        let soname =
            if major == "0" { format!("libconvert.so.0.{minor}") } else { format!("libconvert.so.{major}") };
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,{soname}");
        // After a dlclose, its threads and its fork and exit handlers would run unmapped code.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
