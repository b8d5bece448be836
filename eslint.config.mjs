// For LuCI's pages and their tests. The linter itself is fetched by scripts/lint.sh; nothing of it is needed here.

/** LuCI's loader turns `'require x';` into a variable: each is used, and each module that is used is required. */
const requires = {
	create(context) {
		const required = new Map();
		return {
			ExpressionStatement(node) {
				const [ , path, alias ] = /^require ([\w.]+)(?: as (\w+))?$/.exec(node.directive ?? '') ?? [];
				if (path)
					required.set(alias ?? path.replace(/[^a-zA-Z0-9]/g, '_'), node);
			},
			'Program:exit'() {
				const { set } = context.sourceCode.scopeManager.globalScope;
				const uses = name => set.get(name)?.references ?? [];
				for (const [ name, node ] of required)
					if (!uses(name).length)
						context.report({ node, message: `'${name}' is required and not used` });
				for (const name of modules)
					if (uses(name).length && !required.has(name))
						context.report({ node: uses(name)[0].identifier, message: `'${name}' is used and not required` });
			}
		};
	}
};

const modules = [ 'api', 'baseclass', 'dialogs', 'dom', 'form', 'fs', 'logic', 'poll',
	'request', 'rpc', 'uci', 'ui', 'view', 'widgets' ];
const globals = names => Object.fromEntries(names.map(name => [ name, 'readonly' ]));

const rules = {
	'array-callback-return': 'error',
	'consistent-return': 'error',
	'eqeqeq': [ 'error', 'always', { null: 'ignore' } ],
	'for-direction': 'error',
	'getter-return': 'error',
	'max-len': [ 'error', { code: 125, tabWidth: 4 } ],
	'no-cond-assign': 'error',
	'no-const-assign': 'error',
	'no-constant-condition': [ 'error', { checkLoops: false } ],
	'no-dupe-keys': 'error',
	'no-duplicate-case': 'error',
	'no-empty': 'error',
	'no-eval': 'error',
	'no-fallthrough': 'error',
	'no-implicit-globals': 'off',
	'no-redeclare': 'error',
	'no-self-assign': 'error',
	'no-shadow': 'error',
	'no-sparse-arrays': 'error',
	'no-undef': 'error',
	'no-unreachable': 'error',
	'no-unsafe-finally': 'error',
	'no-unsafe-negation': 'error',
	'no-unused-expressions': [ 'error', { allowShortCircuit: true, allowTernary: true } ],
	'no-unused-vars': [ 'error', { caughtErrors: 'none' } ],
	'no-use-before-define': [ 'error', { functions: false, classes: false, variables: false } ],
	'no-var': 'error',
	'prefer-const': 'error',
	'quotes': [ 'error', 'single', { avoidEscape: true, allowTemplateLiterals: true } ],
	'semi': 'error',
	'valid-typeof': 'error'
};

// Text from the bus never becomes markup.
const markup = [
	{ selector: 'MemberExpression[property.name=/^(innerHTML|outerHTML|insertAdjacentHTML|srcdoc)$/]',
		message: 'data is text: use el()' },
	{ selector: 'CallExpression[callee.name="E"]',
		message: "LuCI's E() reads a lone string as HTML: use el()" },
	{ selector: 'CallExpression[callee.property.name=/^(showModal|addNotification)$/]' +
		'[arguments.0.type!="Literal"]:not([arguments.0.type="ArrayExpression"])',
		message: 'the title is null or a list: a lone string would be read as HTML' },
	{ selector: 'CallExpression[callee.name="_"]:not([arguments.0.type="Literal"])',
		message: '_() takes a literal, or it cannot be translated' }
];

export default [
	{
		files: [ 'openwrt/luci-app-cloudbox/htdocs/**/*.js' ],
		languageOptions: {
			ecmaVersion: 2022,
			sourceType: 'script',
			parserOptions: { ecmaFeatures: { globalReturn: true } },
			globals: globals([ ...modules, 'E', 'L', '_', 'document', 'window', 'setTimeout', 'TextEncoder',
				'FormData' ])
		},
		plugins: { luci: { rules: { requires } } },
		rules: { ...rules, 'luci/requires': 'error', 'no-restricted-syntax': [ 'error', ...markup ] }
	},
	{
		files: [ '**/*.mjs' ],
		languageOptions: {
			ecmaVersion: 2022,
			sourceType: 'module',
			globals: globals([ 'console', 'process', 'URL', 'document', 'window' ])
		},
		rules
	}
];
