//! The cache file: what is written is read, and whatever else is there is told apart.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::engine::served::snapshot;
use crate::options::Secret;

const KEY: &str = "some-secret-key/of-7";
const LONGEST: u64 = 10_000;

/// A directory of its own, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("convert-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("config")
    }

    fn names(&self) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(&self.0).unwrap().map(|it| it.unwrap().file_name()).collect();
        names.sort();
        names
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn owner(environment: Option<&str>) -> Owner {
    Owner::new(&Secret::new(KEY), environment, None)
}

fn cache(path: &Path) -> ConfigFile {
    ConfigFile::new(path, owner(Some("live")), LONGEST)
}

fn keep(path: &Path, experience: &str) {
    let config = snapshot("1", experience).unwrap();
    let at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    cache(path).keep(&config, Some("\"e\""), at).unwrap();
}

/// A pipe, whose opening waits for its other end.
#[cfg(unix)]
fn pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn fault(path: &Path) -> ConfigCacheError {
    cache(path).read().map(|_| ()).unwrap_err()
}

#[test]
fn what_is_kept_is_read_with_its_etag_and_time() {
    let directory = Directory::new("kept");
    assert!(cache(&directory.file()).read().unwrap().is_none(), "nothing there");
    keep(&directory.file(), "7");
    let found = cache(&directory.file()).read().unwrap().unwrap();
    assert_eq!(found.text, snapshot("1", "7").unwrap().served_text());
    assert_eq!(found.etag.as_deref(), Some("\"e\""));
    assert_eq!(found.at, UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
    assert_eq!(directory.names(), ["config", "config.lock"], "no temporary file is left");
    let bytes = fs::read(directory.file()).unwrap();
    assert!(!String::from_utf8(bytes).unwrap().contains(KEY));
}

#[test]
fn an_unchanged_file_is_not_read_again() {
    let directory = Directory::new("unchanged");
    keep(&directory.file(), "7");
    let mut reader = cache(&directory.file());
    assert!(reader.read().unwrap().is_some());
    assert!(reader.read().unwrap().is_none());
    keep(&directory.file(), "7");
    assert!(reader.read().unwrap().is_some(), "another file, be it of the same length");
    fs::write(directory.file(), "x").unwrap();
    assert!(reader.read().is_err());
    assert!(reader.read().unwrap().is_none(), "a damaged one is not read again either");
    fs::remove_file(directory.file()).unwrap();
    assert!(reader.read().unwrap().is_none());
    let mut writer = cache(&directory.file());
    writer.keep(&snapshot("1", "8").unwrap(), None, UNIX_EPOCH).unwrap();
    assert!(writer.read().unwrap().is_none(), "it is its own");
    assert!(reader.read().unwrap().is_some());
}

#[test]
fn every_cut_and_every_flipped_bit_is_damage() {
    let directory = Directory::new("damaged");
    keep(&directory.file(), "7");
    let good = fs::read(directory.file()).unwrap();
    let decode = |bytes: &[u8]| format::decode(bytes.to_vec(), &owner(Some("live"))).map(|_| ());
    assert_eq!(decode(&good), Ok(()));
    for at in 0..good.len() {
        assert_eq!(decode(&good[..at]), Err(ConfigCacheError::Damaged), "cut at {at}");
        let mut flipped = good.clone();
        flipped[at] ^= 1 << (at % 8);
        assert_eq!(decode(&flipped), Err(ConfigCacheError::Damaged), "flipped at {at}");
    }
    assert_eq!(decode(&[&good[..], b"x"].concat()), Err(ConfigCacheError::Damaged));
    fs::write(directory.file(), &good[..good.len() - 1]).unwrap();
    assert_eq!(fault(&directory.file()), ConfigCacheError::Damaged);
}

#[test]
fn the_file_of_another_key_environment_or_token_is_foreign() {
    let directory = Directory::new("foreign");
    keep(&directory.file(), "7");
    let key = Secret::new(KEY);
    for foreign in [
        Owner::new(&Secret::new("another/key"), Some("live"), None),
        owner(Some("staging")),
        owner(Some("")),
        owner(None),
        Owner::new(&key, Some("live"), Some(&Secret::new("token"))),
    ] {
        let mut reader = ConfigFile::new(&directory.file(), foreign, LONGEST);
        assert_eq!(reader.read().map(|_| ()), Err(ConfigCacheError::Foreign));
    }
    assert!(cache(&directory.file()).read().is_ok());
}

#[test]
fn a_foreign_file_and_its_lock_are_left_to_their_owners() {
    let directory = Directory::new("owners");
    let mut other = ConfigFile::new(&directory.file(), owner(None), LONGEST);
    assert_eq!(other.hold(), Ok(true), "there is no file yet");
    other.lock.release();
    keep(&directory.file(), "7");
    let ours = fs::read(directory.file()).unwrap();
    let config = snapshot("1", "8").unwrap();
    for _ in 0..2 {
        assert_eq!(other.keep(&config, None, UNIX_EPOCH), Err(ConfigCacheError::Foreign));
        assert_eq!((other.hold(), cache(&directory.file()).hold()), (Ok(false), Ok(true)));
        assert_eq!(other.read().map(|_| ()), Err(ConfigCacheError::Foreign));
    }
    assert!(fs::read(directory.file()).unwrap() == ours);
    fs::remove_file(directory.file()).unwrap();
    assert_eq!(other.keep(&config, None, UNIX_EPOCH), Ok(()));
    assert_eq!(fault(&directory.file()), ConfigCacheError::Foreign);
}

#[test]
fn a_lock_held_when_the_file_proves_foreign_is_let_go() {
    let directory = Directory::new("let-go");
    let mut other = ConfigFile::new(&directory.file(), owner(None), LONGEST);
    assert!(other.read().unwrap().is_none());
    keep(&directory.file(), "7");
    assert_eq!(other.hold(), Ok(true));
    assert_eq!(other.read().map(|_| ()), Err(ConfigCacheError::Foreign));
    assert_eq!(cache(&directory.file()).hold(), Ok(true), "it has let go");
}

#[test]
fn a_holder_that_cannot_write_leaves_the_lock_to_others() {
    let directory = Directory::new("full");
    let (mut one, mut other) = (cache(&directory.file()), cache(&directory.file()));
    assert_eq!((one.hold(), other.hold()), (Ok(true), Ok(false)));
    let config = snapshot("1", "7").unwrap();
    let in_the_way = directory.0.join("config.tmp");
    fs::create_dir(&in_the_way).unwrap();
    assert!(matches!(one.keep(&config, None, UNIX_EPOCH), Err(ConfigCacheError::Write(_))));
    assert_eq!((other.hold(), one.hold()), (Ok(true), Ok(false)));
    fs::remove_dir(in_the_way).unwrap();
    assert_eq!(other.keep(&config, None, UNIX_EPOCH), Ok(()));
    assert_eq!(one.hold(), Ok(false), "who can write keeps it");
}

#[cfg(unix)]
#[test]
fn a_lock_file_that_is_a_pipe_is_an_error_and_waits_for_nobody() {
    let directory = Directory::new("pipe");
    let lock = directory.0.join("config.lock");
    pipe(&lock);
    let refused = Err(ConfigCacheError::Lock(io::ErrorKind::InvalidInput));
    assert_eq!(cache(&directory.file()).hold(), refused);
    // Nor is one used that somebody reads.
    let _reader = fs::File::options().read(true).write(true).open(&lock).unwrap();
    assert_eq!(cache(&directory.file()).hold(), refused);
    fs::remove_file(lock).unwrap();
    pipe(&directory.0.join("config.tmp"));
    keep(&directory.file(), "7");
    assert!(cache(&directory.file()).read().unwrap().is_some(), "the pipe is replaced");
}

#[test]
fn a_file_is_read_up_to_the_bound_of_a_response() {
    let directory = Directory::new("bound");
    keep(&directory.file(), "7");
    let bytes = snapshot("1", "7").unwrap().served_text().len() as u64;
    let read = |most| ConfigFile::new(&directory.file(), owner(Some("live")), most).read().map(|_| ());
    assert_eq!((read(bytes), read(bytes - 1)), (Ok(()), Err(ConfigCacheError::TooLarge(bytes - 1))));
    // A sparse file, which takes no room on the disk.
    fs::File::create(directory.file()).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(fault(&directory.file()), ConfigCacheError::TooLarge(LONGEST));
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_have_written_is_not_used() {
    use std::os::unix::fs::{PermissionsExt, chown};

    let directory = Directory::new("others");
    keep(&directory.file(), "7");
    let mode = || fs::metadata(directory.file()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    let good = fs::read(directory.file()).unwrap();
    for mode in [0o620, 0o602] {
        fs::set_permissions(directory.file(), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(fault(&directory.file()), ConfigCacheError::Unsafe);
    }
    fs::set_permissions(directory.file(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(cache(&directory.file()).read().is_ok(), "to read it is no harm");
    // Only root can give a file away.
    if chown(directory.file(), Some(65_534), None).is_ok() {
        assert_eq!(fault(&directory.file()), ConfigCacheError::Unsafe);
    }
    fs::remove_file(directory.file()).unwrap();
    fs::create_dir(directory.file()).unwrap();
    assert_eq!(fault(&directory.file()), ConfigCacheError::Unsafe);
    fs::remove_dir(directory.file()).unwrap();
    pipe(&directory.file());
    assert_eq!(fault(&directory.file()), ConfigCacheError::Unsafe);
    fs::remove_file(directory.file()).unwrap();
    // A link to a good file is as good as that.
    fs::write(directory.0.join("elsewhere"), good).unwrap();
    fs::set_permissions(directory.0.join("elsewhere"), fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink("elsewhere", directory.file()).unwrap();
    assert!(cache(&directory.file()).read().unwrap().is_some());
}

#[cfg(unix)]
#[test]
fn a_planted_link_is_not_written_through() {
    let directory = Directory::new("link");
    fs::write(directory.0.join("precious"), "mine").unwrap();
    std::os::unix::fs::symlink("precious", directory.0.join("config.tmp")).unwrap();
    keep(&directory.file(), "7");
    assert_eq!(fs::read_to_string(directory.0.join("precious")).unwrap(), "mine");
    assert!(cache(&directory.file()).read().unwrap().is_some());
}

#[cfg(unix)]
#[test]
fn no_file_is_made_where_a_link_in_the_lock_s_place_leads() {
    let directory = Directory::new("locked-link");
    std::os::unix::fs::symlink("elsewhere", directory.0.join("config.lock")).unwrap();
    assert_eq!(cache(&directory.file()).hold(), Err(ConfigCacheError::Lock(io::ErrorKind::InvalidInput)));
    assert!(!directory.0.join("elsewhere").exists());
}

#[test]
fn a_directory_that_cannot_be_written_is_a_named_error() {
    let directory = Directory::new("nowhere");
    let nowhere = directory.0.join("no-such-directory").join("config");
    let kept = cache(&nowhere).keep(&snapshot("1", "7").unwrap(), None, UNIX_EPOCH);
    assert_eq!(kept, Err(ConfigCacheError::Lock(io::ErrorKind::NotFound)));
    // The lock file is there, but the new file cannot take the place of a directory.
    fs::create_dir(directory.file()).unwrap();
    let kept = cache(&directory.file()).keep(&snapshot("1", "7").unwrap(), None, UNIX_EPOCH);
    assert!(matches!(kept, Err(ConfigCacheError::Write(_))), "{kept:?}");
}

#[test]
fn of_the_cores_of_a_process_one_holds_the_lock() {
    let directory = Directory::new("cores");
    let (mut one, mut other) = (cache(&directory.file()), cache(&directory.file()));
    assert_eq!((one.hold(), other.hold()), (Ok(true), Ok(false)));
    assert_eq!((one.hold(), other.hold()), (Ok(true), Ok(false)));
    let kept = other.keep(&snapshot("1", "7").unwrap(), None, UNIX_EPOCH);
    assert_eq!((kept, directory.file().exists()), (Ok(()), false), "it is the other's to keep");
    drop(one);
    assert_eq!(other.hold(), Ok(true));
}

#[cfg(unix)]
#[test]
fn a_lock_file_that_was_removed_is_made_anew() {
    let directory = Directory::new("removed");
    let mut one = cache(&directory.file());
    assert_eq!(one.hold(), Ok(true));
    fs::remove_file(directory.0.join("config.lock")).unwrap();
    let mut other = cache(&directory.file());
    assert_eq!((other.hold(), one.hold()), (Ok(true), Ok(false)));
}
