'use strict';
'require baseclass';
'require form';
'require fs';
'require rpc';
'require uci';
'require ui';
'require cloudbox.api as api';
'require cloudbox.logic as logic';
'require cloudbox.widgets as widgets';

/* What is asked, and what is done then: used by more than one page. */

// cgi-io keeps an upload in memory until it is whole; the box has one at a time.
const UPLOAD = '/tmp/cloudbox-upload';

const { fill } = logic;
const { el } = widgets;

/** What pages have in common: they save nothing as a whole, and know first what may be done. */
const PAGE = { 'handleSaveApply': null, 'handleSave': null, 'handleReset': null, 'load': () => api.learn() };

function link(...path) {
	return L.url('admin/services/cloudbox', ...path);
}

/** What `list` of the bridges of this box says, if anybody tells. */
async function bridges() {
	// LuCI takes a refused call for a session that has ended, and says so over the whole page: asked is what is granted.
	const granted = rpc.declare({ object: 'session', method: 'access', params: [ 'scope', 'object', 'function' ],
		expect: { access: false } });
	if (!await L.resolveDefault(granted('ubus', 'luci-rpc', 'getNetworkDevices'), false))
		return [];
	const devices = await L.resolveDefault(rpc.declare({ object: 'luci-rpc', method: 'getNetworkDevices' })(), {});
	return Object.keys(devices ?? {}).filter(name => devices[name]?.bridge === true && /^[\w.@-]{1,15}$/.test(name)).sort();
}

/** The servers of images that are set up. */
async function remotes() {
	const known = api.can('image.available') ? await L.resolveDefault(api.remotes(), {}) : {};
	return known.remotes ?? [];
}

/** A form's option whose value is checked by `check`; empty is allowed unless it is `needed`. `tab` may be null. */
function checked(section, type, tab, name, title, check, needed) {
	const option = tab === null ? section.option(type, name, title) : section.taboption(tab, type, name, title);
	option.rmempty = !needed;
	option.optional = !needed;
	option.validate = (id, value) => !needed && (value === '' || value == null) ? true : check(value) ?? true;
	return option;
}

/** Reads a form whose one section is `name`; rejects while a field is wrong, and says which. */
async function read(map, name) {
	map.checkDepends();
	try {
		await map.parse();
	}
	catch (error) {
		throw { kind: 'refused', code: 'invalid_argument', message: error.message };
	}
	const all = map.data.get('json', name);
	return Object.fromEntries(Object.entries(all).filter(([ key ]) => !key.startsWith('.')));
}

/** Shows, in a dialog that stays open, why it could not be done. */
function spot() {
	const node = el('div', { 'aria-live': 'assertive' }, []);
	return {
		node,
		say(failure) {
			node.replaceChildren(...failure ?
				[ widgets.alertBox('error', el('p', {}, widgets.sentence(failure.message))) ] : []);
			node.scrollIntoView?.({ block: 'nearest' });
		}
	};
}

/** Runs a call that became a job: waits a moment, then follows it in a dialog. Resolves with whether it is done. */
async function finish(reply, title, back) {
	if (reply.state === 'done' || !reply.job)
		return true;
	return await widgets.followJob(reply.job, title, back) !== null;
}

// --- A new container ---------------------------------------------------------------------------------------

function newForm(images, status, networks) {
	const main = option => uci.get('cloudbox', 'main', option);
	const standard = main('image') ?? 'distro';
	const names = images.flatMap(image => image.names);
	const map = new form.JSONMap({ container: { image: names.includes(standard) ? standard : names[0], start: '1',
		autostart: '1' } });
	const section = map.section(form.NamedSection, 'container', 'container');
	section.tab('main', _('Container'));
	section.tab('network', _('Network'));
	section.tab('access', _('Access and services'));
	const value = (tab, name, title, check, needed) => checked(section, form.Value, tab, name, title, check, needed);

	// Needed, but no reproach before anything was typed.
	const name = value('main', 'name', _('Name'), logic.checkName);
	name.placeholder = 'web';
	name.description = _('It becomes a host name too: a–z, 0–9 and “-”.');
	const image = section.taboption('main', form.ListValue, 'image', _('Image'));
	if (!names.length)
		image.value('', _('choose one of a server'));
	for (const entry of images)
		for (const called of entry.names)
			image.value(called, `${called} (${logic.size(entry.size)})`);
	const memory = value('main', 'memory', _('Memory'), logic.checkMemory);
	memory.placeholder = main('memory') ?? '512M';
	memory.description = status ?
		fill(_('%s of the box may still be promised.'), logic.size(logic.leftOf(status.memory))) : '';
	const disk = value('main', 'disk', _('Disk'), logic.checkDisk);
	disk.placeholder = main('disk') ?? '4G';
	disk.description = status ?
		fill(_('%s of the box may still be promised. “none” is no quota.'), logic.size(logic.leftOfDisk(status.disk))) : '';
	value('main', 'cpus', _('Processors'), logic.checkCpus).placeholder = main('cpus') ?? '1';
	const pids = value('main', 'pids', _('Process limit'), text => logic.checkWhole(text, 1, 4194304));
	pids.placeholder = main('pids') ?? '512';
	value('main', 'description', _('Description'), text => text.length > 256 ? _('256 characters at most.') : null);
	section.taboption('main', form.Flag, 'start', _('Start it now')).rmempty = false;
	section.taboption('main', form.Flag, 'autostart', _('Start at boot')).rmempty = false;

	const bridge = value('network', 'network', _('Bridge'), () => null);
	bridge.placeholder = main('bridge') ?? 'br-lan';
	networks.forEach(device => bridge.value(device));
	const address = value('network', 'address', _('Address'), logic.checkAddress);
	address.placeholder = 'dhcp';
	address.description = _('Empty: by DHCP. A fixed one with its prefix, such as 10.139.40.10/27.');
	const gateway = value('network', 'gateway', _('Gateway'), logic.checkGateway);
	gateway.description = _('Empty: the bridge’s own address.');
	gateway.depends({ address: '/', '!contains': true });

	const keys = checked(section, form.TextValue, 'access', 'keys', _('SSH keys of root'), text =>
		text.split('\n').filter(line => line.trim()).map(logic.checkKey).find(wrong => wrong) ?? null);
	keys.rows = 3;
	keys.placeholder = 'ssh-ed25519 AAAA… me@laptop';
	keys.description = _('One per line. Without a key, the container is entered from the box only.');
	images.forEach((entry, i) => offer(section, entry, i));
	return { map, section };
}

/** The services an image offers: what is off to be switched on, what is on to be kept from being announced. */
function offer(section, image, number) {
	const { always, optional } = logic.servicesOf(image);
	const ask = (name, title, services, value) => {
		if (!services.length)
			return null;
		const option = section.taboption('access', form.MultiValue, `${name}${number}`, title);
		option.display_size = 8;
		for (const service of services)
			option.value(value(service),
				`${service.name || service.type} (${logic.typeWords(service.type)}, ${service.port})`);
		option.optional = true;
		image.names.forEach(called => option.depends('image', called));
		return option;
	};
	ask('optional', _('Services to switch on'), optional, service => service.name);
	const announced = ask('services', _('Services to announce'), always, placeOf);
	if (announced)
		announced.default = always.map(placeOf);
}

const placeOf = service => `${service.type} ${service.port}`;

/** Adds what servers have to the images of a form that is shown already; they are slow to answer. */
async function offerRemote(node) {
	const choice = node.querySelector('[data-name="image"] select');
	const note = el('div', { 'class': 'cb-muted spinning', 'role': 'status' }, _('Asking the servers what they have…'));
	choice.after(note);
	try {
		const { images, errors } = await api.available();
		const found = logic.fetchable(images);
		if (found.length)
			choice.append(el('optgroup', { 'label': _('To be fetched from a server') }, found.map(image =>
				el('option', { 'value': logic.sourceOf(image) },
					`${image.aliases[0]} (${image.remote}, ${logic.size(image.size)})`))));
		note.replaceChildren(...(errors ?? []).map(text => el('div', {}, widgets.sentence(text))));
	}
	catch (error) {
		note.replaceChildren(...widgets.sentence(logic.failureFrom(error).message));
	}
	note.classList.remove('spinning');
}

/** Switches off those services of a new container that were unticked. */
async function withdrawOthers(name, wanted) {
	const { services } = await api.services();
	for (const service of services)
		if (service.container === name && service.source === 'image' && !wanted.includes(placeOf(service)))
			await api.call('cloudbox.service', 'withdraw', { id: service.id });
}

/** Asks for everything a new container needs; `image` is proposed. Resolves when it is made or given up. */
async function create(image) {
	const [ found, status, networks, servers ] = await Promise.all([
		api.images(), L.resolveDefault(api.status(), null), bridges(), remotes(),
		L.resolveDefault(uci.load('cloudbox'), null) ]);
	const images = found.images.filter(entry => entry.names.length);
	if (!images.length && !servers.length) {
		await new Promise(resolve => widgets.dialog(_('New container'), [
			el('p', {}, [ _('There is no image on this box yet to make a container from.') ]) ], [
			widgets.button(_('Images'), 'action', () => window.location.assign(link('images'))),
			widgets.button(_('Close'), 'neutral', () => { ui.hideModal(); resolve(); }) ]));
		return;
	}
	const { map } = newForm(images, status, networks);
	if (image)
		map.data.set('json', 'container', 'image', image);
	const node = await map.render();
	const wrong = spot();
	const title = _('New container');
	if (servers.length)
		offerRemote(node);
	await new Promise(resolve => {
		const open = () => widgets.dialog(title, [ node, wrong.node ], [
			widgets.button(_('Cancel'), 'neutral', () => { ui.hideModal(); resolve(); }),
			widgets.button(_('Create'), 'positive', submit, { 'class': 'btn cbi-button cbi-button-positive important' })
		]);
		const submit = async () => {
			wrong.say(null);
			try {
				const said = await read(map, 'container');
				const unnamed = logic.checkName(said.name);
				if (unnamed)
					throw { kind: 'refused', message: unnamed };
				const number = images.findIndex(entry => entry.names.includes(said.image));
				const reply = await api.call('cloudbox.container', 'create', createArguments(said, number), true);
				if (!await finish(reply, fill(_('Creating %s'), said.name), open)) {
					resolve();
					return;
				}
				if (number >= 0 && logic.servicesOf(images[number]).always.length)
					await widgets.attempt(() =>
						withdrawOthers(said.name, [ said[`services${number}`] ?? [] ].flat()), said.name);
				ui.hideModal();
				resolve();
			}
			catch (error) {
				wrong.say(logic.failureFrom(error));
			}
		};
		// Enter in a field is Create.
		node.addEventListener('keydown', event => {
			if (event.key === 'Enter' && event.target.matches('input[type="text"]')) {
				event.preventDefault();
				submit();
			}
		});
		open();
	});
}

function createArguments(said, number) {
	const address = said.address || undefined;
	return logic.filledIn({
		name: said.name, image: said.image, memory: said.memory, cpus: said.cpus, disk: said.disk, pids: said.pids,
		network: said.network, address, gateway: address ? said.gateway : undefined, description: said.description,
		services: [ said[`optional${number}`] ?? [] ].flat(),
		authorized_keys: (said.keys ?? '').split('\n').map(line => line.trim()).filter(line => line),
		start: said.start === '1', autostart: said.autostart === '1', wait: 1
	});
}

// --- A container there is ----------------------------------------------------------------------------------

/** Asks, naming what is lost, and deletes. Resolves with whether a delete has begun. */
async function remove(entry) {
	const [ copies, services ] = await Promise.all([
		api.can('container.snapshots') && entry.state !== 'failed' ?
			L.resolveDefault(api.call('cloudbox.container', 'snapshots', { name: entry.name }), {}) : {},
		L.resolveDefault(api.services(), {}) ]);
	const runs = [ 'running', 'frozen' ].includes(entry.state);
	const lost = logic.losses(entry, copies.snapshots, services.services);
	const sure = await widgets.ask(fill(_('Delete %s?'), entry.name), [
		runs ? el('p', {}, [ _('It is running, and is stopped first.') ]) : '',
		el('p', {}, [ _('This is lost, and nothing brings it back:') ]),
		el('ul', {}, lost.map(what => el('li', {}, [ what ])))
	], fill(_('Delete %s'), entry.name));
	if (!sure)
		return false;
	return await widgets.attempt(async () => {
		const reply = await api.call('cloudbox.container', 'delete',
			{ name: entry.name, force: runs || undefined, wait: 1 }, true);
		if (reply.state !== 'done' && reply.job)
			widgets.background(reply.job, fill(_('Deleting %s'), entry.name));
		return true;
	}, fill(_('Deleting %s'), entry.name)) ?? false;
}

/** Asks for the name of a copy, or a new name. Resolves with the new name once it is there, else with null. */
async function another(entry, method) {
	const copy = method === 'clone';
	const title = fill(copy ? _('Copy %s') : _('Rename %s'), entry.name);
	const map = new form.JSONMap({ other: {} });
	const section = map.section(form.NamedSection, 'other', 'other');
	const name = checked(section, form.Value, null, 'name', _('New name'), logic.checkName, true);
	name.description = copy ? _('The copy has an address and an identity of its own.') :
		_('It becomes its host name, too. The container must be stopped.');
	const node = await map.render();
	const wrong = spot();
	return new Promise(resolve => {
		const close = result => {
			ui.hideModal();
			resolve(result);
		};
		const submit = async () => {
			wrong.say(null);
			try {
				const said = await read(map, 'other');
				const reply = await api.call('cloudbox.container', method,
					{ name: entry.name, new_name: said.name, wait: 1 }, true);
				if (await finish(reply, logic.jobTitle(method, entry.name), open))
					close(said.name);
			}
			catch (error) {
				wrong.say(logic.failureFrom(error));
			}
		};
		const open = () => widgets.dialog(title, [ node, wrong.node ], [
			widgets.button(_('Cancel'), 'neutral', () => close(null)),
			widgets.button(copy ? _('Copy') : _('Rename'), 'positive', submit,
				{ 'class': 'btn cbi-button cbi-button-positive important' })
		]);
		open();
	});
}

/** Shows what `prune` would remove, and removes it. Resolves with whether it has begun. */
async function prune() {
	return await widgets.attempt(async () => {
		const found = await api.call('cloudbox.container', 'prune', {});
		const lost = found.orphans.concat(found.leftovers);
		const sure = await widgets.ask(_('Remove what is left?'), [
			listed(_('These containers have no section in the configuration; their data is lost:'), found.orphans),
			listed(_('These were half made or half removed:'), found.leftovers),
			listed(_('These are protected, and stay:'), found.protected),
			lost.length ? '' : el('p', {}, _('There is nothing to remove.'))
		], _('Remove'));
		if (!sure || !lost.length)
			return false;
		const { jobs } = await api.call('cloudbox.container', 'prune', { yes: true });
		jobs.forEach(job => widgets.background(job, _('Remove what is left')));
		return true;
	}, _('Remove what is left')) ?? false;
}

function listed(title, names) {
	return names.length ? [ el('p', {}, title), el('ul', {}, names.map(name => el('li', {}, name))) ] : [];
}

/** Does to a container what a button says. Resolves with whether it has begun. */
async function act(entry, action) {
	if (action === 'delete')
		return remove(entry);
	const title = logic.jobTitle(action, entry.name);
	return await widgets.attempt(async () => {
		const reply = await api.call('cloudbox.container', action, { name: entry.name, wait: 1 }, true);
		if (reply.state !== 'done' && reply.job)
			widgets.background(reply.job, title);
		return true;
	}, title) ?? false;
}

/** Buttons of what may be done to a container; `then` is called with the action that has begun. */
function buttons(entry, then) {
	const kinds = { start: 'positive', stop: 'negative', 'delete': 'remove', restart: 'reload' };
	return logic.actions(entry, action => api.can(`container.${action}`)).map(action =>
		widgets.button(logic.actionWords(action), kinds[action] ?? 'neutral', async () => {
			if (await act(entry, action))
				await then(action);
		}, { 'disabled': api.mayWrite() ? null : true, 'data-action': action,
			'aria-label': `${logic.actionWords(action)} ${entry.name}` }));
}

// --- Images ------------------------------------------------------------------------------------------------

function fits(bytes, status) {
	return !status || bytes < status.memory.free ? null :
		fill(_('The file has %s and passes through the box’s memory, where %s are free. Copy it to the box’s disk.'),
			logic.size(bytes), logic.size(status.memory.free));
}

/** Sends `file` to the box; `progress(share)` from 0 to 100. */
function send(file, progress) {
	return new Promise((resolve, reject) => {
		const data = new FormData();
		data.append('sessionid', rpc.getSessionID());
		data.append('filename', UPLOAD);
		data.append('filedata', file);
		const request = new window.XMLHttpRequest();
		request.open('POST', `${L.env.cgi_base}/cgi-upload`);
		request.upload.addEventListener('progress', event => progress(logic.percent(event.loaded, event.total) ?? 0));
		request.addEventListener('error', () => reject({ kind: 'unreachable', message: _('The upload broke off.') }));
		request.addEventListener('load', () => {
			const refused = request.status !== 200 || /"message"/.test(request.responseText);
			refused ? reject({ kind: 'refused', message: _('The box did not take the file.') }) : resolve();
		});
		request.send(data);
	});
}

/** Asks for an image: a file of this computer, or one on the box. Resolves when it is there or given up. */
async function addImage() {
	const map = new form.JSONMap({ image: { from: 'upload' } });
	const section = map.section(form.NamedSection, 'image', 'image');
	const name = checked(section, form.Value, null, 'name', _('Name'), text =>
		/^[a-z0-9][a-z0-9._-]{0,62}$/.test(text) ? null : _('Use only a–z, 0–9, “.”, “_” and “-”.'), true);
	name.placeholder = 'distro';
	const from = section.option(form.ListValue, 'from', _('From'));
	from.value('upload', _('a file of this computer'));
	from.value('box', _('a file on the box'));
	const path = checked(section, form.Value, null, 'path', _('Path on the box'), text =>
		text.startsWith('/') ? null : _('Write it from the root: /mnt/distro.squashfs.'), true);
	path.depends('from', 'box');
	path.placeholder = '/mnt/distro.squashfs';
	const sum = checked(section, form.Value, null, 'sha256', _('sha256'), text =>
		/^[0-9a-fA-F]{64}$/.test(text) ? null : _('64 hexadecimal digits.'));
	sum.description = _('Empty: the file is taken as it is.');
	const node = await map.render();
	const file = el('input', { 'type': 'file', 'aria-label': _('File'),
		'accept': '.squashfs,.sqfs,.tar,.gz,.tgz,.xz,.zst' });
	const pick = el('div', { 'class': 'cbi-value' }, [
		el('label', { 'class': 'cbi-value-title' }, [ _('File') ]),
		el('div', { 'class': 'cbi-value-field' }, [ file,
			el('div', { 'class': 'cbi-value-description' },
				_('A squashfs, or a tar, plain or packed with gzip, xz or zstd.')) ])
	]);
	const wrong = spot(), place = el('div', {}, []);
	const show = () => { pick.style.display = node.querySelector('select')?.value === 'box' ? 'none' : ''; };
	node.addEventListener('change', show);
	const title = _('Add an image');
	await new Promise(resolve => {
		const submit = async () => {
			wrong.say(null);
			try {
				const said = await read(map, 'image');
				const sent = said.from === 'upload';
				if (sent && !file.files.length)
					throw { kind: 'refused', message: _('Choose a file.') };
				if (sent)
					await upload(file.files[0], place);
				const reply = await api.call('cloudbox.image', 'import', logic.filledIn({
					name: said.name, path: sent ? UPLOAD : said.path, sha256: said.sha256, wait: 1 }), true);
				await finish(reply, fill(_('Importing image %s'), said.name), open);
				if (sent)
					L.resolveDefault(fs.remove(UPLOAD));
				ui.hideModal();
				resolve();
			}
			catch (error) {
				place.replaceChildren();
				wrong.say(logic.failureFrom(error));
			}
		};
		const open = () => {
			widgets.dialog(title, [ node, pick, place, wrong.node ], [
				widgets.button(_('Cancel'), 'neutral', () => { ui.hideModal(); resolve(); }),
				widgets.button(_('Add'), 'positive', submit, { 'class': 'btn cbi-button cbi-button-positive important' })
			]);
			show();
		};
		open();
	});
}

async function upload(file, place) {
	const refused = fits(file.size, await L.resolveDefault(api.status(), null));
	if (refused)
		throw { kind: 'refused', message: refused };
	const show = share => place.replaceChildren(el('p', {}, [ _('Uploading') ]), widgets.bar(share, 100, `${share} %`));
	show(0);
	await send(file, show);
	place.replaceChildren();
}

return baseclass.extend({
	PAGE, link, bridges, remotes, checked, read, spot, finish, create, remove, another, prune, act, buttons, addImage
});
