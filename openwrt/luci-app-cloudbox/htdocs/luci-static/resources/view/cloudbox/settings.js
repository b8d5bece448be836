'use strict';
'require form';
'require rpc';
'require uci';
'require view';
'require cloudbox.api as api';
'require cloudbox.dialogs as dialogs';
'require cloudbox.logic as logic';
'require cloudbox.widgets as widgets';

/* /etc/config/cloudbox as a form. Save & Apply goes LuCI's way: the service reads it again by itself. */

const { el } = widgets;

function wholeBox(map, bridges) {
	const section = map.section(form.NamedSection, 'main', 'cloudbox', _('The box'));
	section.addremove = false;
	section.tab('box', _('The box'));
	section.tab('defaults', _('New containers'));
	const value = (tab, name, title, check, standard, description) => {
		const option = dialogs.checked(section, form.Value, tab, name, title, check);
		option.placeholder = standard;
		option.description = description ?? '';
		return option;
	};
	const flag = (name, title, description) => {
		const option = section.taboption('box', form.Flag, name, title, description);
		option.default = '1';
		option.rmempty = false;
	};
	flag('enabled', _('Enabled'), _('Off: nothing is made or started; what runs goes on.'));
	flag('advertise', _('Announce'), _('Tell the network of this box and of its services.'));
	value('box', 'memory_reserve', _('Memory kept for the box'), logic.checkReserve, '512M',
		_('Never promised to containers.'));
	value('box', 'disk_reserve', _('Disk kept for the box'), logic.checkReserve, '2G', _('Never promised to containers.'));
	const whole = text => logic.checkWhole(text, 1, 4194304);
	value('defaults', 'image', _('Image'), text => /^[a-z0-9][a-z0-9._-]*$/.test(text) ? null :
		_('Use only a–z, 0–9, “.”, “_” and “-”.'), 'distro');
	const bridge = value('defaults', 'bridge', _('Bridge'), text => /^[\w.@-]{1,15}$/.test(text) ? null :
		_('The name of a bridge, such as br-lan.'), 'br-lan');
	bridges.forEach(name => bridge.value(name));
	value('defaults', 'memory', _('Memory'), logic.checkMemory, '512M');
	value('defaults', 'cpus', _('Processors'), logic.checkCpus, '1');
	value('defaults', 'disk', _('Disk'), logic.checkDisk, '4G', _('“none” is no quota.'));
	value('defaults', 'pids', _('Process limit'), whole, '512');
}

/* What reaches outside of the containers stands in a file that the group cloudbox may only read. */
function theOwners(map) {
	const section = map.section(form.NamedSection, 'host', 'host', _('What is the owner’s alone'),
		_('What of the box containers and calls reach from outside. Only a login with full rights changes it.'));
	section.addremove = false;
	const path = (id, text) => text === '' || /^\/[^\s,:\\]*$/.test(text) ? true : _('An absolute path.');
	const option = (kind, name, title, standard, description) => {
		const value = section.option(kind, name, title, description ?? '');
		value.rmempty = true;
		value.optional = true;
		value.validate = path;
		value.placeholder = standard;
	};
	option(form.Value, 'storage', _('Storage'), '/srv/cloudbox',
		_('Images and containers; on a disk, not in memory. A change holds when the service is started again.'));
	option(form.Value, 'lxcpath', _('Containers of other tools'), '/srv/lxc');
	option(form.DynamicList, 'export_dir', _('Directories for exports'), '/mnt/usb');
	option(form.DynamicList, 'import_dir', _('Directories for imports'), '/mnt/usb');
	option(form.DynamicList, 'key_dir', _('Directories of keys'), '/etc/cloudbox');
}

function containers(map) {
	const section = map.section(form.GridSection, 'container', _('Containers'),
		_('They are made and deleted on the page “Containers”. Here stands what the configuration says of them.'));
	section.addremove = false;
	section.nodescriptions = true;
	section.modaltitle = id => id.replace(/_/g, '-');
	section.sectiontitle = id => id.replace(/_/g, '-');
	const value = (name, title, check, hidden) => {
		const option = section.option(form.Value, name, title);
		option.rmempty = true;
		option.optional = true;
		option.validate = (id, text) => text === '' ? true : check(text) ?? true;
		option.modalonly = hidden;
		option.placeholder = _('as new containers');
		return option;
	};
	value('memory', _('Memory'), logic.checkMemory);
	value('cpus', _('Processors'), logic.checkCpus);
	value('disk', _('Disk'), logic.checkDisk);
	value('pids', _('Process limit'), text => logic.checkWhole(text, 1, 4194304), true);
	value('bridge', _('Bridge'), () => null, true);
	value('address', _('Address'), logic.checkAddress, true).placeholder = 'dhcp';
	value('gateway', _('Gateway'), logic.checkGateway, true).placeholder = _('the bridge’s own address');
	value('priority', _('Place in the order of starts'), text => logic.checkWhole(text, 0, 999), true).placeholder = '50';
	value('description', _('Description'), text => text.length > 256 ? _('256 characters at most.') : null, true)
		.placeholder = '';
	const restart = section.option(form.ListValue, 'restart', _('When it ends by itself'));
	restart.value('no', _('leave it stopped'));
	restart.value('on-failure', _('start it again after a crash'));
	restart.value('always', _('always start it again'));
	restart.default = 'on-failure';
	restart.modalonly = true;
	for (const [ name, title ] of [
		[ 'autostart', _('Start at boot') ], [ 'advertise', _('Announce its services') ] ]) {
		const option = section.option(form.Flag, name, title);
		option.default = '1';
		option.editable = name === 'autostart';
		option.modalonly = name !== 'autostart';
	}
}

function services(map) {
	const section = map.section(form.GridSection, 'service', _('Services'),
		_('What is announced besides what images offer.'));
	section.anonymous = true;
	section.addremove = true;
	section.nodescriptions = true;
	const container = section.option(form.ListValue, 'container', _('Container'));
	for (const { '.name': id } of uci.sections('cloudbox', 'container'))
		container.value(id.replace(/_/g, '-'));
	const value = (name, title, check, needed, hidden) => {
		const option = section.option(form.Value, name, title);
		option.rmempty = !needed;
		option.validate = (id, text) => text === '' && !needed ? true : check(text) ?? true;
		option.modalonly = hidden;
		return option;
	};
	value('type', _('Type'), logic.checkServiceType, true).placeholder = '_http._tcp';
	value('port', _('Port'), text => logic.checkWhole(text, 1, 65535), true).placeholder = '80';
	value('name', _('Name'), logic.checkServiceName);
	const txt = section.option(form.DynamicList, 'txt', _('TXT records'));
	txt.validate = (id, text) => text ? logic.checkTxt(text) ?? true : true;
	txt.modalonly = true;
	const check = section.option(form.ListValue, 'check', _('Announce it'));
	check.value('tcp', _('while its port answers'));
	check.value('none', _('while the container runs'));
	check.modalonly = true;
	const family = section.option(form.ListValue, 'protocol', _('Addresses'));
	family.value('any', _('IPv4 and IPv6'));
	family.value('ipv4', _('IPv4 only'));
	family.value('ipv6', _('IPv6 only'));
	family.modalonly = true;
	const enabled = section.option(form.Flag, 'enabled', _('Enabled'));
	enabled.default = '1';
	enabled.editable = true;
}

function remotes(map) {
	const section = map.section(form.GridSection, 'remote', _('Servers of images'),
		_('Any simplestreams server. With keys, what it lists must be signed with one of them.'));
	section.addremove = true;
	section.nodescriptions = true;
	const url = section.option(form.Value, 'url', _('Address'));
	url.rmempty = false;
	url.placeholder = 'https://images.example.org';
	url.validate = (id, text) => logic.checkUrl(text) ?? true;
	const keys = section.option(form.DynamicList, 'key', _('Keys'));
	keys.placeholder = 'RWQ…';
	keys.modalonly = true;
	const files = section.option(form.DynamicList, 'key_file', _('Files with keys'));
	files.validate = (id, text) => text === '' || text.startsWith('/') ? true : _('An absolute path.');
	files.modalonly = true;
}

function images(map) {
	const section = map.section(form.GridSection, 'image', _('Known images'),
		_('Where an image of a name is to be had, when a container wants it and it is not here.'));
	section.addremove = true;
	section.nodescriptions = true;
	const remote = section.option(form.ListValue, 'remote', _('Server'));
	remote.value('', _('any that has it'));
	for (const { '.name': id } of uci.sections('cloudbox', 'remote'))
		remote.value(id);
	remote.optional = true;
	const value = (name, title, check) => {
		const option = section.option(form.Value, name, title);
		option.rmempty = true;
		option.optional = true;
		option.validate = (id, text) => text === '' ? true : check(text) ?? true;
		return option;
	};
	value('alias', _('Name there'), text => /\s/.test(text) ? _('Write it as debian/12.') : null).placeholder = 'debian/12';
	value('sha256', _('sha256'), text => /^[0-9a-fA-F]{64}$/.test(text) ? null : _('64 hexadecimal digits.'))
		.modalonly = true;
}

const callAccess = rpc.declare({ object: 'session', method: 'access', params: [ 'scope', 'object', 'function' ],
	expect: { access: false } });

/* Whether this login may see the owner's file, and write it. */
async function hostAccess() {
	try {
		await uci.load('cloudbox-host');
		return await callAccess('uci', 'cloudbox-host', 'write') ? 'write' : 'read';
	}
	catch {
		return null;
	}
}

/* What of the promises about security holds here: the box is looked at when somebody opens it. */
function security() {
	const found = el('div', {}, []);
	const box = el('details', {}, [ el('summary', {}, [ _('Which walls stand around containers here') ]), found ]);
	box.addEventListener('toggle', async () => {
		let notes;
		try {
			notes = widgets.doctorNotes(await api.security());
		}
		catch (error) {
			notes = [ widgets.alertBox('error', [ el('p', {}, [ String(error.message ?? error) ]) ]) ];
		}
		found.replaceChildren(...notes.length ? notes : [ el('p', {}, [ _('All that are promised.') ]) ]);
	}, { once: true });
	return box;
}

return view.extend({
	async load() {
		const bridges = await dialogs.bridges();
		try {
			await uci.load('cloudbox');
			return { bridges, host: await hostAccess() };
		}
		catch (error) {
			return { failure: error };
		}
	},

	async render({ bridges, host, failure }) {
		if (failure) {
			this.handleSaveApply = this.handleSave = this.handleReset = null;
			return widgets.page([ el('h2', {}, _('Settings')), widgets.alertBox('error', [
				el('p', {}, _('/etc/config/cloudbox cannot be read: it is missing, or this login may not see it.')),
				el('p', { 'class': 'cb-muted' }, String(failure.message ?? failure)) ]) ]);
		}
		if (!uci.get('cloudbox', 'main') && L.hasViewPermission())
			uci.add('cloudbox', 'cloudbox', 'main');
		const map = new form.Map('cloudbox', _('Settings'));
		wholeBox(map, bridges);
		containers(map);
		services(map);
		remotes(map);
		images(map);
		const parts = [ widgets.readOnlyNote(), await map.render() ];
		if (host) {
			const own = new form.Map('cloudbox-host');
			own.readonly = host !== 'write';
			theOwners(own);
			parts.push(await own.render());
		}
		parts.push(security());
		return widgets.page(parts);
	}
});
