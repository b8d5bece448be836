#!/usr/bin/env node
// Brings po/templates/cloudbox.pot of the LuCI application up to date with what its pages, menu and access groups say, and
// adds what is new to every translation, empty. What is translated stays; what is said no more goes.
//
//   scripts/luci-po.mjs [--check]     with --check nothing is written: the status says whether all is as it should be

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const app = fileURLToPath(new URL('../openwrt/luci-app-cloudbox/', import.meta.url));
const HEADER = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8"\n';

function files(dir, ending) {
	return readdirSync(dir, { withFileTypes: true, recursive: true })
		.filter(entry => entry.isFile() && entry.name.endsWith(ending))
		.map(entry => join(entry.parentPath ?? entry.path, entry.name)).sort();
}

/** The text of a JavaScript string between its quotes. */
function unescape(text) {
	return text.replace(/\\(.)/g, (all, letter) => ({ n: '\n', t: '\t' })[letter] ?? letter);
}

/** Everything to be translated: text → the files it stands in. */
export function said() {
	const found = new Map();
	const add = (text, file) => found.set(text, [ ...new Set([ ...found.get(text) ?? [], relative(app, file) ]) ]);
	for (const file of files(join(app, 'htdocs'), '.js'))
		for (const [ , text ] of readFileSync(file, 'utf8').matchAll(/\b_\(\s*'((?:[^'\\]|\\.)*)'\s*\)/g))
			add(unescape(text), file);
	for (const file of files(join(app, 'root'), '.json'))
		for (const value of Object.values(JSON.parse(readFileSync(file, 'utf8'))))
			for (const text of [ value.title, value.description ])
				if (text)
					add(text, file);
	return found;
}

const quote = text => `"${text.replace(/[\\"]/g, '\\$&').replace(/\n/g, '\\n')}"`;

/** The entries of a .po file: text → translation. */
export function read(file) {
	const entries = new Map();
	for (const [ , id, text ] of readFileSync(file, 'utf8').matchAll(/^msgid "(.+)"\nmsgstr "(.*)"$/gm))
		entries.set(unescape(id), unescape(text));
	return entries;
}

function write(header, found, translate) {
	const entries = [ ...found ].sort(([ a ], [ b ]) => a < b ? -1 : 1).map(([ text, places ]) =>
		`${places.map(place => `#: ${place}\n`).join('')}msgid ${quote(text)}\nmsgstr ${quote(translate(text))}\n`);
	return [ header, ...entries ].join('\n');
}

/** The header of a translation: its first entry. */
function headerOf(file) {
	return readFileSync(file, 'utf8').split('\n\n', 1)[0] + '\n';
}

export function translations() {
	return readdirSync(join(app, 'po')).filter(name => name !== 'templates')
		.map(language => ({ language, file: join(app, 'po', language, 'cloudbox.po') }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	const found = said();
	const wanted = [ [ join(app, 'po/templates/cloudbox.pot'), write(HEADER, found, () => '') ] ];
	for (const { file } of translations()) {
		const known = read(file);
		wanted.push([ file, write(headerOf(file), found, text => known.get(text) ?? '') ]);
	}
	for (const [ file, content ] of wanted) {
		if (content === readFileSync(file, { encoding: 'utf8', flag: 'a+' }))
			continue;
		if (process.argv[2] === '--check') {
			console.error(`${relative('.', file)} is not up to date; run scripts/luci-po.mjs`);
			process.exitCode = 1;
		}
		else {
			writeFileSync(file, content);
		}
	}
}
