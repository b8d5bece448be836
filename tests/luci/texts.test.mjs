import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { read, said, translations } from '../../scripts/luci-po.mjs';
import { appFile, resources } from './load.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const found = said();

test('the template has every text, and no other', () => {
	const template = readFileSync(appFile('po/templates/cloudbox.pot'), 'utf8');
	const listed = [ ...template.matchAll(/^msgid "(.+)"$/gm) ].map(([ , id ]) => id.replace(/\\(.)/g, '$1'));
	assert.deepEqual(listed, [ ...found.keys() ].sort(), 'run scripts/luci-po.mjs');
});

test('there are Catalan and Spanish, whole', () => {
	assert.deepEqual(translations().map(one => one.language).sort(), [ 'ca', 'es' ]);
	for (const { language, file } of translations()) {
		const known = read(file);
		for (const text of found.keys())
			assert.ok(known.get(text), `${language} has nothing for “${text}”`);
		assert.equal(known.size, found.size, language);
	}
});

test('a translation takes what its text takes', () => {
	const places = text => (text.match(/%(\d+\$)?[sd]/g) ?? []).map(place => place.replace(/\d+\$/, '')).sort();
	const typed = text => text.match(/`[^`]+`/g) ?? [];
	for (const { language, file } of translations()) {
		for (const [ text, translation ] of read(file)) {
			assert.deepEqual(places(translation), places(text), `${language}: ${text}`);
			assert.deepEqual(typed(translation), typed(text), `${language}: ${text}`);
		}
	}
});

/** The modules' texts by their names. */
function sources() {
	return readdirSync(resources, { withFileTypes: true, recursive: true })
		.filter(entry => entry.name.endsWith('.js'))
		.map(entry => [ entry.name, readFileSync(join(entry.parentPath ?? entry.path, entry.name), 'utf8') ]);
}

/** Every `call('object', 'method'` of the pages. */
function called() {
	const calls = new Set();
	for (const [ , source ] of sources()) {
		for (const [ , object, method ] of source.matchAll(/\bcall\('(cloudbox[\w.]*)', '(\w+)'/g))
			calls.add(`${object} ${method}`);
	}
	return calls;
}

test('the access group grants every call of the pages, and what it grants to readers changes nothing', () => {
	const { cloudbox } = JSON.parse(readFileSync(join(root, 'files/usr/share/rpcd/acl.d/cloudbox.json'), 'utf8'));
	const granted = part => Object.entries(part.ubus)
		.flatMap(([ object, methods ]) => methods.map(method => `${object} ${method}`));
	const all = new Set([ ...granted(cloudbox.read), ...granted(cloudbox.write) ]);
	assert.deepEqual([ ...called() ].filter(call => !all.has(call)), []);
	const looks = new Set([ 'status', 'doctor', 'list', 'info', 'log', 'snapshots', 'browse', 'wait', 'remotes', 'available',
		'get', 'offers', 'peers', 'trust', 'asks', 'brokers', ':subscribe' ]);
	assert.deepEqual(granted(cloudbox.read).filter(call => !looks.has(call.split(' ')[1])), []);
});

test('the fields that are asked for are ones the box knows', () => {
	const source = readFileSync(new URL('cloudbox/api.js', resources), 'utf8');
	const replies = readFileSync(join(root, 'src/api/replies.rs'), 'utf8');
	const asked = [ ...source.matchAll(/^const (?:LIVE|STEADY) = \[([^\]]+)\];/gm) ]
		.flatMap(([ , names ]) => [ ...names.matchAll(/'(\w+)'/g) ].map(([ , name ]) => name));
	assert.ok(asked.length > 10);
	assert.deepEqual(asked.filter(name => !replies.includes(`pub ${name}: `)), []);
});

// Behind a word or an arrow, the jsmin of OpenWrt's build takes a regular expression for a division, and its blanks away.
test('a regular expression keeps its meaning when the pages are minified', () => {
	for (const [ name, source ] of sources())
		for (const [ , expression ] of source.matchAll(/(?:\breturn|=>) (\/[^/*](?:\\.|[^/\\\n])*\/)/g))
			assert.doesNotMatch(expression, /[\s'"`]/, name);
});

test('the menu leads to pages there are, and asks for the group there is', () => {
	const menu = JSON.parse(readFileSync(appFile('root/usr/share/luci/menu.d/luci-app-cloudbox.json'), 'utf8'));
	for (const [ path, { action, depends } ] of Object.entries(menu)) {
		if (action.type === 'view')
			assert.ok(readFileSync(new URL(`view/${action.path}.js`, resources)), path);
		if (depends)
			assert.deepEqual(depends.acl, [ 'cloudbox' ]);
	}
});
