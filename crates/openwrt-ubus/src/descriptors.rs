//! Bytes of a socket, and the descriptor that may come with them. The one place with `unsafe`.

#![allow(unsafe_code)]

use nix::sys::socket::{recvmsg, sendmsg, ControlMessage, ControlMessageOwned, MsgFlags};
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// The kernel passes no more in one message; those that found no room would be lost without being closed.
const MOST: usize = 253;

/// Reads what is there, and takes the descriptor that came with it: the kernel ends a read behind the piece that had
/// one. Of several the first counts, and the others are closed.
///
/// # Errors
/// As recvmsg(2).
pub fn receive(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut room = nix::cmsg_space!([RawFd; MOST]);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut room), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut first = None;
    for control in message.cmsgs()? {
        let ControlMessageOwned::ScmRights(descriptors) = control else { continue };
        for descriptor in descriptors {
            // SAFETY: the kernel made this descriptor for us a moment ago, and nobody else knows it.
            let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
            first.get_or_insert(owned);
        }
    }
    Ok((message.bytes, first))
}

/// Writes some of `bytes`, and `descriptor` along with the first of them.
///
/// # Errors
/// As sendmsg(2).
pub fn send(mut stream: &UnixStream, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<usize> {
    let Some(descriptor) = descriptor else { return stream.write(bytes) };
    let descriptors = [descriptor.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&descriptors)];
    let parts = [IoSlice::new(bytes)];
    Ok(sendmsg::<()>(stream.as_raw_fd(), &parts, &control, MsgFlags::MSG_NOSIGNAL, None)?)
}
