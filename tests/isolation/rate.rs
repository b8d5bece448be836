//! How much a guest can send and get.

use super::*;

const OWN4: [u8; 4] = [10, 7, 0, 7];

/// Makes a frame of a flow with this number.
type Make = fn(u16) -> Vec<u8>;

fn limit(net: &Net, bytes: Option<u64>, connections: Option<u32>) {
    let rate = Rate { bytes, connections };
    let port = Port { rate, ..port(true, Some(OWN4.into())) };
    net.the_box.run(|| net.host.isolate(&port)).unwrap();
}

/// How long `from` takes to send so many bytes to `to`.
fn transfer(from: &Namespace, to: &Namespace, address: IpAddr, bytes: usize) -> Duration {
    let listener = to.run(|| TcpListener::bind((address, 0)).unwrap());
    let place = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            from.run(|| {
                let mut stream = TcpStream::connect(place).unwrap();
                let begun = Instant::now();
                stream.write_all(&vec![7; bytes]).unwrap();
                begun
            })
        });
        let mut all = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
        let ended = Instant::now();
        assert_eq!(all.len(), bytes);
        ended - sender.join().unwrap()
    })
}

#[test]
fn what_is_more_than_its_rate_does_not_pass() {
    let Some(net) = Net::new() else { return };
    net.guest.sh("ip addr add 10.7.0.7/24 dev eth0");
    net.host.end_adoption();
    let rate = 4 << 20;
    limit(&net, Some(rate), None);
    let (own, neighbours) = (IpAddr::from(OWN4), IpAddr::from([10, 7, 0, 9]));
    let bytes = 16 << 20;
    // A second's worth and a burst go at once.
    let least = Duration::from_secs_f64((bytes as u64 - rate - (128 << 10)) as f64 / rate as f64);
    let both = || {
        let sent = transfer(&net.guest, &net.neighbour, neighbours, bytes);
        let got = transfer(&net.neighbour, &net.guest, own, bytes);
        println!("16 MiB at 4 MiB/s: sent in {sent:?}, got in {got:?}, at least {least:?}");
        (sent, got)
    };
    let (sent, got) = both();
    assert!(sent >= least && got >= least, "{sent:?} {got:?}");
    // Another rate holds at once, also one that an earlier daemon did not say.
    limit(&net, Some(rate * 100), None);
    let (sent, got) = both();
    assert!(sent < least && got < least, "{sent:?} {got:?}");
    let next = net.the_box.run(Host::default);
    let port = Port { rate: Rate { bytes: Some(rate), connections: None }, ..port(true, Some(OWN4.into())) };
    net.the_box.run(|| next.isolate(&port)).unwrap();
    let sent = transfer(&net.guest, &net.neighbour, neighbours, bytes);
    assert!(sent >= least, "{sent:?}");
    net.the_box.run(|| {
        next.release(VETH);
        next.settle();
    });
    let left = net.the_box.run(|| Command::new("nft").args(["list", "limits"]).output().unwrap().stdout);
    let left = String::from_utf8(left).unwrap();
    assert!(!left.contains(&format!("-{rate}")), "{left}");
}

#[test]
fn new_connections_are_counted_and_known_ones_are_not() {
    let Some(net) = Net::new() else { return };
    net.host.end_adoption();
    let (most, tried) = (20, 400_u16);
    limit(&net, None, Some(most));
    let datagram = |port: u16| ipv4(NEIGHBOUR, GUEST, OWN4, [10, 7, 0, 9], 17, &udp(port, 9, b"datagram"));
    let open = |port: u16| {
        let head = [port.to_be_bytes().as_slice(), &[0, 22], &[0; 8], &[0x50, 2, 1, 0], &[0; 4], b"segment"]
            .concat();
        ipv4(NEIGHBOUR, GUEST, OWN4, [10, 7, 0, 9], 6, &head)
    };
    let echo = |number: u16| {
        let message = [[8, 0, 0, 0].as_slice(), &number.to_be_bytes(), &[0; 2], b"echo"].concat();
        ipv4(NEIGHBOUR, GUEST, OWN4, [10, 7, 0, 9], 1, &message)
    };
    let kinds: [(&str, Make); 3] = [("datagram", datagram), ("segment", open), ("echo", echo)];
    let neighbour = net.neighbour.run(|| wire("eth0"));
    let sender = net.guest.run(|| wire("eth0"));
    let put = |frame: &[u8]| send(sender.as_raw_fd(), frame, MsgFlags::empty()).unwrap();
    // Sends them all, and tells how many have come.
    let come = |what: &str, frames: &[Vec<u8>]| {
        let mut heard = Vec::new();
        for frame in frames {
            put(frame);
            heard.extend(drain(&neighbour));
        }
        eventually_with("the last frame", || {
            put(&last());
            heard.extend(drain(&neighbour));
            heard.iter().any(|frame| ends_with(frame, b"the-last"))
        });
        // Not what the neighbour says of it.
        let its = |frame: &&Vec<u8>| frame[6..12] == GUEST && ends_with(frame, what.as_bytes());
        heard.iter().filter(its).count()
    };
    for (what, of) in kinds {
        let begun = Instant::now();
        let frames: Vec<_> = (1000..1000 + tried).map(of).collect();
        let came = come(what, &frames);
        // A second's worth goes at once, and more for each second.
        let could = most as f64 * (1.0 + begun.elapsed().as_secs_f64()) + 1.0;
        println!("{came} of {tried} {what}s came, {could:.1} could");
        assert!((came as f64) <= could, "{what}: {came} of {could}");
        eventually_with("a new one", || come(what, &[of(1)]) == 1);
        // What it knows passes as often as it wants.
        assert_eq!(come(what, &vec![of(1); usize::from(tried)]), usize::from(tried), "{what}");
    }
    limit(&net, None, None);
    let frames: Vec<_> = (2000..2000 + tried).map(datagram).collect();
    assert_eq!(come("datagram", &frames), usize::from(tried));
}
