// Loads a module of the LuCI application as LuCI's own loader does: the source is the body of a function, and each
// `'require x';` at its head is one of its arguments.

import { readFileSync } from 'node:fs';

const app = new URL('../../openwrt/luci-app-cloudbox/', import.meta.url);

export const resources = new URL('htdocs/luci-static/resources/', app);

export function appFile(path) {
	return new URL(path, app);
}

/** What a module returned through `baseclass.extend`; `world` holds what it requires and the page's globals. */
export function load(path, world = {}) {
	const source = readFileSync(new URL(path, resources), 'utf8');
	const globals = {
		baseclass: { extend: members => members },
		_: text => text,
		...world
	};
	for (const [ , name ] of source.matchAll(/^'require ([\w.]+)(?: as \w+)?';$/gm))
		if (!(name in globals))
			throw new Error(`${path} requires ${name}, which this test does not give it`);
	const names = Object.keys(globals).filter(name => /^\w+$/.test(name));
	return new Function(...names, source)(...names.map(name => globals[name]));
}
