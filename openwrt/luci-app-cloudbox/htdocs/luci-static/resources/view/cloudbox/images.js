'use strict';
'require view';
'require cloudbox.api as api';
'require cloudbox.dialogs as dialogs';
'require cloudbox.logic as logic';
'require cloudbox.widgets as widgets';

/* The images on this box, who uses them, and how others get here: from servers, or by hand. */

const { el } = widgets;
const { fill } = logic;

const SECONDS = 5;

const COLUMNS = () => [
	[ _('Name'), 'cb-name' ], [ _('System'), '' ], [ _('Size'), 'cb-narrow' ], [ _('Used by'), '' ],
	[ _('Services'), '' ], [ _('Imported'), 'cb-narrow' ], [ '', 'cb-actions' ]
];
const OFFERS = () => [
	[ _('Name'), 'cb-name' ], [ _('System'), '' ], [ _('Version'), '' ], [ _('Size'), 'cb-narrow' ], [ _('Server'), '' ],
	[ '', 'cb-actions' ]
];

const closed = () => api.mayWrite() ? null : true;

// --- On this box -------------------------------------------------------------------------------------------

function imageRow(columns, image, look) {
	const [ name ] = image.names;
	const used = image.used_by.length > 0;
	const row = widgets.row(columns, [
		[ el('span', {}, image.names.join(', ') || logic.NONE),
			image.description ? el('div', { 'class': 'cb-muted' }, image.description) : '',
			image.source ? el('div', { 'class': 'cb-muted' }, fill(_('from %s'), image.source)) : '',
			el('div', { 'class': 'cb-muted', 'title': image.sha256 }, `sha256 ${image.sha256.slice(0, 12)}…`) ],
		[ logic.system(image), image.version ? el('div', { 'class': 'cb-muted' }, image.version) : '',
			image.newer ? el('div', { 'class': 'cb-remark' }, fill(_('%s is there'), image.newer)) : '' ],
		logic.size(image.size),
		used ? el('div', { 'class': 'cb-tags' }, image.used_by.map(user =>
			el('a', { 'href': dialogs.link('container', user) }, user))) : _('nobody'),
		(image.services ?? []).map(text => el('div', {}, text)),
		logic.ago(image.imported, Date.now() / 1000),
		el('div', { 'class': 'cb-buttons' },
			image.newer ? widgets.button(_('Update'), 'apply', () => fetch(name, look),
				{ 'disabled': closed(), 'aria-label': `${_('Update')} ${name}` }) : '',
			widgets.button(_('New container'), 'add', () => widgets.attempt(async () => {
				await dialogs.create(name);
				await look();
			}, _('New container')), { 'disabled': closed() || !name || null }),
			widgets.button(_('Delete'), 'remove', () => remove(image, look), { 'disabled': closed() || used || null,
				'title': used ? _('Containers are made from it; delete them first.') : null,
				'aria-label': `${_('Delete')} ${name ?? ''}` }))
	]);
	row.dataset.name = name ?? image.sha256;
	return row;
}

async function remove(image, look) {
	const name = image.names[0] ?? image.sha256;
	const title = fill(_('Deleting image %s'), name);
	const sure = await widgets.ask(fill(_('Delete image %s?'), name), [
		el('p', {}, fill(_('%s of disk are freed. It can be imported again.'), logic.size(image.size))) ], _('Delete'));
	if (!sure)
		return;
	await widgets.attempt(async () => {
		const reply = await api.call('cloudbox.image', 'delete', { name });
		await dialogs.finish(reply, title);
	}, title);
	await look();
}

/** Shows what nobody uses, and deletes it. */
async function prune(look) {
	await widgets.attempt(async () => {
		const { images, bytes, partial } = await api.call('cloudbox.image', 'prune', {});
		const any = images.length > 0 || partial > 0;
		const sure = await widgets.ask(_('Delete unused images?'), any ? [
			images.length ? el('p', {}, _('No container is made from these, and the settings do not name them:')) : '',
			el('ul', {}, images.map(name => el('li', {}, name))),
			el('p', {}, fill(_('%s of disk are freed.'), logic.size(bytes + partial)))
		] : [ el('p', {}, _('There is nothing to remove.')) ], _('Delete'));
		if (!sure || !any)
			return;
		const reply = await api.call('cloudbox.image', 'prune', { yes: true });
		await dialogs.finish(reply, _('Deleting unused images'));
	}, _('Delete unused images'));
	await look();
}

// --- From servers ------------------------------------------------------------------------------------------

/** Fetches an image; the job is followed in a dialog. */
async function fetch(name, look) {
	const title = fill(_('Fetching image %s'), name);
	await widgets.attempt(async () => {
		const reply = await api.call('cloudbox.image', 'pull', { name }, true);
		await dialogs.finish(reply, title);
	}, title);
	await look();
}

function offerRow(columns, offer, look) {
	const name = logic.sourceOf(offer);
	const words = { here: _('is here'), newer: _('Update') }[offer.state] ?? _('Fetch');
	const row = widgets.row(columns, [
		[ offer.aliases[0] ?? logic.NONE,
			offer.aliases.length > 1 ? el('div', { 'class': 'cb-muted' }, offer.aliases.slice(1).join(', ')) : '' ],
		[ logic.system(offer), offer.variant ? el('div', { 'class': 'cb-muted' }, offer.variant) : '' ],
		offer.version,
		[ logic.size(offer.size), offer.packing ? el('div', { 'class': 'cb-muted' }, offer.packing) : '' ],
		offer.remote,
		offer.error ? el('div', { 'class': 'cb-remark' }, widgets.sentence(offer.error.message)) :
			el('div', { 'class': 'cb-buttons' }, offer.state === 'here' ? el('em', {}, words) :
				widgets.button(words, 'apply', () => fetch(name, look),
					{ 'disabled': closed(), 'aria-label': `${words} ${name}` }))
	]);
	row.dataset.offer = name;
	return row;
}

function serverLine(remote) {
	return el('li', {}, [
		el('strong', {}, remote.name), ` ${remote.url} `,
		remote.error ? el('span', { 'class': 'cb-remark cb-bad' }, widgets.sentence(remote.error.message)) :
			el('span', { 'class': 'cb-muted' }, remote.signed ? _('its lists are signed') : _('not signed'))
	]);
}

/** The servers, and what they have when somebody asks: the answer comes over the network. */
function servers(look) {
	const columns = OFFERS();
	const known = el('div', {}), found = el('div', {});
	const filter = el('input', { 'type': 'search', 'class': 'cbi-input-text', 'placeholder': 'debian',
		'aria-label': _('Part of the name') });
	const ask = async () => {
		found.replaceChildren(el('p', { 'class': 'spinning' }, _('Asking the servers what they have…')));
		try {
			const { images, errors } = await api.available(filter.value.trim() || undefined);
			const list = widgets.table(columns);
			const again = async () => {
				await Promise.all([ look(), ask() ]);
			};
			widgets.setRows(list, images.length ? images.map(offer => offerRow(columns, offer, again)) :
				[ widgets.emptyRow(columns, _('No server has an image like that for this box.')) ]);
			found.replaceChildren(...(errors ?? []).map(text =>
				widgets.alertBox('warning', el('p', {}, widgets.sentence(text)))), list);
			await look();
		}
		catch (error) {
			found.replaceChildren(widgets.trouble(logic.failureFrom(error)));
		}
	};
	const button = widgets.button(_('See what they have'), 'find', ask, { 'id': 'cb-ask' });
	const tools = el('form', { 'class': 'cb-tools', 'submit': event => {
		event.preventDefault();
		button.click();
	} }, button, filter);
	dialogs.remotes().then(remotes => known.replaceChildren(...remotes.length ?
		[ el('ul', {}, remotes.map(serverLine)), tools ] :
		[ el('p', {}, _('No server is set up.'), ' ', el('a', { 'href': dialogs.link('settings') }, _('Settings'))) ]));
	return [ el('h3', {}, _('From servers')), known, found ];
}

return view.extend({
	...dialogs.PAGE,

	render() {
		const columns = COLUMNS();
		const list = widgets.table(columns);
		const summary = el('span', { 'class': 'cb-muted' }, _('Loading…'));
		const trouble = widgets.troubleSpot(() => [ list ]);
		let last = '';
		const look = widgets.watch({
			seconds: SECONDS,
			load: api.images,
			show: ({ images }) => {
				const now = JSON.stringify(images);
				if (now === last)
					return;
				last = now;
				widgets.setRows(list, images.length ? images.map(image => imageRow(columns, image, look)) :
					[ widgets.emptyRow(columns, _('There is no image yet. “Add an image” brings one in.')) ]);
				const all = images.reduce((sum, image) => sum + image.size, 0);
				summary.textContent = images.length ? fill(_('%s on disk'), logic.size(all)) : '';
			},
			fail: failure => trouble.show(failure)
		});
		return widgets.page([
			el('h2', {}, _('Images')),
			trouble.node, widgets.readOnlyNote(),
			el('div', { 'class': 'cb-tools' },
				widgets.button(_('Add an image'), 'add', () => widgets.attempt(async () => {
					await dialogs.addImage();
					await look();
				}, _('Add an image')), { 'disabled': closed() }),
				api.can('image.prune') ? widgets.button(_('Delete unused images'), 'remove', () => prune(look),
					{ 'disabled': closed() }) : '',
				summary),
			list,
			api.can('image.available') ? servers(look) : ''
		]);
	}
});
