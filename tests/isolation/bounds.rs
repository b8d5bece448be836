//! What a guest may do, but not as often as it likes: what it asks of a DHCP server, and which
//! groups it says it wants to hear.

use super::{dhcp, drain, eventually, icmpv6, ipv4, ipv6, six, udp, wire, Net, ALL, GUEST, NEIGHBOUR};
use cloudbox::steps::network::Network;
use nix::sys::socket::{send, MsgFlags};
use std::os::fd::{AsRawFd, OwnedFd};

/// Sends them, and what of them has come when a frame that always passes has, which goes last.
fn passed(net: &Net, hearer: &OwnedFd, frames: &[Vec<u8>]) -> usize {
    let sender = net.guest.run(|| wire("eth0"));
    drain(hearer);
    for frame in frames {
        send(sender.as_raw_fd(), frame, MsgFlags::empty()).unwrap();
    }
    // Behind one another: what a veth takes it passes on in turn.
    let end = super::last();
    send(sender.as_raw_fd(), &end, MsgFlags::empty()).unwrap();
    let mut heard = Vec::new();
    super::eventually_with("the last frame", || {
        heard.extend(drain(hearer));
        heard.contains(&end)
    });
    heard.iter().filter(|frame| frames.contains(frame)).count()
}

/// A request with an identifier of its own, as a client of DHCP has that wants one more address.
fn request(number: u16) -> Vec<u8> {
    let mut message = dhcp(1, GUEST, [0; 4]);
    message.truncate(240);
    let [high, low] = number.to_be_bytes();
    message.extend([53, 1, 3, 61, 3, 0, high, low, 255]);
    ipv4(ALL, GUEST, [0; 4], [255; 4], 17, &udp(68, 67, &message))
}

#[test]
fn a_guest_does_not_empty_a_pool_of_addresses() {
    let Some(net) = Net::new() else { return };
    net.isolate(true, Some([10, 7, 0, 7].into()));
    let neighbour = net.neighbour.run(|| wire("eth0"));
    let give = |last: u8| {
        let message = udp(67, 68, &dhcp(2, GUEST, [10, 7, 0, last]));
        let reply = ipv4(ALL, NEIGHBOUR, [10, 7, 0, 9], [255; 4], 17, &message);
        send(neighbour.as_raw_fd(), &reply, MsgFlags::empty()).unwrap();
        let key = format!("nft get element bridge cloudbox had4 '{{ 02:00:00:00:00:07 . 10.7.0.{last} }}'");
        eventually("what was given is known", || {
            net.the_box.run(|| {
                std::process::Command::new("sh").args(["-c", &key]).output().unwrap().status.success()
            })
        });
    };
    // The same one again and again, also while the container is started anew, is no new one.
    for _ in 0..3 {
        (0..5).for_each(|_| give(100));
        net.the_box.run(|| {
            net.host.release(super::VETH);
            net.host.settle();
        });
        net.isolate(true, Some([10, 7, 0, 7].into()));
    }
    assert_eq!(passed(&net, &neighbour, &[request(1)]), 1);
    // Another network, and one more.
    (101..106).for_each(give);
    assert_eq!(passed(&net, &neighbour, &[request(2)]), 1);
    // All that there are: it gets no more, and not because it has asked too often.
    give(106);
    assert_eq!(passed(&net, &neighbour, &[request(3)]), 0);
    net.the_box.sh("nft get element bridge cloudbox greedy4 '{ 02:00:00:00:00:07 }'");
}

#[test]
fn a_guest_asks_for_an_address_a_few_times_and_then_seldom() {
    let Some(net) = Net::new() else { return };
    net.isolate(true, Some([10, 7, 0, 7].into()));
    let neighbour = net.neighbour.run(|| wire("eth0"));
    let many: Vec<Vec<u8>> = (0..100).map(request).collect();
    let asked = passed(&net, &neighbour, &many);
    assert!((10..15).contains(&asked), "{asked} of 100");
    // Who is not isolated asks as it likes.
    net.isolate(false, Some([10, 7, 0, 7].into()));
    assert_eq!(passed(&net, &neighbour, &many), 100);
}

/// A report of IGMP, version 2, of one group; or of version 3, of `groups`.
fn igmp(number: u16, groups: Option<u16>) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    let message = match groups {
        None => vec![0x16, 0, 0, 0, 239, 1, high, low],
        Some(groups) => {
            let record = [4, 0, 0, 0, 239, 1, high, low];
            let mut message = vec![0x22, 0, 0, 0, 0, 0];
            message.extend(groups.to_be_bytes());
            (0..groups.min(40)).for_each(|_| message.extend(record));
            message
        }
    };
    ipv4([1, 0, 0x5e, 1, high, low], GUEST, [10, 7, 0, 7], [239, 1, high, low], 2, &message)
}

/// One of MLD, version 1 or 2.
fn mld(number: u16, groups: Option<u16>) -> Vec<u8> {
    let (own, mut group) = (six("fe80::ff:fe00:7"), six("ff05::").octets());
    group[14..].copy_from_slice(&number.to_be_bytes());
    let report = match groups {
        None => icmpv6(own, group.into(), 131, &[[0; 4].as_slice(), &group].concat()),
        Some(groups) => {
            let mut rest = vec![0, 0];
            rest.extend(groups.to_be_bytes());
            (0..groups.min(40)).for_each(|_| rest.extend([[4, 0, 0, 0].as_slice(), &group].concat()));
            icmpv6(own, group.into(), 143, &rest)
        }
    };
    let behind_options = [[58, 0, 5, 2, 0, 0, 1, 0].as_slice(), &report].concat();
    ipv6([0x33, 0x33, 0, 0, group[14], group[15]], GUEST, own, group.into(), 0, &behind_options)
}

#[test]
fn a_guest_does_not_fill_a_bridge_with_groups() {
    for report in [igmp, mld] {
        let Some(net) = Net::new() else { return };
        net.isolate(true, Some([10, 7, 0, 7].into()));
        let neighbour = net.neighbour.run(|| wire("eth0"));
        let lists: Vec<Vec<u8>> = (0..100).map(|number| report(number, Some(3))).collect();
        // The guest's own kernel reports groups, too.
        let heard = passed(&net, &neighbour, &lists);
        assert!((1..=9).contains(&heard), "{heard} lists of 100");
        assert_eq!(passed(&net, &neighbour, &[report(0, Some(16)), report(0, Some(0x103))]), 0);
        let singles: Vec<Vec<u8>> = (0..100).map(|number| report(number, None)).collect();
        let heard = passed(&net, &neighbour, &singles);
        assert!((30..=60).contains(&heard), "{heard} reports of 100");
    }
}
