//! The few calls of libuci that the tests need.

use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_void};
use std::path::Path;
use std::ptr::null_mut;

use libuci_sys as c;

/// A section as libuci read it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plain {
    pub kind: String,
    pub name: String,
    pub anonymous: bool,
    pub options: Vec<(String, bool, Vec<Vec<u8>>)>,
}

/// A context of libuci.
pub struct Libuci(*mut c::uci_context);

impl Libuci {
    pub fn new() -> Libuci {
        // SAFETY: takes nothing; null means that there is no memory.
        let context = unsafe { c::uci_alloc_context() };
        assert!(!context.is_null());
        Libuci(context)
    }

    /// A context for the configurations in a directory, and the changes in its directory `save`.
    pub fn at(directory: &Path) -> Libuci {
        let libuci = Libuci::new();
        let config = text(directory.to_str().unwrap());
        let save = text(directory.join("save").to_str().unwrap());
        // SAFETY: the context is alive, and libuci copies both strings.
        unsafe {
            assert_eq!(c::uci_set_confdir(libuci.0, config.as_ptr()), 0);
            assert_eq!(c::uci_set_savedir(libuci.0, save.as_ptr()), 0);
        }
        libuci
    }

    /// Reads a file as `uci import` does. `None`: libuci refuses it.
    pub fn import(&mut self, file: &[u8]) -> Option<Vec<Plain>> {
        // fmemopen refuses an empty buffer.
        let content = if file.is_empty() { b"\n" } else { file };
        let mut package = null_mut();
        // SAFETY: the stream reads `content` and is closed before that ends; libuci keeps nothing of it. The package is
        // libuci's until it is unloaded.
        unsafe {
            let stream = libc::fmemopen(content.as_ptr() as *mut c_void, content.len(), c"r".as_ptr());
            assert!(!stream.is_null());
            let result = c::uci_import(self.0, stream.cast(), c"test".as_ptr(), &mut package, true);
            libc::fclose(stream);
            if result != 0 {
                self.reset();
                return None;
            }
            let read = sections(package);
            assert_eq!(c::uci_unload(self.0, package), 0);
            Some(read)
        }
    }

    /// `uci set <tuple>`: the change goes to the directory of changes.
    pub fn set(&mut self, tuple: &str) {
        let tuple = text(tuple).into_raw();
        // SAFETY: libuci cuts the tuple into strings in place, and `pointer` refers to them until `uci_save` is
        // through. All zeroes is what libuci's own callers start with.
        unsafe {
            let mut pointer: c::uci_ptr = std::mem::zeroed();
            assert_eq!(c::uci_lookup_ptr(self.0, &mut pointer, tuple, true), 0);
            assert_eq!(c::uci_set(self.0, &mut pointer), 0);
            assert_eq!(c::uci_save(self.0, pointer.p), 0);
            drop(CString::from_raw(tuple));
        }
    }

    /// `uci commit <package>`.
    pub fn commit(&mut self, package: &str) {
        let name = text(package);
        let mut package = null_mut();
        // SAFETY: the context is alive, libuci copies the name, and it fills in the package before it uses it.
        unsafe {
            assert_eq!(c::uci_load(self.0, name.as_ptr(), &mut package), 0);
            assert_eq!(c::uci_commit(self.0, &mut package, false), 0);
        }
    }

    /// An import that fails leaves half a package in the context.
    fn reset(&mut self) {
        *self = Libuci::new();
    }
}

impl Drop for Libuci {
    fn drop(&mut self) {
        // SAFETY: the context is alive, and not used after this.
        unsafe { c::uci_free_context(self.0) }
    }
}

fn text(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// # Safety
/// The package must be alive.
unsafe fn sections(package: *mut c::uci_package) -> Vec<Plain> {
    // SAFETY: the lists of a live package lead to live elements, and the embedded element comes first in each of them,
    // and the list first in an element: the pointers are the same.
    unsafe {
        let sections = elements(&raw mut (*package).sections).into_iter().map(|element| {
            let section = element.cast::<c::uci_section>();
            let options = elements(&raw mut (*section).options).into_iter();
            Plain {
                kind: string((*section).type_),
                name: string((*section).e.name),
                anonymous: (*section).anonymous,
                options: options.map(|element| option(element.cast())).collect(),
            }
        });
        sections.collect()
    }
}

/// # Safety
/// The option must be alive.
unsafe fn option(option: *mut c::uci_option) -> (String, bool, Vec<Vec<u8>>) {
    // SAFETY: the type says which field of the union is in use.
    unsafe {
        let list = (*option).type_ != c::uci_option_type_UCI_TYPE_STRING;
        let values = if list {
            elements(&raw mut (*option).v.list).into_iter().map(|element| bytes((*element).name)).collect()
        } else {
            vec![bytes((*option).v.string)]
        };
        (string((*option).e.name), list, values)
    }
}

/// # Safety
/// The list must be alive, with elements in it.
unsafe fn elements(head: *mut c::uci_list) -> Vec<*mut c::uci_element> {
    let mut found = Vec::new();
    // SAFETY: a list is a ring through its head.
    unsafe {
        let mut next = (*head).next;
        while next != head {
            found.push(next.cast());
            next = (*next).next;
        }
    }
    found
}

/// # Safety
/// As for [`CStr::from_ptr`].
unsafe fn bytes(text: *const c_char) -> Vec<u8> {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_bytes().to_vec()
}

/// # Safety
/// As for [`CStr::from_ptr`].
unsafe fn string(text: *const c_char) -> String {
    // SAFETY: the caller's promise.
    String::from_utf8(unsafe { bytes(text) }).unwrap()
}
