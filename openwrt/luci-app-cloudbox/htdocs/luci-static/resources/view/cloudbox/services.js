'use strict';
'require view';
'require cloudbox.api as api';
'require cloudbox.dialogs as dialogs';
'require cloudbox.logic as logic';
'require cloudbox.widgets as widgets';

/* What this box announces, or why not; and what everybody on the network announces. */

const { el } = widgets;
const { fill } = logic;

const SECONDS = 5;
const LISTEN = 2;

const OURS = () => [
	[ _('Name'), 'cb-name' ], [ _('Container'), '' ], [ _('Type'), '' ], [ _('State'), '' ], [ '', 'cb-actions' ]
];
const FOUND = () => [ [ _('Name'), 'cb-name' ], [ _('Box'), '' ], [ _('Where'), '' ], [ _('Details'), '' ] ];

function place(service) {
	const [ address ] = logic.addresses(service.addresses);
	return `${address ?? service.host}:${service.port}`;
}

function named(service, open) {
	const href = open ? logic.link(service) : null;
	return href ? el('a', { href, 'target': '_blank', 'rel': 'noreferrer' }, service.name) : service.name;
}

function ourRow(columns, service, look) {
	const told = service.state === 'published';
	const source = { box: _('the box itself'), image: _('offered by the image'),
		guest: _('by the container itself'), config: '' }[service.source] ?? '';
	return widgets.row(columns, [
		[ named(service, told), el('div', { 'class': 'cb-muted' }, source) ],
		service.container ? [ el('a', { 'href': dialogs.link('container', service.container) }, service.container) ] : [],
		[ logic.typeWords(service.type), el('div', { 'class': 'cb-muted' }, `${service.type} ${service.port}`) ],
		[ el('span', { 'class': 'cb-state', 'data-tone': told ? 'good' : 'idle' },
			told ? _('announced') : service.state === 'announced' ? _('not seen yet') : _('not announced')),
		told ? el('div', { 'class': 'cb-muted' }, place(service)) :
			el('div', { 'class': 'cb-remark' }, widgets.sentence(service.reason ?? '')) ],
		[ 'box', 'guest' ].includes(service.source) ? [] : [ el('div', { 'class': 'cb-buttons' },
			widgets.button(_('Withdraw'), 'remove', async () => {
				await widgets.attempt(() => api.call('cloudbox.service', 'withdraw', { id: service.id }), service.name);
				await look();
			}, { 'disabled': api.mayWrite() ? null : true, 'aria-label': `${_('Withdraw')} ${service.name}` })) ]
	]);
}

function foundGroup(group) {
	const columns = FOUND();
	const list = widgets.table(columns);
	widgets.setRows(list, group.services.map(service => widgets.row(columns, [
		[ named(service, true) ],
		[ service.box || logic.NONE, service.ours ? el('span', { 'class': 'cb-muted' }, ` ${_('(this one)')}`) : '' ],
		[ place(service), el('div', { 'class': 'cb-muted' }, service.host) ],
		(service.txt ?? []).map(record => el('div', { 'class': 'cb-muted' }, record))
	])));
	return el('div', { 'class': 'cbi-section' },
		el('h4', {}, group.title, ' ', el('span', { 'class': 'cb-muted' }, group.type)), list);
}

return view.extend({
	...dialogs.PAGE,

	render() {
		const columns = OURS();
		const ours = widgets.table(columns);
		const avahi = el('div', {}), neighbours = el('div', { 'class': 'cb-waiting' });
		const summary = el('span', { 'class': 'cb-muted' });
		const filter = el('input', { 'type': 'search', 'class': 'cbi-input-text',
			'placeholder': _('Filter'), 'aria-label': _('Filter'),
			'input': () => draw() });
		const trouble = widgets.troubleSpot(() => [ ours ]);
		let found = null, last = '';

		const look = widgets.watch({
			seconds: SECONDS,
			load: api.services,
			show: ({ services }) => {
				const now = JSON.stringify(services);
				if (now === last)
					return;
				last = now;
				widgets.setRows(ours, services.length ? services.map(service => ourRow(columns, service, look)) :
					[ widgets.emptyRow(columns, _('This box announces nothing.')) ]);
				tellAvahi();
			},
			fail: failure => trouble.show(failure)
		});
		const tellAvahi = async () => {
			const status = await L.resolveDefault(api.status(), null);
			if (status)
				widgets.renew(avahi, JSON.stringify(status.avahi), () => status.avahi.state === 'running' ? [] :
					widgets.alertBox('warning', el('p', {}, widgets.sentence(status.avahi.message))));
		};
		const draw = () => {
			if (!found)
				return;
			const groups = logic.groupByType(found, filter.value);
			neighbours.replaceChildren(...groups.length ? groups.map(foundGroup) : [ el('p', {}, el('em', {}, found.length ?
				_('Nothing found is like that.') : _('Nobody on the network announces anything.'))) ]);
			summary.textContent = fill(_('found: %d'), found.length);
		};
		const listen = async () => {
			neighbours.classList.add('cb-stale');
			if (!found)
				neighbours.replaceChildren(el('p', { 'class': 'spinning' }, _('Listening to the network…')));
			try {
				found = (await api.browse(LISTEN)).services;
				draw();
			}
			catch (error) {
				neighbours.replaceChildren(widgets.trouble(logic.failureFrom(error)));
			}
			neighbours.classList.remove('cb-stale');
		};
		listen();

		return widgets.page([
			el('h2', {}, _('Services')),
			trouble.node, widgets.readOnlyNote(), avahi,
			el('h3', {}, _('Of this box')), ours,
			el('h3', {}, _('In the neighbourhood')),
			el('div', { 'class': 'cb-tools' }, widgets.button(_('Listen again'), 'reload', listen), summary, filter),
			neighbours
		]);
	}
});
