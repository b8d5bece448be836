//! The box's bridges: what waits for one is started when it comes, and ports that have lost theirs are put back.

use super::core::{Core, Report};
use super::workers;
use crate::error::Result;
use crate::model::name::Name;
use crate::steps::network::Port;
use log::error;

impl Core {
    /// Something has become of the box's links: the plan is asked about the containers it matters to.
    pub(super) fn hear_links(&mut self) {
        let Some(heard) = self.links.as_mut().map(|links| links.read()) else { return };
        let concerned = |name: &&Name| {
            let declared = self.state.declared_spec(name).map(|spec| spec.bridge.as_str());
            let container = self.state.containers.get(name);
            let has = |bridge: &String| {
                declared == Some(bridge) || container.is_some_and(|c| c.record.spec.bridge == *bridge)
            };
            heard.lost
                || heard.bridges.iter().any(has)
                || container.is_some_and(|c| heard.ports.contains(&c.record.veth))
        };
        let names: Vec<Name> = self.state.names().into_iter().filter(concerned).cloned().collect();
        self.carry_out_for(&names);
    }

    /// Has a thread put into their bridges the ports that are to be there; one thread at a time.
    pub(super) fn join_ports(&mut self) {
        if self.joining || self.to_join.is_empty() || self.ending {
            return;
        }
        let mut ports = Vec::new();
        for name in std::mem::take(&mut self.to_join) {
            let container = self.state.containers.get(&name);
            ports.extend(container.map(|container| (name, Port::of(&container.record))));
        }
        let machine = self.state.machine.clone();
        let join = move || {
            let joined = ports.into_iter().map(|(name, port)| (name, machine.network.join(&port)));
            Report::Joined(joined.collect())
        };
        match workers::spawn_report(&self.sender, join) {
            Ok(()) => self.joining = true,
            Err(error) => error!("{error}"),
        }
    }

    /// A thread has put ports into their bridges, or could not. What could not be is tried again with the next news of
    /// the links.
    pub(super) fn joined(&mut self, ports: Vec<(Name, Result<()>)>) {
        self.joining = false;
        for (name, joined) in ports {
            // One that has stopped meanwhile has no port.
            if !self.state.runs(&name) {
                continue;
            }
            match joined {
                // What was heard meanwhile was its joining, or somebody has taken it out again: it is looked at anew.
                Ok(()) => {
                    self.to_join.remove(&name);
                    self.state.take_joined(&name);
                    self.reconcile(&name);
                }
                Err(error) => error!("container {name}: {error}"),
            }
        }
        self.join_ports();
    }
}
