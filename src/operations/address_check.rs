//! What is told of a static address that may not work: somebody has it, or it is in no network of its bridge. It is no
//! error: who has it may be about to give it away, and the network about to change.

use crate::machine::Machine;
use crate::model::address::Address;
use crate::model::spec::Spec;
use crate::steps::ctx::Ctx;
use crate::steps::network::{stray, Question};
use std::net::Ipv4Addr;

/// A check that is under way beside the job's steps.
pub struct AddressCheck<'a> {
    machine: &'a Machine,
    /// The container's hardware address.
    own: &'a str,
    /// The static address, in that bridge's network.
    address: Option<(Ipv4Addr, Option<Question>)>,
    stray: Option<String>,
}

/// Begins to ask the network of `spec`'s bridge for its static address.
pub fn begin<'a>(machine: &'a Machine, own: &'a str, spec: &Spec) -> AddressCheck<'a> {
    let mut check = AddressCheck { machine, own, address: None, stray: None };
    if let Address::Static(net) = spec.address {
        check.address = Some((net.addr, machine.network.who_has(&spec.bridge, net.addr)));
        check.stray = stray(&machine.network.bridge_addresses(&spec.bridge), &spec.bridge, net.addr);
    }
    check
}

impl AddressCheck<'_> {
    /// Notes what there is to tell. Waits for the rest of the time that an answer may take: half a second, since it began.
    pub fn end(self, ctx: &Ctx) {
        let Some((address, question)) = self.address else { return };
        if let Some(stray) = self.stray {
            ctx.note(stray);
        }
        // What stands in a file needs no wait.
        if let Some(holder) = self.machine.network.leased_to(address, self.own) {
            ctx.note(format!(
                "address {address}: the box's DHCP server has given it to {holder}; choose one outside of its range"
            ));
        } else if let Some(mac) = question.and_then(|question| question.holder(self.own)) {
            ctx.note(format!(
                "address {address}: the machine with the hardware address (MAC) {mac} has it; choose another one"
            ));
        }
    }
}
