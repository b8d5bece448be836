'use strict';
'require form';
'require fs';
'require uci';
'require ui';
'require view';
'require cloudbox.api as api';
'require cloudbox.dialogs as dialogs';
'require cloudbox.logic as logic';
'require cloudbox.widgets as widgets';

/* One container: what it uses, its settings, services, snapshots, what it wrote, and a command in it. */

const { el } = widgets;
const { fill } = logic;

const SECONDS = 2;
const SPAN = 300;
// What changes with each look, and stands in bars and charts.
const METERS = [ 'memory', 'memory_peak', 'cpu', 'cpu_time', 'received', 'sent', 'interfaces', 'pids', 'disk', 'uptime' ];
const CONSOLE = '/usr/libexec/cloudbox-console';

function tab(name, title, children) {
	return el('div', { 'data-tab': name, 'data-tab-title': title }, children);
}

// --- Use ---------------------------------------------------------------------------------------------------

function useTab() {
	const history = [];
	const rate = bytes => fill(_('%s/s'), logic.size(bytes));
	const charts = {
		memory: widgets.chart({ title: _('Memory'), lines: [ [ _('used') ] ], span: SPAN, words: logic.size, least: 2 ** 20,
			binary: true }),
		cpu: widgets.chart({ title: _('Processor'), lines: [ [ _('of one processor') ] ], span: SPAN, least: 10,
			words: v => `${Math.round(v)} %` }),
		network: widgets.chart({ title: _('Network'), lines: [ [ _('received') ], [ _('sent') ] ], span: SPAN, words: rate,
			least: 1024, binary: true })
	};
	const list = el('div', {});
	const memory = el('div', { 'class': 'cb-box' });
	return {
		node: tab('use', _('Usage'), [
			memory, el('div', { 'class': 'cb-charts' }, Object.values(charts).map(one => one.node)), list ]),
		update(info) {
			const t = window.performance.now() / 1000;
			logic.remember(history, { ...info, t }, SPAN);
			const cpu = logic.rates(history, 'cpu_time')
				.map(point => ({ t: point.t, v: point.v === null ? null : point.v / 10000 }));
			charts.memory.update([ logic.values(history, 'memory') ], t, info.memory_limit ?? null);
			charts.cpu.update([ cpu ], t, null);
			charts.network.update([ logic.rates(history, 'received'), logic.rates(history, 'sent') ], t, null);
			const most = info.in_force?.pids;
			const processes = info.pids === undefined ? logic.NONE : fill(_('%s of %s'), info.pids, most ?? '∞');
			memory.replaceChildren(...[
				[ _('Memory'), widgets.bar(info.memory, info.memory_limit) ],
				[ _('Disk'), widgets.bar(info.disk, info.disk_limit) ],
				[ _('Processes'), widgets.bar(info.pids, most, processes) ]
			].map(([ title, node ]) => el('div', {}, el('strong', {}, title), node)));
			const steady = Object.entries(info).filter(([ field ]) => !METERS.includes(field));
			widgets.renew(list, JSON.stringify([ steady, logic.duration(info.uptime) ]), () => particulars(info));
		}
	};
}

function particulars(info) {
	const last = info.last_exit;
	const code = last && (last.signal !== undefined ? fill(_('signal %d'), last.signal) :
		last.code !== undefined ? fill(_('exit code %d'), last.code) : null);
	const now = Date.now() / 1000;
	return widgets.facts([
		[ _('Addresses'), logic.addresses(info.addresses).map(address => el('div', {}, address)) ],
		[ _('Up for'), info.uptime === undefined ? null : logic.duration(info.uptime) ],
		[ _('Image'), [ info.image, el('span', { 'class': 'cb-muted', 'title': info.image_sha256 },
			` sha256 ${info.image_sha256.slice(0, 12)}…`) ] ],
		[ _('Made'), logic.ago(info.created, now) ],
		[ _('Last end'), last ?
			[ logic.exitWords(last.reason), code, logic.ago(last.at, now) ].filter(part => part).join(', ') : '' ],
		[ _('Limits in force'), info.in_force ? limits(info.in_force) : '' ],
		[ _('Network'), `${info.address === 'dhcp' ? 'DHCP' : info.address} · ${info.network} · ${info.mac}` ],
		[ _('Slice'), info.slice ],
		[ _('Services switched on'), (info.services ?? []).join(', ') ],
		[ _('SSH keys of root'), (info.authorized_keys ?? []).map(key => el('div', {}, key)) ],
		[ _('Files'), info.rootfs ],
		[ _('Section'), info.section ]
	]);
}

function limits(inForce) {
	return [
		inForce.memory === undefined ? null : fill(_('memory %s'), logic.size(inForce.memory)),
		inForce.swap === undefined ? null : fill(_('swap %s'), logic.size(inForce.swap)),
		inForce.cpus === undefined ? null : fill(_('processors %s'), inForce.cpus),
		inForce.pids === undefined ? null : fill(_('processes %s'), inForce.pids),
		inForce.disk === undefined ? null : fill(_('disk %s'), logic.size(inForce.disk))
	].filter(part => part).join(', ');
}

// --- Settings ----------------------------------------------------------------------------------------------

/** What the form shows of a container, as text: what is in force, and of the rest what the configuration says. */
async function settingsOf(info) {
	uci.unload('cloudbox');
	await L.resolveDefault(uci.load('cloudbox'), null);
	const said = name => uci.get('cloudbox', info.section, name) ?? '';
	return {
		memory: logic.sizeText(info.asked.memory),
		swap: info.asked.swap === undefined ? 'none' : logic.sizeText(info.asked.swap),
		cpus: info.asked.cpus ?? '',
		pids: String(info.asked.pids ?? ''),
		disk: info.asked.disk === undefined ? 'none' : logic.sizeText(info.asked.disk),
		autostart: info.autostart ? '1' : '0',
		priority: String(info.priority ?? ''),
		restart: info.restart ?? '',
		protected: said('protected') === '1' ? '1' : '0',
		nesting: said('nesting') === '1' ? '1' : '0',
		io_uring: said('io_uring') === '1' ? '1' : '0',
		description: info.description ?? '',
		network: info.network,
		address: info.address === 'dhcp' ? '' : info.address,
		gateway: said('gateway'),
		isolate: said('isolate') === '0' ? '0' : '1',
		reach: said('reach'),
		rate: said('rate') || 'none',
		connections: said('connections') || 'none'
	};
}

async function settingsForm(info, look) {
	const before = await settingsOf(info);
	const map = new form.JSONMap({ settings: { ...before } });
	map.readonly = !api.mayWrite();
	const section = map.section(form.NamedSection, 'settings', 'settings');
	section.tab('limits', _('Limits'));
	section.tab('start', _('At boot'));
	section.tab('network', _('Network'));
	const value = (place, name, title, check, needed) =>
		dialogs.checked(section, form.Value, place, name, title, check, needed);
	const live = _('Applied at once.'), later = _('Applied at the next start.');
	value('limits', 'memory', _('Memory'), logic.checkMemory, true).description = live;
	value('limits', 'swap', _('Swap beside the memory'), logic.checkSwap, true).description = live;
	value('limits', 'cpus', _('Processors'), logic.checkCpus, true).description = live;
	value('limits', 'pids', _('Process limit'), text => logic.checkWhole(text, 1, 4194304), true).description = live;
	const disk = value('limits', 'disk', _('Disk'), logic.checkDisk, true);
	disk.description = before.disk === 'none' ?
		_('Made without a quota, which cannot be changed.') : _('Applied at once. It can only grow.');
	disk.readonly = map.readonly || before.disk === 'none';
	value('start', 'description', _('Description'), text => text.length > 256 ? _('256 characters at most.') : null);
	section.taboption('start', form.Flag, 'autostart', _('Start at boot')).rmempty = false;
	section.taboption('start', form.Flag, 'protected', _('Protected'), _('It cannot be deleted.')).rmempty = false;
	section.tab('kernel', _('Kernel'));
	section.taboption('kernel', form.Flag, 'nesting', _('Containers inside'),
		`${_('It may use the kernel’s keyrings, whose memory no limit counts.')} ${later}`).rmempty = false;
	section.taboption('kernel', form.Flag, 'io_uring', 'io_uring',
		`${_('A part of the kernel that many holes were found in.')} ${later}`).rmempty = false;
	const priority = value('start', 'priority', _('Place in the order of starts'), text => logic.checkWhole(text, 0, 999));
	priority.placeholder = '50';
	priority.description = _('0 to 999; the lower, the earlier.');
	const restart = section.taboption('start', form.ListValue, 'restart', _('When it ends by itself'));
	restart.value('no', _('leave it stopped'));
	restart.value('on-failure', _('start it again after a crash'));
	restart.value('always', _('always start it again'));
	const bridge = value('network', 'network', _('Bridge'), () => null, true);
	bridge.description = later;
	(await dialogs.bridges()).forEach(name => bridge.value(name));
	const address = value('network', 'address', _('Address'), logic.checkAddress);
	address.placeholder = 'dhcp';
	address.description = `${_('Empty: by DHCP. A fixed one with its prefix, such as 10.139.40.10/27.')} ${later}`;
	value('network', 'gateway', _('Gateway'), logic.checkGateway).description = _('Empty: the bridge’s own address.');
	section.taboption('network', form.Flag, 'isolate', _('In its own name only'),
		`${_('It cannot be another machine, a router or a DHCP server for its neighbours.')} ${live}`).rmempty = false;
	const reach = section.taboption('network', form.ListValue, 'reach', _('Where it may go'),
		`${_('DHCP, DNS and mDNS it always has.')} ${live}`);
	if (before.reach === '')
		reach.value('', info.slice ? _('the internet only, since it is of a slice') : _('everywhere'));
	reach.value('internet', _('the internet only'));
	reach.value('lan', _('also to machines of the box’s networks'));
	reach.value('all', _('also to LuCI, SSH and what else the box serves'));
	value('network', 'rate', _('Bytes in a second'), logic.checkRate, true).description =
		`${_('Each way, such as 2M; “none” is no limit.')} ${live}`;
	value('network', 'connections', _('New connections in a second'), logic.checkConnections, true).description =
		`${_('1 to 1000; “none” is no limit.')} ${live}`;

	const wrong = dialogs.spot();
	const node = await map.render();
	const save = async force => {
		wrong.say(null);
		try {
			const said = await dialogs.read(map, 'settings');
			const asked = changes(said, before);
			if (!Object.keys(asked).length) {
				wrong.say({ message: _('Nothing was changed.') });
				return;
			}
			const reply = await api.call('cloudbox.container', 'set',
				{ name: info.name, ...asked, force: force || undefined, wait: 15 }, true);
			await dialogs.finish(reply, fill(_('Changing %s'), info.name));
			Object.assign(before, said);
			wrong.node.replaceChildren(widgets.alertBox('notice', el('p', {}, _('Saved.'))));
			await look();
		}
		catch (error) {
			const failure = logic.failureFrom(error);
			wrong.say(failure);
			// Less memory than it uses now: that is for the person to say.
			if (failure.code === 'in_use' && !force)
				wrong.node.append(widgets.button(_('Apply all the same'), 'negative', () => save(true)));
		}
	};
	return [ node, wrong.node, el('div', { 'class': 'cb-buttons' },
		widgets.button(_('Save'), 'apply', () => save(false),
			{ 'disabled': map.readonly || null, 'data-action': 'save' })) ];
}

/** The arguments of `set` for what differs; an address that was emptied is DHCP. */
function changes(said, before) {
	const filled = { ...Object.fromEntries(Object.keys(before).map(key => [ key, '' ])), ...said };
	const asked = logic.changed(filled, before);
	if (asked.address === '')
		asked.address = 'dhcp';
	for (const flag of [ 'autostart', 'protected', 'isolate', 'nesting', 'io_uring' ])
		if (asked[flag] !== undefined)
			asked[flag] = asked[flag] === '1';
	// What a form left empty stays as it is, but a description can be emptied.
	for (const name of Object.keys(asked))
		if (asked[name] === '' && name !== 'description')
			delete asked[name];
	return asked;
}

function settingsTab(look) {
	const place = el('div', {}, el('em', {}, _('Loading…')));
	let made = false;
	return {
		node: tab('settings', _('Settings'), place),
		update(info) {
			if (made)
				return;
			made = true;
			settingsForm(info, look).then(nodes => place.replaceChildren(...nodes), error => {
				made = false;
				place.replaceChildren(widgets.trouble(logic.failureFrom(error)));
			});
		}
	};
}

// --- Services ----------------------------------------------------------------------------------------------

function serviceRow(columns, service, look) {
	const href = logic.link(service);
	const off = service.state !== 'published';
	const words = off ? service.reason ?? _('not announced') : _('announced');
	return widgets.row(columns, [
		[ href && !off ? el('a', { href, 'target': '_blank', 'rel': 'noreferrer' }, service.name) : service.name ],
		[ logic.typeWords(service.type), el('div', { 'class': 'cb-muted' }, `${service.type} ${service.port}`) ],
		[ el('span', { 'class': 'cb-state', 'data-tone': off ? 'idle' : 'good' }, words) ],
		service.source === 'guest' ? _('by the container itself') : el('div', { 'class': 'cb-buttons' },
			widgets.button(_('Withdraw'), 'remove', () => withdraw(service, look), {
				'disabled': api.mayWrite() ? null : true, 'aria-label': `${_('Withdraw')} ${service.name}` }))
	]);
}

async function withdraw(service, look) {
	await widgets.attempt(() => api.call('cloudbox.service', 'withdraw', { id: service.id }), service.name);
	await look();
}

/** Asks for a service to announce. */
async function publish(container, look) {
	const map = new form.JSONMap({ service: { type: '_http._tcp', port: '80', check: 'tcp' } });
	const section = map.section(form.NamedSection, 'service', 'service');
	const value = (name, title, check, needed) => dialogs.checked(section, form.Value, null, name, title, check, needed);
	const type = value('type', _('Type'), logic.checkServiceType, true);
	for (const known of [ '_http._tcp', '_https._tcp', '_ssh._tcp', '_smb._tcp', '_tahoe-lafs._tcp', '_snpservice._tcp',
		'_proxy3._tcp', '_syncthing._tcp' ])
		type.value(known, `${logic.typeWords(known)} (${known})`);
	value('port', _('Port'), text => logic.checkWhole(text, 1, 65535), true);
	const name = value('name', _('Name'), logic.checkServiceName);
	name.placeholder = container;
	name.description = _('What people see.');
	const txt = section.option(form.DynamicList, 'txt', _('TXT records'));
	txt.placeholder = 'path=/wiki';
	txt.validate = (id, text) => text ? logic.checkTxt(text) ?? true : true;
	const check = section.option(form.ListValue, 'check', _('Announce it'));
	check.value('tcp', _('while its port answers'));
	check.value('none', _('while the container runs'));
	const node = await map.render();
	const wrong = dialogs.spot();
	await new Promise(resolve => widgets.dialog(_('Announce a service'), [ node, wrong.node ], [
		widgets.button(_('Cancel'), 'neutral', () => { ui.hideModal(); resolve(); }),
		widgets.button(_('Announce'), 'positive', async () => {
			try {
				const said = await dialogs.read(map, 'service');
				await api.call('cloudbox.service', 'publish', logic.filledIn({ container, type: said.type,
					port: Number(said.port), name: said.name, txt: said.txt,
					check: said.type.endsWith('_udp') ? 'none' : said.check }));
				ui.hideModal();
				resolve();
			}
			catch (error) {
				wrong.say(logic.failureFrom(error));
			}
		}, { 'class': 'btn cbi-button cbi-button-positive important' })
	]));
	await look();
}

function servicesTab(name) {
	const columns = [ [ _('Name'), 'cb-name' ], [ _('Type'), '' ], [ _('State'), '' ], [ '', 'cb-actions' ] ];
	const list = widgets.table(columns);
	const look = () => widgets.attempt(async () => {
		const { services } = await api.services();
		const ours = logic.groupByContainer(services).get(name) ?? [];
		const now = JSON.stringify(ours);
		if (list.dataset.now === now)
			return;
		list.dataset.now = now;
		widgets.setRows(list, ours.length ? ours.map(service => serviceRow(columns, service, look)) :
			[ widgets.emptyRow(columns, _('It announces nothing.')) ]);
	}, _('Services'));
	return {
		node: tab('services', _('Services'), [
			el('div', { 'class': 'cb-tools' }, widgets.button(_('Announce a service'), 'add', () => publish(name, look),
				{ 'disabled': api.mayWrite() ? null : true })),
			list
		]),
		look
	};
}

// --- Snapshots ---------------------------------------------------------------------------------------------

function snapshotsTab(name, current) {
	const columns = [ [ _('Name'), 'cb-name' ], [ _('Made'), '' ], [ _('Size'), 'cb-narrow' ], [ '', 'cb-actions' ] ];
	const list = widgets.table(columns);
	const call = async (method, args, title) => {
		await widgets.attempt(async () => {
			const reply = await api.call('cloudbox.container', method, { name, ...args, wait: 1 }, true);
			await dialogs.finish(reply, title);
		}, title);
		await look();
	};
	const restore = async copy => {
		const runs = [ 'running', 'frozen' ].includes(current()?.state);
		if (await widgets.ask(fill(_('Restore %s?'), name), [
			el('p', {}, fill(_('Its files become those of “%s”. What was written since is lost.'), copy.name)),
			runs ? el('p', {}, _('It is running: it is killed, and started again.')) : ''
		], _('Restore')))
			await call('restore', { snapshot: copy.name, force: runs || undefined }, fill(_('Restoring %s'), name));
	};
	const remove = async copy => {
		if (await widgets.ask(fill(_('Delete snapshot %s?'), copy.name), [
			el('p', {}, _('The container itself stays as it is.')) ], _('Delete')))
			await call('snapshot_delete', { snapshot: copy.name }, fill(_('Deleting a snapshot of %s'), name));
	};
	const row = copy => {
		const closed = api.mayWrite() ? null : true;
		return widgets.row(columns, [ copy.name, logic.ago(copy.created, Date.now() / 1000), logic.size(copy.bytes),
			[ el('div', { 'class': 'cb-buttons' },
				widgets.button(_('Restore'), 'apply', () => restore(copy), { 'disabled': closed }),
				widgets.button(_('Delete'), 'remove', () => remove(copy), { 'disabled': closed })) ] ]);
	};
	const look = () => widgets.attempt(async () => {
		const { snapshots } = await api.call('cloudbox.container', 'snapshots', { name });
		widgets.setRows(list, snapshots.length ? snapshots.map(row) :
			[ widgets.emptyRow(columns, _('There is no snapshot yet.')) ]);
	}, _('Snapshots'));
	const called = el('input', { 'type': 'text', 'class': 'cbi-input-text', 'placeholder': _('Name (the time, if empty)'),
		'aria-label': _('Name of the snapshot') });
	return {
		node: tab('snapshots', _('Snapshots'), [
			el('div', { 'class': 'cb-tools' }, called, widgets.button(_('Take a snapshot'), 'add', () => {
				const wrong = called.value ? logic.checkName(called.value) : null;
				if (wrong)
					return widgets.complain({ message: wrong }, _('Snapshots'));
				return call('snapshot', { snapshot: called.value || undefined }, fill(_('Taking a snapshot of %s'), name));
			}, { 'disabled': api.mayWrite() ? null : true })),
			list
		]),
		look
	};
}

// --- What it wrote, and a command in it ----------------------------------------------------------------------

function logTab(name) {
	const output = el('pre', { 'class': 'cb-output', 'tabindex': 0, 'aria-label': _('Log') });
	const count = el('select', { 'class': 'cbi-input-select', 'aria-label': _('Lines'), 'change': () => look() },
		[ 100, 500, 2000 ].map(lines => el('option', { 'value': lines }, fill(_('%d lines'), lines))));
	const look = async () => {
		try {
			const reply = await api.call('cloudbox.container', 'log', { name, lines: Number(count.value) });
			const text = reply.log || _('It has written nothing to its console yet.');
			if (output.textContent === text)
				return;
			const below = output.scrollTop + output.clientHeight >= output.scrollHeight - 20;
			output.textContent = text;
			if (below)
				output.scrollTop = output.scrollHeight;
		}
		catch (error) {
			output.textContent = logic.failureFrom(error).message;
		}
	};
	return { node: tab('log', _('Log'), [ el('div', { 'class': 'cb-tools' }, count), output ]), look };
}

/** What a command wrote, and how it ended. */
function outputOf(reply) {
	return [
		reply.stdout, reply.stderr,
		reply.truncated ? `[${_('the middle of a long output was left out')}]` : '',
		reply.code ? `[${fill(_('exit code %d'), reply.code)}]` : ''
	].filter(part => part).join('\n') || `[${_('it wrote nothing')}]`;
}

function commandTab(name) {
	const output = el('pre', { 'class': 'cb-output', 'tabindex': 0, 'aria-live': 'polite', 'aria-label': _('Output') });
	const line = el('input', { 'type': 'text', 'class': 'cbi-input-text', 'aria-label': _('Command'),
		'placeholder': 'systemctl --failed', 'autocapitalize': 'off', 'autocomplete': 'off', 'spellcheck': 'false' });
	const closed = api.mayWrite() ? null : true;
	const run = widgets.button(_('Run'), 'apply', async () => {
		if (!line.value.trim())
			return;
		output.textContent = `# ${line.value}\n`;
		try {
			// The box gives it 10 s of its own; LuCI would wait 20.
			const reply = await api.call('cloudbox.container', 'exec', { name, command: [ 'sh', '-c', line.value ] }, true);
			output.textContent += outputOf(reply);
		}
		catch (error) {
			output.textContent += logic.failureFrom(error).message;
		}
	}, { 'disabled': closed });
	const form_ = el('form', { 'class': 'cb-command', 'submit': event => {
		event.preventDefault();
		run.click();
	} }, line, run);
	return {
		node: tab('command', _('Command'), [
			el('p', { 'class': 'cb-muted' }, _('A line for the container’s shell, as root. It may run for 10 seconds.')),
			form_, output, el('h3', {}, _('Terminal')), terminal(name, closed) ]),
		look: () => {}
	};
}

function terminal(name, closed) {
	const place = el('div', {}, widgets.button(_('Open a terminal'), 'action', async () => {
		const result = await L.resolveDefault(fs.exec(CONSOLE, [ name ]), { code: -1 });
		const [ , port, path ] = /^(\d+) (\/[\w-]+)$/.exec((result.stdout ?? '').trim()) ?? [];
		if (port) {
			const href = `http://${window.location.hostname}:${port}${path}`;
			place.replaceChildren(
				el('a', { href, 'target': '_blank', 'rel': 'noreferrer', 'class': 'btn cbi-button cbi-button-action' },
					_('Go to the terminal')),
				el('p', { 'class': 'cb-muted' }, _('It is there for one visit, and for a minute.')));
			place.firstChild.focus();
			return;
		}
		place.replaceChildren(widgets.alertBox('notice', el('p', {}, result.code === 127 ?
			widgets.sentence(_('A terminal in the browser needs ttyd: `opkg install ttyd`, or `apk add ttyd`.')) :
			result.stderr || _('The terminal could not be opened.'))));
	}, { 'disabled': closed }));
	return place;
}

// --- The page ----------------------------------------------------------------------------------------------

return view.extend({
	...dialogs.PAGE,

	render() {
		const name = L.env.requestpath[L.env.requestpath.length - 1];
		const state = el('span', {}), remarks = el('div', {}), doing = el('div', {});
		let info = null;
		const home = dialogs.link('containers');
		const begun = action => {
			if (action === 'delete')
				window.location.assign(home);
			return look();
		};
		const others = entry => [ [ 'clone', _('Copy') ], [ 'rename', _('Rename') ] ]
			.filter(([ method ]) => api.can(`container.${method}`))
			.map(([ method, words ]) => widgets.button(words, 'neutral', () => widgets.attempt(async () => {
				const made = await dialogs.another(entry, method);
				if (made)
					window.location.assign(dialogs.link('container', made));
			}, words), { 'disabled': api.mayWrite() ? null : true, 'data-action': method }));
		const use = useTab();
		const settings = settingsTab(() => look());
		const tabs = [ use, settings, servicesTab(name),
			...api.can('container.snapshots') ? [ snapshotsTab(name, () => info) ] : [], logTab(name), commandTab(name) ];
		const panes = el('div', {}, tabs.map(one => one.node));
		const open = () => tabs.find(one => one.node.dataset.tabActive === 'true');
		tabs.forEach(one => one.look && one.node.addEventListener('cbi-tab-active', () => one.look()));
		const trouble = widgets.troubleSpot(() => [ panes ]);
		const look = widgets.watch({
			seconds: SECONDS,
			load: () => api.container(name),
			show(found) {
				info = found;
				widgets.renew(state, info.state, () => widgets.stateBadge(info.state));
				widgets.renew(remarks, JSON.stringify([ logic.remarks(info), info.description ]), () => [
					info.description ? el('p', {}, info.description) : null, widgets.remarks(info) ]);
				widgets.renew(doing, JSON.stringify([ info.state, info.job, info.restart_in === undefined ]), () =>
					el('div', { 'class': 'cb-tools' }, dialogs.buttons(info, begun), others(info),
						info.job ? el('em', {}, fill(_('job %s is at work'), info.job)) : ''));
				use.update(info);
				settings.update(info);
				if (open() !== use)
					open()?.look?.();
			},
			fail: failure => trouble.show(failure)
		});
		const root = widgets.page([
			el('p', {}, el('a', { 'href': home }, `‹ ${_('All containers')}`)),
			el('h2', {}, name, ' ', state),
			trouble.node, widgets.readOnlyNote(), remarks, doing,
			el('div', {}, panes)
		]);
		ui.tabs.initTabGroup(panes.childNodes);
		return root;
	}
});
