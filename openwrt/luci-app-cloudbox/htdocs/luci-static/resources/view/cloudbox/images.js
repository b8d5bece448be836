'use strict';
'require view';
'require cloudbox.api as api';
'require cloudbox.dialogs as dialogs';
'require cloudbox.logic as logic';
'require cloudbox.widgets as widgets';

/* The images on this box, who uses them, and how others get here. */

const { el } = widgets;

const SECONDS = 5;

const COLUMNS = () => [
	[ _('Name'), 'cb-name' ], [ _('System'), '' ], [ _('Size'), 'cb-narrow' ], [ _('Used by'), '' ],
	[ _('Services'), '' ], [ _('Imported'), 'cb-narrow' ], [ '', 'cb-actions' ]
];

function system(image) {
	return [ image.os, image.release, image.arch ].filter(text => text).join(' ');
}

function imageRow(columns, image, look) {
	const [ name ] = image.names;
	const closed = !api.mayWrite();
	const used = image.used_by.length > 0;
	const row = widgets.row(columns, [
		[ el('span', {}, [ image.names.join(', ') || logic.NONE ]),
			image.description ? el('div', { 'class': 'cb-muted' }, [ image.description ]) : '',
			el('div', { 'class': 'cb-muted', 'title': image.sha256 }, [ `sha256 ${image.sha256.slice(0, 12)}…` ]) ],
		[ system(image), image.version ? el('div', { 'class': 'cb-muted' }, [ image.version ]) : '' ],
		[ logic.size(image.size) ],
		used ? [ el('div', { 'class': 'cb-tags' }, image.used_by.map(user =>
			el('a', { 'href': dialogs.link('container', user) }, [ user ]))) ] : [ _('nobody') ],
		(image.services ?? []).map(text => el('div', {}, [ text ])),
		[ logic.ago(image.imported, Date.now() / 1000) ],
		[ el('div', { 'class': 'cb-buttons' }, [
			widgets.button(_('New container'), 'add', () => widgets.attempt(async () => {
				await dialogs.create(name);
				await look();
			}, _('New container')), { 'disabled': closed || !name || null }),
			widgets.button(_('Delete'), 'remove', () => remove(image, look), { 'disabled': closed || used || null,
				'title': used ? _('Containers are made from it; delete them first.') : null,
				'aria-label': `${_('Delete')} ${name ?? ''}` })
		]) ]
	]);
	row.dataset.name = name ?? image.sha256;
	return row;
}

async function remove(image, look) {
	const name = image.names[0] ?? image.sha256;
	const title = logic.fill(_('Deleting image %s'), name);
	const sure = await widgets.ask(logic.fill(_('Delete image %s?'), name), [
		el('p', {}, [ logic.fill(_('%s of disk are freed. It can be imported again.'), logic.size(image.size)) ]) ],
	_('Delete'));
	if (!sure)
		return;
	await widgets.attempt(async () => {
		const reply = await api.call('cloudbox.image', 'delete', { name });
		await dialogs.finish(reply, title);
	}, title);
	await look();
}

async function prune(look) {
	await widgets.attempt(async () => {
		const found = await api.call('cloudbox.image', 'prune', {});
		const any = found.images.length || found.partial;
		const sure = await widgets.ask(_('Delete unused images?'), [
			el('p', {}, [ _('Every image that no container is made from is deleted.') ]),
			el('ul', {}, found.images.map(name => el('li', {}, [ name ]))),
			any ? '' : el('p', {}, [ _('There is nothing to remove.') ])
		], _('Delete'));
		if (!sure || !any)
			return;
		const reply = await api.call('cloudbox.image', 'prune', { yes: true });
		await dialogs.finish(reply, _('Delete unused images'));
	}, _('Delete unused images'));
	await look();
}

return view.extend({
	handleSaveApply: null,
	handleSave: null,
	handleReset: null,

	load() {
		return api.learn();
	},

	render() {
		const columns = COLUMNS();
		const list = widgets.table(columns);
		const summary = el('span', { 'class': 'cb-muted' }, [ _('Loading…') ]);
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
				summary.textContent = images.length ? logic.fill(_('%s on disk'), logic.size(all)) : '';
			},
			fail: failure => trouble.show(failure)
		});
		const closed = api.mayWrite() ? null : true;
		return widgets.page([
			el('h2', {}, [ _('Images') ]),
			trouble.node, ...widgets.readOnlyNote(),
			el('div', { 'class': 'cb-tools' }, [
				widgets.button(_('Add an image'), 'add', () => widgets.attempt(async () => {
					await dialogs.addImage();
					await look();
				}, _('Add an image')), { 'disabled': closed }),
				api.can('image.prune') ?
					widgets.button(_('Delete unused images'), 'remove', () => prune(look), { 'disabled': closed }) : '',
				summary
			]),
			list
		]);
	}
});
