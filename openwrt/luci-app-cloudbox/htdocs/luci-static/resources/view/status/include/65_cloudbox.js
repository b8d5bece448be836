'use strict';
'require baseclass';
'require rpc';
'require cloudbox.api as api';
'require cloudbox.logic as logic';
'require cloudbox.widgets as widgets';

/* The community cloud on LuCI's first page. Whoever may not see it sees nothing. */

const { el } = widgets;
const { fill } = logic;

function block(status) {
	const { containers, memory, disk, avahi, warnings } = status;
	const home = L.url('admin/services/cloudbox/containers');
	const rows = [
		[ _('Containers'), el('a', { 'href': home }, [ fill(_('%d of %d running'), containers.running, containers.total),
			containers.failed ? `, ${fill(_('%d with a problem'), containers.failed)}` : '' ]) ],
		[ _('Memory promised'), widgets.bar(memory.promised, memory.total - memory.reserve) ],
		[ _('Disk used'), widgets.bar(disk.total - disk.free, disk.total) ],
		[ _('Announced services'), avahi.state === 'running' ? String(avahi.published) : _('avahi-daemon does not run') ],
		warnings.length ? [ _('To look after'), warnings.map(text => el('div', {}, widgets.sentence(text))) ] : null
	];
	return rows.filter(row => row);
}

/*
 * The page lists what is mounted: two lines for each container with a quota, and one for each image, would bury the box's
 * own disks. Scripts of the page are loaded before any of them asks.
 */
rpc.addInterceptor((message, request) => {
	if (request?.object === 'luci' && request?.method === 'getMountPoints') {
		const reply = message?.result?.[1];
		if (Array.isArray(reply?.result))
			reply.result = reply.result.filter(entry => !logic.isOurMount(entry.mount));
	}
});

return baseclass.extend({
	title: _('Community cloud'),

	/** Never rejects: LuCI would not ask again. */
	load() {
		return api.status().catch(error => ({ failure: logic.failureFrom(error) }));
	},

	render(status) {
		if (status.failure?.kind === 'denied')
			return null;
		const rows = status.failure ? [ [ _('State'), status.failure.message ] ] : block(status);
		return widgets.page([ el('table', { 'class': 'table' }, rows.map(([ title, value ]) =>
			el('tr', { 'class': 'tr' }, el('td', { 'class': 'td left', 'width': '33%' }, title),
				el('td', { 'class': 'td left' }, value)))) ]);
	}
});
