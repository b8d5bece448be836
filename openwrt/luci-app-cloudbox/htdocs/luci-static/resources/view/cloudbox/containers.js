'use strict';
'require view';
'require cloudbox.api as api';
'require cloudbox.dialogs as dialogs';
'require cloudbox.logic as logic';
'require cloudbox.widgets as widgets';

/* Every container, live by one `list` call. What changes seldom is asked for seldom, and when it may have changed. */

const { el } = widgets;

const SECONDS = 3;
const SELDOM = 30;

const COLUMNS = () => [
	[ _('Name'), 'cb-name' ], [ _('State'), '' ], [ _('Addresses and services'), '' ], [ _('Memory'), '' ],
	[ _('Disk'), 'cb-disk' ], [ _('Processor'), 'cb-cpu cb-narrow' ], [ _('Up for'), 'cb-narrow' ],
	[ '', 'cb-actions' ]
];

/** One container's row: only cells whose content differs are made anew. */
function makeRow(columns, then) {
	const node = widgets.row(columns);
	const [ name, state, addresses, memory, disk, cpu, up, actions ] = node.children;
	let before = null;
	/** Processor time since the last look, of one processor. */
	const share = entry => {
		const now = { t: window.performance.now() / 1000, cpu: entry.cpu_time };
		const used = before ? logic.rates([ before, now ], 'cpu')[0].v : null;
		before = now;
		return used === null ? logic.NONE : `${Math.round(used / 10000)} %`;
	};
	const doing = entry => {
		const found = dialogs.buttons(entry, then);
		const busy = entry.job && !found.length;
		return el('div', { 'class': 'cb-buttons' },
			busy ? el('em', { 'class': 'cb-muted' }, logic.fill(_('job %s is at work'), entry.job)) : found);
	};
	return {
		node,
		update(entry, services) {
			node.dataset.name = entry.name;
			widgets.renew(name, [ entry.name, entry.description, entry.image, entry.autostart ].join('\n'), () => [
				el('a', { 'href': dialogs.link('container', entry.name) }, entry.name),
				el('div', { 'class': 'cb-muted' }, entry.description || entry.image),
				entry.autostart !== false ? null : el('div', { 'class': 'cb-muted' }, _('not started at boot'))
			]);
			widgets.renew(state, [ entry.state, ...logic.remarks(entry) ].join('\n'), () => [
				widgets.stateBadge(entry.state), widgets.remarks(entry) ]);
			widgets.renew(addresses, JSON.stringify([ entry.addresses, services ]), () => whereabouts(entry, services));
			widgets.renew(memory, `${entry.memory} ${entry.memory_limit}`, () =>
				widgets.bar(entry.memory, entry.memory_limit));
			widgets.renew(disk, `${entry.disk} ${entry.disk_limit}`, () =>
				entry.disk === undefined ? [] : widgets.bar(entry.disk, entry.disk_limit));
			cpu.textContent = entry.cpu_time === undefined ? '' : share(entry);
			up.textContent = entry.uptime === undefined ? '' : logic.duration(entry.uptime);
			widgets.renew(actions, JSON.stringify([ entry.state, entry.job, entry.restart_in === undefined ]),
				() => doing(entry));
		}
	};
}

/** Addresses, and what is announced there as links. */
function whereabouts(entry, services) {
	const all = logic.addresses(entry.addresses);
	const more = all.length > 2 ? [ el('span', { 'title': all.slice(2).join(', ') }, [ `+${all.length - 2}` ]) ] : [];
	const told = (services ?? []).filter(service => service.state === 'published').map(service => {
		const href = logic.link(service);
		const words = `${service.name} :${service.port}`;
		return href ? el('a', { href, 'target': '_blank', 'rel': 'noreferrer' }, [ words ]) : el('span', {}, [ words ]);
	});
	return [
		el('div', { 'class': 'cb-tags' }, all.slice(0, 2).map(address => el('span', {}, [ address ])).concat(more)),
		told.length ? el('div', { 'class': 'cb-tags' }, told) : null
	];
}

/** What is no container of the configuration: data that was left, and what other tools made. */
function apart(reply, look) {
	const closed = api.mayWrite() ? null : true;
	const foreign = reply.foreign ?? [];
	const columns = [ [ _('Name'), 'cb-name' ], [ _('State'), '' ], [ _('Files'), '' ], [ '', 'cb-actions' ] ];
	const list = widgets.table(columns);
	widgets.setRows(list, foreign.map(entry => widgets.row(columns, [
		[ entry.name ], [ widgets.stateBadge(entry.state) ], [ entry.path ],
		[ el('div', { 'class': 'cb-buttons' }, api.can('container.adopt') ?
			widgets.button(logic.actionWords('adopt'), 'action', async () => {
				await dialogs.act(entry, 'adopt');
				await look();
			}, { 'disabled': closed, 'aria-label': `${logic.actionWords('adopt')} ${entry.name}` }) : '') ]
	])));
	return [
		reply.orphans?.length && api.can('container.prune') ? el('p', {}, widgets.button(_('Remove what is left'), 'remove',
			async () => {
				await dialogs.prune();
				await look();
			}, { 'disabled': closed })) : null,
		foreign.length ? [ el('h3', {}, _('Made by other tools')),
			el('p', { 'class': 'cb-muted' }, _('They are left alone, until they are adopted.')), list ] : null
	];
}

function boxNode(status) {
	const resource = (title, used, whole) => el('div', {}, el('strong', {}, title), widgets.bar(used, whole));
	const { memory, disk } = status;
	return el('div', { 'class': 'cb-box' }, [
		resource(_('Memory promised'), memory.promised, memory.total - memory.reserve),
		resource(_('Disk used'), disk.total - disk.free, disk.total),
		el('div', {}, [ el('strong', {}, [ _('Announced services') ]), el('div', {}, [
			el('a', { 'href': dialogs.link('services') }, [
				status.avahi.state === 'running' ? String(status.avahi.published) : _('avahi-daemon does not run') ]) ]) ]),
		status.enabled ? '' :
			widgets.alertBox('warning', el('p', {}, _('cloudbox is switched off in the settings: nothing is started.')))
	]);
}

return view.extend({
	...dialogs.PAGE,

	render() {
		const columns = COLUMNS();
		const rows = new Map();
		const list = widgets.table(columns);
		const summary = el('span', { 'class': 'cb-muted' }, [ _('Loading…') ]);
		const box = el('div', {}, []), doctor = el('div', {}, []);
		const filter = el('input', { 'type': 'search', 'class': 'cbi-input-text',
			'placeholder': _('Filter'), 'aria-label': _('Filter'),
			'input': () => draw() }, []);
		const others = el('div', {});
		const trouble = widgets.troubleSpot(() => [ list, box ]);
		let entries = null, steady = null, services = new Map(), last = '';

		const draw = () => {
			if (!entries)
				return;
			const wanted = logic.joined(entries, steady).filter(entry => logic.matches(entry, filter.value));
			for (const name of [ ...rows.keys() ])
				if (!entries.some(entry => entry.name === name))
					rows.delete(name);
			list.dataset.cpu = entries.some(entry => entry.cpu_time !== undefined) ? 'yes' : 'no';
			list.dataset.disk = entries.some(entry => entry.disk !== undefined) ? 'yes' : 'no';
			const nodes = wanted.map(entry => {
				if (!rows.has(entry.name))
					rows.set(entry.name, makeRow(columns, look));
				const row = rows.get(entry.name);
				row.update(entry, services.get(entry.name));
				return row.node;
			});
			widgets.setRows(list, nodes.length ? nodes : [ widgets.emptyRow(columns, entries.length ?
				_('No container is like that.') : _('There is no container yet. “New container” makes one in a moment.')) ]);
			summary.textContent = logic.census(entries);
		};
		const look = widgets.watch({
			seconds: SECONDS,
			load: api.live,
			show: reply => {
				entries = logic.all(reply);
				draw();
				widgets.renew(others, JSON.stringify([ reply.orphans, reply.foreign ]), () => apart(reply, look));
				// Who came, went, or got an address may announce something else.
				const now = JSON.stringify(entries.map(entry => [ entry.name, entry.state, entry.addresses ]));
				if (last !== '' && last !== now)
					seldom();
				last = now;
			},
			fail: failure => trouble.show(failure)
		});
		const seldom = widgets.watch({
			seconds: SELDOM,
			load: () => Promise.all([ api.steady(), api.status(), api.doctor(), api.services() ]),
			show: ([ rest, status, checks, told ]) => {
				steady = rest;
				widgets.renew(box, JSON.stringify([ status.memory, status.disk, status.avahi, status.enabled ]),
					() => boxNode(status));
				widgets.renew(doctor, JSON.stringify(checks), () => widgets.doctorNotes(checks));
				services = logic.groupByContainer(told.services);
				draw();
			},
			fail: () => {}
		});

		return widgets.page([
			el('h2', {}, [ _('Community cloud') ]),
			trouble.node, doctor, ...widgets.readOnlyNote(), box,
			el('div', { 'class': 'cb-tools' }, [
				widgets.button(_('New container'), 'add', () => widgets.attempt(async () => {
					await dialogs.create();
					await look();
				}, _('New container')), { 'disabled': api.mayWrite() ? null : true, 'id': 'cb-new' }),
				summary, filter
			]),
			list, others
		]);
	}
});
