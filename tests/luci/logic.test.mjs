import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './load.mjs';

const logic = load('cloudbox/logic.js');
const everything = () => true;

/** A table of inputs and what must come out. */
function table(name, run, rows) {
	test(name, () => {
		for (const [ expected, ...args ] of rows)
			assert.deepEqual(run(...args), expected, `${name}(${JSON.stringify(args)})`);
	});
}

table('fill', logic.fill, [
	[ '3 of 5', '%s of %d', 3, 5 ],
	[ 'b a', '%2$s %1$s', 'a', 'b' ],
	[ '7 %', '%d %%', 7 ],
	[ 'x ', '%s %s', 'x' ],
	[ '$& <b>', '%s', '$& <b>' ]
]);

table('size', logic.size, [
	[ '0 B', 0 ], [ '1023 B', 1023 ], [ '1 KiB', 1024 ], [ '1.5 KiB', 1536 ], [ '10 KiB', 10200 ],
	[ '1 MiB', 1048575 ], [ '512 MiB', 512 << 20 ], [ '23 GiB', 25276063744 * 0.98 ], [ '2 TiB', 2 ** 41 ],
	[ '2048 TiB', 2 ** 51 ], [ '–', undefined ], [ '–', NaN ], [ '–', '5' ]
]);

table('sizeText', logic.sizeText, [
	[ '512M', 512 << 20 ], [ '4G', 2 ** 32 ], [ '1000', 1000 ], [ '1536K', 1536 * 1024 ], [ '', undefined ], [ '', 0 ]
]);

table('parseSize', logic.parseSize, [
	[ 512 << 20, '512M' ], [ 2 ** 32, ' 4 gib ' ], [ 65536, '65536' ], [ 1024, '1kB' ],
	[ null, '' ], [ null, '1.5G' ], [ null, '0M' ], [ null, '12X' ], [ null, '-1M' ], [ null, undefined ],
	[ null, '99999999T' ]
]);

test('what sizeText writes, parseSize reads', () => {
	for (const bytes of [ 1, 1024, 16 << 20, 3 * 2 ** 30, 2 ** 40 + 1 ])
		assert.equal(logic.parseSize(logic.sizeText(bytes)), bytes);
});

table('percent', logic.percent, [
	[ 50, 1, 2 ], [ 0, 0, 9 ], [ 100, 12, 9 ], [ null, 1, 0 ], [ null, undefined, 4 ], [ null, 4, undefined ], [ 0, -3, 9 ]
]);

table('level', logic.level, [ [ 'good', null ], [ 'good', 79 ], [ 'high', 80 ], [ 'full', 95 ] ]);

table('duration', logic.duration, [
	[ '0 s', 0 ], [ '59 s', 59.9 ], [ '1 min', 60 ], [ '59 min', 3599 ], [ '1 h 0 min', 3600 ], [ '1 d 1 h', 90000 ],
	[ '–', undefined ], [ '–', -1 ]
]);

table('ago', logic.ago, [
	[ 'just now', 98, 100 ], [ '1 min ago', 40, 100 ], [ 'just now', 120, 100 ], [ '–', 0, 100 ]
]);

test('rates: a counter that went back, or was missing, leaves a gap', () => {
	const history = [ { t: 0, cpu: 10 }, { t: 2, cpu: 30 }, { t: 4, cpu: 5 }, { t: 6 }, { t: 8, cpu: 9 } ];
	assert.deepEqual(logic.rates(history, 'cpu').map(point => point.v), [ 10, null, null, null ]);
	assert.deepEqual(logic.values(history, 'cpu').map(point => point.v), [ 10, 30, 5, null, 9 ]);
});

test('remember: the past is forgotten, and a clock that stands still adds nothing', () => {
	const history = [];
	for (const t of [ 1, 2, 2, 1, 5, 11 ])
		logic.remember(history, { t }, 8);
	assert.deepEqual(history, [ { t: 5 }, { t: 11 } ]);
});

table('ceiling', logic.ceiling, [
	[ 1, [], 1 ], [ 100, [ 3, 51 ], 10 ], [ 5, [ 5, null ], 1 ], [ 2, [ 1.5 ], 1 ], [ 1024, [ 1023 ], 1, true ],
	[ 8 * 2 ** 20, [ 6 * 2 ** 20 ], 1, true ]
]);

test('path: a null lifts the pen, what is higher than the axis stays inside', () => {
	const points = [ { t: 0, v: 0 }, { t: 5, v: 5 }, { t: 6, v: null }, { t: 10, v: 99 } ];
	assert.equal(logic.path(points, 0, 10, 10, 100, 50), 'M0.0 50.0L50.0 25.0M100.0 0.0');
	assert.equal(logic.path([ { t: 1, v: 1 } ], 2, 10, 10, 100, 50), '');
});

table('failureOf', reply => logic.failureOf(reply)?.code ?? null, [
	[ 'not_found', { error: { code: 'not_found', message: 'there is no container web' } } ],
	[ 'status_7', 7 ],
	[ null, 0 ], [ null, null ], [ null, { containers: [] } ],
	// These carry an error and are none.
	[ null, { id: '3', state: 'failed', error: { code: 'no_memory', message: 'memory' } } ],
	[ null, { name: 'web', state: 'failed', error: { code: 'config', message: 'section' } } ]
]);

test('a refusal keeps the words of the bus', () => {
	const failure = logic.failureOf({ error: { code: 'exists', message: 'a container named web already exists' } });
	assert.equal(failure.message, 'a container named web already exists');
	assert.equal(failure.kind, 'refused');
});

test('every status that LuCI can name has a sentence of its own', () => {
	const sentences = [ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 ].map(logic.statusWords);
	assert.equal(new Set(sentences).size, 10);
});

const rejected = (message, name = 'RPCError') => Object.assign(new Error(message), { name });

table('failureFrom', error => logic.failureFrom(error).kind, [
	[ 'away', rejected('RPC call to cloudbox/status failed with error -32000: Object not found') ],
	[ 'denied', rejected('RPC call to cloudbox/status failed with error -32002: Access denied') ],
	[ 'slow', rejected('RPC call to cloudbox.service/browse failed with error -32003: ubus request timed out') ],
	[ 'slow', rejected('XHR request timed out', 'Error') ],
	[ 'unreachable', rejected('XHR request aborted by browser', 'Error') ],
	[ 'unreachable', rejected('RPC call to cloudbox/status failed with HTTP error 502: Bad Gateway') ],
	[ 'session', rejected('Login session is expired', 'SessionError') ],
	[ 'bug', new TypeError('x is not a function') ],
	[ 'refused', { kind: 'refused', code: 'busy', message: 'job 3 works on web' } ]
]);

table('actions', (entry, can = everything) => logic.actions(entry, can), [
	[ [ 'stop', 'restart', 'freeze', 'delete' ], { state: 'running' } ],
	[ [ 'stop', 'freeze', 'delete' ], { state: 'running' }, action => action !== 'restart' ],
	[ [ 'unfreeze', 'stop', 'delete' ], { state: 'frozen' } ],
	[ [ 'start', 'delete' ], { state: 'stopped' } ],
	[ [ 'stop', 'start', 'delete' ], { state: 'failed', restart_in: 12 } ],
	[ [], { state: 'running', job: '7' } ],
	[ [], { state: 'creating' } ],
	[ [], { state: 'something new' } ]
]);

test('every state has words and a tone', () => {
	const states = [ 'running', 'frozen', 'stopped', 'creating', 'starting', 'restarting', 'stopping', 'deleting', 'failed',
		'orphan' ];
	for (const state of states) {
		assert.notEqual(logic.stateWords(state), '');
		assert.ok([ 'good', 'busy', 'bad', 'idle' ].includes(logic.stateTone(state)));
	}
	assert.equal(logic.stateWords('odd'), 'odd');
});

table('remarks', logic.remarks, [
	[ [], { state: 'running' } ],
	[ [ 'memory 9G: only 2G is left' ],
		{ state: 'failed', exit: 'crashed', error: { message: 'memory 9G: only 2G is left' } } ],
	[ [ 'Last end: it needed more memory than its limit', 'Started again in 12 s.' ],
		{ state: 'failed', exit: 'out_of_memory', restart_in: 12, restarts: 3 } ],
	[ [ 'Restarts by itself: 3', 'A restart applies: network, address' ],
		{ state: 'running', restarts: 3, restart_required: [ 'network', 'address' ] } ]
]);

table('matches', logic.matches, [
	[ true, { name: 'web', state: 'running', image: 'distro' }, '' ],
	[ true, { name: 'web', state: 'running', image: 'distro', description: 'Our Wiki' }, 'wiki  RUN' ],
	[ true, { name: 'web', state: 'running', image: 'x', addresses: [ '10.0.0.7' ] }, '10.0.' ],
	[ false, { name: 'web', state: 'running', image: 'x' }, 'blog' ]
]);

test('what was said before of a container is kept, and nothing of those that are gone', () => {
	const steady = { containers: [ { name: 'web', image: 'distro', autostart: true }, { name: 'old', image: 'x' } ],
		orphans: [ { name: 'lost', image: 'mini' } ] };
	assert.deepEqual(logic.joined([ { name: 'lost', state: 'orphan' }, { name: 'new', state: 'running' },
		{ name: 'web', state: 'stopped' } ], steady), [ { name: 'lost', state: 'orphan', image: 'mini' },
		{ name: 'new', state: 'running' }, { name: 'web', state: 'stopped', image: 'distro', autostart: true } ]);
	assert.deepEqual(logic.joined([ { name: 'web', state: 'running' } ], null), [ { name: 'web', state: 'running' } ]);
});

table('census', logic.census, [
	[ '', [] ],
	[ '1 of 3 running, 1 with a problem', [ { state: 'running' }, { state: 'failed' }, { state: 'stopped' } ] ]
]);

table('addresses', logic.addresses, [
	[ [ '10.0.0.7', 'fd00::7' ], [ 'fe80::1', 'fd00::7', '10.0.0.7' ] ], [ [ 'fe80::1' ], [ 'fe80::1' ] ], [ [], undefined ]
]);

test('what is lost with a container is named', () => {
	const entry = { name: 'web', disk: 811008 };
	const lost = logic.losses(entry, [ { name: 'before' } ],
		[ { container: 'web', name: 'Our wiki' }, { container: 'blog', name: 'Blog' } ]);
	assert.deepEqual(lost, [ 'its files: 792 KiB', 'its snapshots: before', 'its services: Our wiki',
		'its section in the configuration' ]);
	assert.deepEqual(logic.losses({ name: 'web' }), [ 'its files', 'its section in the configuration' ]);
});

test('checks say nothing of a good value, and what to write of a wrong one', () => {
	const whole = text => logic.checkWhole(text, 0, 999);
	const good = [
		[ logic.checkName, 'web', 'a', 'my-wiki-2', 'x'.repeat(63) ],
		[ logic.checkMemory, '4M', '512M', '1G' ],
		[ logic.checkDisk, 'none', '16M', '4G' ],
		[ logic.checkRate, 'none', '16K', '2M', '10G' ],
		[ logic.checkConnections, 'none', '1', '1000' ],
		[ logic.checkReserve, '0', '512M' ],
		[ logic.checkCpus, '1', '0.5', '0.01', '1024', '2.125' ],
		[ whole, '0', '50', '999' ],
		[ logic.checkAddress, 'dhcp', '10.139.40.10/27', '192.168.1.5/32' ],
		[ logic.checkGateway, '10.139.40.1' ],
		[ logic.checkKey, 'ssh-ed25519 AAAA me', 'sk-ssh-ed25519@openssh.com AAAA' ],
		[ logic.checkServiceType, '_http._tcp', '_tahoe-lafs._tcp', '_mdns._udp', '_x2._tcp' ],
		[ logic.checkServiceName, '', 'Our wiki', 'é'.repeat(31) ],
		[ logic.checkTxt, 'path=/wiki', 'flag' ]
	];
	const wrong = [
		[ logic.checkName, '', 'Web', '-web', 'web-', 'a_b', 'x'.repeat(64), 'wéb', 'a.b' ],
		[ logic.checkMemory, '', '3M', '1.5G', 'lots' ],
		[ logic.checkDisk, '', '15M', 'None' ],
		[ logic.checkRate, '', '15K', '11G', 'fast', undefined ],
		[ logic.checkConnections, '', '0', '1001', '1.5' ],
		[ logic.checkReserve, '', '00' ],
		[ logic.checkCpus, '', '0', '0.009', '0.0001', '1025', '1,5', '.5', '1.' ],
		[ whole, '', '1000', '-1', '5.0', '1e2' ],
		[ logic.checkAddress, '', '10.139.40.10', '10.139.40.256/27', '10.1.1.1/33', '10.1.1.1/2/3', 'DHCP', '010.1.1.1/8' ],
		[ logic.checkGateway, '', '10.139.40.1/27', 'fe80::1' ],
		[ logic.checkKey, '', 'AAAA me', 'ssh-rsa', 'ssh-rsa ' ],
		[ logic.checkServiceType, '', 'http', '_http', '_http.tcp', '_-x._tcp', '_a--b._tcp', '_1._tcp',
			'_' + 'x'.repeat(16) + '._tcp' ],
		[ logic.checkServiceName, 'é'.repeat(32) ],
		[ logic.checkTxt, '', '=x', 'x'.repeat(256) ]
	];
	for (const [ check, ...texts ] of good)
		for (const text of texts)
			assert.equal(check(text), null, `${check.name}(${JSON.stringify(text)})`);
	for (const [ check, ...texts ] of wrong)
		for (const text of texts)
			assert.equal(typeof check(text), 'string', `${check.name}(${JSON.stringify(text)})`);
});

table('filledIn', logic.filledIn, [
	[ { name: 'web', start: false, keys: [ 'k' ] },
		{ name: 'web', memory: '', disk: null, cpus: undefined, start: false, keys: [ 'k' ], txt: [] } ]
]);

table('changed', logic.changed, [
	[ { memory: '1G', description: '' }, { memory: '1G', cpus: '1', pids: '512', description: '', disk: undefined },
		{ memory: '512M', cpus: '1', pids: 512, description: 'old', disk: '4G' } ],
	[ {}, { description: '', autostart: true }, { autostart: true } ]
]);

table('leftOf', logic.leftOf, [
	[ 3, { total: 9, reserve: 2, promised: 4 } ], [ 0, { total: 1, reserve: 2 } ], [ null, undefined ]
]);
table('leftOfDisk', logic.leftOfDisk, [ [ 1, { total: 9, free: 5, reserve: 2, promised: 2 } ], [ null, undefined ] ]);

table('jobProgress', logic.jobProgress, [
	[ 'waiting for its turn', { state: 'pending', step: '' } ],
	[ 'copying · 1 MiB of 4 MiB', { state: 'running', step: 'copy', bytes: 1 << 20, total: 4 << 20 } ],
	[ 'copying · 1 MiB', { state: 'running', step: 'copy', bytes: 1 << 20 } ],
	[ 'a step of tomorrow', { state: 'running', step: 'a step of tomorrow', bytes: 0 } ]
]);

test('how a job ended is said in the words of the bus', () => {
	assert.equal(logic.jobEnd({ state: 'failed', error: { code: 'no_space', message: 'disk 9T: only 2G is left' } }),
		'disk 9T: only 2G is left');
	assert.equal(logic.jobEnd({ state: 'done' }), 'Done.');
});

/** Follows a job whose answers are given; a string is a rejection with that message. */
async function followed(answers, over = () => false) {
	const shown = [], pauses = [];
	const end = await logic.follow({
		ask: async () => {
			const answer = answers.shift();
			if (typeof answer === 'string')
				throw rejected(answer);
			return answer;
		},
		show: (job, failure) => shown.push(job?.step ?? failure.kind),
		pause: async ms => pauses.push(ms),
		over: () => over(shown)
	});
	return { end, shown, pauses };
}

test('follow: asks until the job has ended, ever more seldom', async () => {
	const going = Array.from({ length: 9 }, (_, i) => ({ state: 'running', step: String(i) }));
	const { end, shown, pauses } = await followed([ ...going, { state: 'failed', step: 'end' } ]);
	assert.equal(end.state, 'failed');
	assert.equal(shown.length, 10);
	assert.deepEqual([ pauses[0], pauses.at(-1) ], [ 200, 1000 ]);
});

test('follow: a daemon that restarts in the middle is waited for', async () => {
	const { end, shown } = await followed([
		{ state: 'running', step: 'copy' },
		'RPC call to cloudbox.job/status failed with error -32000: Object not found',
		'XHR request timed out',
		{ state: 'done', step: 'watch' }
	]);
	assert.deepEqual([ end.state, ...shown ], [ 'done', 'copy', 'away', 'slow', 'watch' ]);
});

test('follow: a job that nobody knows any more, and a denial, are the end', async () => {
	await assert.rejects(followed([ 'failed with error -32002: Access denied' ]), { kind: 'denied' });
	const unknown = { kind: 'refused', code: 'not_found', message: 'there is no job 99' };
	await assert.rejects(logic.follow({ ask: async () => { throw unknown; }, show() {}, pause() {}, over: () => false }),
		{ message: 'there is no job 99' });
});

test('follow: ends when the dialog is closed', async () => {
	const { end } = await followed([ { state: 'running', step: '' }, { state: 'running', step: '' } ],
		shown => shown.length === 1);
	assert.equal(end, null);
});

table('link', logic.link, [
	[ 'http://10.0.0.7/wiki', { type: '_http._tcp', port: 80, addresses: [ '10.0.0.7' ], txt: [ 'path=/wiki' ] } ],
	[ 'http://10.0.0.7:8000/', { type: '_http._tcp', port: 8000, addresses: [ 'fd00::7', '10.0.0.7' ] } ],
	[ 'https://[fd00::7]/', { type: '_https._tcp', port: 443, addresses: [ 'fd00::7' ] } ],
	[ 'http://web-alpha.local/', { type: '_http._tcp', port: 80, addresses: [], host: 'web-alpha.local' } ],
	[ 'http://10.0.0.7/a%20b%22', { type: '_http._tcp', port: 80, addresses: [ '10.0.0.7' ], txt: [ 'Path=a b"' ] } ],
	[ null, { type: '_ssh._tcp', port: 22, addresses: [ '10.0.0.7' ] } ],
	[ null, { type: '_http._tcp', port: 80, addresses: [ 'fe80::1' ] } ],
	[ null, { type: '_http._tcp', port: 80, addresses: [ 'evil"><b' ] } ],
	[ null, { type: '_http._tcp', port: 80 } ]
]);

test('groupByType: web sites first, boxes last, each group by name', () => {
	const service = (type, name, host = 'h') => ({ type, name, host });
	const groups = logic.groupByType([ service('_cloudbox._tcp', 'alpha'), service('_ssh._tcp', 'b'),
		service('_http._tcp', 'Wiki'), service('_http._tcp', 'Blog'), service('_x._udp', 'odd') ]);
	assert.deepEqual(groups.map(group => [ group.title, group.services.map(s => s.name).join() ]), [
		[ 'Web site', 'Blog,Wiki' ], [ 'Remote login (SSH)', 'b' ], [ 'x', 'odd' ], [ 'Community cloud box', 'alpha' ] ]);
	assert.deepEqual(logic.groupByType([ service('_http._tcp', 'Wiki') ], 'blog'), []);
	assert.deepEqual(logic.groupByType(undefined), []);
});

test('groupByContainer: what is announced stands first', () => {
	const groups = logic.groupByContainer([
		{ container: 'web', port: 22, state: 'withheld' },
		{ container: 'web', port: 80, state: 'published' },
		{ port: 80 }
	]);
	assert.deepEqual(groups.get('web').map(service => service.port), [ 80, 22 ]);
	assert.equal(groups.get('').length, 1);
});

table('offered', logic.offered, [
	[ { name: 'Our wiki', type: '_http._tcp', port: 80 }, 'Our wiki _http._tcp 80' ],
	[ { name: '', type: '_tahoe-lafs._tcp', port: 3456 }, '_tahoe-lafs._tcp 3456' ],
	[ null, 'nonsense' ]
]);

test('problems: errors first, what is well is left out', () => {
	const found = logic.problems({ checks: [
		{ name: 'avahi', state: 'warning', message: 'it does not run', remedy: 'start it' },
		{ name: 'lxc', state: 'ok', message: 'installed' },
		{ name: 'bridge', state: 'error', message: 'there is no br-lan' } ] });
	assert.deepEqual(found.map(problem => [ problem.name, problem.remedy ]), [ [ 'bridge', '' ], [ 'avahi', 'start it' ] ]);
	assert.deepEqual(logic.problems(undefined), []);
});

test('all: orphans stand among the rest, by name', () => {
	const list = { containers: [ { name: 'web' }, { name: 'blog' } ], orphans: [ { name: 'old' } ], foreign: [ {} ] };
	assert.deepEqual(logic.all(list).map(entry => entry.name), [ 'blog', 'old', 'web' ]);
	assert.deepEqual(logic.all({ containers: [] }), []);
});

test('an image’s services are told apart, and what servers have is named as the box does', () => {
	const image = { services: [ 'Our wiki _http._tcp 80', 'tahoe _tahoe-lafs._tcp 3456' ], optional_services: [ 'tahoe' ] };
	assert.deepEqual(logic.servicesOf(image), {
		always: [ { name: 'Our wiki', type: '_http._tcp', port: 80 } ],
		optional: [ { name: 'tahoe', type: '_tahoe-lafs._tcp', port: 3456 } ]
	});
	assert.deepEqual(logic.servicesOf({}), { always: [], optional: [] });
	const offers = [ { remote: 'a', aliases: [ 'debian/12', 'debian/bookworm' ], state: 'new' },
		{ remote: 'a', aliases: [ 'x' ], state: 'here' }, { remote: 'b', aliases: [], state: 'new' },
		{ remote: 'b', aliases: [ 'y' ], state: 'new', error: { message: 'no squashfs' } },
		{ remote: 'b', aliases: [ 'z' ], state: 'newer' } ];
	assert.deepEqual(logic.fetchable(offers).map(logic.sourceOf), [ 'a:debian/12', 'b:z' ]);
	assert.deepEqual(logic.fetchable(undefined), []);
});

test('a server’s address is checked', () => {
	for (const good of [ 'https://images.example.org', 'http://10.0.0.1:8080/images/' ])
		assert.equal(logic.checkUrl(good), null);
	for (const wrong of [ '', undefined, 'images.example.org', 'ftp://x', 'https://', 'https:///x', 'https://a b',
		'https://x?y' ])
		assert.ok(logic.checkUrl(wrong), wrong);
});

test('what cloudbox mounts is told from the box’s own disks', () => {
	const image = 'a1'.repeat(32);
	for (const ours of [ `/var/run/cloudbox/images/${image}`, '/srv/cloudbox/containers/my-web/layer',
		'/mnt/sda1/containers/web/rootfs', '/tmp/run/cloudbox/lower/web' ])
		assert.ok(logic.isOurMount(ours), ours);
	for (const others of [ '/', '/overlay', '/mnt/sda1', '/srv/cloudbox', '/srv/cloudbox/containers', '/mnt/images',
		`/mnt/images/${image}/more`, undefined ])
		assert.ok(!logic.isOurMount(others), others);
});
