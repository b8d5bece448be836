'use strict';
'require baseclass';

/*
 * What the pages know without a document, a call or a clock: words, numbers and rules. tests/luci/logic.test.mjs runs it
 * in node.
 */

const UNITS = [ 'B', 'KiB', 'MiB', 'GiB', 'TiB' ];
const LETTERS = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
const NONE = '–';

/** `fill('%s of %s', 1, 2)`; `%1$s` takes an argument by its place. */
function fill(template, ...given) {
	let next = 0;
	return template.replace(/%(?:(\d+)\$)?[sd]|%%/g, (found, place) =>
		found === '%%' ? '%' : String(given[place ? place - 1 : next++] ?? ''));
}

function isNumber(value) {
	return typeof value === 'number' && isFinite(value);
}

// --- Numbers -----------------------------------------------------------------------------------------------

/** Bytes as people read them: three digits at most. */
function size(bytes) {
	if (!isNumber(bytes))
		return NONE;
	let value = bytes, unit = 0;
	while (unit < UNITS.length - 1 && Math.round(value) >= 1024) {
		value /= 1024;
		unit++;
	}
	const digits = unit > 0 && value < 9.95 ? value.toFixed(1).replace(/\.0$/, '') : Math.round(value);
	return `${digits} ${UNITS[unit]}`;
}

/** Bytes as the daemon reads them back to the same number: `512M`. */
function sizeText(bytes) {
	if (!isNumber(bytes) || bytes <= 0)
		return '';
	const unit = [ 'T', 'G', 'M', 'K' ].find(letter => bytes % LETTERS[letter] === 0);
	return unit ? `${bytes / LETTERS[unit]}${unit}` : String(bytes);
}

/** The number of bytes `text` means, by the daemon's own rule, or null. */
function parseSize(text) {
	const found = /^\s*(\d+)\s*([KMGT])?(?:I?B)?\s*$/i.exec(text ?? '');
	const bytes = found ? Number(found[1]) * (found[2] ? LETTERS[found[2].toUpperCase()] : 1) : 0;
	return bytes > 0 && Number.isSafeInteger(bytes) ? bytes : null;
}

/** 0 to 100, or null when there is nothing to compare. */
function percent(part, whole) {
	if (!isNumber(part) || !isNumber(whole) || whole <= 0)
		return null;
	return Math.max(0, Math.min(100, Math.round(part * 100 / whole)));
}

/** `good`, `high` or `full`: how a bar is painted. */
function level(share) {
	return share === null || share < 80 ? 'good' : share < 95 ? 'high' : 'full';
}

/** Seconds in the two largest units that are not zero. */
function duration(seconds) {
	if (!isNumber(seconds) || seconds < 0)
		return NONE;
	const s = Math.floor(seconds);
	if (s < 60)
		return fill(_('%d s'), s);
	if (s < 3600)
		return fill(_('%d min'), Math.floor(s / 60));
	if (s < 86400)
		return fill(_('%d h %d min'), Math.floor(s / 3600), Math.floor(s % 3600 / 60));
	return fill(_('%d d %d h'), Math.floor(s / 86400), Math.floor(s % 86400 / 3600));
}

/** How long before `now` it was; both in seconds since 1970. */
function ago(then, now) {
	if (!isNumber(then) || then <= 0)
		return NONE;
	return now - then < 5 ? _('just now') : fill(_('%s ago'), duration(now - then));
}

// --- Time series -------------------------------------------------------------------------------------------

/** Adds `sample` (with `t` in seconds) to `history`, and forgets what is older than `span` seconds. */
function remember(history, sample, span) {
	const last = history[history.length - 1];
	if (last && sample.t <= last.t)
		return history;
	history.push(sample);
	while (history[0].t < sample.t - span)
		history.shift();
	return history;
}

/**
 * How fast the counter `field` grew between two samples, per second. Where it is missing or went back (the container
 * was started anew), the value is null and the line has a gap.
 */
function rates(history, field) {
	return history.slice(1).map((sample, i) => {
		const before = history[i][field], now = sample[field], dt = sample.t - history[i].t;
		const known = isNumber(before) && isNumber(now) && now >= before;
		return { t: sample.t, v: known ? (now - before) / dt : null };
	});
}

function values(history, field) {
	return history.map(sample => ({ t: sample.t, v: isNumber(sample[field]) ? sample[field] : null }));
}

/** The end of an axis that holds every one of `numbers`: a power of two, or 1, 2 or 5 times one of ten. */
function ceiling(numbers, least, binary) {
	const top = numbers.reduce((most, n) => isNumber(n) && n > most ? n : most, least);
	if (binary)
		return 2 ** Math.ceil(Math.log2(top));
	const power = 10 ** Math.floor(Math.log10(top));
	return [ 1, 2, 5, 10 ].map(step => step * power).find(step => step >= top);
}

/** The `d` of an SVG path through `points` ({t, v}); a null value lifts the pen. */
function path(points, from, to, top, width, height) {
	let d = '', pen = false;
	for (const { t, v } of points) {
		if (v === null || t < from) {
			pen = false;
			continue;
		}
		const x = (t - from) / (to - from) * width, y = height - Math.min(v / top, 1) * height;
		d += `${pen ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
		pen = true;
	}
	return d;
}

// --- Failures ----------------------------------------------------------------------------------------------

/** What a ubus status means that came without words. */
function statusWords(status) {
	switch (status) {
	case 1: return _('The box does not know this command; its cloudbox may be older than this page.');
	case 2: return _('A value is not one the box accepts.');
	case 3: return _('The box cannot do this; its cloudbox may be older than this page.');
	case 4: return _('There is no such thing on the box any more.');
	case 5: return _('The box has nothing to say about this.');
	case 6: return _('The box does not allow this; memory or disk may be short.');
	case 7: return _('It took longer than allowed.');
	case 8: return _('This box cannot do this.');
	default: return fill(_('It failed, and the box did not say why (status %d).'), status);
	}
}

function kindWords(kind) {
	switch (kind) {
	case 'away':
		return _('The cloudbox service does not answer: it is stopped, or it is being started.');
	case 'denied':
		return _('This login may not do this. The group “cloudbox” in the access control of the box allows it.');
	case 'slow':
		return _('The box did not answer in time. It may still be at work.');
	case 'session':
		return _('The session has expired. Log in again.');
	default:
		return _('The box cannot be reached.');
	}
}

/**
 * The failure that `reply` of a call is, or null. A refusal is a reply that has `error` and nothing else: a job and a
 * container carry an `error` among other things.
 */
function failureOf(reply) {
	if (typeof reply === 'number')
		return reply === 0 ? null : { kind: 'refused', code: `status_${reply}`, message: statusWords(reply) };
	const error = reply?.error;
	if (!error || typeof error !== 'object' || Object.keys(reply).length !== 1)
		return null;
	return { kind: 'refused', code: String(error.code ?? 'failed'), message: String(error.message ?? statusWords(9)) };
}

/** The failure that a rejected call was: `away`, `denied`, `slow`, `session` or `unreachable`. */
function failureFrom(error) {
	if (error?.kind)
		return error;
	const text = String(error?.message ?? error ?? '');
	const code = Number(/failed with error (-\d+)/.exec(text)?.[1]);
	const kind = error?.name === 'SessionError' ? 'session' :
		code === -32000 ? 'away' :
		code === -32001 || code === -32002 ? 'denied' :
		code === -32003 || /timed out/.test(text) ? 'slow' :
		/XHR|HTTP error|NetworkError|message frame/.test(text) ? 'unreachable' : 'bug';
	return { kind, code: kind, message: kind === 'bug' ? text : kindWords(kind) };
}

/** Whether it may go away by itself, so that it is worth asking again. */
function isPassing(failure) {
	return [ 'away', 'slow', 'unreachable' ].includes(failure.kind);
}

// --- Containers --------------------------------------------------------------------------------------------

const STATES = {
	running: { tone: 'good' },
	frozen: { tone: 'idle' },
	stopped: { tone: 'idle' },
	creating: { tone: 'busy' },
	starting: { tone: 'busy' },
	restarting: { tone: 'busy' },
	stopping: { tone: 'busy' },
	deleting: { tone: 'busy' },
	failed: { tone: 'bad' },
	orphan: { tone: 'bad' }
};

function stateWords(state) {
	switch (state) {
	case 'running': return _('running');
	case 'frozen': return _('frozen');
	case 'stopped': return _('stopped');
	case 'creating': return _('being created');
	case 'starting': return _('starting');
	case 'restarting': return _('restarting');
	case 'stopping': return _('stopping');
	case 'deleting': return _('being deleted');
	case 'failed': return _('failed');
	case 'orphan': return _('orphan');
	default: return state;
	}
}

/** `good`, `busy`, `bad` or `idle`. */
function stateTone(state) {
	return STATES[state]?.tone ?? 'idle';
}

const ALLOWED = {
	running: [ 'stop', 'restart', 'freeze', 'delete' ],
	frozen: [ 'unfreeze', 'stop', 'delete' ],
	stopped: [ 'start', 'delete' ],
	failed: [ 'start', 'delete' ],
	orphan: [ 'adopt', 'delete' ]
};

/** What may be done to a container now; `can(method)` says whether this box's cloudbox can. */
function actions(entry, can) {
	if (entry.job)
		return [];
	const allowed = ALLOWED[entry.state] ?? [];
	// It waits to be started again: stopping it calls that off.
	const waiting = isNumber(entry.restart_in) && !allowed.includes('stop') ? [ 'stop' ] : [];
	return waiting.concat(allowed).filter(action => can(action));
}

function actionWords(action) {
	switch (action) {
	case 'start': return _('Start');
	case 'stop': return _('Stop');
	case 'restart': return _('Restart');
	case 'freeze': return _('Freeze');
	case 'unfreeze': return _('Unfreeze');
	case 'adopt': return _('Adopt');
	case 'delete': return _('Delete');
	default: return action;
	}
}

function exitWords(reason) {
	switch (reason) {
	case 'asked': return _('it was stopped');
	case 'killed': return _('it did not shut down in time and was killed');
	case 'poweroff': return _('it switched itself off');
	case 'crashed': return _('it crashed');
	case 'out_of_memory': return _('it needed more memory than its limit');
	case 'reboots': return _('it rebooted again and again');
	case 'unknown': return _('it ended while nobody watched');
	default: return reason;
	}
}

/** Sentences under a container's state: why it is as it is. */
function remarks(entry) {
	const found = [];
	if (entry.error?.message)
		found.push(entry.error.message);
	else if (entry.exit)
		found.push(fill(_('Last end: %s'), exitWords(entry.exit)));
	if (entry.state === 'orphan' && !entry.error)
		found.push(_('Its section in the configuration is gone; its data is kept.'));
	if (isNumber(entry.restart_in))
		found.push(fill(_('Started again in %s.'), duration(entry.restart_in)));
	else if (entry.restarts)
		found.push(fill(_('Restarts by itself: %d'), entry.restarts));
	if (entry.restart_required?.length)
		found.push(fill(_('A restart applies: %s'), entry.restart_required.join(', ')));
	return found;
}

/** Whether `entry` is one the person looks for. */
function matches(entry, wanted) {
	const words = wanted.toLowerCase().split(/\s+/).filter(word => word);
	const text = [ entry.name, entry.state, stateWords(entry.state), entry.image, entry.description,
		...(entry.addresses ?? []) ].join(' ').toLowerCase();
	return words.every(word => text.includes(word));
}

/** Every container of a `list` that is ours, orphans too, by name. */
function all(list) {
	return (list?.containers ?? []).concat(list?.orphans ?? []).sort((a, b) => a.name < b.name ? -1 : 1);
}

/** The same with what an earlier `list` of other fields said of each. */
function joined(entries, earlier) {
	const known = new Map(all(earlier).map(entry => [ entry.name, entry ]));
	return entries.map(entry => ({ ...known.get(entry.name), ...entry }));
}

/** How many there are of which state, as a sentence. */
function census(entries) {
	if (!entries.length)
		return '';
	const running = entries.filter(entry => entry.state === 'running').length;
	const failed = entries.filter(entry => stateTone(entry.state) === 'bad').length;
	const parts = [ fill(_('%d of %d running'), running, entries.length) ];
	if (failed)
		parts.push(fill(_('%d with a problem'), failed));
	return parts.join(', ');
}

/** Addresses for people: IPv4 first, and none that only works on its own link unless there is no other. */
function addresses(list) {
	const known = list ?? [];
	const global = known.filter(address => !/^fe80:/i.test(address));
	const shown = global.length ? global : known;
	return shown.filter(a => !a.includes(':')).concat(shown.filter(a => a.includes(':')));
}

/** What is lost with a container, a sentence each. */
function losses(entry, snapshots, services) {
	const lost = [ isNumber(entry.disk) ?
		fill(_('its files: %s'), size(entry.disk)) : _('its files') ];
	if (snapshots?.length)
		lost.push(fill(_('its snapshots: %s'), snapshots.map(snapshot => snapshot.name).join(', ')));
	const told = (services ?? []).filter(service => service.container === entry.name);
	if (told.length)
		lost.push(fill(_('its services: %s'), told.map(service => service.name).join(', ')));
	lost.push(_('its section in the configuration'));
	return lost;
}

// --- Limits and names, by the daemon's own rules -------------------------------------------------------------

function checkName(text) {
	if (!text)
		return _('Give it a name.');
	if (text.length > 63)
		return _('A name has 63 characters at most.');
	if (!/^[a-z0-9-]+$/.test(text))
		return _('Use only a–z, 0–9 and “-”.');
	return /^-|-$/.test(text) ? _('A name neither begins nor ends with “-”.') : null;
}

function checkMemory(text) {
	const bytes = parseSize(text);
	if (bytes === null)
		return _('Write a whole number and K, M, G or T, such as 512M.');
	return bytes < 4 * LETTERS.M ? _('Nothing starts in less than 4M.') : null;
}

function checkDisk(text) {
	if (text === 'none')
		return null;
	const bytes = parseSize(text);
	if (bytes === null)
		return _('Write a whole number and K, M, G or T, such as 4G, or “none” for no quota.');
	return bytes < 16 * LETTERS.M ? _('16M is the least; “none” is no quota.') : null;
}

/** Bytes in a second. */
function checkRate(text) {
	const bytes = text === 'none' ? 2 ** 20 : parseSize(text);
	return bytes >= 16 * LETTERS.K && bytes <= 10 * LETTERS.G ? null :
		_('Write a size from 16K to 10G, such as 2M, or “none” for no limit.');
}

function checkConnections(text) {
	return text === 'none' ? null : checkWhole(text, 1, 1000);
}

function checkSwap(text) {
	return text === 'none' || parseSize(text) !== null ? null :
		_('Write a whole number and K, M, G or T, such as 256M, or “none”.');
}

function checkReserve(text) {
	return text === '0' || parseSize(text) !== null ? null :
		_('Write a whole number and K, M, G or T, such as 512M.');
}

function checkCpus(text) {
	const number = /^\d{1,4}(\.\d{1,3})?$/.test(text ?? '') ? Number(text) : 0;
	return number >= 0.01 && number <= 1024 ? null :
		_('Write a number of processors from 0.01 to 1024, such as 1 or 0.5.');
}

function checkWhole(text, least, most) {
	const number = /^\d+$/.test(text ?? '') ? Number(text) : -1;
	return number >= least && number <= most ? null : fill(_('Write a whole number from %d to %d.'), least, most);
}

function isIpv4(text) {
	const parts = String(text ?? '').split('.');
	return parts.length === 4 && parts.every(part => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
}

function checkAddress(text) {
	if (text === 'dhcp')
		return null;
	const [ address, prefix, more ] = String(text ?? '').split('/');
	const good = more === undefined && isIpv4(address) && /^\d{1,2}$/.test(prefix ?? '') && Number(prefix) <= 32;
	return good ? null : _('Write “dhcp”, or an address with its prefix such as 10.139.40.10/27.');
}

function checkGateway(text) {
	return isIpv4(text) ? null : _('Write an IPv4 address such as 10.139.40.1.');
}

function checkUrl(text) {
	return /^https?:\/\/[^/\s"'\\`<>{}|^?#][^\s"'\\`<>{}|^?#]*$/.test(text ?? '') ? null :
		_('Write the server’s address, such as https://images.example.org.');
}

function checkKey(text) {
	return /^(ssh-|ecdsa-|sk-ssh-|sk-ecdsa-)\S*\s+\S/.test(String(text ?? '').trim()) ? null :
		_('Paste an SSH public key, such as “ssh-ed25519 AAAA… me”.');
}

function checkServiceType(text) {
	const found = /^_([a-z0-9-]{1,15})\._(tcp|udp)$/i.exec(text ?? '');
	const good = found && /[a-z]/i.test(found[1]) && !/^-|-$|--/.test(found[1]);
	return good ? null : _('Write it as _http._tcp.');
}

function bytesOf(text) {
	return new TextEncoder().encode(text).length;
}

function checkServiceName(text) {
	return text && bytesOf(text) > 63 ? _('63 bytes at most.') : null;
}

function checkTxt(text) {
	return text && !text.startsWith('=') && bytesOf(text) <= 255 ? null :
		_('Write key=value, 255 bytes at most.');
}

/** Only what was filled in: the box has a default for everything else. */
function filledIn(form) {
	const said = {};
	for (const [ key, value ] of Object.entries(form)) {
		if (value === '' || value === null || value === undefined || Array.isArray(value) && !value.length)
			continue;
		said[key] = value;
	}
	return said;
}

/** The fields of `form` that differ from `before`. */
function changed(form, before) {
	const different = {};
	for (const [ key, value ] of Object.entries(form))
		if (value !== undefined && String(value) !== String(before[key] ?? ''))
			different[key] = value;
	return different;
}

/** What of a resource may still be promised. */
function leftOf(resource) {
	if (!resource)
		return null;
	return Math.max(0, (resource.total ?? 0) - (resource.reserve ?? 0) - (resource.promised ?? 0));
}

/** What of the disk may still be promised: what others wrote is gone already. */
function leftOfDisk(resource) {
	if (!resource)
		return null;
	return Math.max(0, (resource.free ?? 0) - (resource.reserve ?? 0) - (resource.promised ?? 0));
}

// --- Jobs --------------------------------------------------------------------------------------------------

/** Whether what is mounted at `point` is cloudbox's: an image, a container's layer or its root. */
function isOurMount(point) {
	return /\/(images\/[0-9a-f]{64}|containers\/[a-z0-9-]+\/(layer|rootfs)|lower\/[a-z0-9-]+)$/.test(point ?? '');
}

function isFinal(job) {
	return [ 'done', 'failed', 'cancelled' ].includes(job?.state);
}

function jobTitle(kind, target) {
	switch (kind) {
	case 'create': return fill(_('Creating %s'), target);
	case 'delete': return fill(_('Deleting %s'), target);
	case 'start': return fill(_('Starting %s'), target);
	case 'stop': return fill(_('Stopping %s'), target);
	case 'restart': return fill(_('Restarting %s'), target);
	case 'set': return fill(_('Changing %s'), target);
	case 'freeze': return fill(_('Freezing %s'), target);
	case 'unfreeze': return fill(_('Unfreezing %s'), target);
	case 'snapshot': return fill(_('Taking a snapshot of %s'), target);
	case 'restore': return fill(_('Restoring %s'), target);
	case 'snapshot_delete': return fill(_('Deleting a snapshot of %s'), target);
	case 'clone': return fill(_('Copying %s'), target);
	case 'rename': return fill(_('Renaming %s'), target);
	case 'export': return fill(_('Exporting %s'), target);
	case 'import': return fill(_('Importing %s'), target);
	case 'adopt':
	case 'take_over': return fill(_('Adopting %s'), target);
	case 'prune': return fill(_('Removing what is left of %s'), target);
	case 'image_import': return fill(_('Importing image %s'), target);
	case 'image_pull': return fill(_('Fetching image %s'), target);
	case 'image_delete': return fill(_('Deleting image %s'), target);
	case 'image_prune': return _('Deleting unused images');
	default: return `${kind} ${target}`;
	}
}

function stepWords(step) {
	switch (step) {
	case '': return '';
	case 'directory': return _('making its directory');
	case 'disk': return _('preparing its disk');
	case 'mount': return _('mounting its files');
	case 'guest_files': return _('writing its first files');
	case 'config': return _('writing the configuration');
	case 'record': return _('noting it down');
	case 'name':
	case 'named': return _('giving it its name');
	case 'network': return _('preparing the network');
	case 'lxc': return _('starting its first process');
	case 'watch': return _('watching it');
	case 'ask': return _('asking it to shut down');
	case 'kill': return _('ending its processes');
	case 'stop': return _('stopping it');
	case 'unmount': return _('unmounting its files');
	case 'intent': return _('noting that it shall go');
	case 'erase': return _('erasing files');
	case 'limits': return _('setting limits');
	case 'measure': return _('measuring');
	case 'copy': return _('copying');
	case 'exchange': return _('exchanging its files');
	case 'check': return _('checking');
	case 'convert': return _('converting the archive');
	case 'probe': return _('looking into the image');
	case 'store': return _('storing');
	case 'list': return _('asking the server what it has');
	case 'fetch': return _('fetching');
	case 'wait': return _('waiting for another that fetches it');
	case 'pack': return _('packing');
	case 'unpack': return _('unpacking');
	case 'identity': return _('making it somebody else');
	default: return step;
	}
}

/** How far a job is, in words: its step, and the bytes where they are counted. */
function jobProgress(job) {
	const parts = [ job.state === 'pending' ? _('waiting for its turn') : stepWords(job.step ?? '') ];
	if (job.bytes > 0)
		parts.push(job.total > 0 ? fill(_('%s of %s'), size(job.bytes), size(job.total)) : size(job.bytes));
	return parts.filter(part => part).join(' · ');
}

/** How a job ended, in words. */
function jobEnd(job) {
	switch (job.state) {
	case 'done': return _('Done.');
	case 'cancelled': return _('Cancelled. What it had begun was undone.');
	default: return job.error?.message ?? statusWords(9);
	}
}

/**
 * Follows a job to its end and returns it. `ask()` brings the job, `show(job, failure)` is told each time, `pause(ms)`
 * waits, `over()` says that nobody looks any more. A box that does not answer is asked again: the job goes on without us.
 */
async function follow({ ask, show, pause, over }) {
	let delay = 200;
	while (!over()) {
		try {
			const job = await ask();
			if (over())
				break;
			show(job, null);
			if (isFinal(job))
				return job;
		}
		catch (error) {
			const failure = failureFrom(error);
			if (!isPassing(failure))
				throw failure;
			show(null, failure);
		}
		await pause(delay);
		delay = Math.min(delay * 1.5, 1000);
	}
	return null;
}

// --- Services ----------------------------------------------------------------------------------------------

function typeWords(type) {
	switch (type) {
	case '_http._tcp': return _('Web site');
	case '_https._tcp': return _('Web site (encrypted)');
	case '_ssh._tcp': return _('Remote login (SSH)');
	case '_sftp-ssh._tcp': return _('Files over SSH');
	case '_ftp._tcp': return _('Files (FTP)');
	case '_smb._tcp': return _('Shared folders');
	case '_ipp._tcp':
	case '_printer._tcp': return _('Printer');
	case '_cloudbox._tcp': return _('Community cloud box');
	case '_tahoe-lafs._tcp': return _('Tahoe-LAFS introducer');
	case '_tahoe-storage._tcp': return _('Tahoe-LAFS storage');
	case '_snpservice._tcp': return _('Graph server');
	case '_proxy3._tcp': return _('Web proxy of the federation');
	case '_syncthing._tcp': return _('File synchronisation (Syncthing)');
	case '_workstation._tcp': return _('Computer');
	default: return type.replace(/^_/, '').replace(/\._(tcp|udp)$/, '');
	}
}

/** The value of a TXT record, `path` of `path=/wiki`. */
function txtValue(txt, key) {
	return (txt ?? []).find(record => record.toLowerCase().startsWith(`${key}=`))?.slice(key.length + 1);
}

/** Where a browser goes for a service, or null: only web sites have such a place. */
function link(service) {
	const scheme = { '_http._tcp': 'http', '_https._tcp': 'https' }[service.type];
	const [ address ] = addresses(service.addresses);
	const host = address ?? service.host;
	// A link-local address needs the interface, which no URL can name.
	if (!scheme || !host || !/^[\w.:-]+$/.test(host) || /^fe80:/i.test(host))
		return null;
	const usual = scheme === 'http' ? 80 : 443;
	const place = txtValue(service.txt, 'path') ?? '';
	return `${scheme}://${host.includes(':') ? `[${host}]` : host}` +
		(service.port === usual ? '' : `:${Number(service.port)}`) +
		encodeURI(place.startsWith('/') ? place : `/${place}`);
}

/** What was found on the network, by type: web sites first, then by name; boxes last. */
function groupByType(found, wanted) {
	const groups = new Map();
	const words = (wanted ?? '').toLowerCase();
	for (const service of found ?? []) {
		const text = [ service.type, typeWords(service.type), service.name, service.host, service.box,
			...(service.addresses ?? []) ].join(' ').toLowerCase();
		if (!text.includes(words))
			continue;
		if (!groups.has(service.type))
			groups.set(service.type, []);
		groups.get(service.type).push(service);
	}
	const rank = type => /^_https?\._tcp$/.test(type) ? 0 : type === '_cloudbox._tcp' ? 2 : 1;
	return [ ...groups ]
		.map(([ type, services ]) => ({ type, title: typeWords(type), services:
			services.sort((a, b) => a.name.localeCompare(b.name) || a.host.localeCompare(b.host)) }))
		.sort((a, b) => rank(a.type) - rank(b.type) || a.title.localeCompare(b.title));
}

/** A container's services by its name: what is announced first. */
function groupByContainer(services) {
	const groups = new Map();
	for (const service of services ?? []) {
		const name = service.container ?? '';
		groups.set(name, (groups.get(name) ?? []).concat(service));
	}
	for (const list of groups.values())
		list.sort((a, b) => (a.state === 'published' ? 0 : 1) - (b.state === 'published' ? 0 : 1) || a.port - b.port);
	return groups;
}

/** `Wiki _http._tcp 80`, as an image's manifest says it: the name may have blanks. */
function offered(text) {
	const found = /^(.*\S)?\s*(_\S+\._(?:tcp|udp))\s+(\d+)$/.exec(text);
	return found ? { name: found[1] ?? '', type: found[2], port: Number(found[3]) } : null;
}

// --- Images ------------------------------------------------------------------------------------------------

/** What an image's services are: those that always run and the box announces, and those that are switched on. */
function servicesOf(image) {
	const optional = image.optional_services ?? [];
	const found = (image.services ?? []).map(offered).filter(service => service);
	return {
		always: found.filter(service => !optional.includes(service.name)),
		optional: found.filter(service => optional.includes(service.name))
	};
}

function system(image) {
	return [ image.os, image.release, image.arch ].filter(text => text).join(' ');
}

/** What `create` and `pull` call an image of a server. */
function sourceOf(offer) {
	return `${offer.remote}:${offer.aliases[0]}`;
}

/** Those of what servers offer that can be had and are not here. */
function fetchable(offers) {
	return (offers ?? []).filter(offer => offer.aliases.length && !offer.error && offer.state !== 'here');
}

// --- The box -----------------------------------------------------------------------------------------------

/** What `doctor` found amiss, errors first; what has no remedy has ''. */
function problems(doctor) {
	const rank = { error: 0, warning: 1 };
	return (doctor?.checks ?? [])
		.filter(check => check.state in rank)
		.sort((a, b) => rank[a.state] - rank[b.state])
		.map(check => ({ level: check.state, name: check.name, message: check.message, remedy: check.remedy ?? '' }));
}

return baseclass.extend({
	NONE, fill, size, sizeText, parseSize, percent, level, duration, ago,
	remember, rates, values, ceiling, path,
	statusWords, failureOf, failureFrom, isPassing,
	stateWords, stateTone, actions, actionWords, exitWords, remarks, matches, all, joined, census, addresses, losses,
	checkName, checkMemory, checkSwap, checkDisk, checkRate, checkConnections, checkReserve, checkCpus, checkWhole,
	checkAddress, checkGateway, checkUrl, checkKey,
	checkServiceType, checkServiceName, checkTxt, filledIn, changed, leftOf, leftOfDisk,
	isOurMount,
	isFinal, jobTitle, stepWords, jobProgress, jobEnd, follow,
	typeWords, link, groupByType, groupByContainer, offered, servicesOf, system, sourceOf, fetchable, problems
});
