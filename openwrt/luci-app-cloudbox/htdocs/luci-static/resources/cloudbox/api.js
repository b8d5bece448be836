'use strict';
'require baseclass';
'require rpc';
'require cloudbox.logic as logic';

/*
 * Calls of the bus. A refusal of cloudbox comes as data and a status; rpc.js drops the data when `reject` is set and turns
 * it into the default when `expect` is, so that the words would be lost. Neither is used: what failed is told from what
 * came, and thrown as { kind, code, message }.
 */

const OBJECTS = [ 'cloudbox', 'cloudbox.container', 'cloudbox.image', 'cloudbox.service', 'cloudbox.job' ];

// What `list` says of a container: what changes by itself and is asked for every few seconds, and the rest of what is shown.
const LIVE = [ 'state', 'addresses', 'memory', 'cpu_time', 'disk', 'uptime', 'job', 'restart_required', 'exit', 'restarts',
	'restart_in', 'error', 'path' ];
const STEADY = [ 'image', 'description', 'autostart', 'memory_limit', 'disk_limit' ];

let known = null;

/** Calls a method. `alone`: in a request of its own, since the calls of one request wait for each other. */
async function call(object, method, args, alone) {
	const said = Object.entries(args ?? {}).filter(([ , value ]) => value !== undefined);
	const invoke = rpc.declare({ object, method, params: said.map(([ name ]) => name), nobatch: alone });
	let reply;
	try {
		reply = await invoke(...said.map(([ , value ]) => value));
	}
	catch (error) {
		throw logic.failureFrom(error);
	}
	const failure = logic.failureOf(reply);
	if (failure)
		throw failure;
	return reply === 0 || reply == null ? {} : reply;
}

/** Learns what this box's cloudbox can do; what was learned stays when it does not answer. */
async function learn() {
	try {
		const found = await rpc.list(...OBJECTS);
		if (Object.keys(found ?? {}).length)
			known = found;
	}
	catch (error) {
		// The page says so itself, by the call that fails next.
	}
	return known;
}

/** Whether there is `method`, such as `container.restart`. */
function can(method) {
	const [ face, name ] = method.split('.');
	return known?.[`cloudbox.${face}`]?.[name] !== undefined;
}

/** Whether this login may change anything. */
function mayWrite() {
	return L.hasViewPermission() === true;
}

return baseclass.extend({
	call, learn, can, mayWrite,

	status: () => call('cloudbox', 'status'),
	doctor: () => call('cloudbox', 'doctor'),
	security: () => call('cloudbox', 'doctor', { security: true }),
	live: () => call('cloudbox.container', 'list', { fields: LIVE }),
	steady: () => call('cloudbox.container', 'list', { fields: STEADY }),
	container: name => call('cloudbox.container', 'info', { name }),
	images: () => call('cloudbox.image', 'list'),
	remotes: () => call('cloudbox.image', 'remotes'),
	available: filter => call('cloudbox.image', 'available', { filter }, true),
	services: () => call('cloudbox.service', 'list'),
	job: id => call('cloudbox.job', 'status', { id }),
	cancel: id => call('cloudbox.job', 'cancel', { id }),
	browse: timeout => call('cloudbox.service', 'browse', { timeout }, true)
});
