'use strict';
'require baseclass';
'require fs';
'require poll';
'require ui';
'require cloudbox.api as api';
'require cloudbox.logic as logic';

/* Pieces of pages that know nothing of one page. Text from the bus becomes text nodes, never markup. */

const SVG = 'http://www.w3.org/2000/svg';

/**
 * An element. Attributes that are null are left out, functions become listeners; children are nodes and text, in lists or
 * not. LuCI's own E() would read a lone string as HTML.
 */
function el(tag, attributes, ...children) {
	const node = document.createElement(tag);
	for (const [ name, value ] of Object.entries(attributes ?? {})) {
		if (typeof value === 'function')
			node.addEventListener(name, value);
		else if (value !== null && value !== undefined)
			node.setAttribute(name, value);
	}
	node.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== ''));
	return node;
}

/** The page itself, with the style of all of ours. */
function page(children) {
	const href = L.resource('cloudbox/style.css');
	if (!document.querySelector(`link[href="${href}"]`))
		document.head.appendChild(el('link', { rel: 'stylesheet', href }));
	return el('div', { 'class': 'cb' }, children);
}

const shown = new WeakMap();

/** Gives `node` new children, unless they were made from the same `signature`. A focus inside stays inside. */
function renew(node, signature, make) {
	if (shown.get(node) === signature)
		return;
	shown.set(node, signature);
	const focused = node.contains(document.activeElement);
	node.replaceChildren(...[ make() ].flat(Infinity).filter(child => child !== null && child !== undefined));
	if (focused)
		node.querySelector('button:not(:disabled), a, input')?.focus();
}

/**
 * A button that shows that it is at work while the promise of `click` is open. Whoever came by the keyboard is back at it
 * afterwards, unless they went on meanwhile.
 */
function button(words, kind, click, more) {
	const act = async event => {
		const node = event.currentTarget;
		const focused = document.activeElement === node;
		node.classList.add('spinning');
		node.disabled = true;
		try {
			await click(event);
		}
		finally {
			node.classList.remove('spinning');
			node.disabled = false;
			if (focused && !document.body.classList.contains('modal-overlay-active') &&
				document.activeElement?.closest('body > :not(#modal_overlay)') == null)
				node.focus();
		}
	};
	return el('button', { 'type': 'button', 'class': `btn cbi-button cbi-button-${kind}`, 'click': act, ...more }, words);
}

/** Sentences about a container, red where it is in trouble. */
function remarks(entry) {
	const bad = logic.stateTone(entry.state) === 'bad' || entry.error ? 'cb-bad' : '';
	return logic.remarks(entry).map(text => el('div', { 'class': `cb-remark ${bad}` }, sentence(text)));
}

function stateBadge(state) {
	return el('span', { 'class': 'cb-state', 'data-tone': logic.stateTone(state) }, [ logic.stateWords(state) ]);
}

/** A bar with its words above it. Without a limit there are only the words. */
function bar(used, limit, words) {
	const share = logic.percent(used, limit);
	const said = words ?? (logic.percent(used, limit) === null ?
		logic.size(used) : logic.fill(_('%s of %s'), logic.size(used), logic.size(limit)));
	if (share === null)
		return el('div', { 'class': 'cb-bar' }, [ el('span', {}, [ said ]) ]);
	return el('div', { 'class': 'cb-bar', 'data-level': logic.level(share) }, [
		el('span', {}, [ said ]),
		el('div', { 'role': 'meter', 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': share, 'aria-label': said,
			'title': `${share} %` }, [ el('div', { 'style': `width:${share}%` }, []) ])
	]);
}

/** A table; each column is [title, class]. Returns the rows' parent. */
function table(columns, more) {
	return el('table', { 'class': 'table cb-table', ...more }, [
		el('tbody', {}, [
			el('tr', { 'class': 'tr table-titles' }, columns.map(([ title, name ]) =>
				el('th', { 'class': `th ${name ?? ''}`, 'scope': 'col' }, [ title ])))
		])
	]);
}

/** One row: a cell for each column. */
function row(columns, cells) {
	return el('tr', { 'class': 'tr' }, columns.map(([ title, name ], i) =>
		el('td', { 'class': `td ${name ?? ''}`, 'data-title': title || null }, [ cells?.[i] ?? [] ].flat())));
}

/** Puts `nodes` under the head of `node`, in this order, and moves only what stands elsewhere. */
function setRows(node, nodes) {
	const body = node.querySelector('tbody');
	nodes.forEach((wanted, i) => {
		const there = body.children[i + 1];
		if (there !== wanted)
			body.insertBefore(wanted, there ?? null);
	});
	while (body.children.length > nodes.length + 1)
		body.lastElementChild.remove();
}

/** A line in place of rows. */
function emptyRow(columns, words) {
	return el('tr', { 'class': 'tr placeholder' },
		el('td', { 'class': 'td', 'colspan': columns.length }, el('em', {}, words)));
}

/** Names and values; what has no value is left out. */
function facts(pairs) {
	return el('dl', { 'class': 'cb-facts' }, pairs
		.filter(([ , value ]) => value !== null && value !== undefined && value.length !== 0)
		.flatMap(([ name, value ]) => [ el('dt', {}, name), el('dd', {}, value) ]));
}

// --- Failures ----------------------------------------------------------------------------------------------

function alertBox(level, children) {
	const classes = { error: 'alert-message error', warning: 'alert-message warning', notice: 'alert-message notice' };
	return el('div', { 'class': classes[level], 'role': level === 'error' ? 'alert' : 'status' }, children);
}

/** Words in the manner of the bus: what stands between backquotes is for typing. */
function sentence(text) {
	return text.split(/`([^`]+)`/).map((part, i) => i % 2 ? el('code', {}, [ part ]) : part);
}

/** Says at the top of the page that something failed, until it is dismissed. */
function complain(failure, what) {
	if (failure.kind === 'session')
		return;
	const words = sentence(failure.message ?? String(failure));
	const line = el('p', {}, what ? el('strong', {}, `${what}: `) : '', words);
	const box = ui.addNotification(null, line, 'error');
	box?.scrollIntoView({ block: 'nearest' });
}

/** Runs `act`; what fails is said at the top of the page. Returns undefined then. */
async function attempt(act, what) {
	try {
		return await act();
	}
	catch (error) {
		complain(logic.failureFrom(error), what);
		return undefined;
	}
}

function startService() {
	return attempt(async () => {
		const result = await fs.exec('/etc/init.d/cloudbox', [ 'start' ]);
		if (result.code !== 0)
			throw { kind: 'refused', code: 'failed', message: result.stderr || _('The service did not start.') };
	}, _('Start'));
}

/** What is said in place of live data. */
function trouble(failure) {
	const children = [ el('p', {}, sentence(failure.message)) ];
	if (failure.kind === 'away' && api.mayWrite())
		children.push(el('p', {}, [ button(_('Start the service'), 'apply', startService) ]));
	if (logic.isPassing(failure) || failure.kind === 'denied')
		children.push(el('p', { 'class': 'cb-muted' }, [ _('This page goes on by itself as soon as it can.') ]));
	return alertBox(failure.kind === 'slow' ? 'warning' : 'error', children);
}

function problemNode(problem) {
	return el('p', { 'class': 'cb-problem' }, [
		el('strong', {}, [ `${problem.name}: ` ]), ...sentence(problem.message),
		...(problem.remedy ? [ ' — ', ...sentence(problem.remedy) ] : [])
	]);
}

/** What `doctor` found: errors in full, warnings behind one line. Empty when all is well. */
function doctorNotes(doctor) {
	const found = logic.problems(doctor);
	const errors = found.filter(problem => problem.level === 'error');
	const warnings = found.filter(problem => problem.level === 'warning');
	return [
		errors.length ? alertBox('error', errors.map(problemNode)) : null,
		warnings.length ? alertBox('warning', [ el('details', {}, [
			el('summary', {}, [ logic.fill(_('To look after: %s'), warnings.map(problem => problem.name).join(', ')) ]),
			...warnings.map(problemNode)
		]) ]) : null
	].filter(node => node);
}

/** A note for those who may only look. */
function readOnlyNote() {
	return api.mayWrite() ? [] :
		[ alertBox('notice', [ el('p', {}, [ _('This login sees everything here and may change nothing.') ]) ]) ];
}

// --- Live data ---------------------------------------------------------------------------------------------

/**
 * Calls `load` every so many seconds and gives what it brings to `show`; a failure goes to `fail`, and the next success
 * ends it. Rests while the page is hidden. Returns a function that looks at once.
 */
function watch({ load, show, fail, seconds }) {
	let busy = null, again = false;
	const look = () => {
		if (busy) {
			// What is on its way may be older than what just happened.
			again = true;
			return busy;
		}
		busy = (async () => {
			do {
				again = false;
				try {
					show(await load());
					fail(null);
				}
				catch (error) {
					fail(logic.failureFrom(error));
				}
			} while (again);
		})().finally(() => { busy = null; });
		return busy;
	};
	poll.add(() => document.hidden ? null : busy ?? look(), seconds);
	document.addEventListener('visibilitychange', () => {
		if (!document.hidden && poll.active())
			look();
	});
	look();
	return look;
}

/** A place that shows `failure` while there is one, and dims `content`. */
function troubleSpot(content) {
	const spot = el('div', {}, []);
	let last = null;
	return {
		node: spot,
		show(failure) {
			content().forEach(node => node.classList.toggle('cb-stale', failure !== null));
			const came = last !== null && failure === null;
			last = failure;
			renew(spot, failure?.message ?? '', () => failure ? trouble(failure) : []);
			// Whoever comes back may be another version.
			return came ? api.learn() : null;
		}
	};
}

// --- Dialogs -----------------------------------------------------------------------------------------------

/**
 * Opens LuCI's dialog; the first field, or else the first button, gets the focus. Escape presses the first button: what
 * leaves all as it is comes first.
 */
function dialog(title, children, buttons) {
	// LuCI forgets the widgets of what it removes itself; a form may be shown again.
	document.querySelector('#modal_overlay .modal')?.replaceChildren();
	const box = ui.showModal([ title ], [
		el('div', { 'keydown': keepInside }, el('div', {}, children), el('div', { 'class': 'right cb-buttons' }, buttons)) ],
	'cb', 'cbi-modal');
	box.setAttribute('role', 'dialog');
	box.setAttribute('aria-modal', 'true');
	box.setAttribute('aria-label', title);
	(box.querySelector('input:not([type="hidden"]):not(:disabled), select, textarea') ??
		box.querySelector('.cb-buttons button'))?.focus();
	return box;
}

/** The key Tab goes round inside a dialog. */
function keepInside(event) {
	if (event.key !== 'Tab')
		return;
	const stops = [ ...event.currentTarget.querySelectorAll('a[href], button, input, select, textarea, [tabindex="0"]') ]
		.filter(node => !node.disabled && node.type !== 'hidden' && node.offsetParent);
	const [ first, last ] = [ stops[0], stops[stops.length - 1] ];
	if (document.activeElement === (event.shiftKey ? first : last)) {
		event.preventDefault();
		(event.shiftKey ? last : first).focus();
	}
}

/** Asks before something is lost. Resolves with whether to go on. */
function ask(title, children, words) {
	return new Promise(resolve => {
		const close = answer => {
			ui.hideModal();
			resolve(answer);
		};
		dialog(title, children, [
			button(_('Cancel'), 'neutral', () => close(false)),
			button(words, 'negative', () => close(true), { 'class': 'btn cbi-button cbi-button-negative important' })
		]);
	});
}

function pause(ms) {
	return new Promise(resolve => setTimeout(resolve, ms));
}

/**
 * A dialog that follows a job. Closing it does not cancel the job. Resolves with the job when it is done; with null when
 * it was closed, failed or was cancelled. `back` makes a button of what to do after a failure.
 */
function followJob(id, title, back) {
	return new Promise(resolve => {
		let open = true;
		const close = result => {
			open = false;
			ui.hideModal();
			resolve(result);
		};
		const words = el('p', { 'aria-live': 'polite' }, [ _('waiting for its turn') ]);
		const place = el('div', {}, [ bar(0, 100, '0 %') ]);
		const cancel = button(_('Cancel the job'), 'negative', () => attempt(async () => {
			await api.cancel(id);
		}, title));
		const hide = button(_('Close'), 'neutral', () => close(null));
		dialog(title, [ el('div', { 'class': 'cb-job' }, [ words, place,
			el('p', { 'class': 'cb-muted' }, [ _('Closing this does not cancel it.') ]) ]) ], [ hide, cancel ]);
		hide.focus();
		const end = message => {
			words.replaceChildren(...sentence(message));
			words.classList.add('cb-remark', 'cb-bad');
			cancel.remove();
			if (back)
				hide.after(button(_('Back'), 'neutral', () => {
					close(null);
					back();
				}));
		};
		logic.follow({
			ask: () => api.job(id),
			pause,
			over: () => !open,
			show(job, failure) {
				if (failure) {
					words.replaceChildren(failure.message);
					return;
				}
				words.replaceChildren(logic.jobProgress(job));
				place.replaceChildren(bar(job.percent, 100, `${job.percent} %`));
			}
		}).then(job => {
			if (job?.state === 'done')
				close(job);
			else if (job)
				end(logic.jobEnd(job));
		}, failure => end(failure.message));
	});
}

/** Follows a job that has no dialog, and says so when it fails. */
async function background(id, what) {
	try {
		const job = await logic.follow({ ask: () => api.job(id), pause, over: () => false, show() {} });
		if (job.state === 'failed')
			complain({ message: logic.jobEnd(job) }, what);
	}
	catch (error) {
		complain(logic.failureFrom(error), what);
	}
}

// --- Charts ------------------------------------------------------------------------------------------------

const WIDTH = 300, HEIGHT = 100;

function svg(tag, attributes) {
	const node = document.createElementNS(SVG, tag);
	for (const [ name, value ] of Object.entries(attributes))
		node.setAttribute(name, value);
	return node;
}

/**
 * A chart of one or two lines over the last `span` seconds. `lines`: [field, words] each; `words(v)` writes a value;
 * `least` is the least end of the axis.
 */
function chart({ title, lines, span, words, least, binary }) {
	const paths = lines.map((line, i) => svg('path', { 'class': i ? 'cb-other' : '' }));
	const mark = svg('line', { x1: 0, x2: WIDTH, y1: 0, y2: 0, visibility: 'hidden' });
	const key = i => lines.length > 1 ? `cb-key ${i ? 'cb-other' : ''}` : null;
	const now = lines.map(([ name ], i) => el('span', { 'class': key(i) }, name));
	const top = el('span', {}, []);
	const image = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
	image.append(...paths, mark);
	return {
		node: el('figure', {}, [
			el('figcaption', {}, [ el('strong', {}, [ title ]), el('span', {}, now.flatMap(node => [ node, ' ' ])) ]),
			image,
			el('div', { 'class': 'cb-axis' }, [ el('span', {}, [ logic.fill(_('%s ago'), logic.duration(span)) ]), top ])
		]),
		/** `series`: points of each line; `limit`: where the dashed line stands, or null. */
		update(series, to, limit) {
			const all = series.flat().map(point => point.v);
			const end = logic.ceiling(limit === null ? all : all.concat(limit), least, binary);
			series.forEach((points, i) => {
				paths[i].setAttribute('d', logic.path(points, to - span, to, end, WIDTH, HEIGHT));
				const value = points.length ? points[points.length - 1].v : null;
				now[i].textContent = `${value === null ? logic.NONE : words(value)} ${lines[i][0]}`;
			});
			mark.setAttribute('visibility', limit === null ? 'hidden' : 'visible');
			mark.setAttribute('y1', HEIGHT - (limit ?? 0) / end * HEIGHT);
			mark.setAttribute('y2', HEIGHT - (limit ?? 0) / end * HEIGHT);
			top.textContent = logic.fill(_('up to %s'), words(end));
			image.setAttribute('aria-label', `${title}: ${now.map(node => node.textContent).join(', ')}`);
		}
	};
}

return baseclass.extend({
	el, page, renew, button, stateBadge, remarks, bar, table, row, setRows, emptyRow, facts,
	alertBox, sentence, complain, attempt, trouble, doctorNotes, readOnlyNote,
	watch, troubleSpot, dialog, ask, pause, followJob, background, chart
});
