//! A disk whose power fails: a file system of SQLite's around its own, which loses what was not synced.
//!
//! What is written is there at once for whoever reads, as in a system's cache. A deletion is on disk at once.
#![expect(unsafe_code, reason = "SQLite's file systems are tables of C functions")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::ffi::{self, sqlite3_file, sqlite3_io_methods, sqlite3_vfs};

/// When the power fails, and what is lost then.
#[derive(Clone, Copy)]
pub(crate) struct Failure {
    /// Before this change or sync, counted from 1.
    pub(crate) at: u64,
    /// Chooses which of the writes that were not synced are lost; 0 loses all of them.
    pub(crate) seed: u64,
}

struct Disk {
    failure: Failure,
    operations: u64,
    files: Vec<File>,
}

struct File {
    path: PathBuf,
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

static DISK: Mutex<Disk> =
    Mutex::new(Disk { failure: Failure { at: u64::MAX, seed: 0 }, operations: 0, files: Vec::new() });

fn disk() -> MutexGuard<'static, Disk> {
    DISK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts every file that SQLite opens from now on onto this disk.
pub(crate) fn install(failure: Failure) {
    disk().failure = failure;
    // The one without locks first: the other becomes the default, behind which it is found before SQLite's own.
    for (name, is_default) in [(c"unix-none", 0), (c"unix", 1)] {
        // SAFETY: SQLite's file systems live as long as the process and so do these, which are copies of them except for
        // how files are opened and deleted. Their other functions do not look at the table that they are called through.
        let code = unsafe {
            let system = ffi::sqlite3_vfs_find(name.as_ptr());
            let failing = Box::leak(Box::new(*system));
            failing.pNext = std::ptr::null_mut();
            failing.pAppData = system.cast();
            failing.szOsFile += size_of::<Opened>() as c_int;
            failing.xOpen = Some(open);
            failing.xDelete = Some(delete);
            ffi::sqlite3_vfs_register(failing, is_default)
        };
        assert_eq!(code, ffi::SQLITE_OK);
    }
}

/// How many changes and syncs there were.
pub(crate) fn operations() -> u64 {
    disk().operations
}

impl Disk {
    fn file(&mut self, path: &Path) -> usize {
        let known = self.files.iter().position(|file| file.path == path);
        known.unwrap_or_else(|| {
            let synced = std::fs::read(path).unwrap_or_default();
            self.files.push(File { path: path.to_owned(), synced, unsynced: Vec::new() });
            self.files.len() - 1
        })
    }

    fn step(&mut self) {
        self.operations += 1;
        if self.operations == self.failure.at {
            self.fail();
        }
    }

    /// With the lock held, so that nothing is written any more.
    fn fail(&mut self) {
        let mut random = self.failure.seed;
        for File { path, mut synced, unsynced } in self.files.drain(..).filter(|file| file.path.exists()) {
            for change in unsynced {
                // Knuth's; its upper bits are the better ones.
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if self.failure.seed != 0 && random >> 63 == 1 {
                    change.apply(&mut synced);
                }
            }
            std::fs::write(path, synced).unwrap();
        }
        kill(Pid::this(), Signal::SIGKILL).unwrap();
    }
}

impl Change {
    fn apply(self, content: &mut Vec<u8>) {
        match self {
            Self::Write(at, bytes) => {
                let end = at + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[at..end].copy_from_slice(&bytes);
            }
            Self::Truncate(size) => content.truncate(size),
        }
    }
}

/// What SQLite has of an open file; the system's own follows behind it.
#[repr(C)]
struct Opened {
    base: sqlite3_file,
    file: usize,
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    // Without shared memory, which a file in exclusive use does not need.
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes the table of `install`, a name that is null or ends with a zero, and a place of `szOsFile`
    // bytes for the file.
    unsafe {
        let system = (*vfs).pAppData.cast::<sqlite3_vfs>();
        let Some(open) = (*system).xOpen else { return ffi::SQLITE_CANTOPEN };
        let code = open(system, name, inner(file), flags, flags_out);
        (*file).pMethods =
            if (*inner(file)).pMethods.is_null() { std::ptr::null() } else { &raw const METHODS };
        // Temporary files have no name.
        let path =
            if name.is_null() { String::new() } else { CStr::from_ptr(name).to_string_lossy().into_owned() };
        (*file.cast::<Opened>()).file = disk().file(Path::new(&path));
        code
    }
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, name: *const c_char, sync_directory: c_int) -> c_int {
    // SAFETY: SQLite passes the table of `install` and a name that ends with a zero.
    unsafe {
        let path = CStr::from_ptr(name).to_string_lossy().into_owned();
        let mut disk = disk();
        disk.step();
        let file = disk.file(Path::new(&path));
        disk.files[file].synced.clear();
        disk.files[file].unsynced.clear();
        let system = (*vfs).pAppData.cast::<sqlite3_vfs>();
        (*system).xDelete.map_or(ffi::SQLITE_IOERR, |delete| delete(system, name, sync_directory))
    }
}

/// The system's own part of a file.
fn inner(file: *mut sqlite3_file) -> *mut sqlite3_file {
    file.cast::<Opened>().wrapping_add(1).cast()
}

/// Notes a change before the system makes it.
///
/// # Safety
/// `open` has opened the file.
unsafe fn change(file: *mut sqlite3_file, change: Change) {
    let mut disk = disk();
    disk.step();
    // SAFETY: see above.
    let file = unsafe { (*file.cast::<Opened>()).file };
    disk.files[file].unsynced.push(change);
}

/// A function that asks the system's own.
macro_rules! asks_the_system {
    ($($name:ident is $method:ident($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name(file: *mut sqlite3_file, $($argument: $type),*) -> c_int {
            // SAFETY: SQLite passes a file that `open` has opened, so the system has too, and arguments as the system's
            // own function expects them.
            unsafe {
                let method = (*(*inner(file)).pMethods).$method;
                method.map_or(ffi::SQLITE_IOERR, |method| method(inner(file), $($argument),*))
            }
        }
    )*};
}

asks_the_system! {
    close is xClose();
    read is xRead(to: *mut c_void, bytes: c_int, from: i64);
    system_write is xWrite(from: *const c_void, bytes: c_int, to: i64);
    system_truncate is xTruncate(size: i64);
    system_sync is xSync(flags: c_int);
    file_size is xFileSize(size: *mut i64);
    lock is xLock(level: c_int);
    unlock is xUnlock(level: c_int);
    check_reserved_lock is xCheckReservedLock(answer: *mut c_int);
    file_control is xFileControl(operation: c_int, argument: *mut c_void);
    sector_size is xSectorSize();
    device_characteristics is xDeviceCharacteristics();
}

unsafe extern "C" fn write(file: *mut sqlite3_file, from: *const c_void, bytes: c_int, to: i64) -> c_int {
    // SAFETY: SQLite passes a file that `open` has opened, and as many bytes as it says.
    unsafe {
        let written = std::slice::from_raw_parts(from.cast::<u8>(), bytes.try_into().unwrap());
        change(file, Change::Write(to.try_into().unwrap(), written.to_vec()));
        system_write(file, from, bytes, to)
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: i64) -> c_int {
    // SAFETY: SQLite passes a file that `open` has opened.
    unsafe {
        change(file, Change::Truncate(size.try_into().unwrap()));
        system_truncate(file, size)
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    let mut disk = disk();
    disk.step();
    // SAFETY: SQLite passes a file that `open` has opened.
    let code = unsafe { system_sync(file, flags) };
    // SAFETY: the same.
    let File { synced, unsynced, .. } = &mut disk.files[unsafe { (*file.cast::<Opened>()).file }];
    unsynced.drain(..).for_each(|change| change.apply(synced));
    code
}
